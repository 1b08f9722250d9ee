"""Policies: what a user may do, as IAM-style JSON documents (docs/reference/policies.md, decision 0010).

    policy = parse(text, "team.json")
    policy.decide(Question(names=Call.CREATE.value, context={"s3:requestjobpriority": 10})).allowed

Nothing is allowed unless a statement allows it, and no Allow outweighs a Deny. The names of one action, and the spellings of one
resource, are synonyms: a list in a statement speaks of a call when it names any of them, a `Not…` list when it names none.

What is not understood is refused by `parse`. Met all the same (a document of a newer version in a database, a value of another
kind), it makes an Allow say nothing and a Deny hold: each statement is judged by itself, so adding a Deny never widens, adding
an Allow never narrows, and the order is of no matter.
"""

from haulier.core.policy.builtin import BUILT_IN, Policies
from haulier.core.policy.document import Decision, Effect, Policy, Question, Statement
from haulier.core.policy.reader import parse

__all__ = ["BUILT_IN", "Decision", "Effect", "Policies", "Policy", "Question", "Statement", "parse"]
