"""Conditions: one operator, one key, the values it is compared with. Which operators there are, and what each means.

The rules are IAM's. Several values of one condition: one of them must fit, of a negated operator none may. A key without a value
fails every condition but the negated ones, those with `IfExists`, `Null`, and `ForAllValues:` (all of no values fit).
"""

import ipaddress
import operator as compare
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from haulier.core.policy.patterns import matches, resource_matches
from haulier.core.policy.words import Kind, condition_key

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Value = str | int | bool | tuple[str, ...]
"""What a key is worth. A number, a date (Unix ms), a truth, or text; an address is text."""
Wanted = str | Decimal | int | bool | Network
"""What a policy compares it with."""
Quantifier = Literal["", "ForAllValues", "ForAnyValue"]


class Operator(msgspec.Struct, frozen=True):
    """How a key's value is compared with one value of the policy."""

    kinds: frozenset[Kind]
    """Of the keys it can compare."""
    fits: Callable[[Any, Any], bool]
    negated: bool = False
    pattern: bool = False
    """Whether `*` and `?` of the policy's value mean more than themselves."""
    folds: bool = False
    """Whether upper and lower case are the same."""


def _same_text(value: str, wanted: str) -> bool:
    return value.casefold() == wanted.casefold()


def _like(value: str, wanted: str) -> bool:
    return matches(wanted, value)


def _arn_like(value: str, wanted: str) -> bool:
    return resource_matches(wanted, value)


def _in_network(value: str, wanted: Network) -> bool:
    address = ipaddress.ip_address(value)
    address = getattr(address, "ipv4_mapped", None) or address
    return address.version == wanted.version and address in wanted


_TEXT: Final = frozenset({Kind.TEXT, Kind.TEXTS, Kind.ARN})
_ORDERS: Final = {
    "Equals": compare.eq,
    "LessThan": compare.lt,
    "LessThanEquals": compare.le,
    "GreaterThan": compare.gt,
    "GreaterThanEquals": compare.ge,
}

OPERATORS: Final[Mapping[str, Operator]] = {
    "StringEquals": Operator(_TEXT, compare.eq),
    "StringNotEquals": Operator(_TEXT, compare.eq, negated=True),
    "StringEqualsIgnoreCase": Operator(_TEXT, _same_text, folds=True),
    "StringNotEqualsIgnoreCase": Operator(_TEXT, _same_text, negated=True, folds=True),
    "StringLike": Operator(_TEXT, _like, pattern=True),
    "StringNotLike": Operator(_TEXT, _like, negated=True, pattern=True),
    **{f"Numeric{name}": Operator(frozenset({Kind.NUMBER}), fits) for name, fits in _ORDERS.items()},
    "NumericNotEquals": Operator(frozenset({Kind.NUMBER}), compare.eq, negated=True),
    **{f"Date{name}": Operator(frozenset({Kind.DATE}), fits) for name, fits in _ORDERS.items()},
    "DateNotEquals": Operator(frozenset({Kind.DATE}), compare.eq, negated=True),
    "Bool": Operator(frozenset({Kind.TRUTH}), compare.is_),
    "IpAddress": Operator(frozenset({Kind.ADDRESS}), _in_network),
    "NotIpAddress": Operator(frozenset({Kind.ADDRESS}), _in_network, negated=True),
    "ArnEquals": Operator(frozenset({Kind.ARN}), _arn_like, pattern=True),
    "ArnLike": Operator(frozenset({Kind.ARN}), _arn_like, pattern=True),
    "ArnNotEquals": Operator(frozenset({Kind.ARN}), _arn_like, negated=True, pattern=True),
    "ArnNotLike": Operator(frozenset({Kind.ARN}), _arn_like, negated=True, pattern=True),
    "Null": Operator(frozenset(Kind), compare.is_),
}
"""By name. `ArnEquals` is `ArnLike`, as in IAM; `Null` compares whether the key has no value."""

_TYPES: Final = {Kind.TRUTH: bool, Kind.NUMBER: int, Kind.DATE: int, Kind.TEXTS: tuple}


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """One condition of a statement."""

    operator: str
    """Without quantifier and `IfExists`."""
    key: str
    """As `words.canonical` spells it."""
    values: tuple[Wanted, ...]
    """At least one."""
    quantifier: Quantifier = ""
    if_exists: bool = False

    def holds(self, context: Mapping[str, Value]) -> bool | None:
        """Whether it is met; None where that cannot be said, for operator, key or the key's value is none that is known here."""
        operator, key = OPERATORS.get(self.operator), condition_key(self.key)
        if operator is None or key is None or key.kind not in operator.kinds:
            return None
        value = context.get(self.key)
        absent = value is None or value == ()
        if self.operator == "Null":
            return absent in self.values
        if value is None or absent:
            return self.if_exists or self.quantifier == "ForAllValues" or (operator.negated and not self.quantifier)
        if type(value) is not _TYPES.get(key.kind, str):
            return None
        try:
            return self._compare(operator, value)
        except ValueError:  # an address that is none
            return None

    def _compare(self, operator: Operator, value: Value) -> bool:
        def good(one: Value) -> bool:
            return any(operator.fits(one, wanted) for wanted in self.values) is not operator.negated

        match self.quantifier:
            case "":
                return good(value)
            case "ForAllValues":
                return all(map(good, value if isinstance(value, tuple) else (value,)))
            case _:
                return any(map(good, value if isinstance(value, tuple) else (value,)))
