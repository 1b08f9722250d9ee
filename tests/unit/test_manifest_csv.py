import csv
import gzip
import io
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from urllib.parse import quote, quote_plus, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulier.core.chunk import EQUAL_KEYS_MAX
from haulier.core.errors import JobFailure, NotImplementedHere
from haulier.core.job import Manifest, ObjectName
from haulier.manifests import reader, staging
from haulier.manifests import rowwise as rowwise_module
from haulier.manifests.csv import CsvReader
from haulier.manifests.gzipped import OUTPUT_BYTES, inflate
from haulier.manifests.keys import decoded_key, percent_decoded
from haulier.manifests.pieces import PIECE_BYTES, Piece, pieces
from haulier.manifests.rules import COS_CSV, S3_CSV, BadRow, CsvRules, show

Task = tuple[str, bytes, bytes | None, bytes | None]
BOTH = pytest.mark.parametrize("rules", [S3_CSV, COS_CSV], ids=["s3", "cos"])
TWO = ("Bucket", "Key")
THREE = ("Bucket", "Key", "VersionId")
BULK = b"".join(b"bulk,row-%d\n" % row for row in range(2_000))
"""Rows before and after, so that a row under test is read by the column and not as the first row."""


def staged(data: bytes, rules: CsvRules, fields: Sequence[str] = TWO, blocks: Iterable[bytes] | None = None) -> list[Task]:
    """Every task as (bucket, key, raw key, version)."""
    found: list[Task] = []
    for chunk in CsvReader(fields, rules).stage([data] if blocks is None else blocks):
        assert chunk.table.column("row").to_pylist() == list(range(chunk.first_row, chunk.first_row + chunk.rows))
        assert chunk.first_row == len(found)
        columns = [chunk.table.column(name).to_pylist() for name in ("bucket", "key", "raw_key", "version")]
        found += zip(*columns, strict=True)
    return found


def refused(data: bytes, rules: CsvRules, fields: Sequence[str] = TWO) -> JobFailure:
    with pytest.raises(JobFailure) as caught:
        staged(data, rules, fields)
    return caught.value


# -- what rows mean


@BOTH
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_rows_end_with_lf_or_crlf_and_the_last_needs_neither(rules: CsvRules, end: bytes, last: bool) -> None:
    data = end.join([b"bucket,a", b"bucket,b/c", b"bucket,d"]) + (end if last else b"")
    assert [key for _, key, _, _ in staged(data, rules)] == [b"a", b"b/c", b"d"]


def test_s3_keys_are_decoded_like_forms_and_kept_as_written() -> None:
    assert staged(b"one,a+b%2Bc%2520%E4%BD%A0\ntwo,plain\n", S3_CSV) == [
        ("one", "a b+c%20你".encode(), b"a+b%2Bc%2520%E4%BD%A0", None),
        ("two", b"plain", None, None),
    ]


def test_cos_keys_keep_plus_and_bad_escapes() -> None:
    rows = b"bkt,first\nbkt,a+b%20c%zz%4%%41%\n"
    assert staged(rows, COS_CSV)[1] == ("bkt", b"a+b c%zz%4%A%", b"a+b%20c%zz%4%%41%", None)


def test_a_bad_escape_in_an_s3_key_names_the_line() -> None:
    failure = refused(b"bkt,a\nbkt,b\nbkt,c%2\nbkt,d%\n", S3_CSV)
    assert failure.code == "InvalidManifest"
    assert failure.reason == "line 3: the key has a bad percent-escape at byte 1 (a literal % is written %25): 'c%2'"


@pytest.mark.parametrize(("rules", "staged_as"), [(S3_CSV, b""), (COS_CSV, None)], ids=["s3", "cos"])
def test_an_empty_version_fails_its_task_on_s3_and_is_the_latest_on_cos(rules: CsvRules, staged_as: bytes | None) -> None:
    versions = [version for *_, version in staged(b"bkt,a,v1\nbkt,b,null\nbkt,c,\nbkt,d,v/+%20\n", rules, THREE)]
    assert versions == [b"v1", b"null", staged_as, b"v/+%20"]


@BOTH
def test_without_a_version_column_there_is_no_version(rules: CsvRules) -> None:
    assert staged(b"bkt,a\nbkt,b\n", rules) == [("bkt", b"a", None, None), ("bkt", b"b", None, None)]


@BOTH
def test_columns_may_stand_in_any_order_and_be_ignored(rules: CsvRules) -> None:
    rows = b'12,k1,"x,\ny",bkt\n13,k2,\xff\xfe,bkt\n'
    assert [task[:2] for task in staged(rows, rules, ("Ignore", "Key", "Ignore", "Bucket"))] == [("bkt", b"k1"), ("bkt", b"k2")]


def test_blanks_around_a_field_belong_to_it_on_s3_only() -> None:
    rows = b"bkt,first\nbkt, \tk 1 \n"
    assert staged(rows, S3_CSV)[1][1] == b" \tk 1 "
    assert staged(rows, COS_CSV)[1] == ("bkt", b"k 1", None, None)
    assert staged(b'bkt,first\n bkt , " k " \n', COS_CSV)[1][1] == b" k "


def test_two_buckets_are_fine_on_s3_and_refused_on_cos() -> None:
    assert [bucket for bucket, *_ in staged(b"one,a\ntwo,b\none,c\n", S3_CSV)] == ["one", "two", "one"]
    assert refused(b"one,a\none,b\ntwo,c\n", COS_CSV).reason.startswith("line 3: a second bucket")
    assert refused(b"one,a\ntwo,b\n", COS_CSV).reason.startswith("line 2: a second bucket")


@pytest.mark.parametrize("header", [b"Bucket,Key,VersionId", b"bucket, KEY ,versionid", b'"Bucket","Key","VersionId"'])
def test_a_header_row_is_skipped_on_cos(header: bytes) -> None:
    assert staged(header + b"\nbkt,a,\n", COS_CSV, THREE) == [("bkt", b"a", None, None)]
    assert staged(b"\n \n" + header + b"\nbkt,a,\n", COS_CSV, THREE) == [("bkt", b"a", None, None)]


def test_a_header_row_is_named_on_s3() -> None:
    assert refused(b"Bucket,Key\nbkt,a\n", S3_CSV).reason.startswith("line 1: this is a header row")


def test_a_byte_order_mark_is_dropped_on_cos_and_refused_on_s3() -> None:
    assert staged(b"\xef\xbb\xbfbkt,a\n", COS_CSV) == [("bkt", b"a", None, None)]
    assert "byte order mark" in refused(b"\xef\xbb\xbfbkt,a\n", S3_CSV).reason
    assert refused(b"\xef\xbb\xbf\xef\xbb\xbfbkt,a\n", COS_CSV).reason.startswith("line 1: this cannot be a bucket's name")


@BOTH
def test_a_byte_order_mark_inside_is_no_bucket(rules: CsvRules) -> None:
    assert refused(b"bkt,a\n\xef\xbb\xbfbkt,b\n", rules).reason.startswith("line 2: this cannot be a bucket's name")


def test_empty_lines_are_skipped_on_cos_and_refused_on_s3() -> None:
    assert [key for _, key, _, _ in staged(b"\nbkt,a\n\r\n  \nbkt,b\n\n", COS_CSV)] == [b"a", b"b"]
    assert refused(b"bkt,a\n\nbkt,b\n", S3_CSV).reason == "line 2: the line is empty"


@BOTH
def test_a_manifest_without_bytes_is_empty(rules: CsvRules) -> None:
    assert refused(b"", rules).code == "EmptyManifest"


@pytest.mark.parametrize("data", [b"\n", b"Bucket,Key\n", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)])
def test_a_cos_manifest_of_nothing_but_decoration_is_empty(data: bytes) -> None:
    assert refused(data, COS_CSV).code == "EmptyManifest"


# -- bad rows: every one is tried as first row, among few and among many

BAD = {
    "too few columns": (b"bulk", "the row has 1 columns, Fields names 2 (Bucket, Key)"),
    "too many columns": (b"bulk,a,b", "the row has 3 columns"),
    "empty key": (b"bulk,", "the key is empty"),
    "empty bucket": (b",key", "this cannot be a bucket's name"),
    "no bucket's name": (b"bu cket,key", "this cannot be a bucket's name"),
    "undecodable": (b"bulk,\xff", "the key is not UTF-8"),
    "undecodable when decoded": (b"bulk,a%FF", "the key is not UTF-8"),
    "escaped surrogate": (b"bulk,%ED%A0%80", "the key is not UTF-8"),
    "NUL": (b"bulk,a\0b", "the key holds a NUL"),
    "escaped NUL": (b"bulk,a%00b", "the key holds a NUL"),
    "key too long": (b"bulk," + b"k" * 1025, "the key has 1025 bytes, 1024 are allowed"),
    "row too long": (b"bulk," + b"k" * 9000, "the row is longer than 8192 bytes"),
    "quote inside": (b'bulk,a"b', "a quote stands inside a field"),
    "text after a quote": (b'bulk,"a"b', "a closing quote is followed by"),
    "lone CR": (b"bulk,a\rb", "a carriage return stands alone"),
}


@BOTH
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_row_is_named_by_its_line(rules: CsvRules, bad: str) -> None:
    row, problem = BAD[bad]
    for before, after in ((b"", b""), (b"bulk,ok\n", b"bulk,ok\n"), (BULK, BULK)):
        failure = refused(before + row + b"\n" + after, rules)
        assert failure.code == "InvalidManifest"
        line = before.count(b"\n") + 1
        assert failure.reason.startswith(f"line {line}: {problem}")
        assert len(failure.reason.encode()) < 256


@BOTH
def test_the_line_of_a_bad_row_counts_the_lines_in_quotes(rules: CsvRules) -> None:
    assert refused(b'bulk,"a\nb\r\nc"\nbulk,ok\nbulk,\n', rules).reason.startswith("line 5: ")


@BOTH
def test_an_open_quote_is_named_by_its_line(rules: CsvRules) -> None:
    assert refused(BULK + b'bulk,"open\n' + BULK * 5, rules).reason.startswith("line 2001: a quote is opened and not closed")
    assert refused(b'bulk,"open\n', rules).reason.startswith("line 1: a quote is opened and not closed")


@BOTH
def test_the_first_of_several_bad_rows_is_named(rules: CsvRules) -> None:
    assert refused(BULK + b"bulk,\nbulk,a,b\n" + b'bulk,a"b\n', rules).reason.startswith("line 2001: the key is empty")


def test_an_endless_line_is_refused_before_it_is_read() -> None:
    taken = 0

    def endless() -> Iterable[bytes]:
        nonlocal taken
        for _ in range(1_000):
            taken += 1
            yield b"x" * 65_536

    with pytest.raises(BadRow, match="longer than 8192"):
        staged(b"", S3_CSV, blocks=endless())
    assert taken * 65_536 <= 2 * PIECE_BYTES


@BOTH
def test_the_longest_key_is_taken(rules: CsvRules) -> None:
    keys = [b"k" * 1024, b"%C3%A9" * 512, "é".encode() * 512]
    decoded = [key for _, key, _, _ in staged(b"bkt,first\n" + b"".join(b"bkt," + key + b"\n" for key in keys), rules)]
    assert decoded[1:] == [keys[0], keys[2], keys[2]]


def test_text_of_others_is_shown_harmless() -> None:
    assert show(b"a\x1b[31m\n'" + "\u202e你".encode() + b"\xff") == "'a\\x1b[31m\\n'\\u202e你\\xff'"
    assert show(b"x" * 500) == f"'{'x' * 60}'…"


# -- limits, formats


def test_more_rows_than_allowed_are_refused() -> None:
    stage = CsvReader(TWO, S3_CSV).stage
    assert sum(chunk.rows for chunk in stage([BULK], tasks_max=2_000)) == 2_000
    with pytest.raises(JobFailure, match="more than the 1999 objects") as caught:
        list(stage([BULK], tasks_max=1_999))
    assert caught.value.code == "TooManyObjects"


def a_manifest(format_: str, fields: tuple[str, ...] = TWO) -> Manifest:
    return Manifest(location=ObjectName("lists", "m.csv"), etag="e", format=format_, fields=fields)


def test_the_format_chooses_the_reader() -> None:
    s3, cos = a_manifest("S3BatchOperations_CSV_20180820"), a_manifest("COSBatchOperations_CSV_V1")
    data = [b"bkt,first\nbkt,a+b\n"]
    assert [chunk.table.column("key").to_pylist() for chunk in reader(s3, "s3control").stage(data)] == [[b"first", b"a b"]]
    assert [chunk.table.column("key").to_pylist() for chunk in reader(cos, "native").stage(data)] == [[b"first", b"a+b"]]


def test_an_unknown_format_is_refused_by_name() -> None:
    with pytest.raises(NotImplementedHere, match=r"S3InventoryReport_CSV_20161130.*COSBatchOperations_CSV_V1"):
        reader(a_manifest("S3InventoryReport_CSV_20161130"), "cos")
    with pytest.raises(NotImplementedHere):
        reader(a_manifest("COSBatchOperations_CSV_V1"), "s3control")


@pytest.mark.parametrize("fields", [("Bucket",), ("Key",), ("Bucket", "Key", "Key"), ("Bucket", "Key", "Size"), ()])
def test_fields_must_name_bucket_and_key_once(fields: tuple[str, ...]) -> None:
    with pytest.raises(JobFailure, match="Fields has"):
        CsvReader(fields, S3_CSV)


# -- gzip


@pytest.mark.parametrize("size", [1, 7, 1_000, 1 << 20])
def test_gzip_is_told_by_its_first_bytes_on_cos(size: int) -> None:
    packed = gzip.compress(b"bulk,first\n") + gzip.compress(b"") + gzip.compress(BULK)
    blocks = [packed[start : start + size] for start in range(0, len(packed), size)]
    assert len(staged(b"", COS_CSV, blocks=blocks)) == 2_001


def test_gzip_is_refused_on_s3() -> None:
    assert "compressed with gzip" in refused(gzip.compress(BULK), S3_CSV).reason


def test_cut_gzip_is_refused_wherever_it_is_cut() -> None:
    packed = gzip.compress(BULK)
    for size in range(2, len(packed), 97):
        failure = refused(packed[:size], COS_CSV)
        assert (failure.code, "gzip" in failure.reason) == ("InvalidManifest", True)
    assert "end too early" in refused(packed[:-1], COS_CSV).reason


@pytest.mark.parametrize("junk", [b"junk and more junk", b"\0" * 64, b"x"])
def test_junk_behind_gzip_is_refused(junk: bytes) -> None:
    assert "gzip" in refused(gzip.compress(BULK) + junk, COS_CSV).reason


def test_a_broken_checksum_is_refused() -> None:
    packed = bytearray(gzip.compress(BULK))
    packed[-6] ^= 1
    assert "gzip data are broken" in refused(bytes(packed), COS_CSV).reason


def test_a_bomb_is_refused() -> None:
    dense = gzip.compress((b"bulk," + b"a" * 1000 + b"\n") * 3_000)
    assert len(staged(dense, COS_CSV)) == 3_000
    packed = gzip.compress(bytes(60_000_000))
    assert len(packed) * 1_020 < 60_000_000
    with pytest.raises(JobFailure, match="refused as a bomb"):
        list(inflate([packed]))


def test_more_output_than_allowed_is_refused() -> None:
    with pytest.raises(JobFailure, match="grow to more than 1000 bytes"):
        list(inflate([gzip.compress(BULK)], inflated_bytes_max=1_000))


def test_inflated_blocks_are_small() -> None:
    text = BULK * 100
    blocks = list(inflate([gzip.compress(text)]))
    assert b"".join(blocks) == text
    assert max(map(len, blocks)) <= OUTPUT_BYTES


# -- chunks


def test_chunks_begin_small_and_grow() -> None:
    data = b"".join(b"bkt,key-%06d\n" % row for row in range(200_000))
    sizes = [chunk.rows for chunk in CsvReader(TWO, S3_CSV).stage([data])]
    assert sizes[:6] == [500, 500, 500, 500, 1_000, 1_000]
    assert sum(sizes) == 200_000
    assert all(size <= 200_000 // 64 + 1 for size in sizes)
    assert max(sizes) > 3_000


def test_the_same_text_gives_the_same_chunks_however_it_comes() -> None:
    data = b"".join(b"bkt,key-%06d\n" % (row // 7) for row in range(60_000))
    whole = [(chunk.first_row, chunk.rows) for chunk in CsvReader(TWO, S3_CSV).stage([data])]
    cut = [data[start : start + 9_999] for start in range(0, len(data), 9_999)]
    assert [(chunk.first_row, chunk.rows) for chunk in CsvReader(TWO, S3_CSV).stage(cut)] == whole


def test_neighbours_of_one_key_stay_in_one_chunk() -> None:
    data = b"".join(b"bkt,key-%06d,v%d\n" % (row // 7, row) for row in range(20_000))
    chunks = list(CsvReader(THREE, S3_CSV).stage([data]))
    assert len(chunks) > 4
    for before, after in pairwise(chunks):
        assert before.table.column("key")[-1] != after.table.column("key")[0]


def test_one_key_of_two_buckets_is_two_objects() -> None:
    data = b"".join(b"b-%d,key\n" % (row % 2) for row in range(1_200))
    assert [chunk.rows for chunk in CsvReader(TWO, S3_CSV).stage([data])] == [500, 500, 200]


def test_a_key_repeated_without_end_is_cut_all_the_same() -> None:
    rows = [chunk.rows for chunk in CsvReader(TWO, S3_CSV).stage([b"bkt,key\n" * 35_000])]
    assert rows == [500 + EQUAL_KEYS_MAX, 1_000 + EQUAL_KEYS_MAX, 1_000 + EQUAL_KEYS_MAX, 35_000 - 2_500 - 3 * EQUAL_KEYS_MAX]


def test_long_keys_make_short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "CHUNK_BYTES_MAX", 200_000)
    data = b"".join(b"bkt,%08d%s\n" % (row, b"k" * 1_000) for row in range(3_000))
    chunks = list(CsvReader(TWO, S3_CSV).stage([data]))
    assert sum(chunk.rows for chunk in chunks) == 3_000
    assert all(150 < chunk.rows < 250 for chunk in chunks[:-1])


# -- properties

KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20).map(str.encode)
RAW = st.binary(min_size=1, max_size=8) | st.lists(st.sampled_from([b"%41", b"%e4%bd%a0", b"%", b"+", b"=", b"=3D", b"a"])).map(
    b"".join
)


ESCAPED = st.sampled_from(
    [b"%41", b"%3d", b"%25", b"%0A", b"%E4%bd%A0", b"=", b"\n", b"=\r\n", b"=41", b" ", b"_", b"\t\n", b"."]
)


@given(st.lists(ESCAPED | st.binary(max_size=3).map(lambda text: text.replace(b"%", b"%25"))).map(b"".join))
def test_percent_decoding_is_what_urllib_does(text: bytes) -> None:
    assert percent_decoded(text) == unquote_to_bytes(text)


@given(RAW)
def test_cos_keys_decode_as_urllib_does(raw: bytes) -> None:
    wanted = unquote_to_bytes(raw)
    try:
        raw.decode()
        wanted.decode()
    except UnicodeDecodeError:
        return
    if wanted and b"\0" not in wanted:
        assert decoded_key(raw, COS_CSV) == wanted


def as_csv(rows: Iterable[Sequence[str]], quoting: int, end: str) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=quoting, lineterminator=end).writerows(rows)  # type: ignore[arg-type]
    return out.getvalue().encode()


@given(
    st.lists(KEYS, min_size=1, max_size=8),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_every_key_comes_through_url_encoded(keys: list[bytes], quoting: int, end: str, form: bool) -> None:
    s3 = as_csv([("bkt", quote_plus(key) if form else quote(key)) for key in keys], quoting, end)
    assert [key for _, key, _, _ in staged(s3, S3_CSV)] == keys
    cos = as_csv([("bkt", quote(key)) for key in keys], quoting, end)
    assert [key for _, key, _, _ in staged(cos, COS_CSV)] == keys


@given(st.lists(KEYS, min_size=1, max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_every_key_comes_through_quoted_where_only_percent_and_plus_are_escaped(keys: list[bytes], end: str) -> None:
    written = [key.decode().replace("%", "%25").replace("+", "%2B") for key in keys]
    data = as_csv([("bkt", key) for key in written], csv.QUOTE_ALL, end)
    for rules in (S3_CSV, COS_CSV):
        assert [key for _, key, _, _ in staged(data, rules)] == keys


PARTS = [
    b"bkt",
    b"b2k",
    b",",
    b"\n",
    b"\r\n",
    b'"',
    b'""',
    b"k",
    b"%41",
    b"%",
    b"%00",
    b"+",
    b" ",
    b"\t",
    b"\r",
    b"\0",
    b"\xff",
    b"\xc3\xa9",
]
ROWS = st.sampled_from([b"bkt,k\n", b"bkt,%41\n", b'"bkt","k,1"\n', b"bkt, k \n", b'bkt,"a\nb"\r\n', b"bkt,a+b%C3%A9\r\n", b"\n"])
TEXTS = st.lists(ROWS | st.lists(st.sampled_from(PARTS), max_size=4).map(b"".join), max_size=8).map(b"".join)


@given(TEXTS, st.sampled_from([S3_CSV, COS_CSV]))
def test_by_the_column_and_row_by_row_mean_the_same(text: bytes, rules: CsvRules) -> None:
    data = b"bkt,first\n" + text + b"\n"

    def row_by_row() -> list[Task]:
        parser = rowwise_module.RowParser(TWO, rules)
        table = parser.columns(rowwise_module.rows(Piece(data, 1), rules))
        return list(zip(*(table.column(name).to_pylist() for name in ("bucket", "key", "raw_key", "version")), strict=True))

    def outcome(read: Callable[[], list[Task]]) -> list[Task] | str:
        try:
            return read()
        except BadRow as failure:
            return failure.reason

    assert outcome(lambda: staged(data, rules)) == outcome(row_by_row)


@BOTH
def test_the_text_may_be_cut_anywhere(rules: CsvRules) -> None:
    data = b'\xef\xbb\xbfbkt,"a\nb"\r\nbkt,"c""d"\nbkt,%E4%BD%A0\r\n"bkt","e,f"\nbkt,last'[0 if rules is COS_CSV else 3 :]
    whole = staged(data, rules)
    assert [key for _, key, _, _ in whole] == [b"a\nb", b'c"d', "你".encode(), b"e,f", b"last"]
    for place in range(len(data) + 1):
        assert staged(b"", rules, blocks=[data[:place], data[place:]]) == whole
    assert staged(b"", rules, blocks=[data[place : place + 1] for place in range(len(data))]) == whole


@given(
    st.lists(st.sampled_from([b"bkt,a\n", b'bkt,"x\ny"\n', b'bkt,"""\n"""\r\n', b"bkt,b\r\n"]), min_size=1, max_size=30),
    st.data(),
)
def test_pieces_are_whole_rows_and_know_their_line(rows: list[bytes], data: st.DataObject) -> None:
    text = b"".join(rows)
    size = data.draw(st.integers(1, len(text)))
    found = list(pieces([text[start : start + size] for start in range(0, len(text), size)]))
    assert b"".join(piece.data for piece in found) == text
    line = 1
    for piece in found:
        assert piece.line == line
        assert piece.data.count(b'"') % 2 == 0
        line += piece.data.count(b"\n")


def test_a_manifest_of_many_pieces_is_read_whole() -> None:
    data = b"".join(b'bkt,"key\n%d"\n' % row for row in range(100_000))
    assert len(data) > 2 * PIECE_BYTES
    assert [key for _, key, _, _ in staged(data, S3_CSV)] == [b"key\n%d" % row for row in range(100_000)]
