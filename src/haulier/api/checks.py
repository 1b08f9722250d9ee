"""What a service model says about values: presence first, over the whole document, then each value."""

from collections.abc import Mapping
from typing import Any

from haulier.api.scalars import Unreadable
from haulier.api.shapes import Member, Shape
from haulier.api.xmltree import unwritable
from haulier.core.errors import InvalidField, MalformedDocument, NotImplementedHere


def check(shape: Shape, value: Mapping[str, Any]) -> None:
    """Raises MalformedDocument for elements that are missing, InvalidField for values that are missing at the top or not allowed,
    each naming the path."""
    _presence(shape, value, "")
    for name in shape.required:
        member = shape.members[name]
        if name not in value and _is_parameter(member):
            raise InvalidField(_join("", member), "is missing")
    _values(shape, value, "")


def readable(value: Any) -> None:
    """Raises the InvalidField of the first text that is no value of its type."""
    if isinstance(value, Unreadable):
        raise value.error
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            readable(part)


def _join(path: str, member: Member) -> str:
    # What travels in header or query is known to the client under the name it has there.
    name = member.tag if member.location else member.name
    return f"{path}.{name}" if path else name


def _switched_off(shape: Shape, value: Mapping[str, Any]) -> bool:
    return shape.unchecked_unless is not None and value.get(shape.unchecked_unless) is False


def _presence(shape: Shape, value: Any, path: str) -> None:
    if shape.kind == "list":
        assert shape.item is not None
        for number, item in enumerate(value):
            _presence(shape.item.shape, item, f"{path}[{number}]")
    elif shape.kind == "structure" and not _switched_off(shape, value):
        _required(shape, value, path)
        for name, part in value.items():
            member = shape.members[name]
            _presence(member.shape, part, _join(path, member))
    elif shape.structural and value not in shape.enum:
        raise MalformedDocument(path, f"{str(value)[:80]!r} is not one of {', '.join(shape.enum)}")


def _is_parameter(member: Member) -> bool:
    """Whether it is a single value that the body or the query carries: at the top of a request it is one of its parameters, and
    what is wrong with it is no fault of the document (cos-batch.md §2.7)."""
    return member.location in (None, "querystring") and member.shape.kind not in ("structure", "list", "map")


def _required(shape: Shape, value: Mapping[str, Any], path: str) -> None:
    for name in shape.required:
        member = shape.members[name]
        if name not in value and member.location not in ("header", "uri") and not (not path and _is_parameter(member)):
            raise MalformedDocument(_join(path, member), "is missing")
    if shape.union and len(value) != 1:
        found = ", ".join(value) or "none"
        raise MalformedDocument(path, f"must hold exactly one of {', '.join(shape.members)}; it holds {found}")


def _values(shape: Shape, value: Any, path: str) -> None:
    if isinstance(value, Unreadable):
        raise value.error
    if shape.kind == "structure":
        if not _switched_off(shape, value):
            for name, part in value.items():
                member = shape.members[name]
                _values(member.shape, part, _join(path, member))
    elif shape.kind == "list":
        assert shape.item is not None
        _bounds(shape, len(value), path, "items")
        for number, item in enumerate(value):
            _values(shape.item.shape, item, f"{path}[{number}]")
    elif shape.kind == "map":
        assert shape.key is not None
        assert shape.item is not None
        _bounds(shape, len(value), path, "entries")
        for key, item in value.items():
            _values(shape.key.shape, key, f"{path}.key")
            _values(shape.item.shape, item, f"{path}[{key!r}]")
    elif shape.kind in ("integer", "long"):
        _bounds(shape, value, path, "")
    elif shape.kind == "string":
        _string(shape, value, path)


def _bounds(shape: Shape, number: int, path: str, of_what: str) -> None:
    below = shape.least is not None and number < shape.least
    if below or (shape.most is not None and number > shape.most):
        what = f"{number} {of_what}".rstrip()
        right = f"at least {shape.least}" if shape.most is None else f"between {shape.least or 0} and {shape.most}"
        raise InvalidField(path, f"{what} is not {right}")


def _string(shape: Shape, value: str, path: str) -> None:
    if shape.enum and value not in shape.enum:
        raise InvalidField(path, f"{value[:80]!r} is not one of {', '.join(shape.enum)}")
    if bad := unwritable(value):
        raise InvalidField(path, f"holds the character {bad}, which an answer could not carry")
    length = len(value) if shape.characters else len(value.encode("utf-8"))
    _bounds(shape, length, path, "characters" if shape.characters else "bytes")
    if shape.pattern_problem is not None:
        raise NotImplementedHere(path, f"cannot be checked by this version: {shape.pattern_problem}")
    if shape.pattern is not None and not shape.pattern.fullmatch(value):
        raise InvalidField(path, f"{value[:80]!r} is not of the form that {shape.name} has")
