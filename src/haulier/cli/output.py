"""What commands print: data to standard output, everything else to standard error; no colour and no bar where nobody looks."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from haulier.cli.exits import CommandFailed, Exit

Output = Literal["table", "json", "name"]

_STYLES: Final = {
    "green": r"\bComplete\b",
    "red": r"\b(Failed|Failing)\b",
    "yellow": r"\b(Suspended|Paus(ed|ing)|Cancell(ed|ing))\b",
}


_MOMENTS: Final = frozenset({"created", "expires", "last_used"})
"""Columns that hold times."""


def note(message: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"haulier: {printable(message)}\n")
    sys.stderr.flush()


def line(text: str) -> None:
    """One line of data."""
    _show(Text(printable(text)))


def as_json(value: Any) -> None:
    """A value as JSON, times in ISO 8601, keys as the API has them."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=_time) + "\n")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows in aligned columns."""
    cells = [list(header), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(cell_len(row[column]) for row in cells) for column in range(len(header))]
    for index, row in enumerate(cells):
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        text = Text("  ".join(padded).rstrip(), style="bold" if index == 0 else "")
        _show(text)


def fields(values: Mapping[str, str | None]) -> None:
    """Names and values, one pair a line; None is left out."""
    shown = {name: value for name, value in values.items() if value is not None}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        line(f"{name.ljust(width)}  {value}")


def listed(rows: Sequence[Mapping[str, Any]], output: Output, name: str, columns: Sequence[str]) -> None:
    """Rows of a list: a table of these columns, JSON with everything, or what stands under `name`."""
    if output == "json":
        as_json(rows)
    elif output == "name":
        for row in rows:
            line(str(row[name]))
    else:
        header = [column.replace("_", " ").upper() for column in columns]
        table(header, [[_cell(row[column], moment=column in _MOMENTS) for column in columns] for row in rows])


def done(answer: Mapping[str, Any], output: Output, name: str, said: str) -> None:
    """What a command did: a sentence with the answer's values in it, JSON, or what stands under `name`."""
    if output == "json":
        as_json(answer)
    else:
        line(str(answer[name]) if output == "name" else said.format_map(answer))


def read_input(path: Path, bytes_max: int) -> str:
    """The text of a file, or of standard input for `-`; no more than so many bytes. Raises OSError; CommandFailed where it is
    longer or no text."""
    if str(path) == "-":
        content = sys.stdin.buffer.read(bytes_max + 1)
    else:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise CommandFailed(Exit.USAGE, f"{path} has more than {bytes_max:,} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise CommandFailed(Exit.USAGE, f"{path} is not UTF-8 text") from None


def _cell(value: Any, *, moment: bool = False) -> str:
    if moment and value is not None:
        return local(datetime.fromisoformat(value)) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


def local(moment: datetime | None) -> str | None:
    """A time as the reader's clock shows it."""
    return None if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def printable(text: str) -> str:
    """The text without characters that would move the cursor or colour the screen; they come from others' job descriptions."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _show(text: Text) -> None:
    for style, pattern in _STYLES.items():
        text.highlight_regex(pattern, style)
    Console(highlight=False, markup=False, emoji=False).print(text, soft_wrap=True)


def _time(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")
