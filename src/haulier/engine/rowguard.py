"""What is checked of every staged row before a job's first task: its bucket is placed and allowed, nothing that Haulier itself
lives on is touched, and a version is named only where there are versions (decisions §1, §5)."""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

import pyarrow as pa
import pyarrow.compute as pc

from haulier.core.effects import Effect
from haulier.core.errors import JobFailure, StoreError
from haulier.core.job import Placement
from haulier.core.ports import Operation
from haulier.engine.connections import Connections
from haulier.engine.frames import JobBrief
from haulier.engine.prober import SCRATCH_PREFIX
from haulier.engine.proofs import UNTRIED
from haulier.reports import report_folder

Await = Callable[[Effect[Any]], Any]


def possible_keys(brief: JobBrief) -> tuple[bytes, ...]:
    """The keys that the manifest may lie under, the likeliest first."""
    key = brief.manifest.location.key.encode()
    return (key, unquote_to_bytes(key)) if brief.dialect == "cos" and b"%" in key else (key,)


class RowGuard:
    """Checks every staged piece: buckets placed and allowed, nothing that the job itself lives on is touched (decisions §1)."""

    def __init__(self, brief: JobBrief, operation: Operation, connections: Connections, wait: Await) -> None:
        self._brief = brief
        self._wait = wait
        self._with_versions: set[str] = set()
        """Buckets that were seen to keep versions, or are on stores where that need not be asked."""
        self._operation = operation
        self._connections = connections
        self._placed: dict[str, str] = {}
        location, report = brief.manifest.location, brief.report
        self._protected: list[_Protected] = [(location.bucket, key, False) for key in possible_keys(brief)]
        self._protected += [(bucket, SCRATCH_PREFIX, True) for bucket in connections.scratch_buckets]
        if report.enabled:
            self._protected.append((report.bucket, report_folder(report.prefix, brief.id).encode(), True))
        self._row_stores: set[str] = set()
        self._targets = list(operation.buckets())
        for bucket in self._targets:
            self._place(bucket)

    def _place(self, bucket: str) -> str:
        store = self._placed.get(bucket)
        if store is None:
            store = self._placed[bucket] = self._connections.place(self._brief, bucket, writes=True).name
        return store

    @property
    def placements(self) -> tuple[Placement, ...]:
        """Where the buckets lie of the rows and the operation."""
        return tuple(Placement(bucket, store) for bucket, store in self._placed.items())

    @property
    def row_stores(self) -> tuple[str, ...]:
        """Names of the stores that the rows checked so far are on."""
        return tuple(sorted(self._row_stores))

    def check(self, table: pa.Table, first_row: int) -> None:
        """Raises JobFailure `UnknownBucket`, `RoleNotAllowed` or `ProtectedObject`."""
        buckets = table.column("bucket").unify_dictionaries().combine_chunks()
        for bucket in buckets.dictionary.to_pylist():
            store = self._place(bucket)
            self._row_stores.add(store)
            for target in self._targets:
                if self._place(target) != store:
                    raise JobFailure(
                        "StoreCannotCopy",
                        f"bucket {bucket!r} is on store {store!r}, the target {target!r} on {self._place(target)!r}:"
                        " copies between two stores are not implemented in this version",
                    )
        self._check_versions(table, buckets, first_row)
        if not self._targets:
            self._refuse_protected(table, buckets, first_row)
        elif any(bucket in self._targets for bucket, _, _ in self._protected):
            self._refuse_protected_targets(table, first_row)

    def _check_versions(self, table: pa.Table, buckets: Any, first_row: int) -> None:
        """Rows may name versions only where there are any. Some stores pass over the version that a request names in a bucket
        that keeps none, and delete, copy or tag the current object instead (decision 0023)."""
        versions = table.column("version")
        named = pc.and_(pc.not_equal(versions, b""), pc.not_equal(versions, b"null"))
        if not pc.any(named).as_py():
            return
        names = pc.cast(buckets, pa.string())
        for bucket in pc.unique(pc.filter(names, pc.fill_null(named, fill_value=False))).to_pylist():
            if bucket not in self._with_versions:
                position = pc.index(pc.and_(named, pc.equal(names, bucket)), value=True).as_py()
                self._check_bucket_versions(bucket, first_row + position + 1)
                self._with_versions.add(bucket)

    def _check_bucket_versions(self, bucket: str, row: int) -> None:
        place = self._connections.place(self._brief, bucket, writes=True)
        if place.probe in UNTRIED:
            return
        try:
            keeps = self._wait(self._connections.store(self._brief, bucket, writes=True).keeps_versions(bucket))
        except StoreError as error:
            raise JobFailure(
                "StoreUnproven",
                f"row {row} of the manifest names a version, and whether bucket {bucket!r} keeps any cannot be read ({error});"
                " some stores would take the current object instead. Let the role call GetBucketVersioning, or set the store's"
                ' probe to "known" or "off"',
                passing=error.passing,
            ) from error
        if not keeps:
            raise JobFailure(
                "InvalidManifest",
                f"row {row} of the manifest names a version, but bucket {bucket!r} keeps none; some stores would take the current"
                " object instead, so no task was run. Leave the VersionId column out",
            )

    def _refuse_protected_targets(self, table: pa.Table, first_row: int) -> None:
        rows = zip(table.column("bucket").to_pylist(), table.column("key").to_pylist(), strict=True)
        for row, (bucket, key) in enumerate(rows, first_row):
            target = self._operation.target(bucket, key)
            if target is not None and any(_within(target, protected) for protected in self._protected):
                raise _protected(row, target[1])

    def _refuse_protected(self, table: pa.Table, buckets: Any, first_row: int) -> None:
        keys = table.column("key")
        for bucket, key, whole_folder in self._protected:
            hit = pc.starts_with(keys, key) if whole_folder else pc.equal(keys, pa.scalar(key, keys.type))
            hit = pc.and_(hit, pc.equal(pc.cast(buckets, pa.string()), bucket))
            if pc.any(hit).as_py():
                position = pc.index(hit, value=True).as_py()
                raise _protected(first_row + position, keys[position].as_py())


_Protected = tuple[str, bytes, bool]
"""Bucket, key, and whether the key stands for all keys that begin with it."""


def _within(target: tuple[str, bytes], protected: _Protected) -> bool:
    bucket, key, whole_folder = protected
    return target[0] == bucket and (target[1].startswith(key) if whole_folder else target[1] == key)


def _protected(row: int, key: bytes) -> JobFailure:
    name = key.decode(errors="replace")
    return JobFailure(
        "ProtectedObject",
        f"row {row + 1} of the manifest would change {name!r}, which haulier itself needs (manifest, report, scratch)",
    )
