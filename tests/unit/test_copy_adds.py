"""Copies that add to what their source has, and copies with an access control list of their own."""

from typing import Any

import msgspec
import pytest

from haulier.core.acl import Acl, Grant, of_target, same, shows_canned
from haulier.core.errors import StoreError
from haulier.core.ports import ObjectHead
from haulier.core.task import Outcome
from haulier.objectstore.memory import OWNER
from haulier.operations import Copy
from haulier.operations.metadata import NewMetadata, Unmergeable
from unit.opbench import Bench

COPIED = Outcome(200, None, "Successful")
FULL = Grant("id", OWNER, "FULL_CONTROL")
READER = Grant("id", "qcs::cam::uin/100000000001:uin/100000000011", "READ")
EDITOR = Grant("id", "qcs::cam::uin/100000000001:uin/100000000012", "FULL_CONTROL")
ANYONE = Grant("uri", "http://acs.amazonaws.com/groups/global/AllUsers", "READ")
ANYONE_ON_COS = Grant("uri", "http://cam.qcloud.com/groups/global/AllUsers", "READ")
ETAG = "9a0364b9e99bb480dd25e1f0284c8555"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def copy(**parameters: Any) -> Copy:
    return Copy(**({"target_bucket": "dst", "dialect": "s3control"} | parameters))


def describe(bench: Bench, bucket: str = "src", **headers: str) -> None:
    """Give the object headers, by which stores tell metadata."""
    held = bench.store.buckets[bucket][b"a/key"]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    held[-1] = msgspec.structs.replace(held[-1], headers={**held[-1].headers, **named})


def head(bench: Bench, bucket: str = "dst", key: bytes = b"a/key") -> ObjectHead:
    found: ObjectHead = bench.runner.run(bench.store.head_object(bucket, key))
    return found


def tags(bench: Bench, bucket: str = "dst", key: bytes = b"a/key") -> dict[str, str]:
    return dict(bench.runner.run(bench.store.get_tags(bucket, key)))


def grants(bench: Bench, bucket: str = "dst", key: bytes = b"a/key") -> set[Grant]:
    return set(bench.runner.run(bench.store.get_acl(bucket, key)).grants)


def give(bench: Bench, *given: Grant, bucket: str = "src", key: bytes = b"a/key") -> None:
    bench.runner.run(bench.store.put_acl(bucket, key, None, Acl(OWNER, given)))
    bench.store.log.clear()


# -- metadata and tags ----------------------------------------------------------------------------------------------------------

NEW = NewMetadata(content_type="image/png", user={"Colour": "red"})


def test_metadata_is_laid_over_the_sources(bench: Bench) -> None:
    describe(bench, cache_control="no-cache", expires="whenever", x_amz_meta_colour="blue", x_amz_meta_size="xl")
    assert bench.apply(copy(metadata=NEW, metadata_mode="add")) == COPIED
    copied = head(bench)
    assert copied.metadata == {"colour": "red", "size": "xl"}
    assert (copied.headers["content-type"], copied.headers["cache-control"]) == ("image/png", "no-cache")
    assert copied.headers["expires"] == "whenever"
    assert bench.store.log == [("copy", "dst", b"a/key")]


def test_cos_metadata_that_comes_under_its_own_prefix_is_kept_too(bench: Bench) -> None:
    describe(bench, x_cos_meta_size="xl")
    bench.apply(copy(metadata=NEW, metadata_mode="add"))
    assert head(bench).metadata == {"colour": "red", "size": "xl"}


def test_other_characters_than_ascii_are_sent_again_as_they_came() -> None:
    told = {"content-type": "a/b", "content-disposition": 'filename="Gr\u00c3\u00bc\u00c3\u009fe"'}
    read = ObjectHead(size=0, etag="e", modified_ms=0, headers=told, metadata={"n": "\u00e7\u0095\u008c"})
    assert NewMetadata().over(read) == [
        ("content-type", "a/b"),
        ("content-disposition", 'filename="Grüße"'),
        ("x-amz-meta-n", "界"),
    ]


@pytest.mark.parametrize(
    "told", [{"x-amz-missing-meta": "2"}, {"content-disposition": "caf\u00e9"}, {"content-disposition": "a\x7fb"}]
)
def test_metadata_that_could_not_be_carried_is_not_lost_silently(bench: Bench, told: dict[str, str]) -> None:
    with pytest.raises(Unmergeable):
        NewMetadata().over(ObjectHead(size=0, etag="e", modified_ms=0, headers=told))
    describe(bench, **{name.replace("-", "_"): value for name, value in told.items()})
    outcome = bench.apply(copy(metadata=NEW, metadata_mode="add"))
    assert (outcome.status, outcome.code) == (400, "InvalidRequest")
    assert bench.store.log == []


def test_tags_are_merged_and_ten_are_the_most(bench: Bench) -> None:
    bench.runner.run(bench.store.put_tags("src", b"a/key", None, {str(n): "old" for n in range(9)}))
    bench.store.log.clear()
    assert bench.apply(copy(tags={"0": "new", "nine": "new"}, tags_mode="add")) == COPIED
    assert tags(bench) == {**{str(n): "old" for n in range(1, 9)}, "0": "new", "nine": "new"}
    outcome = bench.apply(copy(tags={"nine": "", "ten": ""}, tags_mode="add", replace_prefix=("", "b/")))
    assert (outcome.status, outcome.code) == (400, "InvalidTag")
    assert bench.store.log == [("copy", "dst", b"a/key")]


def test_the_version_that_was_read_is_the_one_that_is_copied(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.put("kept", b"k", b"one")
    bench.runner.run(bench.store.put_tags("kept", b"k", None, {"of": "one"}))
    get_tags = bench.store.get_tags

    async def overtaken(*args: Any) -> Any:
        found = await get_tags(*args)
        await bench.store.put_object("kept", b"k", b"two")
        return found

    monkeypatch.setattr(bench.store, "get_tags", overtaken)
    assert bench.apply(copy(tags={"a": "b"}, tags_mode="add"), b"k", "kept") == COPIED
    assert bench.body("dst", b"k") == b"one"


def test_a_source_that_changes_after_it_was_read_is_not_copied(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    get_tags = bench.store.get_tags

    async def overtaken(*args: Any) -> Any:
        found = await get_tags(*args)
        await bench.store.put_object("src", b"a/key", b"other")
        return found

    monkeypatch.setattr(bench.store, "get_tags", overtaken)
    with pytest.raises(StoreError) as caught:
        bench.apply(copy(tags={"a": "b"}, tags_mode="add"))
    assert caught.value.status == 412
    assert bench.store.buckets["dst"] == {}


@pytest.mark.parametrize(
    ("parameters", "task"),
    [
        ({"modified_since_ms": 1_800_000_000_000, "tags": {"a": "b"}, "tags_mode": "add"}, {}),
        ({"unmodified_since_ms": 1_799_999_999_999, "tags": {"a": "b"}, "tags_mode": "add"}, {}),
        ({"unmodified_since_ms": 1_799_999_999_999}, {"etag": ETAG}),
        ({"inherit_acl": True}, {"etag": "0" * 32}),
    ],
)
def test_conditions_are_looked_at_before_the_copy(bench: Bench, parameters: dict[str, Any], task: dict[str, Any]) -> None:
    outcome = bench.apply(copy(**parameters), **task)
    assert (outcome.status, outcome.code) == (412, "PreconditionFailed")
    holds = {"modified_since_ms": 1_799_999_999_999, "unmodified_since_ms": 1_800_000_000_999}
    assert bench.apply(copy(**{**parameters, **holds}), etag=ETAG) == COPIED


def test_a_source_that_is_not_there_fails_as_the_store_says(bench: Bench) -> None:
    with pytest.raises(StoreError) as caught:
        bench.apply(copy(metadata=NEW, metadata_mode="add"), b"missing")
    assert (caught.value.status, caught.value.code) == (404, "NoSuchKey")


ADDING = [
    {"metadata": NEW, "metadata_mode": "add"},
    {"metadata": NEW, "metadata_mode": "add", "tags": {"a": "b"}, "tags_mode": "add"},
]


@pytest.mark.parametrize("fates", [["after"], ["before"], ["before", "before", "after"]])
@pytest.mark.parametrize("parameters", ADDING)
@pytest.mark.parametrize("target", ["dst", "src"])
def test_an_answer_that_was_lost_ends_as_one_copy(
    bench: Bench, target: str, parameters: dict[str, Any], fates: list[str]
) -> None:
    describe(bench, x_amz_meta_size="xl")
    bench.store.lose(*fates)
    assert bench.apply(copy(target_bucket=target, **parameters)) == COPIED
    assert bench.store.log == [("copy", target, b"a/key")]
    assert head(bench, target).metadata == {"colour": "red", "size": "xl"}


@pytest.mark.parametrize("parameters", ADDING)
def test_adding_in_place_that_an_earlier_attempt_did_is_not_repeated(bench: Bench, parameters: dict[str, Any]) -> None:
    describe(bench, x_amz_meta_size="xl")
    first_ms = bench.doubt()
    operation = copy(target_bucket="src", **parameters)
    assert bench.apply(operation) == COPIED
    assert bench.apply(operation, first_attempt_ms=first_ms) == COPIED
    assert len(bench.store.log) == 1


@pytest.mark.parametrize("parameters", ADDING)
def test_an_object_that_someone_else_wrote_since_is_not_taken_for_the_addition(bench: Bench, parameters: dict[str, Any]) -> None:
    first_ms = bench.doubt()
    bench.put("src", b"a/key", b"theirs")
    outcome = bench.apply(copy(target_bucket="src", **parameters), first_attempt_ms=first_ms)
    assert outcome.code == "ChangedSinceAttempt"
    assert tags(bench, "src") == {}


# -- access control lists as values ---------------------------------------------------------------------------------------------


def test_full_control_is_every_right_and_a_group_is_the_same_on_both_clouds() -> None:
    rights = tuple(Grant("id", "a", right) for right in ("READ", "WRITE", "READ_ACP", "WRITE_ACP"))  # type: ignore[arg-type]
    assert same(Acl("o", rights), Acl("p", (Grant("id", "a", "FULL_CONTROL"),)))
    assert not same(Acl("o", rights[1:]), Acl("o", (Grant("id", "a", "FULL_CONTROL"),)))
    assert same(Acl("o", (ANYONE, READER)), Acl("o", (READER, ANYONE_ON_COS)))
    assert not same(Acl("o", (ANYONE,)), Acl("o", (ANYONE, READER)))


@pytest.mark.parametrize(
    ("source", "added", "wanted"),
    [
        (None, (READER,), (Grant("id", "new", "FULL_CONTROL"), READER)),
        (Acl("new", (ANYONE,)), (READER,), (ANYONE, READER)),
        (Acl("new", (ANYONE, READER)), (READER,), (ANYONE, READER)),
        (Acl("old", (Grant("id", "old", "READ"),)), (), (Grant("id", "new", "FULL_CONTROL"), Grant("id", "old", "READ"))),
    ],
)
def test_what_a_copy_is_to_have(source: Acl | None, added: tuple[Grant, ...], wanted: tuple[Grant, ...]) -> None:
    assert of_target("new", source, added) == Acl("new", wanted)


@pytest.mark.parametrize(
    ("canned", "given", "shown"),
    [
        ("private", (FULL,), True),
        ("private", (FULL, ANYONE), False),
        ("public-read", (FULL, ANYONE_ON_COS), True),
        ("public-read", (FULL,), False),
        ("public-read", (FULL, ANYONE, msgspec.structs.replace(ANYONE, permission="WRITE")), False),
        ("public-read-write", (ANYONE, msgspec.structs.replace(ANYONE, permission="WRITE")), True),
        ("authenticated-read", (ANYONE,), False),
        ("bucket-owner-read", (FULL, READER), True),
        ("private", (FULL, READER), False),
        ("public-read", (FULL, ANYONE, READER), False),
        ("bucket-owner-full-control", (FULL, ANYONE), False),
    ],
)
def test_what_a_canned_list_must_show(canned: str, given: tuple[Grant, ...], shown: bool) -> None:
    assert shows_canned(Acl(OWNER, given), canned) is shown


# -- copies with a list of their own --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        ({}, {FULL}),
        ({"canned_acl": "public-read"}, {FULL, ANYONE}),
        ({"grants": (READER,)}, {FULL, READER}),
        ({"inherit_acl": True}, {FULL, EDITOR, ANYONE}),
        ({"inherit_acl": True, "grants": (READER, EDITOR)}, {FULL, EDITOR, ANYONE, READER}),
    ],
)
@pytest.mark.parametrize("target", ["dst", "kept"])
def test_a_copy_gets_the_list_that_was_asked_for(
    bench: Bench, target: str, parameters: dict[str, Any], wanted: set[Grant]
) -> None:
    give(bench, FULL, EDITOR, ANYONE)
    assert bench.apply(copy(target_bucket=target, **parameters)) == COPIED
    assert grants(bench, target) == wanted
    assert grants(bench, "src") == {FULL, EDITOR, ANYONE}


def test_the_list_goes_to_the_version_that_was_made(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_object = bench.store.copy_object

    async def overtaken(*args: Any) -> Any:
        copied = await copy_object(*args)
        await bench.store.put_object("kept", b"a/key", b"theirs")
        return copied

    monkeypatch.setattr(bench.store, "copy_object", overtaken)
    assert bench.apply(copy(target_bucket="kept", grants=(READER,))) == COPIED
    assert [set(held.acl.grants) for held in bench.store.buckets["kept"][b"a/key"]] == [{FULL, READER}, {FULL}]


def test_a_list_that_is_right_already_is_not_written(bench: Bench) -> None:
    assert bench.apply(copy(canned_acl="public-read")) == COPIED
    assert bench.apply(copy(inherit_acl=True)) == COPIED
    assert bench.store.log == [("copy", "dst", b"a/key")] * 2


def test_a_store_that_drops_the_header_of_the_copy_is_told_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_object = bench.store.copy_object

    async def dropping(*args: Any) -> Any:
        *place, headers = args
        return await copy_object(*place, [(name, value) for name, value in headers if name != "x-amz-acl"])

    monkeypatch.setattr(bench.store, "copy_object", dropping)
    assert bench.apply(copy(canned_acl="public-read")) == COPIED
    assert grants(bench) == {FULL, ANYONE}


LISTS = [{"canned_acl": "public-read"}, {"grants": (READER,)}, {"inherit_acl": True}, {"inherit_acl": True, "grants": (READER,)}]


@pytest.mark.parametrize("parameters", LISTS)
def test_a_list_that_the_store_does_not_keep_fails_the_task(
    bench: Bench, parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    give(bench, FULL, EDITOR)

    async def dropped(*_: Any) -> None:
        """200, as some stores say."""

    async def private(bucket: str, *_: Any) -> Acl:
        return Acl(OWNER, (FULL, EDITOR) if bucket == "src" else (FULL,))

    monkeypatch.setattr(bench.store, "put_acl", dropped)
    monkeypatch.setattr(bench.store, "get_acl", private)
    outcome = bench.apply(copy(**parameters))
    assert (outcome.status, outcome.code) == (409, "AccessControlLost")
    assert outcome.message == (
        "the copy was made, but the store did not keep its access control list: it grants FULL_CONTROL to owner"
    )
    assert bench.body("dst", b"a/key") == b"content"


@pytest.mark.parametrize("call", ["put_acl", "get_acl"])
def test_a_list_that_is_refused_fails_the_task_as_the_store_says(
    bench: Bench, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: Any) -> None:
        raise StoreError(400, "AccessControlListNotSupported", "the bucket does not allow ACLs")

    monkeypatch.setattr(bench.store, call, refused)
    outcome = bench.apply(copy(grants=(READER,)))
    assert (outcome.status, outcome.code) == (400, "AccessControlListNotSupported")
    assert outcome.message == "the copy was made, but its access control list was not set: the bucket does not allow ACLs"


def test_an_answer_to_the_list_that_was_lost_is_read_back(bench: Bench) -> None:
    bench.store.lose(None, "after")
    assert bench.apply(copy(grants=(READER,))) == COPIED
    bench.store.lose(None, "before")
    outcome = bench.apply(copy(grants=(EDITOR,)))
    assert outcome.code == "NoAnswer"
    assert outcome.message == "the copy was made without its access control list: connection reset"


@pytest.mark.parametrize("parameters", LISTS)
@pytest.mark.parametrize("fate", ["before", "after"])
def test_a_copy_whose_answer_was_lost_gets_its_list_all_the_same(bench: Bench, parameters: dict[str, Any], fate: str) -> None:
    give(bench, FULL, EDITOR)
    bench.store.lose(fate)
    assert bench.apply(copy(**parameters)) == COPIED
    once, lost = grants(bench), Bench()
    give(lost, FULL, EDITOR)
    assert lost.apply(copy(**parameters)) == COPIED
    assert grants(lost) == once


@pytest.mark.parametrize("parameters", LISTS)
def test_a_copy_of_an_earlier_attempt_that_has_no_list_yet_gets_it(bench: Bench, parameters: dict[str, Any]) -> None:
    give(bench, FULL, EDITOR)
    first_ms = bench.doubt()
    bench.apply(copy())
    assert bench.apply(copy(**parameters), first_attempt_ms=first_ms) == COPIED
    assert [verb for verb, _, _ in bench.store.log] == ["copy", "acl"]


def test_a_list_that_is_gone_with_its_source_is_unknown(bench: Bench) -> None:
    first_ms = bench.doubt()
    bench.apply(copy())
    bench.runner.run(bench.store.delete_object("src", b"a/key"))
    outcome = bench.apply(copy(inherit_acl=True), etag=ETAG, size=7, first_attempt_ms=first_ms)
    assert outcome.code == "OutcomeUnknown"


IN_PLACE = {"target_bucket": "src", "storage_class": "GLACIER", "inherit_acl": True}


def test_in_place_the_list_is_read_before_the_copy_takes_it_away(bench: Bench) -> None:
    give(bench, FULL, EDITOR)
    for fate in (None, "before", "after"):
        bench.store.lose(fate)
        assert bench.apply(copy(**IN_PLACE)) == COPIED
        assert grants(bench, "src") == {FULL, EDITOR}
        bench.clock.advance(60)


def test_in_place_a_list_that_an_earlier_attempt_may_have_taken_away_is_unknown(bench: Bench) -> None:
    give(bench, FULL, EDITOR)
    first_ms = bench.doubt()
    bench.apply(copy(target_bucket="src", storage_class="GLACIER"))
    outcome = bench.apply(copy(**IN_PLACE), first_attempt_ms=first_ms)
    assert (outcome.status, outcome.code) == (409, "OutcomeUnknown")
    assert "access control list" in (outcome.message or "")


def test_in_place_an_attempt_that_left_no_trace_took_no_list_away(bench: Bench) -> None:
    describe(bench, x_amz_storage_class="GLACIER")
    give(bench, FULL, EDITOR)
    bench.clock.advance(60)
    assert bench.apply(copy(**IN_PLACE), first_attempt_ms=bench.doubt()) == COPIED
    assert grants(bench, "src") == {FULL, EDITOR}


def test_an_older_version_still_tells_its_list(bench: Bench) -> None:
    bench.put("kept", b"k", b"one")
    give(bench, FULL, EDITOR, bucket="kept", key=b"k")
    version = str(head(bench, "kept", b"k").version).encode()
    bench.put("kept", b"k", b"two")
    operation = copy(target_bucket="kept", inherit_acl=True)
    first_ms = bench.doubt()
    bench.apply(copy(target_bucket="kept"), b"k", "kept", version=version)
    assert bench.apply(operation, b"k", "kept", version=version, first_attempt_ms=first_ms) == COPIED
    assert grants(bench, "kept", b"k") == {FULL, EDITOR}
