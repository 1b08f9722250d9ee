import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haulier.manifests import conflicts
from haulier.manifests.conflicts import Conflict, ConflictFinder, Object

Row = tuple[Object, Object | None]


def obj(name: str, bucket: str = "b") -> Object:
    return (bucket, name.encode())


def found(rows: Sequence[Row], folder: Path, batch: int = 1_000) -> list[Conflict]:
    finder = ConflictFinder(folder, lambda wanted: {row: rows[row] for row in wanted})
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        numbers = range(start, start + len(part))
        finder.add(numbers, [source for source, _ in part], [target for _, target in part])
    result = finder.finish(conflicts_max=1_000_000)
    assert list(folder.iterdir()) == []
    return result


@pytest.fixture(params=["in memory", "spilled", "split"])
def space(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the finder keeps its hashes."""
    if request.param != "in memory":
        monkeypatch.setattr(conflicts, "HELD_RECORDS", 1_500)
    if request.param == "split":
        monkeypatch.setattr(conflicts, "PARTITION_RECORDS_MAX", 50)
    return str(request.param)


def copies(count: int) -> list[Row]:
    return [(obj(f"key-{row}"), obj(f"new/key-{row}")) for row in range(count)]


def test_rows_that_share_nothing_do_not_conflict(space: str, tmp_path: Path) -> None:
    assert found(copies(2_000), tmp_path) == []


def test_two_rows_with_one_target_are_found(space: str, tmp_path: Path) -> None:
    rows = copies(2_000)
    rows[1_900] = (obj("other"), obj("new/key-17"))
    assert found(rows, tmp_path) == [Conflict((17, 1_900), obj("new/key-17"), one_target=True, same_source=False)]


@pytest.mark.parametrize("writer", [3, 1_999])
def test_a_target_that_another_row_reads_is_found(space: str, tmp_path: Path, writer: int) -> None:
    rows = copies(2_000)
    rows[writer] = (obj("other"), obj("key-500"))
    assert found(rows, tmp_path) == [
        Conflict((min(writer, 500), max(writer, 500)), obj("key-500"), one_target=False, same_source=False)
    ]


def test_a_row_that_stands_twice_is_told_apart(space: str, tmp_path: Path) -> None:
    rows = [*copies(2_000), (obj("key-7"), obj("new/key-7"))]
    assert found(rows, tmp_path) == [Conflict((7, 2_000), obj("new/key-7"), one_target=True, same_source=True)]


def test_rows_that_write_their_own_object_do_not_conflict_with_themselves(space: str, tmp_path: Path) -> None:
    assert found([(obj(f"key-{row % 1_000}"), None) for row in range(2_000)], tmp_path) == []
    assert found([(obj(f"key-{row}"), obj(f"key-{row}")) for row in range(2_000)], tmp_path) == []


def test_one_key_in_two_buckets_is_two_objects(tmp_path: Path) -> None:
    assert found([(obj("a"), obj("x", "one")), (obj("b"), obj("x", "two"))], tmp_path) == []


def test_the_first_conflicts_of_many_are_told(space: str, tmp_path: Path) -> None:
    rows: list[Row] = [(obj(f"key-{row}"), obj("same")) for row in range(5_000)]
    finder = ConflictFinder(tmp_path, lambda wanted: {row: rows[row] for row in wanted})
    finder.add(range(5_000), [source for source, _ in rows], [target for _, target in rows])
    assert [conflict.rows for conflict in finder.finish(conflicts_max=3)] == [(0, 1), (0, 2), (1, 2)]


def test_equal_hashes_of_different_objects_are_no_conflict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        conflicts, "hash", lambda item: hash(item[1][-1:]) if item[1].startswith(b"same hash") else hash(item), raising=False
    )
    rows = copies(1_000)
    for row in range(100, 400, 2):  # more groups than are looked up at once
        rows[row] = (obj(f"same hash/{row}/{chr(row)}"), obj(f"to/{row}"))
        rows[row + 1] = (obj(f"from/{row}"), obj(f"same hash/{row + 1}/{chr(row)}"))
    assert found(rows, tmp_path) == []
    rows[990] = (obj("late"), obj("new/key-0"))
    assert [conflict.rows for conflict in found(rows, tmp_path)] == [(0, 990)]


NAMES = st.sampled_from("abcdef").map(obj)


@given(st.dictionaries(NAMES, st.none() | NAMES), st.lists(st.integers(0, 5), max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_finder_agrees_with_comparing_every_pair(
    tmp_path: Path, target: dict[Object, Object | None], order: list[int]
) -> None:
    sources = sorted(target)
    rows = [(sources[place], target[sources[place]]) for place in order if place < len(sources)]

    def conflicting(one: Row, other: Row) -> bool:
        writes, other_writes = one[1] or one[0], other[1] or other[0]
        if writes == one[0] and other_writes == other[0]:
            return False
        return writes == other_writes or writes == other[0] or other_writes == one[0]

    wanted = [(i, k) for k in range(len(rows)) for i in range(k) if conflicting(rows[i], rows[k])]
    assert [conflict.rows for conflict in found(rows, tmp_path)] == wanted


def test_a_million_objects_cost_less_than_two_seconds(tmp_path: Path) -> None:
    rows = copies(500_000)
    sources, targets = [source for source, _ in rows], [target for _, target in rows]
    started = time.process_time()
    finder = ConflictFinder(tmp_path, lambda wanted: {row: rows[row] for row in wanted})
    for start in range(0, len(rows), 10_000):
        finder.add(range(start, start + 10_000), sources[start : start + 10_000], targets[start : start + 10_000])
    assert finder.finish() == []
    assert time.process_time() - started < 2
