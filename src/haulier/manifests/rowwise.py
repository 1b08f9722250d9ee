"""CSV manifests row by row: the definition of what a row means, and the finder of the first bad one.

RFC 4180, strictly: a field is quoted from its first to its last character or not at all, quotes inside are doubled, rows end with
LF or CR LF. The fast way in `csv.py` does the same by the column, and leaves to this module whatever it cannot prove good.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import pyarrow as pa

from haulier.manifests.keys import BUCKET, decoded_key
from haulier.manifests.pieces import Piece
from haulier.manifests.rules import ROW_BYTES_MAX, VERSION_BYTES_MAX, BadRow, CsvRules

_QUOTED: Final = rb'"([^"]*+(?:""[^"]*+)*+)"'
_FIELD: Final = re.compile(rb"(?:" + _QUOTED + rb'|([^",\r\n]*+))(,|\r?\n)')
_FIELD_IN_BLANKS: Final = re.compile(rb"[ \t]*+(?:" + _QUOTED + rb'[ \t]*+|([^",\r\n]*+))(,|\r?\n)')
WELL_FORMED: Final = re.compile(rb'(?:(?:"[^"]*+(?:""[^"]*+)*+"|[^",\r\n]*+)(?:,|\r?\n))*+')
"""Matches in full exactly the texts that are rows by RFC 4180, apart from their numbers of columns."""
BLANKS: Final = b" \t"
_TOO_LONG: Final = f"the row is longer than {ROW_BYTES_MAX} bytes"


class Row(NamedTuple):
    """One row as text, unquoted."""

    line: int
    fields: list[bytes]


def rows(piece: Piece, rules: CsvRules) -> Iterator[Row]:
    """The rows of a piece, empty lines left out where the rules skip them. Raises BadRow."""
    field = _FIELD_IN_BLANKS if rules.strip_blanks else _FIELD
    data, line, start = piece.data, piece.line, 0
    while start < len(data):
        fields: list[bytes] = []
        position, ending = start, b","
        while ending == b",":
            match = field.match(data, position)
            if match is None or match.end() - start > ROW_BYTES_MAX + len(match[3]):
                problem = _malformed(data, position) if match is None else _TOO_LONG
                raise BadRow(line, problem, data[start : start + ROW_BYTES_MAX].partition(b"\n")[0])
            quoted, plain, ending = match.groups()
            fields.append(plain.strip(BLANKS) if quoted is None and rules.strip_blanks else _unquoted(quoted, plain))
            position = match.end()
        if len(fields) > 1 or data[start:position].strip(b" \t\r\n"):
            yield Row(line, fields)
        elif not rules.empty_lines:
            raise BadRow(line, "the line is empty")
        line += data.count(b"\n", start, position)
        start = position


def _unquoted(quoted: bytes | None, plain: bytes) -> bytes:
    return plain if quoted is None else quoted.replace(b'""', b'"')


def _malformed(data: bytes, position: int) -> str:
    """Why no field can be read at `position`."""
    text = data[position:].lstrip(BLANKS)
    if text.startswith(b'"'):
        if re.match(_QUOTED, text) is None:
            return "a quote is opened and not closed"
        return "a closing quote is followed by something other than a comma or the end of the line"
    stop = re.search(rb'["\r\n]', text)
    if stop is None or stop.start() > ROW_BYTES_MAX:
        return _TOO_LONG
    if stop[0] == b'"':
        return "a quote stands inside a field that does not begin with one (quote the whole field, double the quote)"
    return "a carriage return stands alone (lines end with LF or CR LF)"


class RowParser:
    """Turns rows of text into columns of tasks, and knows what is wrong with a row."""

    def __init__(self, fields: Sequence[str], rules: CsvRules) -> None:
        self._fields = tuple(fields)
        self._rules = rules
        self._bucket_column = self._fields.index("Bucket")
        self._key_column = self._fields.index("Key")
        self._version_column = self._fields.index("VersionId") if "VersionId" in self._fields else None
        self.bucket: str | None = None
        """The bucket of the rows so far, where only one is allowed."""

    def is_header(self, row: Row) -> bool:
        """Whether the row holds the names of the Fields; what stands above an ignored column does not matter."""
        return len(row.fields) == len(self._fields) and all(
            name == "Ignore" or text.strip(BLANKS).decode("latin-1").lower() == name.lower()
            for name, text in zip(self._fields, row.fields, strict=True)
        )

    def columns(self, found: Iterable[Row]) -> pa.Table:
        """Columns bucket, key, raw_key, version. Raises BadRow for the first bad row."""
        buckets: list[str] = []
        keys: list[bytes] = []
        raw_keys: list[bytes | None] = []
        versions: list[bytes | None] = []
        for row in found:
            if len(row.fields) != len(self._fields):
                wanted = f"Fields names {len(self._fields)} ({', '.join(self._fields)})"
                raise BadRow(row.line, f"the row has {len(row.fields)} columns, {wanted}", b",".join(row.fields))
            buckets.append(self._bucket(row))
            raw = row.fields[self._key_column]
            try:
                key = decoded_key(raw, self._rules)
            except ValueError as error:
                raise BadRow(row.line, str(error), raw) from None
            keys.append(key)
            raw_keys.append(None if raw == key else raw)
            versions.append(self._version(row))
        bucket_column = pa.array(buckets, pa.string()).dictionary_encode()
        return pa.table(
            {
                "bucket": bucket_column,
                "key": pa.array(keys, pa.binary()),
                "raw_key": pa.array(raw_keys, pa.binary()),
                "version": pa.array(versions, pa.binary()),
            }
        )

    def _bucket(self, row: Row) -> str:
        text = row.fields[self._bucket_column]
        bucket = text.decode(errors="replace")
        if not BUCKET.fullmatch(bucket):
            raise BadRow(row.line, "this cannot be a bucket's name", text)
        if self._rules.one_bucket:
            if self.bucket is None:
                self.bucket = bucket
            elif bucket != self.bucket:
                raise BadRow(row.line, f"a second bucket; all rows must name one bucket, the first is {self.bucket!r}", text)
        return bucket

    def _version(self, row: Row) -> bytes | None:
        if self._version_column is None:
            return None
        text = row.fields[self._version_column]
        if not text and self._rules.empty_version_is_latest:
            return None
        if len(text) > VERSION_BYTES_MAX:
            raise BadRow(row.line, f"the version id has {len(text)} bytes, {VERSION_BYTES_MAX} are allowed", text)
        if not (text.isascii() and text.decode("latin-1").isprintable()):
            raise BadRow(row.line, "the version id holds characters that do not print", text)
        return text
