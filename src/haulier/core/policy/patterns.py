"""Patterns of policies: `*` is any text, also none; `?` is one character; everything else is itself.

Each piece between stars goes to the first place where it fits: a later one could only leave less room for the rest, so nothing is
ever tried twice and no pattern takes longer than its length times that of the text.
"""

from typing import Final

ARN_PARTS: Final = 6


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text is what the pattern says."""
    first, *rest = pattern.split("*")
    if not rest:
        return len(first) == len(text) and _fits(first, text, 0)
    *middle, last = rest
    end = len(text) - len(last)
    if len(first) > end or not _fits(first, text, 0) or not _fits(last, text, end):
        return False
    at = len(first)
    for piece in middle:
        at = _find(piece, text, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True


def _fits(piece: str, text: str, at: int) -> bool:
    if "?" not in piece:
        return text.startswith(piece, at)
    return all(wanted in ("?", found) for wanted, found in zip(piece, text[at : at + len(piece)], strict=True))


def _find(piece: str, text: str, start: int, end: int) -> int:
    """The first place of the piece within `text[start:end]`, or -1."""
    if "?" not in piece:
        return text.find(piece, start, end)
    return next((at for at in range(start, end - len(piece) + 1) if _fits(piece, text, at)), -1)


def resource_matches(pattern: str, resource: str) -> bool:
    """As `matches`, part by part: no star of a resource name reaches over a colon, except for those in its last part.

    The pattern `*` stands for every resource, also for the `*` of calls that have none of their own.
    """
    if pattern == "*":
        return True
    wanted, found = pattern.split(":", ARN_PARTS - 1), resource.split(":", ARN_PARTS - 1)
    return len(wanted) == len(found) == ARN_PARTS and all(map(matches, wanted, found))
