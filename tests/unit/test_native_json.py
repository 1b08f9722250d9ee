"""JSON from outside, and queries and headers as values."""

import contextlib
import json
import time
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulier.api.native import jsonbody, queries
from haulier.api.native.documents import EventQuery, ListQuery
from haulier.core.errors import DocumentTooLarge, InvalidField, MalformedDocument


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    count: Annotated[int, msgspec.Meta(ge=0, le=5)]
    tags: dict[str, str] = {}
    kinds: list[Literal["x", "y"]] = []


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    inner: Inner
    flag: bool | None = None


@pytest.mark.parametrize(
    ("value", "kind", "path", "problem"),
    [
        ({"inner": {}}, MalformedDocument, "inner.count", "is missing"),
        ({"inner": {"count": 1, "more": 2}}, MalformedDocument, "inner.more", "is not known here"),
        ({"inner": {"count": "1"}}, InvalidField, "inner.count", "is a string; it must be a whole number"),
        ({"inner": {"count": 6}}, InvalidField, "inner.count", "must be a whole number <= 5"),
        ({"inner": {"count": 1, "tags": {"a": "b", "c": 1}}}, InvalidField, "inner.tags['c']", "must be a string"),
        ({"inner": {"count": 1, "kinds": ["x", "z"]}}, InvalidField, "inner.kinds[1]", "'z'"),
        ({"inner": []}, InvalidField, "inner", "is an array; it must be an object"),
        ({"inner": {"count": 1}, "flag": 0}, InvalidField, "flag", "must be true or false or null"),
        ([], MalformedDocument, "", "the body is an array; it must be an object"),
    ],
)
def test_a_value_that_is_none_of_its_type_is_told_by_path_and_in_words(
    value: Any, kind: type[Any], path: str, problem: str
) -> None:
    with pytest.raises(kind, match=problem.replace("[", r"\[")) as refused:
        jsonbody.convert(value, Outer)
    assert refused.value.path == path


@pytest.mark.parametrize("text", ["[" * 32 + "]" * 32, '"' + "[" * 99 + '"', '["\\"[[["]', "{}", " [1.5, -2e3, null] "])
def test_good_json_is_read(text: str) -> None:
    assert jsonbody.read(text.encode()) == json.loads(text)


@pytest.mark.parametrize("text", ["[" * 33 + "]" * 33, "[" * 100_000, '{"a":' * 200_000, "[" + "1," * 40_000 + "1]"])
def test_what_lies_too_deep_or_is_too_many_is_refused_before_it_is_parsed(text: str) -> None:
    with pytest.raises(DocumentTooLarge):
        jsonbody.read(text.encode())


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"a": 1, "a": 1}', "a"),
        ('{"a": [{"b": {"c": 1, "c": 2}}]}', "a[0].b.c"),
        ('{"a": NaN}', ""),
        ("[Infinity]", ""),
        ("[1e400]", ""),
        ('{"a": 1}x', ""),
        ("'a'", ""),
        ("9" * 5000, ""),
        ("\ufeff{}", ""),
    ],
)
def test_json_that_could_be_read_in_two_ways_is_refused(text: str, path: str) -> None:
    with pytest.raises(MalformedDocument) as refused:
        jsonbody.read(text.encode())
    assert refused.value.path == path


MIB = 2**20


@pytest.mark.parametrize(
    "body",
    [
        b'\\"' * (MIB // 2),
        b'"' + b'\\"' * (MIB // 2),
        b"\\" * MIB,
        b'"' * MIB,
        b'"' + b"a" * MIB,
        b'"a\\' * (MIB // 3),
        b"{" + b",".join(b'"%d":1' % number for number in range(90_000)) + b',"89999":1}',
    ],
    ids=["quotes", "a string of quotes", "backslashes", "empty strings", "a string without end", "escapes", "a late duplicate"],
)
def test_reading_takes_time_in_proportion_to_the_body(body: bytes) -> None:
    begun = time.process_time()
    with pytest.raises((MalformedDocument, DocumentTooLarge)):
        jsonbody.read(body)
    assert time.process_time() - begun < 1


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_do_more_than_be_refused(body: bytes) -> None:
    with contextlib.suppress(MalformedDocument, InvalidField, DocumentTooLarge):
        jsonbody.read(body)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], ListQuery()),
        ([("status", "New"), ("tag", "a=b=c"), ("status", "Failed")], {"status": ("New", "Failed"), "tag": ("a=b=c",)}),
        ([("limit", "1000"), ("text", "x y"), ("X-Amz-Signature", "…")], {"limit": 1000, "text": "x y"}),
    ],
)
def test_a_query_is_read(pairs: list[tuple[str, str]], expected: Any) -> None:
    found = queries.query(pairs, ListQuery)
    assert found == (expected if isinstance(expected, ListQuery) else msgspec.convert(expected, ListQuery))


@pytest.mark.parametrize(
    ("pairs", "path"),
    [
        ([("after", "-1")], "after"),
        ([("after", "\uff11")], "after"),
        ([("after", "1"), ("after", "1")], "after"),
        ([("after", str(2**53 + 1))], "after"),
        ([("wait", "61")], "wait"),
        ([("wait", "")], "wait"),
    ],
)
def test_a_query_that_is_unclear_is_refused(pairs: list[tuple[str, str]], path: str) -> None:
    with pytest.raises(InvalidField) as refused:
        queries.query(pairs, EventQuery)
    assert refused.value.path == path


def test_etags_are_read_as_lists_and_nothing_else() -> None:
    assert queries.etags(None, "If-Match", weak=False) is None
    assert queries.etags(b"*", "If-Match", weak=True) == {"*"}
    assert queries.etags(b'"a", W/"b" ,""', "If-None-Match", weak=True) == {"a", "b", ""}
    assert queries.etags(b'"a", W/"b" ,""', "If-Match", weak=False) == {"a", ""}, "RFC 9110, 13.1.1: by strong comparison"
    for bad in (b"a", b'"a', b'"a" "b"', b"", b'"a",'):
        with pytest.raises(InvalidField):
            queries.etags(bad, "If-Match", weak=True)


def test_an_idempotency_key_may_stand_in_quotes() -> None:
    assert queries.idempotency_key(None) is None
    assert queries.idempotency_key(b"k-1") == queries.idempotency_key(b'"k-1"') == "k-1"
    for bad in (b"", b'""', b"a b", b"x" * 65, "ä".encode()):
        with pytest.raises(InvalidField):
            queries.idempotency_key(bad)


@pytest.mark.parametrize(("value", "number"), [(None, None), (b"7", 7), (b"-7", None), (b"x", None), (b"9" * 30, None)])
def test_the_last_event_is_a_number_or_none(value: bytes | None, number: int | None) -> None:
    assert queries.event_number(value) == number
