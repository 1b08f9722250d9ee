"""Reads a policy document, and refuses what it cannot honour to the letter, naming the path (decision 0007).

A misspelt action in a Deny denies nothing, a condition on a key that never has a value never holds: what would be without effect
is an error here, not a surprise later.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from haulier.core.errors import PolicyError
from haulier.core.policy.conditions import OPERATORS, Condition, Operator, Quantifier, Wanted
from haulier.core.policy.document import Effect, Policy, Statement
from haulier.core.policy.names import check_meets, nearest, read_action, read_resource
from haulier.core.policy.values import read_value
from haulier.core.policy.words import CONDITION_KEYS, ConditionKey, Kind, canonical, condition_key

VERSION: Final = "2012-10-17"
BYTES_MAX: Final = 65_536
STATEMENTS_MAX: Final = 200
TEXT_CHARACTERS_MAX: Final = 2_048

_SID: Final = re.compile(r"[A-Za-z0-9]{1,128}")
_QUANTIFIERS: Final[tuple[Quantifier, ...]] = ("ForAllValues", "ForAnyValue")
_EXISTS: Final = "IfExists"


class _Object(list[tuple[str, Any]]):
    """A JSON object as its pairs, for a key may stand twice."""


class Number(str):
    """A JSON number as it was written."""

    __slots__ = ()


def parse(text: str | bytes, name: str) -> Policy:
    """The policy of the document; `name` is what to call it. Raises PolicyError naming the offending path."""
    if len(text) > BYTES_MAX:
        raise PolicyError("", f"is longer than the {BYTES_MAX:,} bytes that a policy may have")
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        tree = json.loads(text, object_pairs_hook=_Object, parse_int=Number, parse_float=Number, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise PolicyError("", "is not UTF-8 text") from None
    except ValueError as error:
        raise PolicyError("", f"is not JSON: {error}") from None
    except RecursionError:
        raise PolicyError("", "is nested too deeply") from None
    return Policy(name, _statements(tree))


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON value")


def _statements(tree: Any) -> tuple[Statement, ...]:
    document = _object(tree, "", ("Version", "Id", "Statement"))
    if document.get("Version") != VERSION:
        raise PolicyError("Version", f'must be "{VERSION}"')
    if "Id" in document:
        _text(document["Id"], "Id")
    if "Statement" not in document:
        raise PolicyError("Statement", "is missing")
    found = document["Statement"]
    if isinstance(found, _Object):
        return (_statement(found, "Statement", 0),)
    if not isinstance(found, list) or not 1 <= len(found) <= STATEMENTS_MAX:
        raise PolicyError("Statement", f"must be a statement or an array of 1 to {STATEMENTS_MAX} of them")
    statements = tuple(_statement(item, f"Statement[{index}]", index) for index, item in enumerate(found))
    seen: set[str] = set()
    for index, statement in enumerate(statements):
        if statement.label in seen:
            raise PolicyError(f"Statement[{index}].Sid", f"{statement.label!r} stands on another statement too")
        seen.add(statement.label)
    return statements


def _statement(tree: Any, path: str, index: int) -> Statement:
    known = ("Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition")
    fields = _object(tree, path, known)
    if fields.get("Effect") not in ("Allow", "Deny"):
        raise PolicyError(f"{path}.Effect", 'must be "Allow" or "Deny"')
    label = f"Statement[{index}]"
    if "Sid" in fields:
        label = _text(fields["Sid"], f"{path}.Sid")
        if not _SID.fullmatch(label):
            raise PolicyError(f"{path}.Sid", "must be 1 to 128 ASCII letters and digits")
    action, not_actions = _one_of(fields, "Action", "NotAction", path)
    actions = [(read_action(text, at), at) for text, at in _texts(fields[action], f"{path}.{action}")]
    resource, not_resources = _one_of(fields, "Resource", "NotResource", path)
    resources = _texts(fields[resource], f"{path}.{resource}")
    kinds = {read_resource(text, at) for text, at in resources}
    if not not_actions and not not_resources:
        for pattern, at in actions:
            check_meets(pattern, kinds, at)
    return Statement(
        label=label,
        effect=Effect(fields["Effect"]),
        actions=tuple(pattern for pattern, _ in actions),
        not_actions=not_actions,
        resources=tuple(text for text, _ in resources),
        not_resources=not_resources,
        conditions=tuple(_conditions(fields["Condition"], f"{path}.Condition")) if "Condition" in fields else (),
    )


def _one_of(fields: Mapping[str, Any], name: str, negated: str, path: str) -> tuple[str, bool]:
    if (name in fields) == (negated in fields):
        raise PolicyError(path, f"must have {name} or {negated}, and not both")
    return (name, False) if name in fields else (negated, True)


# -- conditions ------------------------------------------------------------------------------------------------------------------


def _conditions(tree: Any, path: str) -> Iterable[Condition]:
    for written, keys in _object(tree, path).items():
        at = f"{path}.{_shown(written)}"
        quantifier, name, if_exists = _operator(written, at)
        seen: set[str] = set()
        fields = _object(keys, at)
        if not fields:
            raise PolicyError(at, "must name a condition key")
        for key_text, values in fields.items():
            key_at = f"{at}.{_shown(key_text)}"
            key = _key(key_text, key_at)
            if (spelled := canonical(key_text)) in seen:
                raise PolicyError(key_at, "stands twice: the case of a key's letters is of no matter")
            seen.add(spelled)
            _check_fits(written, quantifier, OPERATORS[name], key, key_at)
            yield Condition(
                operator=name,
                key=spelled,
                values=tuple(_values(name, OPERATORS[name], key, values, key_at)),
                quantifier=quantifier,
                if_exists=if_exists,
            )


def _operator(written: str, path: str) -> tuple[Quantifier, str, bool]:
    quantifier: Quantifier = next((word for word in _QUANTIFIERS if written.startswith(f"{word}:")), "")
    rest = written.removeprefix(f"{quantifier}:") if quantifier else written
    if_exists = rest.endswith(_EXISTS)
    name = rest.removesuffix(_EXISTS)
    if name not in OPERATORS:
        raise PolicyError(path, f"{written!r} is no operator{nearest(name, OPERATORS)}")
    if name == "Null" and (if_exists or quantifier):
        raise PolicyError(path, "Null stands alone: it asks itself whether the key has a value")
    return quantifier, name, if_exists


def _key(text: str, path: str) -> ConditionKey:
    key = condition_key(text)
    if key is None:
        raise PolicyError(path, f"{text!r} is no condition key{nearest(text, [key.name for key in CONDITION_KEYS])}")
    return key


def _check_fits(written: str, quantifier: Quantifier, operator: Operator, key: ConditionKey, path: str) -> None:
    if key.kind not in operator.kinds:
        fitting = [name for name, other in OPERATORS.items() if key.kind in other.kinds]
        raise PolicyError(path, f"{written} does not compare a key that is {key.kind.value}; {', '.join(fitting)} do")
    if operator is OPERATORS["Null"]:
        return
    if key.kind is Kind.TEXTS and not quantifier:
        raise PolicyError(path, "has several values: put ForAllValues: or ForAnyValue: before the operator")
    if key.kind is not Kind.TEXTS and quantifier:
        raise PolicyError(path, f"has one value: {quantifier}: is for keys that have several")


def _values(name: str, operator: Operator, key: ConditionKey, tree: Any, path: str) -> Iterable[Wanted]:
    items = [(tree, path)]
    if isinstance(tree, list) and not isinstance(tree, _Object):
        items = [(item, f"{path}[{index}]") for index, item in enumerate(tree)]
    if not items:
        raise PolicyError(path, "must hold at least one value")
    kind = Kind.TRUTH if name == "Null" else key.kind
    for item, at in items:
        if isinstance(item, list) or item is None:
            raise PolicyError(at, "must be text, a number, true or false")
        wanted = read_value(kind, item if isinstance(item, bool) else _text(item, at, number=True), at)
        if key.values is not None and isinstance(wanted, str):
            _check_possible(operator, wanted, key.values, at)
        yield wanted


def _check_possible(operator: Operator, wanted: str, values: Collection[str], path: str) -> None:
    if not any(operator.fits(value, wanted) for value in values):
        raise PolicyError(path, f"the key is never {wanted!r}{nearest(wanted, values)}")


# -- JSON ------------------------------------------------------------------------------------------------------------------------


def _object(tree: Any, path: str, known: Collection[str] | None = None) -> dict[str, Any]:
    """The object's members, each once and, where `known` says which, known."""
    if not isinstance(tree, _Object):
        raise PolicyError(path, "must be an object")
    found: dict[str, Any] = {}
    for name, value in tree:
        at = f"{path}.{_shown(name)}" if path else _shown(name)
        if known is not None and name not in known:
            raise PolicyError(at, f"is no element that is known here{nearest(name, known)}")
        if name in found:
            raise PolicyError(at, "stands twice")
        _check_text(name, at)
        found[name] = value
    return found


def _texts(tree: Any, path: str) -> list[tuple[str, str]]:
    """One text, or an array of them, each with its path."""
    if isinstance(tree, list) and not isinstance(tree, _Object):
        if not tree:
            raise PolicyError(path, "must hold at least one text")
        return [(_text(item, f"{path}[{index}]"), f"{path}[{index}]") for index, item in enumerate(tree)]
    return [(_text(tree, path), path)]


def _text(tree: Any, path: str, *, number: bool = False) -> str:
    if not isinstance(tree, str) or (isinstance(tree, Number) and not number):
        raise PolicyError(path, "must be text")
    _check_text(tree, path)
    return tree


def _check_text(text: str, path: str) -> None:
    if len(text) > TEXT_CHARACTERS_MAX:
        raise PolicyError(path, f"has more than {TEXT_CHARACTERS_MAX:,} characters")
    if any("\ud800" <= character <= "\udfff" or character < " " for character in text):
        raise PolicyError(path, "holds a control character, or half of one")
    if "${" in text:
        raise PolicyError(path, "policy variables (${…}) are not known here")


def _shown(text: str) -> str:
    """A name from the document, fit for a message."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text[:80])
