import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haulier.manifests import conflicts
from haulier.manifests.conflicts import Conflict, ConflictFinder, Object, Row


def obj(name: str, bucket: str = "b") -> Object:
    return (bucket, name.encode())


def found(rows: Sequence[Row], folder: Path, batch: int = 1_000) -> list[Conflict]:
    finder = ConflictFinder(folder, lambda wanted: {row: rows[row] for row in wanted})
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        numbers = range(start, start + len(part))
        finder.add(numbers, [row.source for row in part], [row.version for row in part], [row.target for row in part])
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


def copy(source: str, target: str, version: bytes | None = None) -> Row:
    return Row(obj(source), version, obj(target))


def copies(count: int) -> list[Row]:
    return [copy(f"key-{row}", f"new/key-{row}") for row in range(count)]


def test_rows_that_share_nothing_do_not_conflict(space: str, tmp_path: Path) -> None:
    assert found(copies(2_000), tmp_path) == []


def test_two_rows_with_one_target_are_found(space: str, tmp_path: Path) -> None:
    rows = copies(2_000)
    rows[1_900] = copy("other", "new/key-17")
    assert found(rows, tmp_path) == [Conflict((17, 1_900), obj("new/key-17"), one_target=True, same_source=False)]


@pytest.mark.parametrize("writer", [3, 1_999])
def test_a_target_that_another_row_reads_is_found(space: str, tmp_path: Path, writer: int) -> None:
    rows = copies(2_000)
    rows[writer] = copy("other", "key-500")
    assert found(rows, tmp_path) == [
        Conflict((min(writer, 500), max(writer, 500)), obj("key-500"), one_target=False, same_source=False)
    ]


def test_a_row_that_stands_twice_is_no_conflict(space: str, tmp_path: Path) -> None:
    rows = [*copies(2_000), *[copy("key-7", "new/key-7") for _ in range(50)]]
    assert found(rows, tmp_path) == []
    rows += [copy("other", "new/key-7"), copy("key-8", "new/key-8", b"v1"), copy("key-8", "new/key-8", b"v1")]
    assert found(rows, tmp_path) == [
        Conflict((7, 2_050), obj("new/key-7"), one_target=True, same_source=False),
        Conflict((8, 2_051), obj("new/key-8"), one_target=True, same_source=True),
    ]


def test_a_manifest_that_stands_twice_in_itself_costs_no_more_looks(tmp_path: Path) -> None:
    rows = copies(100_000) * 2
    looks: list[int] = []
    finder = ConflictFinder(tmp_path, lambda wanted: looks.extend(wanted) or {row: rows[row] for row in wanted})
    finder.add(range(len(rows)), [row.source for row in rows], [None] * len(rows), [row.target for row in rows])
    assert finder.finish() == []
    assert looks == []


def test_rows_that_write_their_own_object_do_not_conflict_with_themselves(space: str, tmp_path: Path) -> None:
    assert found([Row(obj(f"key-{row % 1_000}"), None, None) for row in range(2_000)], tmp_path) == []
    assert found([copy(f"key-{row}", f"key-{row}") for row in range(2_000)], tmp_path) == []


def test_one_key_in_two_buckets_is_two_objects(tmp_path: Path) -> None:
    assert found([Row(obj("a"), None, obj("x", "one")), Row(obj("b"), None, obj("x", "two"))], tmp_path) == []


def test_the_first_conflicts_of_many_are_told(space: str, tmp_path: Path) -> None:
    rows = [copy(f"key-{row}", "same") for row in range(5_000)]
    finder = ConflictFinder(tmp_path, lambda wanted: {row: rows[row] for row in wanted})
    finder.add(range(5_000), [row.source for row in rows], [None] * 5_000, [row.target for row in rows])
    assert [conflict.rows for conflict in finder.finish(conflicts_max=3)] == [(0, 1), (0, 2), (1, 2)]


def test_equal_hashes_of_different_objects_are_no_conflict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def colliding(item: tuple[object, object]) -> int:
        key = item[1]
        return hash(key[-1:] if isinstance(key, bytes) and key.startswith(b"same hash") else item)

    monkeypatch.setattr(conflicts, "hash", colliding, raising=False)
    rows = copies(1_000)
    for row in range(100, 400, 2):  # more groups than are looked up at once
        rows[row] = copy(f"same hash/{row}/{chr(row)}", f"to/{row}")
        rows[row + 1] = copy(f"from/{row}", f"same hash/{row + 1}/{chr(row)}")
    assert found(rows, tmp_path) == []
    rows[990] = copy("late", "new/key-0")
    assert [conflict.rows for conflict in found(rows, tmp_path)] == [(0, 990)]


NAMES = st.sampled_from("abcdef").map(obj)


@given(
    st.dictionaries(NAMES, st.none() | NAMES),
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([None, b"v1", b"v2"])), max_size=8),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_finder_agrees_with_comparing_every_pair(
    tmp_path: Path, target: dict[Object, Object | None], order: list[tuple[int, bytes | None]]
) -> None:
    sources = sorted(target)
    rows = [Row(sources[place], version, target[sources[place]]) for place, version in order if place < len(sources)]

    def conflicting(one: Row, other: Row) -> bool:
        if one == other or (one.writes == one.source and other.writes == other.source):
            return False
        return one.writes == other.writes or one.writes == other.source or other.writes == one.source

    first = {row: number for number, row in reversed(list(enumerate(rows)))}
    told = sorted(first.values())  # of rows that stand twice only the first is told
    wanted = [(i, k) for k in told for i in told if i < k and conflicting(rows[i], rows[k])]
    assert [conflict.rows for conflict in found(rows, tmp_path)] == wanted


def test_a_million_objects_cost_less_than_two_seconds(tmp_path: Path) -> None:
    rows = copies(500_000)
    sources, targets = [row.source for row in rows], [row.target for row in rows]
    started = time.process_time()
    finder = ConflictFinder(tmp_path, lambda wanted: {row: rows[row] for row in wanted})
    for start in range(0, len(rows), 10_000):
        part = slice(start, start + 10_000)
        finder.add(range(start, start + 10_000), sources[part], [None] * 10_000, targets[part])
    assert finder.finish() == []
    assert time.process_time() - started < 2
