"""A second reading of policies, for comparison: on the JSON itself, one case after another."""

import datetime as dt
import ipaddress
import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import product
from typing import Any


def allowed(text: str | bytes, names: Sequence[str], resources: Sequence[str], context: Mapping[str, Any]) -> bool:
    """What a valid document says to a call, given by all its names and all spellings of its resource."""
    statements = json.loads(text)["Statement"]
    verdict = False
    for statement in statements if isinstance(statements, list) else [statements]:
        if _applies(statement, names, resources, context):
            if statement["Effect"] == "Deny":
                return False
            verdict = True
    return verdict


def _applies(statement: dict[str, Any], names: Sequence[str], resources: Sequence[str], context: Mapping[str, Any]) -> bool:
    if "Action" in statement and not any(glob(p.lower(), n.lower()) for p, n in product(_many(statement["Action"]), names)):
        return False
    if "NotAction" in statement and any(glob(p.lower(), n.lower()) for p, n in product(_many(statement["NotAction"]), names)):
        return False
    if "Resource" in statement and not any(arn(p, r) for p, r in product(_many(statement["Resource"]), resources)):
        return False
    if "NotResource" in statement and any(arn(p, r) for p, r in product(_many(statement["NotResource"]), resources)):
        return False
    for operator, keys in statement.get("Condition", {}).items():
        for key, wanted in keys.items():
            prefix, slash, tag = key.partition("/")
            if not _condition(operator, context.get(prefix.lower() + slash + tag), _many(wanted)):
                return False
    return True


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def glob(pattern: str, text: str) -> bool:
    """By the places of the pattern that the text read so far can have led to."""
    places = _after_stars(pattern, {0})
    for character in text:
        stay = {at for at in places if at < len(pattern) and pattern[at] == "*"}
        step = {at + 1 for at in places if at < len(pattern) and pattern[at] != "*" and pattern[at] in ("?", character)}
        places = _after_stars(pattern, stay | step)
    return len(pattern) in places


def _after_stars(pattern: str, places: set[int]) -> set[int]:
    found = set(places)
    for at in sorted(places):
        while at < len(pattern) and pattern[at] == "*":  # a star may also be nothing
            at += 1  # noqa: PLW2901
            found.add(at)
    return found


def arn(pattern: str, text: str) -> bool:
    if pattern == "*":
        return True
    *wanted, last = pattern.split(":", 5)
    *found, rest = text.split(":", 5)
    if len(wanted) != 5 or len(found) != 5:
        return False
    return not [1 for one, other in zip(wanted, found, strict=True) if not glob(one, other)] and glob(last, rest)


def _condition(operator: str, value: Any, wanted: list[Any]) -> bool:
    if operator == "Null":
        return any((str(one).lower() == "true") == (value is None or value == ()) for one in wanted)
    every = operator.startswith("ForAllValues:")
    some = operator.startswith("ForAnyValue:")
    operator = operator.rsplit(":", maxsplit=1)[-1]
    lenient = operator.endswith("IfExists")
    operator = operator.removesuffix("IfExists")
    if value is None or value == ():
        return lenient or every or (not some and ("Not" in operator))
    if every:
        return not [one for one in value if not _compare(operator, one, wanted)]
    if some:
        return bool([one for one in value if _compare(operator, one, wanted)])
    return _compare(operator, value, wanted)


def _compare(operator: str, value: Any, wanted: list[Any]) -> bool:
    for negated, positive in (
        ("StringNotEqualsIgnoreCase", "StringEqualsIgnoreCase"),
        ("StringNotEquals", "StringEquals"),
        ("StringNotLike", "StringLike"),
        ("NumericNotEquals", "NumericEquals"),
        ("DateNotEquals", "DateEquals"),
        ("NotIpAddress", "IpAddress"),
        ("ArnNotEquals", "ArnEquals"),
        ("ArnNotLike", "ArnLike"),
    ):
        if operator == negated:
            return not _compare(positive, value, wanted)
    return any(_one(operator, value, one) for one in wanted)


def _one(operator: str, value: Any, wanted: Any) -> bool:
    if operator == "StringEquals":
        return bool(str(wanted) == value)
    if operator == "StringEqualsIgnoreCase":
        return bool(str(wanted).casefold() == value.casefold())
    if operator == "StringLike":
        return glob(str(wanted), value)
    if operator in ("ArnEquals", "ArnLike"):
        return arn(str(wanted), value)
    if operator == "Bool":
        return (str(wanted).lower() == "true") == value
    if operator == "IpAddress":
        address, network = ipaddress.ip_address(value), ipaddress.ip_network(wanted)
        if address.version == 6 and address.ipv4_mapped:
            address = address.ipv4_mapped
        return address in network
    if operator.startswith("Numeric"):
        return _ordered(operator.removeprefix("Numeric"), Fraction(value), Fraction(str(wanted)))
    if operator.startswith("Date"):
        return _ordered(operator.removeprefix("Date"), Fraction(value, 1000), _seconds(str(wanted)))
    raise AssertionError(operator)


def _ordered(order: str, left: Fraction, right: Fraction) -> bool:
    answers = {
        "Equals": left == right,
        "LessThan": left < right,
        "LessThanEquals": left <= right,
        "GreaterThan": left > right,
        "GreaterThanEquals": left >= right,
    }
    return answers[order]


def _seconds(text: str) -> Fraction:
    if text.isdigit():
        return Fraction(text)
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    milliseconds = (moment - epoch) / dt.timedelta(milliseconds=1)
    return Fraction(round(milliseconds), 1000)
