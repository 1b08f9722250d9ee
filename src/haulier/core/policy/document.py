"""A policy, a question to it, and the decision."""

from collections.abc import Mapping
from enum import Enum

import msgspec

from haulier.core.policy.conditions import Condition, Value
from haulier.core.policy.patterns import matches, resource_matches
from haulier.core.policy.words import OF_REQUEST

EVERYTHING = "*"


class Effect(Enum):
    """What a statement does with the calls it speaks of."""

    ALLOW = "Allow"
    DENY = "Deny"


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """May this be done?"""

    names: tuple[str, ...]
    """Of one action, all that it has."""
    resources: tuple[str, ...] = (EVERYTHING,)
    """The spellings of one resource; `*` for a call that has none of its own."""
    context: Mapping[str, Value] = {}
    """Condition keys (`words.canonical`) and what they are worth; a key without value is left out."""
    answered: bool = False
    """The request is over: what conditions say about a request (`words.OF_REQUEST`) was decided when it came, and counts as
    fulfilled in an Allow, as not fulfilled in a Deny."""


class Decision(msgspec.Struct, frozen=True):
    """The answer. `statement` decided it; None where no statement spoke."""

    allowed: bool
    statement: str | None = None

    @property
    def reason(self) -> str:
        """Why, as the end of a sentence."""
        if self.statement is None:
            return "no statement of the policy allows it"
        return f"{self.statement} of the policy {'allows' if self.allowed else 'denies'} it"


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One statement. `actions` are patterns in lower case; `not_actions` makes them those that it does not speak of; so with
    resources."""

    label: str
    """Its Sid, or its place in the document."""
    effect: Effect
    actions: tuple[str, ...]
    not_actions: bool = False
    resources: tuple[str, ...] = (EVERYTHING,)
    not_resources: bool = False
    conditions: tuple[Condition, ...] = ()

    def speaks_of(self, names: tuple[str, ...]) -> bool:
        """Whether the action is one of its own, under any of its names."""
        named = any(matches(pattern, name.lower()) for pattern in self.actions for name in names)
        return named is not self.not_actions

    def applies(self, question: Question) -> bool:
        """Whether its effect holds for the question."""
        if not self.speaks_of(question.names):
            return False
        named = any(resource_matches(pattern, resource) for pattern in self.resources for resource in question.resources)
        return named is not self.not_resources and all(self._met(condition, question) for condition in self.conditions)

    def _met(self, condition: Condition, question: Question) -> bool:
        if question.answered and condition.key in OF_REQUEST:
            return self.effect is Effect.ALLOW
        held = condition.holds(question.context)
        return self.effect is Effect.DENY if held is None else held

    @property
    def unconditional(self) -> bool:
        """Whether it applies to all that its actions can be done to."""
        return not self.conditions and not self.not_resources and EVERYTHING in self.resources


class Policy(msgspec.Struct, frozen=True):
    """A document, read."""

    name: str
    statements: tuple[Statement, ...] = ()

    def decide(self, question: Question) -> Decision:
        """The answer: a Deny that applies, else an Allow that applies, else no."""
        for effect in (Effect.DENY, Effect.ALLOW):
            for statement in self.statements:
                if statement.effect is effect and statement.applies(question):
                    return Decision(effect is Effect.ALLOW, statement.label)
        return Decision(allowed=False)

    def may_allow(self, names: tuple[str, ...]) -> bool:
        """Whether there can be a resource and a context for which the action is allowed: asked before they are known."""
        spoken = [statement for statement in self.statements if statement.speaks_of(names)]
        return any(statement.effect is Effect.ALLOW for statement in spoken) and not any(
            statement.effect is Effect.DENY and statement.unconditional for statement in spoken
        )
