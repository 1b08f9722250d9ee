"""Refuses a manifest in which the order of two rows would matter: two rows that write one object, or one that writes what another
reads (decisions §3, "Order"). Found while preparing, before any task runs."""

import bisect
import tempfile
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from haulier.core.errors import JobFailure, samples
from haulier.core.ports import Operation, Spool
from haulier.manifests.conflicts import Conflict, ConflictFinder, Object, Row
from haulier.spool import files


class TargetCheck:
    """Collects the objects that rows read and write; does nothing for operations that only touch the row's own object."""

    def __init__(self, operation: Operation, spool: Spool, scratch: Path) -> None:
        """Temporary files go below `scratch`."""
        self._operation = operation
        self._spool = spool
        self._needed = bool(operation.buckets())
        self._folder = tempfile.TemporaryDirectory(prefix="conflicts-", dir=scratch)
        self._finder = ConflictFinder(Path(self._folder.name), self._lookup)
        self._first_rows: list[int] = []
        self._names: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._finder.close()
        self._folder.cleanup()

    def add(self, table: pa.Table, name: str, first_row: int) -> None:
        """Take a staged chunk into account; `name` is its file."""
        if not self._needed:
            return
        sources = _objects(table)
        self._first_rows.append(first_row)
        self._names.append(name)
        target = self._operation.target
        rows = range(first_row, first_row + len(sources))
        self._finder.add(rows, sources, table.column("version").to_pylist(), [target(bucket, key) for bucket, key in sources])

    def finish(self) -> None:
        """Raises JobFailure `ManifestConflict` with samples."""
        conflicts = self._finder.finish() if self._needed else []
        if conflicts:
            raise JobFailure("ManifestConflict", f"the result would depend on the order of rows: {samples(_told(conflicts))}")

    def _lookup(self, rows: Sequence[int]) -> Mapping[int, Row]:
        found: dict[int, Row] = {}
        for number, of_chunk in groupby(rows, lambda row: bisect.bisect_right(self._first_rows, row) - 1):
            table = files.decode_chunk(self._spool.read(self._names[number]))
            for row in of_chunk:
                one = table.slice(row - self._first_rows[number], 1)
                ((bucket, key),) = _objects(one)
                found[row] = Row((bucket, key), one.column("version")[0].as_py(), self._operation.target(bucket, key))
        return found


def _objects(table: pa.Table) -> list[Object]:
    return list(zip(table.column("bucket").to_pylist(), table.column("key").to_pylist(), strict=True))


def _told(conflicts: Sequence[Conflict]) -> list[str]:
    told = []
    for conflict in conflicts:
        bucket, key = conflict.object
        verb = "both write" if conflict.one_target else "write and read"
        told.append(f"rows {conflict.rows[0] + 1} and {conflict.rows[1] + 1} {verb} {bucket}/{key.decode(errors='replace')}")
    return told
