"""What the value of an HTTP header can carry: one rule for what is asked of us, what is read from a store and what is signed."""

import re
from typing import Final

_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def uncarried(value: str) -> str | None:
    """The first character of the value that no header can carry, as `U+XXXX`; None when there is none.

    RFC 9110 §5.5: control characters alone, of which a tab may stand inside. All else travels as UTF-8.
    """
    found = _CONTROL.search(value)
    return f"U+{ord(found[0]):04X}" if found else None
