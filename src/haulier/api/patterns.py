r"""Patterns as service models write them (Java's dialect), as Python's `re` understands them.

What differs for the patterns in use: `\p{L}` and its kind name Unicode categories, `\d` and `\w` are ASCII only, and the whole
value must match. A construct that has no translation raises UnknownPattern: it is never dropped.
"""

import re
import unicodedata
from functools import cache
from typing import Final

_CATEGORY: Final = re.compile(r"\\([pP])(?:\{(\^?)([A-Za-z]{1,2})\}|([A-Z]))")
_CATEGORIES: Final = frozenset(
    "Cc Cf Cn Co Cs Ll Lm Lo Lt Lu Mc Me Mn Nd Nl No Pc Pd Pe Pf Pi Po Ps Sc Sk Sm So Zl Zp Zs".split()  # noqa: SIM905
)
_UNTRANSLATABLE: Final = re.compile(r"\\[pPQEGRXhHvVzk]|&&|(?<!\\)\[[^\]]*(?<!\\)\[|[*+?}]\+")


class UnknownPattern(ValueError):
    """A pattern that cannot be translated."""


@cache
def _ranges() -> dict[str, str]:
    """Every category's characters as the inside of a character class."""
    ranges: dict[str, list[str]] = {category: [] for category in _CATEGORIES}
    begin, current = 0, unicodedata.category("\0")
    for code in range(1, 0x110001):
        category = unicodedata.category(chr(code)) if code < 0x110000 else ""
        if category != current:
            ranges[current].append(f"\\U{begin:08x}-\\U{code - 1:08x}")
            begin, current = code, category
    return {category: "".join(found) for category, found in ranges.items()}


def _members(name: str, *, negated: bool) -> str:
    chosen = [category for category in _CATEGORIES if category.startswith(name)]
    if not chosen:
        raise UnknownPattern(f"{name!r} is no Unicode category")
    table = _ranges()
    return "".join(table[category] for category in sorted(_CATEGORIES) if (category in chosen) != negated)


def _translate(pattern: str) -> str:
    out: list[str] = []
    position, in_class = 0, False
    while position < len(pattern):
        found = _CATEGORY.match(pattern, position)
        if found:
            letter, caret, braced, bare = found.groups()
            inside = _members(braced or bare, negated=(letter == "P") != bool(caret))
            out.append(inside if in_class else f"[{inside}]")
            position = found.end()
            continue
        width = 2 if pattern[position] == "\\" else 1
        piece = pattern[position : position + width]
        in_class = piece == "[" or (in_class and piece != "]")
        out.append(piece)
        position += width
    return "".join(out)


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """Ready for `fullmatch`. Raises UnknownPattern."""
    rest = _CATEGORY.sub("", pattern)
    if unknown := _UNTRANSLATABLE.search(rest):
        raise UnknownPattern(f"{unknown[0]!r} in the pattern {pattern!r} has no translation")
    try:
        return re.compile(_translate(pattern), re.ASCII)
    except re.error as problem:
        raise UnknownPattern(f"the pattern {pattern!r} cannot be read: {problem}") from None
