"""What the world is like, apart from what Haulier says of it: the objects, the manifests, and what was ever done to them."""

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from haulier.core.job import Manifest, ObjectName, OperationSpec, Report
from haulier.objectstore.memory import Held, MemoryObjectStore
from haulier.operations import Copy, Delete, PutTagging, spec
from haulier.operations.copy import NewMetadata
from haulier.service import CreateJob
from haulier.testing.simulation.plan import JobPlan

TAGS: Final = {"seen": "yes"}
FORMATS: Final = {
    "s3control": ("S3BatchOperations_CSV_20180820", "Report_CSV_20180820"),
    "cos": ("COSBatchOperations_CSV_V1", "Report_CSV_V1"),
}
ARNS: Final = {"s3control": "arn:aws:iam::{aws}:role/batch", "cos": "qcs::cam::uin/{uin}:roleName/batch"}
Object = tuple[str, bytes]
"""Bucket and key."""


class Row(msgspec.Struct, frozen=True):
    """A task as the manifest has it."""

    number: int
    bucket: str
    key: bytes
    version: bytes | None
    missing: bool


class JobTruth:
    """A job's rows, and its request."""

    def __init__(self, number: int, plan: JobPlan, objects: MemoryObjectStore) -> None:
        self.number = number
        self.plan = plan
        self.id = ""
        """Once it was created."""
        self.bucket = f"data-{number}"
        self.target_bucket = self.bucket if plan.kind == "copy_in_place" else f"copies-{number}"
        self.change = {"put_tagging": "tag", "copy": "copy", "copy_in_place": "copy"}.get(plan.kind, "delete")
        self.rows = list(self._make_rows(objects))
        self.by_object: dict[Object, list[Row]] = {}
        """Rows by the object that they change."""
        for row in self.rows:
            self.by_object.setdefault(self.changed(row), []).append(row)

    def _make_rows(self, objects: MemoryObjectStore) -> Iterator[Row]:
        plan, keys = self.plan, objects.buckets[self.bucket]
        missing = {round((place + 0.5) * plan.rows / plan.missing) for place in range(plan.missing)}
        doubled = {round((place + 0.3) * plan.rows / plan.doubled) for place in range(plan.doubled)} - missing
        last: Row | None = None
        for number in range(plan.rows):
            if last is not None and number in doubled:
                yield msgspec.structs.replace(last, number=number)
                continue
            key = f"{number % 7}/object {number:04d}".encode()
            version = f"w{number}" if plan.kind == "delete_versions" else None
            if number not in missing:
                body = f"body of {number}".encode()
                keys[key] = [
                    Held(
                        body=body,
                        etag=hashlib.md5(body, usedforsecurity=False).hexdigest(),
                        modified_ms=1_700_000_000_000,
                        version=version or ("v0" if plan.versioned else "null"),
                    )
                ]
            last = Row(number, self.bucket, key, None if version is None else version.encode(), number in missing)
            yield last

    def changed(self, row: Row) -> Object:
        """The object that the row changes."""
        return (self.target_bucket if self.change == "copy" else row.bucket), row.key

    @property
    def manifest(self) -> bytes:
        """The manifest's text."""
        with_version = self.plan.kind == "delete_versions"
        lines = []
        for row in self.rows:
            key = row.key.decode().replace(" ", "%20")
            lines.append(f"{row.bucket},{key},{(row.version or b'').decode()}\n" if with_version else f"{row.bucket},{key}\n")
        return "".join(lines).encode()

    @property
    def operation(self) -> OperationSpec:
        """What is to be done."""
        if self.plan.kind == "put_tagging":
            return spec(PutTagging(tags=TAGS))
        if self.change == "copy":
            metadata: Any = NewMetadata(user=TAGS) if self.plan.kind == "copy_in_place" else "copy"
            return spec(Copy(target_bucket=self.target_bucket, dialect=self.plan.dialect, metadata=metadata))
        return spec(Delete())

    def request(self, etag: str, identity: dict[str, str]) -> CreateJob:
        """The request that makes it; `etag` is that of the manifest in the store."""
        manifest_format, report_format = FORMATS[self.plan.dialect]
        fields = ("Bucket", "Key", "VersionId") if self.plan.kind == "delete_versions" else ("Bucket", "Key")
        buckets: dict[str, Any] = {"lists": None, self.target_bucket: None}
        return CreateJob(
            dialect=self.plan.dialect,
            region="us-east-1",
            token=f"token-{self.number}",
            digest=f"digest-{self.number}",
            description=None,
            priority=self.plan.priority,
            confirmation_required=self.plan.confirm,
            role_arn=ARNS[self.plan.dialect].format(**identity),
            manifest=Manifest(location=ObjectName("lists", self.manifest_key), etag=etag, format=manifest_format, fields=fields),
            operation=self.operation,
            report=Report(
                enabled=True,
                bucket="lists",
                prefix="reports",
                format=report_format,
                scope="FailedTasksOnly" if self.plan.failed_only else "AllTasks",
            ),
            buckets=buckets,
            as_sent={},
        )

    @property
    def manifest_key(self) -> str:
        """Of the manifest, in the bucket `lists`."""
        return f"manifest-{self.number}.csv"
