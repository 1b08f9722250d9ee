"""Queries and headers as values: every parameter known, each read more strictly than Python would."""

import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar, get_args, get_origin

import msgspec

from haulier.api.native.documents import TOKEN_CHARACTERS_MAX, Document
from haulier.api.native.jsonbody import convert
from haulier.core.errors import InvalidField

D = TypeVar("D", bound=Document)

_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_SIGNATURE: Final = "x-amz-"
"""What a presigned request carries besides; the verifier has looked at it."""
_TOKEN: Final = re.compile(rb"[!-~]{1,%d}" % TOKEN_CHARACTERS_MAX)
_ETAG: Final = re.compile(r'(W/)?"([^"\\]*)"')


def query(pairs: Sequence[tuple[str, str]], kind: type[D]) -> D:
    """The query's parameters. Raises MalformedDocument for one that is not known, InvalidField for a value it may not have."""
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}
    found: dict[str, Any] = {}
    for name, text in pairs:
        if name.lower().startswith(_SIGNATURE):
            continue
        if _is_list(types.get(name)):
            found.setdefault(name, []).append(text)
        elif name in found:
            raise InvalidField(name, "the parameter is given more than once")
        else:
            found[name] = _number(text, name) if _is_number(types.get(name)) else text
    return convert(found, kind)


def _plain(kind: Any) -> Any:
    return _plain(get_args(kind)[0]) if hasattr(kind, "__metadata__") else kind


def _is_list(kind: Any) -> bool:
    return get_origin(_plain(kind)) is tuple


def _is_number(kind: Any) -> bool:
    return _plain(kind) is int


def _number(text: str, name: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise InvalidField(name, f"{text[:40]!r} is not a whole number")
    return int(text)


def idempotency_key(value: bytes | None) -> str | None:
    """The header's key, with or without the quotes that the IETF's draft wants around it. Raises InvalidField."""
    if value is None:
        return None
    bare = value[1:-1] if len(value) > 1 and value[:1] == value[-1:] == b'"' else value
    if not _TOKEN.fullmatch(bare):
        raise InvalidField("Idempotency-Key", f"must be 1 to {TOKEN_CHARACTERS_MAX} printable ASCII characters without blanks")
    return bare.decode("ascii")


def etags(value: bytes | None, header: str, *, weak: bool) -> frozenset[str] | None:
    """The tags of If-Match or If-None-Match, `*` as itself; None when the header is absent. `weak`: weak ones match too, as for
    If-None-Match (RFC 9110, 8.8.3.2); else they match nothing. Raises InvalidField."""
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if text == "*":
        return frozenset("*")
    found = [_ETAG.fullmatch(part.strip()) for part in text.split(",")]
    if None in found:
        raise InvalidField(header, 'must be ETags in quotes ("…", separated by commas) or *')
    return frozenset(part[2] for part in found if part is not None and (weak or not part[1]))


def event_number(value: bytes | None) -> int | None:
    """Last-Event-ID as the number of an event; what another server may have given (a number it is not) counts as absent."""
    text = "" if value is None else value.decode("latin-1")
    return int(text) if _NUMBER.fullmatch(text) else None
