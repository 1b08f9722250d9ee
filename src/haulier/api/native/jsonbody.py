"""JSON that came from outside, read more strictly than Python would (reliability.md §8), and values of our types out of it."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from haulier.api.xmltree import unwritable
from haulier.core.errors import DocumentTooLarge, InvalidField, MalformedDocument

T = TypeVar("T")

DEPTH_MAX: Final = 32
MARKS_MAX: Final = 40_000
_TOKENS: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)
"""Strings, and the marks between them. A string that never ends is one token too: were each of its quotes tried as a beginning,
the work would grow with the square of the body."""


class _Duplicate:
    """Stands for an object in which a name stands twice, until its path is known."""

    def __init__(self, name: str) -> None:
        self.name = name


def read(body: bytes) -> Any:
    """The value. Raises MalformedDocument (with the path of a name that stands twice), InvalidField for text that no answer could
    carry, DocumentTooLarge for one that lies too deep, or for too many."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise MalformedDocument("", f"the body is not UTF-8 (byte {problem.start})") from None
    if not text.strip():
        raise MalformedDocument("", "the body is empty; it must be a JSON object")
    _check_size(body)
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_number)
    except json.JSONDecodeError as problem:
        where = f"line {problem.lineno}, column {problem.colno}"
        raise MalformedDocument("", f"the body is not JSON: {problem.msg} ({where})") from None
    except ValueError:
        raise MalformedDocument("", "the body holds a number of more digits than any member can have") from None
    _check_texts(value, "")
    return value


def _check_size(body: bytes) -> None:
    depth = 0
    for number, token in enumerate(_TOKENS.finditer(body)):
        if number >= MARKS_MAX:
            raise DocumentTooLarge(f"the body holds more than {MARKS_MAX:,} strings, brackets and commas")
        mark = token[0]
        depth += (mark in b"[{") - (mark in b"]}") if len(mark) == 1 else 0
        if depth > DEPTH_MAX:
            raise DocumentTooLarge(f"the body's values lie more than {DEPTH_MAX} deep")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Duplicate:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                return _Duplicate(name)
            seen.add(name)
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedDocument("", f"the body is not JSON: {name} is no value of it")


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise MalformedDocument("", f"the body holds the number {digits[:40]}, which is larger than any member can be")
    return value


def _check_texts(value: Any, path: str) -> None:
    if isinstance(value, _Duplicate):
        raise MalformedDocument(join(path, value.name), "the name stands more than once")
    if isinstance(value, str) and (bad := unwritable(value)):
        raise InvalidField(path, f"holds the character {bad}, which an answer could not carry")
    if isinstance(value, dict):
        for name, part in value.items():
            _check_texts(name, path)
            _check_texts(part, join(path, name))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            _check_texts(part, f"{path}[{number}]")


def join(path: str, name: str) -> str:
    """The path of a member."""
    return f"{path}.{name}" if path else name


# -- values of our types ---------------------------------------------------------------------------------------------------------

_PLACE: Final = re.compile(r" - at `(?P<key>key` in `)?\$(?P<path>[^`]*)`")
_NAMED: Final = re.compile(r"Object (?P<what>contains unknown|missing required) field `(?P<name>[^`]*)`")


def convert(value: Any, kind: type[T], path: str = "") -> T:
    """The value as the type. Raises MalformedDocument for members that are missing or not known, InvalidField for other values,
    with the path of the member; `path` is where the value itself stands."""
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise refusal(str(error), path, value, kind) from None


def refusal(message: str, path: str, value: Any = None, kind: Any = None) -> MalformedDocument | InvalidField:
    """What msgspec says of a value, in our words and with our paths."""
    place = _PLACE.search(message)
    inner = place["path"] if place is not None else ""
    if "[...]" in inner and kind is not None:
        inner = _with_name(inner, message, value, kind)
    where = path + inner if path else inner.removeprefix(".")
    problem = _PLACE.sub("", message)
    if (named := _NAMED.search(problem)) is not None:
        where = join(where, named["name"])
        return MalformedDocument(where, "is missing" if named["what"].startswith("missing") else "the member is not known here")
    problem = ("a name in it " if place is not None and place["key"] else "") + _in_words(problem)
    return InvalidField(where, problem) if where else MalformedDocument("", f"the body {problem}")


_EXPECTED: Final = re.compile(r"Expected `(?P<right>[^`]*)`(?P<bounds>[^,]*)(?:, got `(?P<found>[^`]*)`)?")
_WORDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
}


def _in_words(problem: str) -> str:
    """`Expected `int`, got `str`` as a sentence about the member."""
    expected = _EXPECTED.fullmatch(problem)
    if expected is None:
        return problem[:1].lower() + problem[1:].replace("`", "")
    right = " or ".join(_WORDS.get(word, word) for word in expected["right"].split(" | ")) + expected["bounds"]
    found = f"is {_WORDS.get(expected['found'], expected['found'])}; it " if expected["found"] else ""
    return f"{found}must be {right}"


def _with_name(inner: str, message: str, value: Any, kind: Any) -> str:
    """msgspec does not tell which entry of a map it means: the first that it refuses by itself."""
    before, _, after = inner.partition("[...]")
    names = [name for name in before.split(".") if name]
    holder = value
    for name in names:
        holder = holder.get(name) if isinstance(holder, dict) else None
    for name, part in _entries(holder):
        alone: Any = {name: part}
        for outer in reversed(names):
            alone = {outer: alone}
        try:
            msgspec.convert({**value, **alone} if names else alone, kind, strict=True)
        except msgspec.ValidationError as error:
            if str(error) == message:
                return f"{before}[{name!r}]{after}"
    return inner


def _entries(holder: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(holder, dict):
        yield from holder.items()
