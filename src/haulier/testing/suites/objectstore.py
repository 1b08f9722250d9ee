"""What every object store promises (`core.ports.ObjectStore`).

Subclass `ObjectStoreSuite` and provide the fixtures `store`, `run` and `bucket`; override the attributes for stores that cannot
do all of it.
"""

from collections.abc import Callable
from hashlib import md5, sha256
from pathlib import Path
from typing import Any, ClassVar

import pytest

from haulier.core.acl import Acl, Grant
from haulier.core.effects import HashedFile
from haulier.core.errors import StoreError
from haulier.core.ports import ObjectStore
from haulier.core.task import Outcome, Task

Run = Callable[[Any], Any]
"""Runs a coroutine over `core.effects` and gives its result."""


ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"


def etag_of(content: bytes) -> str:
    """The ETag of a plain object."""
    return md5(content, usedforsecurity=False).hexdigest()


class ObjectStoreSuite:
    """The promises."""

    prefix: ClassVar[bytes] = b""
    """All keys of the suite begin with it."""
    keys: ClassVar[tuple[bytes, ...]] = (
        b"plain",
        b"with space & <markup> 'quotes' \"too\"",
        b"percent%20 100%",
        b"plus+and=equals?question#hash",
        "Grüße/你好/🙂".encode(),
        b"a//b",
        b"trailing/",
        b"dots/../up/./here",
        b"control\x01\x1f",
        b"line\r\nbreak\ttab",
        b" space around ",
        b"~-_.!*'()",
        b"k" * 900,
    )
    missing_key_delete: ClassVar[Outcome] = Outcome(204)

    @pytest.fixture
    def store(self) -> ObjectStore:
        """Provided by the subclass."""
        raise NotImplementedError

    @pytest.fixture
    def run(self) -> Run:
        """Provided by the subclass."""
        raise NotImplementedError

    @pytest.fixture
    def bucket(self) -> str:
        """Provided by the subclass: an existing bucket without versions; the prefix in it is empty."""
        raise NotImplementedError

    def key(self, name: bytes) -> bytes:
        """A key of the suite's own."""
        return self.prefix + name

    def refused(self, run: Run, coroutine: Any) -> StoreError:
        """The StoreError that a call ends with."""
        with pytest.raises(StoreError) as caught:
            run(coroutine)
        assert not caught.value.unknown
        return caught.value

    # -- one object -------------------------------------------------------------------------------------------------------------

    def test_what_is_put_is_there(self, store: ObjectStore, run: Run, bucket: str) -> None:
        """HEAD and GET tell the same size and ETag."""
        key = self.key(b"there")
        assert run(store.put_object(bucket, key, b"content", content_type="text/plain")) == etag_of(b"content")
        head = run(store.head_object(bucket, key))
        assert (head.size, head.etag, head.headers["content-type"]) == (7, etag_of(b"content"), "text/plain")
        assert head.modified_ms > 0
        assert head.modified_ms % 1000 == 0
        part = run(store.get_object(bucket, key))
        assert (part.data, part.size, part.etag) == (b"content", 7, head.etag)

    def test_a_file_is_streamed(self, store: ObjectStore, run: Run, bucket: str, tmp_path: Path) -> None:
        """The file's bytes, whole."""
        path = tmp_path / "report.csv"
        data = b"line\n" * 300_000
        path.write_bytes(data)
        file = HashedFile(path, len(data), sha256=sha256(data).hexdigest(), md5=etag_of(data))
        assert run(store.put_object(bucket, self.key(b"file"), file)) == etag_of(data)
        assert run(store.get_object(bucket, self.key(b"file"))).data == path.read_bytes()

    @pytest.mark.parametrize(
        ("first", "length", "expected"),
        [(0, None, b"0123456789"), (0, 4, b"0123"), (4, 3, b"456"), (7, None, b"789"), (8, 100, b"89")],
    )
    def test_ranges(self, store: ObjectStore, run: Run, bucket: str, first: int, length: int | None, expected: bytes) -> None:
        """At most `length` bytes from `first`; the size is always the whole object's."""
        run(store.put_object(bucket, self.key(b"digits"), b"0123456789"))
        part = run(store.get_object(bucket, self.key(b"digits"), first=first, length=length))
        assert (part.data, part.size) == (expected, 10)

    def test_an_empty_object_has_an_empty_first_range(self, store: ObjectStore, run: Run, bucket: str) -> None:
        """Not an error: readers by range need no special case."""
        run(store.put_object(bucket, self.key(b"empty"), b""))
        part = run(store.get_object(bucket, self.key(b"empty"), length=100))
        assert (part.data, part.size, part.etag) == (b"", 0, etag_of(b""))

    def test_a_read_can_insist_on_an_etag(self, store: ObjectStore, run: Run, bucket: str) -> None:
        """412 for another one."""
        run(store.put_object(bucket, self.key(b"tagged"), b"content"))
        assert run(store.get_object(bucket, self.key(b"tagged"), length=3, if_match=etag_of(b"content"))).data == b"con"
        error = self.refused(run, store.get_object(bucket, self.key(b"tagged"), if_match=etag_of(b"other")))
        assert (error.status, error.code) == (412, "PreconditionFailed")

    def test_put_if_absent(self, store: ObjectStore, run: Run, bucket: str) -> None:
        """The second is refused and changes nothing."""
        run(store.put_object(bucket, self.key(b"once"), b"first", if_absent=True))
        error = self.refused(run, store.put_object(bucket, self.key(b"once"), b"second", if_absent=True))
        assert error.status == 412
        assert run(store.get_object(bucket, self.key(b"once"))).data == b"first"

    def test_missing_objects_and_buckets(self, store: ObjectStore, run: Run, bucket: str) -> None:
        """404, with the code that S3 would give."""
        error = self.refused(run, store.head_object(bucket, self.key(b"missing")))
        assert (error.status, error.code) == (404, "NoSuchKey")
        error = self.refused(run, store.get_object(bucket, self.key(b"missing")))
        assert (error.status, error.code) == (404, "NoSuchKey")
        error = self.refused(run, store.copy_object(bucket, self.key(b"missing"), None, bucket, self.key(b"copy")))
        assert (error.status, error.code) == (404, "NoSuchKey")
        error = self.refused(run, store.get_object("bucket-that-is-not-there", b"key"))
        assert (error.status, error.code) == (404, "NoSuchBucket")

    def test_every_key_survives_put_copy_and_delete(self, store: ObjectStore, run: Run, bucket: str) -> None:
        """Bytes in, the same bytes out: no normalising, no decoding twice."""
        for name in self.keys:
            source, target = self.key(b"from/" + name), self.key(b"to/" + name)
            run(store.put_object(bucket, source, name))
            copied = run(store.copy_object(bucket, source, None, bucket, target))
            assert copied.etag == etag_of(name)
            assert run(store.get_object(bucket, target)).data == name
        tasks = [Task(row, bucket, self.key(b"to/" + name)) for row, name in enumerate(self.keys)]
        assert all(outcome.succeeded for outcome in run(store.delete_objects(bucket, tasks)))
        for name in self.keys:
            assert self.refused(run, store.head_object(bucket, self.key(b"to/" + name))).status == 404
            assert run(store.head_object(bucket, self.key(b"from/" + name))).size == len(name)

    # -- copies and tags --------------------------------------------------------------------------------------------------------

    def test_a_copy_takes_metadata_along_or_replaces_it(self, store: ObjectStore, run: Run, bucket: str) -> None:
        """By its directive."""
        source, target = self.key(b"source"), self.key(b"target")
        run(store.put_object(bucket, source, b"content", content_type="text/plain"))
        run(store.copy_object(bucket, source, None, bucket, target))
        assert run(store.head_object(bucket, target)).headers["content-type"] == "text/plain"
        headers = (
            ("x-amz-metadata-directive", "REPLACE"),
            ("content-type", "image/png"),
            ("x-amz-meta-colour", "red  and blue"),
        )
        run(store.copy_object(bucket, source, None, bucket, target, headers))
        head = run(store.head_object(bucket, target))
        assert head.headers["content-type"] == "image/png"
        assert head.metadata["colour"].split() == ["red", "and", "blue"]

    def test_tags_are_replaced_as_a_whole(self, store: ObjectStore, run: Run, bucket: str) -> None:
        """Also by characters that XML must escape, and down to none."""
        key = self.key(b"tags")
        run(store.put_object(bucket, key, b""))
        assert run(store.get_tags(bucket, key)) == {}
        run(store.put_tags(bucket, key, None, {"a": "1", "b": ""}))
        run(store.put_tags(bucket, key, None, {"project": "x + y = z", "path": "a/b:c@d"}))
        assert run(store.get_tags(bucket, key)) == {"project": "x + y = z", "path": "a/b:c@d"}
        run(store.put_tags(bucket, key, None, {}))
        assert run(store.get_tags(bucket, key)) == {}
        assert self.refused(run, store.put_tags(bucket, self.key(b"missing"), None, {"a": "1"})).status == 404

    def test_an_access_control_list_is_replaced_as_a_whole(self, store: ObjectStore, run: Run, bucket: str) -> None:
        """By one that names users and groups, or by a canned one; the owner's full control comes with each object."""
        key = self.key(b"acl")
        run(store.put_object(bucket, key, b""))
        usual = run(store.get_acl(bucket, key))
        assert usual.grants == (Grant("id", usual.owner, "FULL_CONTROL"),)
        wanted = Acl(usual.owner, (*usual.grants, Grant("id", "other <&>", "READ"), Grant("uri", ALL_USERS, "READ_ACP")))
        run(store.put_acl(bucket, key, None, wanted))
        assert run(store.get_acl(bucket, key)) == wanted
        run(store.put_acl(bucket, key, None, "public-read"))
        assert set(run(store.get_acl(bucket, key)).grants) == {*usual.grants, Grant("uri", ALL_USERS, "READ")}
        run(store.put_acl(bucket, key, None, "private"))
        assert run(store.get_acl(bucket, key)) == usual
        assert self.refused(run, store.get_acl(bucket, self.key(b"missing"))).status == 404

    # -- deletes ----------------------------------------------------------------------------------------------------------------

    def test_delete(self, store: ObjectStore, run: Run, bucket: str) -> None:
        """204; a missing key is what the store says it is."""
        run(store.put_object(bucket, self.key(b"doomed"), b""))
        assert run(store.delete_object(bucket, self.key(b"doomed"))).succeeded
        assert self.refused(run, store.head_object(bucket, self.key(b"doomed"))).status == 404
        assert run(store.delete_object(bucket, self.key(b"doomed"))) == self.missing_key_delete

    def test_a_batch_of_deletes_has_an_outcome_for_every_key(self, store: ObjectStore, run: Run, bucket: str) -> None:
        """In the order of the tasks, missing keys included."""
        names = [b"batch/%04d" % n for n in range(40)]
        for name in names[:20]:
            run(store.put_object(bucket, self.key(name), b""))
        outcomes = run(store.delete_objects(bucket, [Task(n, bucket, self.key(name)) for n, name in enumerate(names)]))
        assert [outcome.succeeded for outcome in outcomes] == [True] * 40
        for name in names:
            assert self.refused(run, store.head_object(bucket, self.key(name))).status == 404

    def test_it_is_told_that_no_versions_are_kept(self, store: ObjectStore, run: Run, bucket: str) -> None:
        """By GetBucketVersioning; a bucket that is not there is refused."""
        assert run(store.keeps_versions(bucket)) is False
        with pytest.raises(StoreError) as caught:
            run(store.keeps_versions("no-such-bucket-anywhere"))
        assert caught.value.status == 404

    def test_an_empty_key_never_means_the_bucket(self, store: ObjectStore, run: Run, bucket: str) -> None:
        """A DELETE of nothing must not become the DELETE of the bucket."""
        assert self.refused(run, store.delete_object(bucket, b"")).status == 400
        assert self.refused(run, store.put_object(bucket, b"", b"")).status == 400
        assert self.refused(run, store.head_object(bucket, b"")).status == 400
        outcomes = run(store.delete_objects(bucket, [Task(0, bucket, b"")]))
        assert outcomes[0].status == 400
        run(store.put_object(bucket, self.key(b"still-here"), b""))

    @pytest.mark.parametrize("key", [b"..", b"../x", b"a/../../x", b"./../x", b"//../x", b"a/./../../x/y/z"])
    def test_a_key_that_leads_above_its_bucket_is_refused(self, store: ObjectStore, run: Run, bucket: str, key: bytes) -> None:
        """A store that resolves dots would find another bucket behind it."""
        run(store.put_object(bucket, self.key(b"source"), b""))
        for coroutine in (
            store.head_object(bucket, key),
            store.get_object(bucket, key),
            store.put_object(bucket, key, b""),
            store.delete_object(bucket, key),
            store.get_tags(bucket, key),
            store.put_tags(bucket, key, None, {}),
            store.copy_object(bucket, self.key(b"source"), None, bucket, key),
            store.copy_object(bucket, key, None, bucket, self.key(b"copy")),
        ):
            refused = self.refused(run, coroutine)
            assert (refused.status, refused.code, refused.unknown) == (400, "InvalidURI", False)
        good = self.key(b"source")
        outcomes = run(store.delete_objects(bucket, [Task(0, bucket, good), Task(1, bucket, key)]))
        assert [(outcome.status, outcome.code) for outcome in outcomes][1] == (400, "InvalidURI")
        assert outcomes[0].succeeded


class VersionedObjectStoreSuite:
    """What object stores promise for buckets that keep versions. `bucket` is such a one."""

    prefix: ClassVar[bytes] = b""
    tells_markers: ClassVar[bool] = True
    """HEAD of a delete marker says that it is one (SeaweedFS does not)."""

    @pytest.fixture
    def store(self) -> ObjectStore:
        """Provided by the subclass."""
        raise NotImplementedError

    @pytest.fixture
    def run(self) -> Run:
        """Provided by the subclass."""
        raise NotImplementedError

    @pytest.fixture
    def bucket(self) -> str:
        """Provided by the subclass."""
        raise NotImplementedError

    def test_versions_are_told_apart(self, store: ObjectStore, run: Run, bucket: str) -> None:
        """Read, copied, tagged and deleted by version."""
        key = self.prefix + b"versions"
        versions = []
        for content in (b"one", b"two"):
            run(store.put_object(bucket, key, content))
            versions.append(run(store.head_object(bucket, key)).version.encode())
        assert versions[0] != versions[1]
        assert run(store.get_object(bucket, key, versions[0])).data == b"one"
        copied = run(store.copy_object(bucket, key, versions[0], bucket, self.prefix + b"copy"))
        assert copied.version
        assert run(store.get_object(bucket, self.prefix + b"copy")).data == b"one"
        run(store.put_tags(bucket, key, versions[0], {"of": "one"}))
        assert run(store.get_tags(bucket, key)) == {}
        assert run(store.get_tags(bucket, key, versions[0])) == {"of": "one"}
        assert run(store.delete_objects(bucket, [Task(0, bucket, key, versions[1])]))[0].succeeded
        assert run(store.get_object(bucket, key)).data == b"one"

    def test_it_is_told_that_versions_are_kept(self, store: ObjectStore, run: Run, bucket: str) -> None:
        """By GetBucketVersioning."""
        assert run(store.keeps_versions(bucket)) is True

    def test_a_delete_without_a_version_leaves_a_marker(self, store: ObjectStore, run: Run, bucket: str) -> None:
        """And HEAD tells it from a key that never was."""
        key = self.prefix + b"marked"
        run(store.put_object(bucket, key, b"content"))
        version = run(store.head_object(bucket, key)).version.encode()
        assert run(store.delete_object(bucket, key)).succeeded
        with pytest.raises(StoreError) as caught:
            run(store.head_object(bucket, key))
        assert (caught.value.status, caught.value.code) == (404, "DeleteMarker" if self.tells_markers else "NoSuchKey")
        assert run(store.get_object(bucket, key, version)).data == b"content"

    def test_a_version_that_never_was(self, store: ObjectStore, run: Run, bucket: str) -> None:
        """404 NoSuchVersion."""
        key = self.prefix + b"present"
        run(store.put_object(bucket, key, b""))
        with pytest.raises(StoreError) as caught:
            run(store.head_object(bucket, key, b"v0"))
        assert (caught.value.status, caught.value.code) == (404, "NoSuchVersion")
