"""The policies that need no file, written as any other; and finding the policy of a user."""

from collections.abc import Mapping
from typing import Final

from haulier.core.policy.document import Decision, Policy, Question
from haulier.core.policy.reader import parse

DOCUMENTS: Final[Mapping[str, str]] = {
    "admin": """{
  "Version": "2012-10-17",
  "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}
}""",
    "operator": """{
  "Version": "2012-10-17",
  "Statement": {
    "Effect": "Allow",
    "Action": ["s3:*Job*", "cos:*Job*", "haulier:*Job*", "iam:PassRole", "cam:PassRole"],
    "Resource": "*"
  }
}""",
    "viewer": """{
  "Version": "2012-10-17",
  "Statement": {
    "Effect": "Allow",
    "Action": ["s3:DescribeJob", "s3:ListJobs", "s3:GetJobTagging", "cos:ListJobs"],
    "Resource": "*"
  }
}""",
}

BUILT_IN: Final[Mapping[str, Policy]] = {name: parse(text, name) for name, text in DOCUMENTS.items()}


class Policies:
    """Policies by the name that a user's record has for its own. A name that stands for nothing allows nothing."""

    def __init__(self, documents: Mapping[str, Policy] | None = None) -> None:
        """`documents` are those beyond the built-in ones."""
        self.reload(documents or {})

    def reload(self, documents: Mapping[str, Policy]) -> None:
        """Hold these from the next question on. From any thread."""
        self._by_name = {**documents, **BUILT_IN}

    def find(self, name: str) -> Policy:
        """The policy of that name."""
        return self._by_name.get(name) or Policy(name)

    def decide(self, name: str, question: Question) -> Decision:
        """What the policy of that name says."""
        return self.find(name).decide(question)
