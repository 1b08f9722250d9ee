"""CSV manifests, `S3BatchOperations_CSV_20180820` and `COSBatchOperations_CSV_V1`.

bytes → (inflated) → pieces of whole rows → columns → chunks. A piece is read by the column with pyarrow, without inference of
types or nulls; whatever cannot be proved good that way is read again row by row (`rowwise.py`), which names the first bad line.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from haulier.core.errors import JobFailure
from haulier.manifests import gzipped
from haulier.manifests.keys import BUCKET, decoded_keys
from haulier.manifests.pieces import head, pieces
from haulier.manifests.rowwise import BLANKS, WELL_FORMED, Row, RowParser, rows
from haulier.manifests.rules import ROW_BYTES_MAX, VERSION_BYTES_MAX, BadRow, CsvRules
from haulier.manifests.staging import StagedChunk, Stager

_BOM: Final = b"\xef\xbb\xbf"
_CONTROL: Final = bytes([*range(0x20), 0x7F])
_DICTIONARY: Final = pa.dictionary(pa.int32(), pa.string())


class CsvReader:
    """Reads manifests of one format and one choice of columns."""

    def __init__(self, fields: Sequence[str], rules: CsvRules) -> None:
        """Raises JobFailure `InvalidManifest` unless Bucket and Key stand in `fields` once, and VersionId at most once."""
        for name, least in (("Bucket", 1), ("Key", 1), ("VersionId", 0)):
            if not least <= fields.count(name) <= 1:
                raise JobFailure("InvalidManifest", f"Fields has {name} {fields.count(name)} times: {', '.join(fields)}")
        for name in fields:
            if name not in ("Bucket", "Key", "VersionId", "Ignore"):
                raise JobFailure("InvalidManifest", f"Fields has {name!r}; possible are Bucket, Key, VersionId and Ignore")
        self._fields = tuple(fields)
        self._rules = rules
        self._names = [name if name != "Ignore" else f"Ignore {position}" for position, name in enumerate(fields)]
        types = {"Bucket": _DICTIONARY, "Key": pa.string(), "VersionId": pa.string()}
        self._types = {name: types.get(name, pa.binary()) for name in self._names}

    def stage(self, blocks: Iterable[bytes], *, tasks_max: int | None = None) -> Iterator[StagedChunk]:
        """See `haulier.manifests.ManifestReader`."""
        parser = RowParser(self._fields, self._rules)
        stager = Stager(tasks_max)
        header_possible = True
        for piece in pieces(self._text(blocks)):
            if header_possible:
                found = list(rows(piece, self._rules))
                header_possible = not found  # only empty lines so far
                columns = parser.columns(self._without_header(parser, found))
            else:
                columns = self._by_column(piece.data, parser)
                if columns is None:
                    columns = parser.columns(rows(piece, self._rules))
            yield from stager.add(columns)
        yield from stager.finish()

    def _text(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """The manifest's text: inflated, without byte order mark."""
        start, blocks = head(blocks, len(gzipped.MAGIC))
        if start == gzipped.MAGIC:
            if not self._rules.gzip:
                raise BadRow(1, "the manifest is compressed with gzip; this format is plain text")
            blocks = gzipped.inflate(blocks)
        start, blocks = head(blocks, len(_BOM))
        if start == _BOM:
            if not self._rules.byte_order_mark:
                raise BadRow(1, "the manifest starts with a byte order mark (EF BB BF); save it as UTF-8 without one")
            blocks = _skipped(blocks, len(_BOM))
        return iter(blocks)

    def _without_header(self, parser: RowParser, found: list[Row]) -> list[Row]:
        if not found or not parser.is_header(found[0]):
            return found
        if not self._rules.header:
            raise BadRow(found[0].line, "this is a header row, which this format does not have", b",".join(found[0].fields))
        return found[1:]

    # -- by the column

    def _by_column(self, data: bytes, parser: RowParser) -> pa.Table | None:
        """The columns bucket, key, raw_key, version; None where a row may be bad, or needs rules that only `rowwise` has."""
        quoted = b'"' in data
        if not _plain_enough(data, quoted):
            return None
        blanks = self._rules.strip_blanks and any(blank in data for blank in (b" ", b"\t"))
        if blanks and quoted:
            return None
        table = self._parsed(data, quoted)
        if table is None:
            return None
        buckets, raw_keys = table["Bucket"], table["Key"]
        versions = table.get("VersionId")
        if blanks:
            buckets = pc.utf8_trim(buckets.dictionary, BLANKS.decode()).take(buckets.indices).dictionary_encode()
            raw_keys = pc.utf8_trim(raw_keys, BLANKS.decode())
            versions = None if versions is None else pc.utf8_trim(versions, BLANKS.decode())
        if not self._buckets_good(buckets, parser):
            return None
        keys = decoded_keys(raw_keys, self._rules)
        if keys is None or not _versions_good(versions):
            return None
        return pa.table(
            {
                "bucket": buckets,
                "key": keys,
                "raw_key": _where_other(raw_keys.cast(pa.binary()), keys),
                "version": self._staged_versions(versions, len(keys)),
            }
        )

    def _parsed(self, data: bytes, quoted: bool) -> dict[str, Any] | None:
        """Columns as written, by name; None if pyarrow finds a bad number of columns or bad UTF-8, or a row may be too long."""
        try:
            table = pacsv.read_csv(
                pa.BufferReader(data),
                pacsv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=self._names),
                pacsv.ParseOptions(quote_char='"' if quoted else False, double_quote=quoted, newlines_in_values=quoted),
                pacsv.ConvertOptions(column_types=self._types, check_utf8=True),
            )
        except pa.ArrowInvalid:
            return None
        found = {name: table.column(name).combine_chunks() for name in self._names}
        texts = [column.dictionary if pa.types.is_dictionary(column.type) else column for column in found.values()]
        longest = sum((pc.max(pc.binary_length(text)).as_py() or 0) for text in texts)
        # Twice for doubled quotes, three for comma and quotes: an upper bound of the longest row as written.
        return found if 2 * longest + 3 * len(found) <= ROW_BYTES_MAX else None

    def _buckets_good(self, buckets: pa.DictionaryArray, parser: RowParser) -> bool:
        names = buckets.dictionary.to_pylist()
        if self._rules.one_bucket:
            # The first row was read row by row; when it was a header, this piece decides which bucket is the one.
            if len(names) != 1 or parser.bucket not in (None, names[0]):
                return False
            parser.bucket = names[0]
        return all(BUCKET.fullmatch(name) for name in names)

    def _staged_versions(self, versions: pa.Array | None, count: int) -> pa.Array:
        if versions is None:
            return pa.nulls(count, pa.binary())
        if self._rules.empty_version_is_latest:
            versions = pc.if_else(pc.equal(versions, ""), pa.scalar(None, pa.string()), versions)
        return versions.cast(pa.binary())


def _plain_enough(data: bytes, quoted: bool) -> bool:
    """No NUL, no lone CR, no empty line, no byte order mark (pyarrow would drop it), no quote against RFC 4180."""
    if b"\0" in data or data.startswith((_BOM, b"\n", b"\r\n")) or b"\n\n" in data:
        return False
    if b"\r" in data and (data.count(b"\r") != data.count(b"\r\n") or b"\n\r\n" in data):
        return False
    return not quoted or WELL_FORMED.fullmatch(data) is not None


def _versions_good(versions: pa.Array | None) -> bool:
    """Printable ASCII, not too long."""
    if versions is None:
        return True
    text = versions.buffers()[2]
    if text is None:
        return True
    written = text.to_pybytes()  # of the whole column at once: what holds for all the text holds for each
    if not written.isascii() or len(written.translate(None, _CONTROL)) < len(written):
        return False
    return bool(pc.max(pc.binary_length(versions)).as_py() <= VERSION_BYTES_MAX)


def _where_other(raw_keys: pa.Array, keys: pa.Array) -> pa.Array:
    equal = pc.equal(raw_keys, keys)
    if pc.all(equal).as_py():
        return pa.nulls(len(keys), pa.binary())
    return pc.if_else(equal, pa.scalar(None, pa.binary()), raw_keys)


def _skipped(blocks: Iterable[bytes], size: int) -> Iterator[bytes]:
    for block in blocks:
        yield block[size:]
        size = max(0, size - len(block))
