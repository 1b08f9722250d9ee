"""Answers kept as files, one element a line: `HAULIER_GOLDEN=write` writes them anew, for a reader to look at the difference."""

import os
from pathlib import Path

from wire.xmls import read_twice

FOLDER = Path(__file__).parent / "golden"


def as_kept(name: str, answer: bytes) -> None:
    """Asserts that the answer is the one in `golden/<name>.xml`."""
    read_twice(answer)
    text = answer.decode().replace("><", ">\n<") + "\n"
    path = FOLDER / f"{name}.xml"
    if os.environ.get("HAULIER_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    assert path.read_text("utf-8") == text
