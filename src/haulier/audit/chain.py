"""The format of the audit log: JSON lines, each holding the hash of the line before and its own. Pure.

A line is one JSON object. Its last member, `hash`, is the SHA-256 in hex of the line's bytes as they would be without that
member: everything up to the comma before it, and the closing brace. `previous` is the hash of the line before (64 zeros in the
very first), `sequence` counts from 1 without a gap. So a line cannot be changed, removed, put in or moved without every later
hash changing, and whoever has written down one hash can tell whether the log up to there is the one that was written.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

GENESIS: Final = "0" * 64
LINE_BYTES_MAX: Final = 16 * 1024
TEXT_CHARACTERS_MAX: Final = 512
"""Of one value: what a client sent stands in the log, but it may not fill it."""

ITEMS_MAX: Final = 20
"""Of one list."""
RESERVED: Final = frozenset({"sequence", "previous", "hash"})
"""The chain's own members: what a caller gives under these names is left out."""

_HASH_MEMBER: Final = b',"hash":"'
_HASH_BYTES: Final = 64


class Link(msgspec.Struct, frozen=True):
    """The end of a chain: the last line's place and hash."""

    sequence: int = 0
    hash: str = GENESIS


class BrokenChain(ValueError):
    """A line that does not follow from the one before."""


def line(entry: Mapping[str, Any], after: Link) -> tuple[bytes, Link]:
    """The entry as the line that follows `after`, with its line break, and the chain's new end.

    Text is cut to TEXT_CHARACTERS_MAX and lists to ITEMS_MAX, and what is larger than LINE_BYTES_MAX all the same keeps only who
    and when. Control characters are escaped by JSON, so an entry is always one line.
    """
    facts = {name: _cut(value) for name, value in entry.items() if value is not None and name not in RESERVED}
    body = _body(after, facts)
    if len(body) > LINE_BYTES_MAX:
        body = _body(after, {name: facts[name] for name in ("at", "kind", "account", "user") if name in facts} | {"cut": True})
    digest = hashlib.sha256(body).hexdigest()
    return body[:-1] + _HASH_MEMBER + digest.encode("ascii") + b'"}\n', Link(after.sequence + 1, digest)


def _body(after: Link, facts: Mapping[str, Any]) -> bytes:
    # Not msgspec: it would write what is not ASCII as it is, and terminals obey some of those characters.
    members = {"sequence": after.sequence + 1, "previous": after.hash, **facts}
    return json.dumps(members, separators=(",", ":")).encode("ascii")


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > TEXT_CHARACTERS_MAX:
        return value[: TEXT_CHARACTERS_MAX - 1] + "…"
    if isinstance(value, list | tuple) and len(value) > ITEMS_MAX:
        return [*map(_cut, value[:ITEMS_MAX]), f"… and {len(value) - ITEMS_MAX} more"]
    return [_cut(item) for item in value] if isinstance(value, list | tuple) else value


def read(raw: bytes) -> tuple[Link, str, Mapping[str, Any]]:
    """A line's own place in the chain, the hash of the line before that it names, and its members.

    Raises BrokenChain for what is no line of an audit log or does not have the hash it says.
    """
    text = raw.removesuffix(b"\n")
    cut = len(text) - _HASH_BYTES - len(_HASH_MEMBER) - 2
    if cut < 1 or text[cut : cut + len(_HASH_MEMBER)] != _HASH_MEMBER or not text.endswith(b'"}'):
        raise BrokenChain("the line does not end with its hash")
    said = text[cut + len(_HASH_MEMBER) : -2].decode("ascii", "replace")
    body = text[:cut] + b"}"
    if hashlib.sha256(body).hexdigest() != said:
        raise BrokenChain("the line's hash is not that of its content")
    try:
        members = json.loads(body)
        sequence, previous = members["sequence"], members["previous"]
    except (ValueError, TypeError, KeyError):
        raise BrokenChain("the line holds no sequence and previous") from None
    if not isinstance(sequence, int) or not isinstance(previous, str):
        raise BrokenChain("the line's sequence and previous have the wrong types")
    return Link(sequence, said), previous, members


def follow(raw: bytes, after: Link | None) -> Link:
    """The chain's end behind the line; `after=None` takes its word for what was before it. Raises BrokenChain."""
    link, previous, _ = read(raw)
    if after is not None and (previous != after.hash or link.sequence != after.sequence + 1):
        raise BrokenChain(f"sequence {link.sequence} does not follow sequence {after.sequence}")
    return link
