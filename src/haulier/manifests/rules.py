"""How the two CSV manifest formats differ, as data. Sources: s3-batch-operations §4.1, cos-batch §5.1, decisions §2."""

from typing import Final

import msgspec

from haulier.core.errors import JobFailure

ROW_BYTES_MAX: Final = 8192
"""Of one row as written, without its line end (reliability §8): an open quote must not swallow the rest of the manifest."""
KEY_BYTES_MAX: Final = 1024
VERSION_BYTES_MAX: Final = 1024
SHOWN_CHARACTERS: Final = 60


class CsvRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a dialect makes of the places where CSV files differ."""

    byte_order_mark: bool
    """One UTF-8 byte order mark at the start is dropped (else refused)."""
    header: bool
    """A first row that holds the names of the Fields is skipped (else refused)."""
    empty_lines: bool
    """Skipped (else refused)."""
    strip_blanks: bool
    """Blanks and tabs around a field do not belong to it; those inside quotes do."""
    plus_is_blank: bool
    """`+` in a key stands for a blank, as in HTML forms."""
    bad_escapes_literal: bool
    """A `%` without two hexadecimal digits stands for itself (else the row is bad)."""
    empty_version_is_latest: bool
    """An empty VersionId means the current version, staged as null; else it is staged as `b""` and its task must fail."""
    one_bucket: bool
    """All rows must name the same bucket."""
    gzip: bool
    """Compressed manifests are accepted, told by their first two bytes (else refused)."""


S3_CSV: Final = CsvRules(
    byte_order_mark=False,
    header=False,
    empty_lines=False,
    strip_blanks=False,
    plus_is_blank=True,
    bad_escapes_literal=False,
    empty_version_is_latest=False,
    one_bucket=False,
    gzip=False,
)
COS_CSV: Final = CsvRules(
    byte_order_mark=True,
    header=True,
    empty_lines=True,
    strip_blanks=True,
    plus_is_blank=False,
    bad_escapes_literal=True,
    empty_version_is_latest=True,
    one_bucket=True,
    gzip=True,
)


class BadRow(JobFailure):
    """The first row that cannot be read: `line` counts from 1 and is where the row begins."""

    def __init__(self, line: int, problem: str, text: bytes | None = None) -> None:
        shown = "" if text is None else f": {show(text)}"
        super().__init__("InvalidManifest", f"line {line}: {problem}{shown}")
        self.line = line


def show(text: bytes) -> str:
    """Text of a client for a message: quoted, shortened, and with everything escaped that does not print."""
    characters = text[: 4 * SHOWN_CHARACTERS + 4].decode(errors="backslashreplace")
    cut = characters[:SHOWN_CHARACTERS]
    printed = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return f"'{printed}'" + ("…" if len(characters) > SHOWN_CHARACTERS else "")
