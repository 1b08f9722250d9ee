"""The jobs of a round: their objects, manifests and requests, and what must be in the store in the end."""

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from haulier.testing.force.dying import LISTS
from haulier.testing.force.entry import Entry
from haulier.testing.force.plan import JobPlan
from haulier.testing.jobs import PutManifest, s3_job
from haulier.testing.objects import heads_of, list_objects, list_versions, put_objects, put_tags, tags_of
from haulier.testing.stores import SeaweedFS

DATA: Final = "force-data"
COPIES: Final = "force-copies"
VERSIONS: Final = "force-versions"
TAGS: Final = {"force": "yes"}
BEFORE: Final = {"old": "1"}
"""Tags of every fourth object that is to get more."""
BYSTANDERS: Final = 20
DOUBLE_MARKER: Final = "has more than one delete marker"
MISSING_VERSION: Final = "0123456789abcdef0123456789abcdef"
_OPERATIONS: Final[Mapping[str, dict[str, Any]]] = {
    "copy in place": {
        "S3PutObjectCopy": {
            "TargetResource": f"arn:aws:s3:::{DATA}",
            "MetadataDirective": "REPLACE",
            "NewObjectMetadata": {"UserMetadata": TAGS},
        }
    },
    "replace tags": {"S3PutObjectTagging": {"TagSet": [{"Key": key, "Value": value} for key, value in TAGS.items()]}},
    "add tags": {"S3MergeObjectTagging": {"TagSet": [{"Key": key, "Value": value} for key, value in TAGS.items()]}},
    "delete": {"S3DeleteObject": {}},
    "delete versions": {"S3DeleteObject": {}},
    "delete markers": {"S3DeleteObject": {}},
}


class Row(msgspec.Struct, frozen=True):
    """A task as the manifest has it."""

    number: int
    key: str
    version: str | None
    missing: bool


class Work:
    """One job: what it is about, and what somebody else has written meanwhile."""

    def __init__(self, store: SeaweedFS, plan: JobPlan, name: str) -> None:
        self.plan = plan
        self.name = name
        self.id = ""
        """Once it was created."""
        self.bucket = VERSIONS if plan.kind in ("delete versions", "delete markers") else DATA
        self.target_bucket = COPIES if plan.kind == "copy" else self.bucket
        self.foreign: dict[int, bytes] = {}
        """By row: the content that somebody wrote after the row was first tried."""
        self.rows: list[Row] = []
        self.token = str(uuid.uuid4())
        self._store = store
        self._s3 = store.client()
        self._manifest: PutManifest
        self._by_object: dict[tuple[str, str | None], Row] = {}

    # -- before

    def prepare(self) -> None:
        """Put the objects and the manifest."""
        keys = [f"{self.name}/{number % 7}/object {number:05d}" for number in range(self.plan.rows)]
        step = self.plan.rows // self.plan.missing if self.plan.missing else self.plan.rows + 1
        missing = {number for number in range(self.plan.rows) if number % step == step - 1}
        present = [key for number, key in enumerate(keys) if number not in missing]
        put_objects(self._store, self.bucket, {key: key.encode() for key in (*present, *self._bystanders())})
        versions: dict[str, str] = {}
        if self.plan.kind == "delete versions":
            versions = {key: found[0].id for key, found in list_versions(self._s3, self.bucket, f"{self.name}/").items()}
            put_objects(self._store, self.bucket, {key: self._second(key) for key in present})
        elif self.plan.kind == "add tags":
            put_tags(self._store, self.bucket, dict.fromkeys(present[::4], BEFORE))
        with_versions = self.plan.kind == "delete versions"
        self.rows = [
            Row(number, key, versions.get(key, MISSING_VERSION) if with_versions else None, number in missing)
            for number, key in enumerate(keys)
        ]
        self._by_object = {(self._changed_key(row), row.version): row for row in self.rows}
        text = "".join(f"{self.bucket},{quote(row.key)}{'' if row.version is None else ',' + row.version}\n" for row in self.rows)
        place = f"manifest-{self.name}.csv"
        etag = self._s3.put_object(Bucket=LISTS, Key=place, Body=text.encode())["ETag"]
        self._manifest = PutManifest(LISTS, place, etag.strip('"'))

    def _bystanders(self) -> list[str]:
        """Keys that no manifest names."""
        return [f"{self.name}/bystander {number}" for number in range(BYSTANDERS)]

    @staticmethod
    def _second(key: str) -> bytes:
        return f"{key}, newer".encode()

    def request(self) -> dict[str, Any]:
        """Arguments of `create_job`; the same each time."""
        copy = {"S3PutObjectCopy": {"TargetResource": f"arn:aws:s3:::{COPIES}", "TargetKeyPrefix": "copied"}}
        request = s3_job(_OPERATIONS.get(self.plan.kind, copy), self._manifest, "reports", ClientRequestToken=self.token)
        if self.plan.kind == "delete versions":
            request["Manifest"]["Spec"]["Fields"] = ["Bucket", "Key", "VersionId"]
        return request

    # -- what passes

    def _changed_key(self, row: Row) -> str:
        return f"copied/{row.key}" if self.plan.kind == "copy" else row.key

    def rows_of(self, entry: Entry) -> Iterator[Row]:
        """The rows that a request is to carry out."""
        if entry.changes and entry.bucket == self.target_bucket:
            for key, version in entry.names():
                row = self._by_object.get((key.decode(), version))
                if row is not None:
                    yield row

    def tries_of(self, entry: Entry) -> Iterator[tuple[Row, bool]]:
        """The rows that a request is to carry out, and whether the store says that it has."""
        failed = entry.failed_keys()
        for row in self.rows_of(entry):
            yield row, entry.ok and self._changed_key(row).encode() not in failed

    def looked_at(self, entry: Entry) -> Row | None:
        """The row whose object a request looks at."""
        if entry.changes or entry.bucket != self.target_bucket:
            return None
        return self._by_object.get((entry.key.decode(), entry.version))

    @property
    def may_be_rewritten(self) -> bool:
        """Whether what somebody writes meanwhile has to survive: deletes of versions pass it by, tags come upon it."""
        return self.plan.kind in ("copy", "copy in place", "delete", "delete markers")

    @property
    def deletes(self) -> bool:
        """Whether there is nothing to do where there is no object."""
        return self.plan.kind.startswith("delete")

    @property
    def may_repeat(self) -> bool:
        """Whether doing it once more without a look does no harm."""
        return not self.may_be_rewritten

    def write_as_somebody(self, rows: Iterable[Row]) -> None:
        """Write these rows' objects, or their copies, anew."""
        bodies = {row.number: f"somebody else's {row.number}".encode() for row in rows}
        put_objects(
            self._store, self.target_bucket, {self._changed_key(self.rows[number]): body for number, body in bodies.items()}
        )
        self.foreign |= bodies

    # -- after

    def content_problems(self, outcomes: Mapping[int, str | None]) -> Iterator[tuple[int | None, str]]:
        """What is not in the store as it should be, by the outcomes: row → error code, None = succeeded; no entry: none. Each
        with the row that it is about, if there is one."""
        check = {
            "copy": self._copies,
            "copy in place": self._in_place,
            "replace tags": self._tags,
            "add tags": self._tags,
            "delete": self._deleted,
        }.get(self.plan.kind, self._versions)
        return check(outcomes)

    def _copies(self, outcomes: Mapping[int, str | None]) -> Iterator[tuple[int | None, str]]:
        found = list_objects(self._s3, COPIES, f"copied/{self.name}/")
        for row in self.rows:
            etag = found.pop(self._changed_key(row), None)
            if row.number in self.foreign:
                if etag != _md5(self.foreign[row.number]):
                    yield row.number, f"what somebody wrote over the copy is gone; its outcome: {_said(outcomes, row)}"
            elif outcomes.get(row.number, "") is None and etag != _md5(row.key.encode()):
                yield row.number, f"was reported as copied, and the copy has ETag {etag}"
        if found:
            yield None, f"copies of objects that the manifest does not name: {sorted(found)[:5]}"

    def _in_place(self, outcomes: Mapping[int, str | None]) -> Iterator[tuple[int | None, str]]:
        found = heads_of(self._store, self.bucket, [row.key for row in self.rows] + self._bystanders())
        for row in self.rows:
            head = found[row.key]
            wanted = self.foreign.get(row.number, row.key.encode())
            if head is None:
                if not row.missing:
                    yield row.number, "the object is gone"
            elif head.etag != _md5(wanted):
                yield row.number, f"the object's content has changed; its outcome is {_said(outcomes, row)}"
            elif row.number in self.foreign:
                if head.metadata:
                    yield row.number, f"what somebody wrote was copied upon itself; its outcome is {_said(outcomes, row)}"
            elif outcomes.get(row.number, "") is None and head.metadata != TAGS:
                yield row.number, f"was reported as copied, and has metadata {head.metadata}"
        if any(found[key] is None or found[key].metadata for key in self._bystanders()):  # type: ignore[union-attr]
            yield None, "objects that the manifest does not name were changed"

    def _tags(self, outcomes: Mapping[int, str | None]) -> Iterator[tuple[int | None, str]]:
        present = [row for row in self.rows if not row.missing]
        found = tags_of(self._store, self.bucket, [row.key for row in present] + self._bystanders())
        for number, row in enumerate(present):
            before = BEFORE if self.plan.kind == "add tags" and number % 4 == 0 else {}
            wanted = {**before, **TAGS} if outcomes.get(row.number, "") is None else None
            if wanted is not None and found[row.key] != wanted:
                yield row.number, f"was reported as tagged, and has {found[row.key]}"
            if found[row.key] not in (before, {**before, **TAGS}):
                yield row.number, f"has tags {found[row.key]}, which nobody asked for"
        if any(found[key] for key in self._bystanders()):
            yield None, "objects that the manifest does not name were tagged"

    def _deleted(self, outcomes: Mapping[int, str | None]) -> Iterator[tuple[int | None, str]]:
        found = list_objects(self._s3, DATA, f"{self.name}/")
        for row in self.rows:
            etag = found.pop(row.key, None)
            if row.number in self.foreign:
                if etag != _md5(self.foreign[row.number]):
                    yield row.number, f"what somebody wrote anew has been destroyed; its outcome is {_said(outcomes, row)}"
            elif outcomes.get(row.number, "") is None and etag is not None:
                yield row.number, "was reported as deleted, and is there"
        if found.keys() != set(self._bystanders()):
            yield None, f"objects that the manifest does not name are gone: {len(found)} of {BYSTANDERS} are there"

    def _versions(self, outcomes: Mapping[int, str | None]) -> Iterator[tuple[int | None, str]]:
        found = list_versions(self._s3, VERSIONS, f"{self.name}/")
        for row in self.rows:
            here = found.pop(row.key, [])
            markers = [version for version in here if version.marker]
            done = outcomes.get(row.number, "") is None
            if self.plan.kind == "delete versions":
                if markers or (not row.missing and _md5(self._second(row.key)) not in [each.etag for each in here]):
                    yield row.number, f"another version than the named one was deleted: {here}"
                if done and any(version.id == row.version for version in here):
                    yield row.number, "was reported as deleted, and its version is there"
                continue
            if len(markers) > 1:
                yield row.number, f"{DOUBLE_MARKER}: {len(markers)}"
            if not row.missing and not any(version.etag == _md5(row.key.encode()) for version in here):
                yield row.number, "the version below the delete marker is gone"
            if row.number in self.foreign:
                if not here or here[-1].etag != _md5(self.foreign[row.number]):
                    yield row.number, f"what somebody wrote anew was deleted; its outcome is {_said(outcomes, row)}"
            elif done and not (here and here[-1].marker) and not row.missing:
                yield row.number, f"was reported as deleted, and its newest version is {here[-1:]}"
        if found.keys() != set(self._bystanders()):
            yield None, f"objects that the manifest does not name are gone: {len(found)} of {BYSTANDERS} are there"


def _said(outcomes: Mapping[int, str | None], row: Row) -> str:
    return (outcomes[row.number] or "succeeded") if row.number in outcomes else "none"


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
