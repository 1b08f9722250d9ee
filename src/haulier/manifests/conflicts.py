"""Finding two rows that write one object, and rows that write what another row reads (decisions §3, "Order").

Only hashes are kept: 24 bytes for each object that a row reads or writes, in memory for small manifests, else in files
partitioned by hash, which are looked at one by one. Equal hashes only name suspects; the objects themselves are compared
before anything is reported, so a chance collision costs a look-up and nothing else. A row that stands twice (the same object,
the same version) is one effect done twice, not a conflict: of equal rows only the first is looked at.
"""

import heapq
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

Object = tuple[str, bytes]
"""Bucket and key."""


class Row(NamedTuple):
    """What a row reads and writes."""

    source: Object
    version: bytes | None
    target: Object | None
    """None where it writes the object that it reads."""

    @property
    def writes(self) -> Object:
        """The object that it writes."""
        return self.target or self.source


Lookup = Callable[[Sequence[int]], Mapping[int, Row]]
"""Each of these rows (ascending, at most a few hundred), read again from the staged chunks."""

HELD_RECORDS: Final = 1 << 18
"""Records in memory before they are spilled: 24 bytes each."""
PARTITION_BITS: Final = 6
PARTITION_RECORDS_MAX: Final = 1 << 20
"""A larger partition is partitioned again."""
SUSPECTS: Final = 64
"""Pairs of equal hashes that are looked up together."""
GROUP_ROWS_MAX: Final = 16
"""Rows looked up of one group of equal hashes. A group this large without two equal objects does not occur with 64 bits."""
_SCHEMA: Final = pa.schema([pa.field(name, pa.int64()) for name in ("hash", "source", "claim")])
"""Of the object that is read or written; of the row's source and version; the row's number twice, plus 1 where it writes."""


class Conflict(NamedTuple):
    """Two rows whose order matters, by the object that both touch."""

    rows: tuple[int, int]
    """Ascending."""
    object: Object
    one_target: bool
    """Both write the object; else one writes it and the other reads it."""
    same_source: bool
    """Both read one object too, in two versions."""


class ConflictFinder:
    """Takes sources and targets of all rows, then tells the first conflicts.

    `folder` exists, is empty and belongs to the finder; nothing is written for manifests of less than 131,072 rows. At most one
    partition (24 MiB) is in memory, however many rows there are. Use one finder in one process: its hashes mean nothing outside.
    """

    def __init__(self, folder: Path, lookup: Lookup) -> None:
        self._folder = folder
        self._lookup = lookup
        self._hashes, self._sources, self._claims = array("q"), array("q"), array("q")
        self._spill: _Partitions | None = None

    def add(
        self,
        rows: Sequence[int],
        sources: Sequence[Object],
        versions: Sequence[bytes | None],
        targets: Sequence[Object | None],
    ) -> None:
        """Rows with the object that each reads, in which version, and the one that it writes; None where it writes the object
        that it reads.

        The target must be a function of the source (as `Operation.target` is): rows of one source have one target.
        """
        identities = list(map(hash, zip(sources, versions, strict=True)))
        self._hashes.extend(map(hash, sources))
        self._sources.extend(identities)
        self._claims.extend([row * 2 for row in rows])
        written = [
            (row * 2 + 1, identity, target)
            for row, identity, source, target in zip(rows, identities, sources, targets, strict=True)
            if target is not None and target != source
        ]
        self._hashes.extend([hash(target) for _, _, target in written])
        self._sources.extend([identity for _, identity, _ in written])
        self._claims.extend([claim for claim, _, _ in written])
        if len(self._hashes) >= HELD_RECORDS:
            if self._spill is None:
                self._spill = _Partitions(self._folder, 0)
            self._spill.write(self._held())

    def finish(self, conflicts_max: int = 10) -> list[Conflict]:
        """The first conflicts by row, at most `conflicts_max`; empty when there is none. Removes the finder's files."""
        tables = self._partitions()
        suspects_before = -1
        try:
            while True:
                suspects = self._suspects(tables(), suspects_before)
                conflicts = self._verified([rows for _, rows in suspects])
                if conflicts or len(suspects) < SUSPECTS:
                    return conflicts[:conflicts_max]
                suspects_before = suspects[-1][0]
        finally:
            self.close()

    def close(self) -> None:
        """Remove the finder's files; safe to repeat."""
        if self._spill is not None:
            self._spill.close()
            self._spill = None

    def _held(self) -> pa.Table:
        table = pa.table([_column(self._hashes), _column(self._sources), _column(self._claims)], schema=_SCHEMA)
        self._hashes, self._sources, self._claims = array("q"), array("q"), array("q")
        return table

    def _partitions(self) -> Callable[[], Iterator[pa.Table]]:
        held = self._held()
        if self._spill is None:
            return lambda: iter([held])
        self._spill.write(held)
        return self._spill.tables

    @staticmethod
    def _suspects(tables: Iterator[pa.Table], after: int) -> list[tuple[int, list[int]]]:
        """The first SUSPECTS groups of rows with equal hashes, one of them writing: (a row of it above `after`, all its rows)."""
        found: list[tuple[int, list[int]]] = []
        for table in tables:
            found = heapq.nsmallest(SUSPECTS, [*found, *_groups(table, after)])
        return found

    def _verified(self, groups: Sequence[Sequence[int]]) -> list[Conflict]:
        rows = sorted({row for group in groups for row in group})
        if not rows:
            return []
        known = self._lookup(rows)
        conflicts: set[Conflict] = set()
        for group in groups:
            for position, later in enumerate(group):
                for earlier in group[:position]:
                    conflicts.update(_compared(earlier, later, known))
        return sorted(conflicts, key=lambda conflict: (max(conflict.rows), conflict))


def _compared(earlier: int, later: int, known: Mapping[int, Row]) -> Iterator[Conflict]:
    first, second = known[earlier], known[later]
    same_source = first.source == second.source
    if first == second or (first.writes == first.source and second.writes == second.source):
        return  # a duplicate; or rows that touch only their own object, which run one after the other
    if first.writes == second.writes:
        yield Conflict((earlier, later), first.writes, one_target=True, same_source=same_source)
    elif first.writes == second.source:
        yield Conflict((earlier, later), first.writes, one_target=False, same_source=same_source)
    elif second.writes == first.source:
        yield Conflict((earlier, later), second.writes, one_target=False, same_source=same_source)


def _groups(table: pa.Table, after: int) -> list[tuple[int, list[int]]]:
    """At most SUSPECTS groups of equal hashes, those with the smallest rows above `after`."""
    if table.num_rows < 2:
        return []
    hashes, claims, equal = _ordered(table)
    if not pc.any(equal).as_py():
        return []
    hashes, claims, equal = _ordered(_first_of_equal_rows(table))
    count = len(equal)
    rows, writes = pc.shift_right(claims, 1), pc.equal(pc.bit_wise_and(claims, 1), 1)
    first, second = rows.slice(0, count), rows.slice(1)
    later = pc.max_element_wise(first, second)
    suspect = pc.and_(equal, pc.or_(writes.slice(0, count), writes.slice(1)))
    suspect = pc.and_(suspect, pc.and_(pc.not_equal(first, second), pc.greater(later, after)))
    pairs = pa.table({"later": later, "hash": hashes.slice(1)}).filter(suspect)
    pairs = pairs.take(pc.select_k_unstable(pairs, k=SUSPECTS, sort_keys=[("later", "ascending")])) if pairs.num_rows else pairs
    groups = []
    for row, hash_ in zip(*(column.to_pylist() for column in pairs.columns), strict=True):
        members = set(rows.filter(pc.equal(hashes, hash_)).sort().slice(0, GROUP_ROWS_MAX).to_pylist())
        groups.append((row, sorted(members | {row})))
    return groups


def _ordered(table: pa.Table) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Hashes in order, the claims that belong to them, and for each pair of neighbours whether their hashes are equal."""
    ordered = table.take(pc.sort_indices(table.column("hash"))).combine_chunks()
    hashes, claims = ordered.column("hash").chunk(0), ordered.column("claim").chunk(0)
    return hashes, claims, pc.equal(hashes.slice(1), hashes.slice(0, len(hashes) - 1))


def _first_of_equal_rows(table: pa.Table) -> pa.Table:
    """Of rows that stand several times the first: rows of one source claim an object in one way, so it has their least claim."""
    return table.group_by(["hash", "source"]).aggregate([("claim", "min")]).rename_columns(["hash", "source", "claim"])


class _Partitions:
    """Records in 64 files by six bits of their hash; a partition that grew too large is split by the next six."""

    def __init__(self, folder: Path, level: int) -> None:
        self._shift = 58 - PARTITION_BITS * level
        self._level = level
        self._folder = folder
        self._paths = [folder / f"conflicts-{number:02d}.arrow" for number in range(1 << PARTITION_BITS)]
        self._writers = [pa.ipc.new_stream(str(path), _SCHEMA) for path in self._paths]
        self._counts = [0] * len(self._paths)

    def write(self, records: pa.Table) -> None:
        numbers = pc.bit_wise_and(pc.shift_right(records.column("hash"), self._shift), len(self._paths) - 1)
        order = pc.sort_indices(numbers)
        records = records.take(order).combine_chunks()
        start = 0
        counts = pc.value_counts(numbers)
        for number, count in sorted(zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True)):
            self._writers[number].write_table(records.slice(start, count))
            self._counts[number] += count
            start += count

    def tables(self) -> Iterator[pa.Table]:
        """One partition after the other; may be repeated."""
        for writer in self._writers:
            writer.close()
        for path, count in zip(self._paths, self._counts, strict=True):
            if count > PARTITION_RECORDS_MAX and self._shift >= PARTITION_BITS:
                yield from self._split(path)
            elif count:
                with pa.ipc.open_stream(str(path)) as reader:
                    yield reader.read_all()

    def _split(self, path: Path) -> Iterator[pa.Table]:
        folder = path.with_suffix("")
        folder.mkdir()
        smaller = _Partitions(folder, self._level + 1)
        try:
            with pa.ipc.open_stream(str(path)) as reader:
                for batch in reader:
                    smaller.write(pa.Table.from_batches([batch]))
            yield from smaller.tables()
        finally:
            smaller.close()
            folder.rmdir()

    def close(self) -> None:
        for writer, path in zip(self._writers, self._paths, strict=True):
            writer.close()
            path.unlink(missing_ok=True)


def _column(numbers: "array[int]") -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])
