"""Directives as COS's documents and clients spell them."""

from collections.abc import Mapping
from typing import Any

from haulier.core.errors import InvalidField


def directive(sent: Mapping[str, Any], name: str, path: str) -> str | None:
    """`copy`, `replace` or `add`; the documents write both Replace and Replaced, and case does not matter. None = not given.

    Raises InvalidField.
    """
    text = sent.get(name, "").strip()
    known = {"": None, "copy": "copy", "replace": "replace", "replaced": "replace", "add": "add"}
    if text.lower() not in known:
        raise InvalidField(f"{path}.{name}", f"{text!r} is not Copy, Replaced or Add")
    return known[text.lower()]
