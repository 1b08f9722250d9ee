"""Operations on a store in memory, in virtual time, with answers that are lost."""

from typing import Any

import msgspec
import pytest

from haulier import operations
from haulier.core.acl import Grant
from haulier.core.effects import Gather
from haulier.core.errors import StoreError
from haulier.core.job import OperationSpec
from haulier.core.ports import ObjectHead
from haulier.core.task import Outcome, Task
from haulier.operations import Copy, Delete, PutTagging
from haulier.operations.copy import NewMetadata
from haulier.operations.replay import TRIES_MAX
from haulier.operations.traces import shows
from unit.opbench import Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


def copy(**parameters: Any) -> Copy:
    return Copy(**({"target_bucket": "dst", "dialect": "s3control"} | parameters))


COPIED = Outcome(200, None, "Successful")
REPLACE = ("x-amz-metadata-directive", "REPLACE")
KMS_KEY = "x-amz-server-side-encryption-aws-kms-key-id"

# -- specs ----------------------------------------------------------------------------------------------------------------------

EXAMPLES = [
    copy(),
    copy(
        replace_prefix=("a/", "b/"),
        metadata=NewMetadata(content_type="image/png", expires_ms=1_800_000_000_000, user={"Colour": "red"}),
        tags={"a": "b"},
        storage_class="STANDARD_IA",
        sse="aws:kms",
        bucket_key=True,
        modified_since_ms=5,
        key_bytes_max=850,
        dialect="cos",
    ),
    copy(
        metadata=NewMetadata(user={"Colour": "red"}),
        metadata_mode="add",
        tags={},
        tags_mode="add",
        inherit_acl=True,
        grants=(Grant("id", "someone", "READ"),),
    ),
    Delete(bypass_governance=True),
    PutTagging(tags={"a": "b"}, mode="add"),
]


@pytest.mark.parametrize("operation", EXAMPLES)
def test_a_spec_survives_json_and_comes_back_as_the_operation(operation: operations.AnyOperation) -> None:
    spec = msgspec.json.decode(msgspec.json.encode(operations.spec(operation)), type=OperationSpec)
    assert spec.name == operation.name
    assert operations.load(spec) == operation


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("move", {}, "there is no operation 'move'; there are copy, delete, put_tagging"),
        ("delete", {"bypas": True}, "unknown field `bypas`"),
        ("delete", {"bypass_governance": "yes"}, r"Expected `bool`, got `str` - at `\$.bypass_governance`"),
        ("copy", {"dialect": "cos"}, "target_bucket"),
        ("copy", {"target_bucket": "b", "dialect": "cos", "folder": "f", "replace_prefix": ["a", "b"]}, "folder"),
        ("copy", {"target_bucket": "b", "dialect": "cos", "metadata": {"user": {"a": "b\r\nc: d"}}}, "x-amz-meta-a"),
        (
            "copy",
            {"target_bucket": "b", "dialect": "cos", "metadata": {"cache_control": "\n"}, "metadata_mode": "add"},
            "cache-control",
        ),
        ("copy", {"target_bucket": "b", "dialect": "cos", "canned_acl": "private", "inherit_acl": True}, "canned_acl"),
        (
            "copy",
            {"target_bucket": "b", "dialect": "cos", "grants": [{"kind": "id", "grantee": "a", "permission": "ALL"}]},
            "Invalid enum value 'ALL'",
        ),
        ("put_tagging", {"tags": {}, "mode": "merge"}, "Invalid enum value 'merge'"),
    ],
)
def test_a_spec_that_is_wrong_is_refused_by_name(name: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        operations.load(OperationSpec(name=name, parameters=parameters))


@pytest.mark.parametrize("operation", operations.ALL)
def test_the_list_names_every_operation_once(operation: type[operations.AnyOperation]) -> None:
    assert operations.BY_NAME[operation.name] is operation
    assert operation.batch_rows >= 1
    assert operation.__doc__


# -- keys of copies -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "key", "expected"),
    [
        ({}, b"a/b", b"a/b"),
        ({"folder": "new"}, b"a/b", b"new/a/b"),
        ({"folder": "new/"}, b"a/b", b"new/a/b"),
        ({"folder": "new"}, b"/a", b"new//a"),
        ({"replace_prefix": ("", "new/")}, b"a/b", b"new/a/b"),
        ({"replace_prefix": ("pic", "abc")}, b"picture.jpg", b"abcture.jpg"),
        ({"replace_prefix": ("a/", "")}, b"a/b", b"b"),
        ({"replace_prefix": ("é", "ü")}, "éa".encode(), "üa".encode()),
    ],
)
def test_the_target_key(parameters: dict[str, Any], key: bytes, expected: bytes) -> None:
    assert copy(**parameters).target("src", key) == ("dst", expected)


@pytest.mark.parametrize(
    ("parameters", "key", "code"),
    [
        ({"replace_prefix": ("x/", "y/")}, b"a/key", "InvalidArgument"),
        ({"replace_prefix": ("a/key", "")}, b"a/key", "InvalidArgument"),
        ({"folder": "f" * 1020}, b"a/key", "KeyTooLong"),
        ({"key_bytes_max": 4}, b"a/key", "KeyTooLong"),
        ({"target_bucket": "src"}, b"a/key", "InvalidRequest"),
    ],
)
def test_a_key_without_a_place_fails_before_any_request(bench: Bench, parameters: dict[str, Any], key: bytes, code: str) -> None:
    outcome = bench.apply(copy(**parameters), key)
    assert (outcome.status, outcome.code) == (400, code)
    assert bench.store.log == []


def test_a_copy_onto_itself_may_change_something_or_bring_a_version_back(bench: Bench) -> None:
    assert bench.apply(copy(target_bucket="src", storage_class="STANDARD_IA")) == COPIED
    assert bench.apply(copy(target_bucket="src", metadata=NewMetadata())) == COPIED
    bench.put("kept", b"k", b"one")
    version = bench.runner.run(bench.store.head_object("kept", b"k")).version
    bench.put("kept", b"k", b"two")
    assert bench.apply(copy(target_bucket="kept"), b"k", "kept", version=str(version).encode()) == COPIED
    assert bench.body("kept", b"k") == b"one"


# -- what copies carry ----------------------------------------------------------------------------------------------------------


def test_headers_are_made_once_and_say_what_was_asked(bench: Bench) -> None:
    operation = copy(
        metadata=NewMetadata(content_type="image/png", cache_control="no-cache", expires_ms=0, user={"Colour": "red"}),
        tags={"a b": "c/d"},
        canned_acl="private",
        storage_class="STANDARD_IA",
        sse="aws:kms",
        sse_kms_key="key-id",
        bucket_key=False,
        checksum="CRC32",
        redirect="/there",
        modified_since_ms=1_700_000_000_999,
        unmodified_since_ms=1_900_000_000_000,
    )
    assert operation.headers is operation.headers
    assert dict(operation.headers) == {
        "x-amz-metadata-directive": "REPLACE",
        "content-type": "image/png",
        "cache-control": "no-cache",
        "expires": "Thu, 01 Jan 1970 00:00:00 GMT",
        "x-amz-meta-colour": "red",
        "x-amz-tagging-directive": "REPLACE",
        "x-amz-tagging": "a%20b=c%2Fd",
        "x-amz-acl": "private",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "key-id",
        "x-amz-server-side-encryption-bucket-key-enabled": "false",
        "x-amz-checksum-algorithm": "CRC32",
        "x-amz-website-redirect-location": "/there",
        "x-amz-copy-source-if-modified-since": "Tue, 14 Nov 2023 22:13:20 GMT",
        "x-amz-copy-source-if-unmodified-since": "Sun, 17 Mar 2030 17:46:40 GMT",
    }
    assert copy().headers == ()
    assert bench.apply(operation) == COPIED
    head = bench.runner.run(bench.store.head_object("dst", b"a/key"))
    assert (head.metadata, head.storage_class) == ({"colour": "red"}, "STANDARD_IA")
    assert bench.runner.run(bench.store.get_tags("dst", b"a/key")) == {"a b": "c/d"}


def test_an_empty_tag_set_takes_all_tags_away(bench: Bench) -> None:
    bench.runner.run(bench.store.put_tags("src", b"a/key", None, {"a": "b"}))
    bench.apply(copy(tags={}))
    assert bench.runner.run(bench.store.get_tags("dst", b"a/key")) == {}


@pytest.mark.parametrize("condition", [{"modified_since_ms": 1_900_000_000_000}, {"unmodified_since_ms": 1_000_000_000_000}])
def test_a_condition_that_does_not_hold_is_a_412(bench: Bench, condition: dict[str, int]) -> None:
    with pytest.raises(StoreError) as caught:
        bench.apply(copy(**condition))
    assert caught.value.status == 412


def test_an_etag_of_the_manifest_must_be_the_sources(bench: Bench) -> None:
    with pytest.raises(StoreError) as caught:
        bench.apply(copy(), etag="0" * 32)
    assert caught.value.status == 412
    assert bench.apply(copy(), etag="9a0364b9e99bb480dd25e1f0284c8555") == COPIED


def test_cos_is_told_the_new_version(bench: Bench) -> None:
    assert bench.apply(copy(target_bucket="kept", dialect="cos")) == Outcome(200, None, "Successful; new version v1")
    assert bench.apply(copy(target_bucket="kept")) == COPIED


def test_a_source_above_5_gib_fails_clearly(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def too_large(*_: Any) -> None:
        text = "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120"
        raise StoreError(400, "InvalidRequest", text)

    monkeypatch.setattr(bench.store, "copy_object", too_large)
    outcome = bench.apply(copy())
    assert (outcome.status, outcome.code) == (400, "EntityTooLarge")
    assert "copies in parts are not implemented" in str(outcome.message)


# -- copies in doubt ------------------------------------------------------------------------------------------------------------


def test_a_copy_that_was_carried_out_is_not_repeated(bench: Bench) -> None:
    first_ms = bench.clock.now_ms()
    bench.apply(copy())
    bench.clock.advance(3600)
    assert bench.apply(copy(), first_attempt_ms=first_ms) == COPIED
    assert len(bench.store.log) == 1


def test_a_copy_that_left_no_trace_is_done(bench: Bench) -> None:
    assert bench.apply(copy(), first_attempt_ms=bench.doubt()) == COPIED
    bench.put("dst", b"a/key", b"old target")
    bench.clock.advance(60)
    assert bench.apply(copy(), first_attempt_ms=bench.doubt()) == COPIED
    assert bench.body("dst", b"a/key") == b"content"


def test_a_target_that_someone_else_wrote_since_is_left_alone(bench: Bench) -> None:
    first_ms = bench.doubt()
    bench.put("dst", b"a/key", b"theirs")
    outcome = bench.apply(copy(), first_attempt_ms=first_ms)
    assert (outcome.status, outcome.code) == (409, "ChangedSinceAttempt")
    assert bench.body("dst", b"a/key") == b"theirs"


def test_a_target_written_since_whose_source_is_gone_is_left_alone(bench: Bench) -> None:
    first_ms = bench.doubt()
    bench.put("dst", b"a/key", b"content")
    bench.runner.run(bench.store.delete_object("src", b"a/key"))
    assert bench.apply(copy(), first_attempt_ms=first_ms).code == "ChangedSinceAttempt"


def test_one_second_of_doubt_counts_as_changed_by_the_stores_clock(bench: Bench) -> None:
    bench.put("dst", b"a/key", b"theirs")
    now_ms = bench.clock.now_ms()
    assert bench.apply(copy(), first_attempt_ms=now_ms + 1000).code == "ChangedSinceAttempt"
    bench.store.ahead_ms = 500_000
    assert bench.apply(copy(), first_attempt_ms=now_ms - 499_000).code == "ChangedSinceAttempt"
    assert bench.apply(copy(), first_attempt_ms=now_ms - 498_000).succeeded


@pytest.mark.parametrize("fates", [["after"], ["before"], ["before", "before", "after"]])
def test_a_copy_whose_answer_was_lost_ends_as_one_copy(bench: Bench, fates: list[str]) -> None:
    bench.store.lose(*fates)
    assert bench.apply(copy(target_bucket="kept")) == COPIED
    assert bench.store.log == [("copy", "kept", b"a/key")]


def test_tries_of_unknown_fate_are_further_and_further_apart(bench: Bench) -> None:
    bench.store.lose("before", "before", "before")
    assert bench.apply(copy()) == COPIED
    bench.store.lose("before", "before", "before")
    assert bench.apply(Delete()).succeeded
    assert bench.runner.slept == [0.025, 0.05, 0.1] * 2


def test_a_copy_that_is_always_lost_is_read_back_before_it_fails(bench: Bench) -> None:
    bench.store.lose(*["before"] * 8)
    assert bench.apply(copy()) == Outcome(0, "NoAnswer", "connection reset")
    bench.store.lose(*["before"] * 7, "after")
    assert bench.apply(copy()) == COPIED
    assert len(bench.store.log) == 1


def test_a_happy_copy_asks_for_nothing_else(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.store.unreadable = True
    assert bench.apply(copy()) == COPIED
    assert bench.runner.slept == []


def test_a_copy_that_cannot_be_read_back_is_unknown(bench: Bench) -> None:
    bench.store.lose("after")
    bench.store.unreadable = True
    assert bench.apply(copy()).code == "OutcomeUnknown"


# -- copies in place, in doubt --------------------------------------------------------------------------------------------------

IN_PLACE = [
    {"storage_class": "GLACIER"},
    {"metadata": NewMetadata(content_type="image/png", user={"Colour": "red", "Name": "Zoë"})},
    {"sse": "aws:kms", "sse_kms_key": "arn:aws:kms:eu:1:key/one", "bucket_key": True},
    {"storage_class": "GLACIER", "tags": {"a": "b"}},
    {"storage_class": "GLACIER", "canned_acl": "private"},
]


@pytest.mark.parametrize("parameters", IN_PLACE)
def test_a_copy_in_place_that_was_carried_out_is_a_success(bench: Bench, parameters: dict[str, Any]) -> None:
    operation = copy(target_bucket="kept", **parameters)
    bench.put("kept", b"k", b"content")
    bench.clock.advance(60)
    bench.store.log.clear()
    bench.store.lose("after")
    assert bench.apply(operation, b"k", "kept") == COPIED
    assert bench.store.log == [("copy", "kept", b"k")]


@pytest.mark.parametrize("parameters", IN_PLACE)
def test_a_copy_in_place_that_left_no_trace_is_done(bench: Bench, parameters: dict[str, Any]) -> None:
    assert bench.apply(copy(target_bucket="src", **parameters), first_attempt_ms=bench.doubt()) == COPIED
    assert bench.store.log == [("copy", "src", b"a/key")]


@pytest.mark.parametrize("parameters", IN_PLACE)
def test_an_object_that_someone_else_wrote_since_is_not_taken_for_the_copy_in_place(
    bench: Bench, parameters: dict[str, Any]
) -> None:
    first_ms = bench.doubt()
    bench.put("src", b"a/key", b"theirs")
    outcome = bench.apply(copy(target_bucket="src", **parameters), first_attempt_ms=first_ms)
    assert (outcome.status, outcome.code) == (409, "ChangedSinceAttempt")
    assert bench.body("src", b"a/key") == b"theirs"


def test_what_an_object_had_before_proves_only_what_can_be_seen(bench: Bench) -> None:
    bench.apply(copy(target_bucket="src", storage_class="GLACIER"))
    bench.clock.advance(60)
    bench.store.log.clear()
    first_ms = bench.doubt()
    assert bench.apply(copy(target_bucket="src", storage_class="GLACIER"), first_attempt_ms=first_ms) == COPIED
    assert bench.store.log == []
    assert bench.apply(copy(target_bucket="src", storage_class="GLACIER", tags={"a": "b"}), first_attempt_ms=first_ms) == COPIED
    assert bench.store.log == [("copy", "src", b"a/key")]
    bench.clock.advance(60)
    bench.store.log.clear()
    hidden = copy(target_bucket="src", storage_class="GLACIER", canned_acl="private")
    assert bench.apply(hidden, first_attempt_ms=bench.doubt()) == COPIED
    assert bench.store.log == [("copy", "src", b"a/key")]


def test_a_row_whose_size_is_another_is_not_the_copy_in_place(bench: Bench) -> None:
    first_ms = bench.doubt()
    bench.apply(copy(target_bucket="src", storage_class="GLACIER"))
    operation = copy(target_bucket="src", storage_class="GLACIER")
    assert bench.apply(operation, size=8, first_attempt_ms=first_ms).code == "ChangedSinceAttempt"
    assert bench.apply(operation, size=7, first_attempt_ms=first_ms) == COPIED


@pytest.mark.parametrize("fate", ["before", "after"])
def test_an_older_version_brought_back_is_brought_back_once(bench: Bench, fate: str) -> None:
    bench.put("kept", b"k", b"one")
    version = str(bench.runner.run(bench.store.head_object("kept", b"k")).version).encode()
    bench.put("kept", b"k", b"two")
    bench.clock.advance(60)
    bench.store.log.clear()
    bench.store.lose(fate)
    assert bench.apply(copy(target_bucket="kept"), b"k", "kept", version=version) == COPIED
    assert bench.store.log == [("copy", "kept", b"k")]
    assert bench.body("kept", b"k") == b"one"


# -- ETags that cannot be compared ----------------------------------------------------------------------------------------------


def relabel(bench: Bench, bucket: str, etag: str | None = None, **told: str) -> None:
    """Make the object look as if it was uploaded in parts, encrypted, or told with a checksum."""
    held = bench.store.buckets[bucket][b"a/key"]
    headers = {**held[-1].headers, **{name.replace("_", "-"): value for name, value in told.items()}}
    held[-1] = msgspec.structs.replace(held[-1], etag=etag or held[-1].etag, headers=headers)


PARTS = "d41d8cd98f00b204e9800998ecf8427e-3"
KMS = {"x_amz_server_side_encryption": "aws:kms"}


@pytest.mark.parametrize(
    ("source", "target", "code"),
    [
        ({"etag": PARTS}, {}, "OutcomeUnknown"),
        ({"etag": "ab" * 16, **KMS}, {}, "OutcomeUnknown"),
        ({}, {"etag": "ab" * 16, **KMS}, "OutcomeUnknown"),
        ({"etag": PARTS, "x_amz_checksum_crc32": "AAAA-3"}, {"x_amz_checksum_crc32": "BBBB"}, "OutcomeUnknown"),
        ({"etag": PARTS, "x_amz_checksum_crc64nvme": "A"}, {"x_amz_checksum_crc64nvme": "A"}, None),
        ({"etag": PARTS, "x_cos_hash_crc64ecma": "1"}, {"x_cos_hash_crc64ecma": "2"}, "ChangedSinceAttempt"),
        ({"etag": "ab" * 16}, {}, "ChangedSinceAttempt"),
        ({"etag": PARTS}, {"etag": PARTS}, None),
    ],
)
def test_a_written_target_is_judged_by_what_can_be_compared(
    bench: Bench, source: dict[str, str], target: dict[str, str], code: str | None
) -> None:
    first_ms = bench.doubt()
    bench.put("dst", b"a/key", b"content")
    relabel(bench, "src", **source)
    relabel(bench, "dst", **target)
    etag = bench.runner.run(bench.store.head_object("src", b"a/key")).etag
    for known in ({}, {"etag": etag}, {"etag": etag, "size": 7}):
        assert bench.apply(copy(), first_attempt_ms=first_ms, **known).code == code
    assert bench.store.log == [("put", "dst", b"a/key")]


def test_another_size_is_another_object_whatever_the_etags(bench: Bench) -> None:
    first_ms = bench.doubt()
    bench.put("dst", b"a/key", b"theirs")
    relabel(bench, "src", PARTS)
    for known in ({}, {"size": 7}, {"etag": PARTS, "size": 7}):
        assert bench.apply(copy(), first_attempt_ms=first_ms, **known).code == "ChangedSinceAttempt"


def test_a_source_that_is_gone_leaves_only_the_manifests_etag_to_compare(bench: Bench) -> None:
    first_ms = bench.doubt()
    bench.put("dst", b"a/key", b"content")
    bench.runner.run(bench.store.delete_object("src", b"a/key"))
    assert bench.apply(copy(), first_attempt_ms=first_ms, etag="ab" * 16, size=7).code == "ChangedSinceAttempt"
    assert bench.apply(copy(), first_attempt_ms=first_ms, etag=PARTS, size=7).code == "OutcomeUnknown"


# -- what HEAD tells ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "told", "shown"),
    [
        ([("x-amz-storage-class", "STANDARD")], {}, True),
        ([("x-amz-storage-class", "GLACIER")], {}, False),
        ([("x-amz-storage-class", "ARCHIVE")], {"x-cos-storage-class": "ARCHIVE"}, True),
        ([("x-amz-server-side-encryption-bucket-key-enabled", "false")], {}, True),
        ([("x-amz-server-side-encryption-aws-kms-key-id", "one")], {KMS_KEY: "arn:aws:kms:eu:1:key/one"}, True),
        ([("x-amz-server-side-encryption-aws-kms-key-id", "two")], {KMS_KEY: "arn:aws:kms:eu:1:key/one"}, False),
        ([("x-amz-server-side-encryption-aws-kms-key-id", "alias/a")], {KMS_KEY: "arn:aws:kms:eu:1:key/one"}, True),
        ([REPLACE, ("content-type", "a/b"), ("x-amz-meta-a", "1")], {"content-type": "a/b", "x-cos-meta-a": "1"}, True),
        ([REPLACE, ("x-amz-meta-a", "1")], {"x-cos-meta-a": "1", "x-cos-meta-b": "2"}, False),
        ([REPLACE, ("x-amz-meta-a", "1")], {"x-cos-meta-a": "2"}, False),
        ([REPLACE], {}, True),
        ([("x-amz-website-redirect-location", "/there")], {}, False),
    ],
)
def test_what_a_copy_sets_is_found_again_in_what_head_tells(
    wanted: list[tuple[str, str]], told: dict[str, str], shown: bool
) -> None:
    assert shows(ObjectHead(size=0, etag="e", modified_ms=0, headers=told), wanted) is shown


# -- deletes --------------------------------------------------------------------------------------------------------------------


def batch(bench: Bench, count: int = 6, bucket: str = "src") -> list[Task]:
    tasks = []
    for row in range(count):
        bench.put(bucket, b"d/%d" % row, b"")
        tasks.append(Task(row, bucket, b"d/%d" % row))
    bench.clock.advance(60)
    bench.store.log.clear()
    return tasks


def test_fresh_rows_go_in_one_batch_and_missing_keys_are_the_stores_to_judge(bench: Bench) -> None:
    tasks = [*batch(bench), Task(6, "src", b"never")]
    assert bench.runner.run(Delete().apply_batch(tasks, bench.store)) == [Outcome(204)] * 7


def test_after_a_lost_batch_every_key_is_looked_at_and_deleted_once(bench: Bench) -> None:
    tasks = batch(bench, 6, "kept")
    bench.store.lose("half")
    assert bench.runner.run(Delete().apply_batch(tasks, bench.store)) == [Outcome(204)] * 6
    assert sorted(key for _, _, key in bench.store.log) == [task.key for task in tasks]


def test_only_the_keys_that_are_in_doubt_are_looked_at(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = batch(bench, 6, "kept")
    looked: list[bytes] = []
    head_object = bench.store.head_object

    async def head(bucket: str, key: bytes, version: bytes | None = None) -> Any:
        looked.append(key)
        return await head_object(bucket, key, version)

    monkeypatch.setattr(bench.store, "head_object", head)
    bench.store.lose("last")
    tasks[5] = msgspec.structs.replace(tasks[5], etag="other")
    outcomes = bench.runner.run(Delete().apply_batch(tasks, bench.store))
    assert [outcome.status for outcome in outcomes] == [204] * 5 + [412]
    assert looked == [task.key for task in tasks[3:]]


@pytest.mark.parametrize(("allowed", "width"), [(1, 1), (5, 5), (100, 16)])
def test_keys_in_doubt_go_side_by_side_as_far_as_the_store_allows(bench: Bench, allowed: int, width: int) -> None:
    tasks = batch(bench)
    bench.store.width = allowed
    bench.store.lose("half")
    coroutine = Delete().apply_batch(tasks, bench.store)
    gather = coroutine.send(None)
    assert isinstance(gather, Gather)
    assert gather.width == width
    for child in gather.coroutines:
        child.close()
    coroutine.close()


def test_after_a_lost_batch_a_refused_key_fails_alone(bench: Bench) -> None:
    tasks = batch(bench)
    bench.store.lose("half")
    tasks[5] = msgspec.structs.replace(tasks[5], etag="other")
    outcomes = bench.runner.run(Delete().apply_batch(tasks, bench.store))
    assert [outcome.status for outcome in outcomes] == [204] * 5 + [412]


def test_a_delete_in_doubt_that_was_done_is_not_repeated(bench: Bench) -> None:
    tasks = batch(bench, 1, "kept")
    first_ms = bench.doubt()
    bench.apply(Delete(), tasks[0].key, "kept")
    assert bench.apply(Delete(), tasks[0].key, "kept", first_attempt_ms=first_ms) == Outcome(204)
    assert len(bench.store.log) == 1


def test_a_delete_in_doubt_that_was_not_done_is_done(bench: Bench) -> None:
    assert bench.apply(Delete(), first_attempt_ms=bench.doubt()) == Outcome(204)
    assert bench.store.log == [("delete", "src", b"a/key")]


def test_an_object_written_since_the_first_delete_is_left_alone(bench: Bench) -> None:
    first_ms = bench.doubt()
    bench.put("src", b"a/key", b"new")
    outcome = bench.apply(Delete(), first_attempt_ms=first_ms)
    assert (outcome.status, outcome.code) == (409, "ChangedSinceAttempt")
    assert bench.body("src", b"a/key") == b"new"


def test_a_version_in_doubt_is_deleted_without_looking(bench: Bench) -> None:
    bench.put("kept", b"k", b"one")
    version = str(bench.runner.run(bench.store.head_object("kept", b"k")).version).encode()
    bench.store.unreadable = True
    assert bench.apply(Delete(), b"k", "kept", version=version, first_attempt_ms=1) == Outcome(204)


@pytest.mark.parametrize("fate", ["before", "after"])
def test_a_delete_whose_answer_was_lost_ends_as_one_delete(bench: Bench, fate: str) -> None:
    tasks = batch(bench, 1, "kept")
    bench.store.lose(fate)
    assert bench.apply(Delete(), tasks[0].key, "kept") == Outcome(204)
    assert len(bench.store.log) == 1


def test_a_conditional_delete_knows_its_own_effect_from_a_missing_key(bench: Bench) -> None:
    etag = "9a0364b9e99bb480dd25e1f0284c8555"
    bench.store.lose("after")
    assert bench.apply(Delete(), etag=etag) == Outcome(204)
    with pytest.raises(StoreError) as caught:
        bench.apply(Delete(), etag=etag)
    assert caught.value.status == 404


def test_a_delete_that_is_always_lost_is_read_back_before_it_fails(bench: Bench) -> None:
    bench.store.lose(*["before"] * 8)
    assert bench.apply(Delete()) == Outcome(0, "NoAnswer", "connection reset")
    bench.store.lose(*["before"] * 7, "after")
    assert bench.apply(Delete()) == Outcome(204)


@pytest.mark.parametrize("operation", [Delete(), copy()])
@pytest.mark.parametrize("since_a_crash", [False, True])
def test_what_cannot_be_read_back_is_unknown(bench: Bench, operation: Any, since_a_crash: bool) -> None:
    bench.store.unreadable = True
    if since_a_crash:
        assert bench.apply(operation, first_attempt_ms=bench.doubt()).code == "OutcomeUnknown"
        assert bench.store.log == []
    else:
        bench.store.lose("before")
        assert bench.apply(operation).code == "OutcomeUnknown"


def test_a_null_version_written_since_the_first_attempt_survives(bench: Bench) -> None:
    first_ms = bench.doubt()
    bench.put("src", b"a/key", b"somebody's")
    assert bench.apply(Delete(), version=b"null", first_attempt_ms=first_ms).code == "ChangedSinceAttempt"
    assert bench.body("src", b"a/key") == b"somebody's"


# -- tags -----------------------------------------------------------------------------------------------------------------------


def test_tags_are_replaced_or_added(bench: Bench) -> None:
    assert bench.apply(PutTagging(tags={"a": "1", "b": "2"})) == COPIED
    assert bench.apply(PutTagging(tags={"b": "3", "c": "4"}, mode="add")) == COPIED
    assert bench.runner.run(bench.store.get_tags("src", b"a/key")) == {"a": "1", "b": "3", "c": "4"}
    assert bench.apply(PutTagging(tags={"d": "5"})) == COPIED
    assert bench.runner.run(bench.store.get_tags("src", b"a/key")) == {"d": "5"}


def test_adding_what_is_there_writes_nothing(bench: Bench) -> None:
    bench.apply(PutTagging(tags={"a": "1"}))
    bench.store.log.clear()
    assert bench.apply(PutTagging(tags={"a": "1"}, mode="add")).succeeded
    assert bench.store.log == []


@pytest.mark.parametrize("mode", ["replace", "add"])
def test_more_than_ten_tags_fail_and_change_nothing(bench: Bench, mode: Any) -> None:
    bench.apply(PutTagging(tags={"first": ""}))
    many = {str(n): "" for n in range(11 if mode == "replace" else 10)}
    outcome = bench.apply(PutTagging(tags=many, mode=mode))
    assert (outcome.status, outcome.code) == (400, "InvalidTag")
    assert bench.runner.run(bench.store.get_tags("src", b"a/key")) == {"first": ""}


@pytest.mark.parametrize("mode", ["replace", "add"])
def test_tags_that_were_lost_on_the_way_are_set_again(bench: Bench, mode: Any) -> None:
    bench.store.lose("before", "before", "after")
    assert bench.apply(PutTagging(tags={"a": "1"}, mode=mode)) == COPIED
    assert bench.runner.run(bench.store.get_tags("src", b"a/key")) == {"a": "1"}


def test_an_object_that_is_not_there_is_that_after_a_lost_answer_too(bench: Bench) -> None:
    bench.store.lose("before")
    assert bench.apply(PutTagging(tags={"a": "1"}), key=b"absent").code == "NoSuchKey"


@pytest.mark.parametrize("mode", ["replace", "add"])
def test_tags_in_doubt_are_set_again(bench: Bench, mode: Any) -> None:
    assert bench.apply(PutTagging(tags={"a": "1"}, mode=mode), first_attempt_ms=bench.doubt()).succeeded
    assert bench.runner.run(bench.store.get_tags("src", b"a/key")) == {"a": "1"}


def test_tags_whose_last_try_was_lost_are_read_back(bench: Bench) -> None:
    bench.store.lose("after", *["before"] * TRIES_MAX)
    assert bench.apply(PutTagging(tags={"a": "1"})).succeeded
    assert bench.apply(PutTagging(tags={"a": "2"})).code == "NoAnswer"
    bench.store.lose("after")
    bench.store.unreadable = True
    assert bench.apply(PutTagging(tags={"a": "3"})).code == "OutcomeUnknown"
