"""What a retry runs again, on a real spool: chains of retries in which tasks fail at random, beside a plain model of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haulier.core.chunk import Attempt, Chunk, Segment
from haulier.core.errors import JobFailure
from haulier.core.job import Retry
from haulier.engine import rerun
from haulier.engine.frames import Source
from haulier.manifests import Stager
from haulier.spool import FolderSpool, files

OPENED = 1_000
"""When the chunks of the first job were opened; a thousand later for each retry."""


class Ended(NamedTuple):
    """How a row ended: the code None = success, "" = without an outcome."""

    code: str | None
    status: int = 404
    in_doubt: bool = False


OK, LEFT = Ended(None, 200), Ended("")
ends = st.sampled_from(
    [OK, OK, LEFT, Ended("NoSuchKey"), Ended("AccessDenied", 403), Ended("OutcomeUnknown", 0), Ended("ChangedSinceAttempt", 409),
     Ended("AccessDenied", 403, in_doubt=True)]
)  # fmt: skip


class Chain:
    """A job and its retries in one spool."""

    def __init__(self, folder: Path) -> None:
        self.spool = FolderSpool(folder / "spool")
        self.jobs = 0

    def stage(self, pieces: Sequence[rerun.StagedChunk], ends: Sequence[Ended], *, horizon: int, seal: bool) -> Source:
        """The pieces as the chunks of a job whose rows ended so; the rows below the horizon may have been sent."""
        self.jobs += 1
        chunks, segments = [], []
        for index, piece in enumerate(pieces):
            name = f"acme/job-{self.jobs}/chunks/{index}"
            self.spool.write(name, files.encode_chunk(piece.table))
            rows = range(piece.first_row, piece.first_row + piece.rows)
            done = [row for row in rows if ends[row] is not LEFT]
            whole = len(done) == piece.rows and seal
            sealed = f"acme/job-{self.jobs}/sealed/{index}" if whole else None
            parts = [done] if whole else [done[1::2], done[::2]]
            for number, part in enumerate(parts):
                data = files.encode_outcomes(
                    part,
                    [ends[row].status for row in part],
                    [ends[row].code for row in part],
                    [None for _ in part],
                    [ends[row].in_doubt for row in part],
                )
                place = sealed or f"acme/job-{self.jobs}/segments/{index}-{number}"
                self.spool.write(place, data)
                if not whole:
                    attempt = Attempt(1, number)
                    segments.append(
                        Segment(job="j", chunk=index, attempt=attempt, sequence=0, name=place, rows=len(part), failed=0)
                    )
            chunks.append(
                Chunk(
                    job="j", index=index, first_row=piece.first_row, rows=piece.rows, name=name, sealed_name=sealed,
                    first_opened_ms=self.jobs * OPENED, horizon=min(horizon, piece.rows),
                )
            )  # fmt: skip
        return Source(chunks=tuple(reversed(chunks)), segments=tuple(segments))

    def again(self, source: Source, retry: Retry | None = None) -> list[rerun.StagedChunk]:
        return list(rerun.staged(source, retry or Retry(of="job-1"), self.spool, tasks_max=None))


def manifest(count: int) -> list[rerun.StagedChunk]:
    stager = Stager(None)
    versions = [b"v%d" % row if row % 3 else None for row in range(count)]
    table = pa.table(
        {
            "bucket": pa.array(["one", "two"][row % 2] for row in range(count)).dictionary_encode(),
            "key": pa.array([b"key-%d" % row for row in range(count)], pa.binary()),
            "raw_key": pa.array([b"raw-%d" % row if row % 5 == 0 else None for row in range(count)], pa.binary()),
            "version": pa.array(versions, pa.binary()),
        }
    )
    return [*stager.add(table), *stager.finish()]


def rows_of(pieces: Sequence[rerun.StagedChunk]) -> list[dict[str, object]]:
    rows = [row for piece in pieces for row in piece.table.to_pylist()]
    assert [row["row"] for row in rows] == list(range(len(rows)))
    return rows


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_row_is_run_until_it_succeeds_and_the_attempts_together_tell_its_end(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    chain = Chain(tmp_path_factory.mktemp("chain"))
    count = data.draw(st.integers(1, 1_200))
    pieces = manifest(count)
    first = rows_of(pieces)
    running = list(range(count))
    marks: dict[int, int] = {}
    told: dict[int, list[Ended]] = {row: [] for row in range(count)}
    for number in range(1, 5):
        pattern = data.draw(st.lists(ends, min_size=1, max_size=11))
        ended = [pattern[position % len(pattern)] for position in range(len(running))]
        horizon = data.draw(st.sampled_from([0, 3, 1_200]))
        source = chain.stage(pieces, ended, horizon=horizon, seal=data.draw(st.booleans()))
        again = []
        for chunk in sorted(source.chunks, key=lambda chunk: chunk.index):
            for position in range(chunk.rows):
                origin, end = running[chunk.first_row + position], ended[chunk.first_row + position]
                if end is not LEFT:
                    told[origin].append(end)
                if end is OK:
                    continue
                again.append(origin)
                doubtful = end.in_doubt or end.code in rerun.DOUBTFUL or (end is LEFT and position < chunk.horizon)
                if doubtful:
                    marks.setdefault(origin, number * OPENED)
        if not again:
            with pytest.raises(JobFailure, match="NothingToRetry"):
                chain.again(source)
            break
        pieces, running = chain.again(source), again
        rows = rows_of(pieces)
        assert [row["origin_row"] for row in rows] == again
        assert [row["first_attempt_ms"] for row in rows] == [marks.get(origin) for origin in again]
        frozen = ("bucket", "key", "raw_key", "version")
        assert [[row[name] for name in frozen] for row in rows] == [[first[origin][name] for name in frozen] for origin in again]
    for row, attempts in told.items():
        assert all(end.code is not None for end in attempts[:-1]), "what succeeded is never run again"
        assert row in running or (attempts and attempts[-1].code is None)


@pytest.mark.parametrize(
    ("codes", "kinds", "origins"),
    [
        ((), (), [1, 2, 3, 4]),
        (("NoSuchKey",), (), [1]),
        (("NoSuchKey", "NotAttempted"), (), [1, 4]),
        (("OutcomeUnknown",), ("denied",), [2, 3]),
        ((), ("not attempted",), [4]),
        ((), ("not found", "unknown"), [1, 3]),
    ],
)
def test_only_the_chosen_codes_and_kinds_are_run_again(
    tmp_path: Path, codes: tuple[str, ...], kinds: tuple[str, ...], origins: list[int]
) -> None:
    chain = Chain(tmp_path)
    ended = [OK, Ended("NoSuchKey"), Ended("AccessDenied", 403), Ended("OutcomeUnknown", 0), LEFT]
    source = chain.stage(manifest(5), ended, horizon=0, seal=True)
    rows = rows_of(chain.again(source, Retry(of="job-1", codes=codes, kinds=kinds)))
    assert [row["origin_row"] for row in rows] == origins


def test_rows_that_are_few_in_each_chunk_are_gathered_into_whole_ones(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    ended = [Ended("NoSuchKey") if row % 100 == 0 else OK for row in range(5_000)]
    source = chain.stage(manifest(5_000), ended, horizon=0, seal=True)
    assert len(source.chunks) > 5
    (piece,) = chain.again(source)
    assert piece.rows == 50


@pytest.mark.parametrize("kind", ["chunks", "sealed"])
def test_a_job_whose_files_are_gone_cannot_be_run_again_and_says_so(tmp_path: Path, kind: str) -> None:
    chain = Chain(tmp_path)
    source = chain.stage(manifest(3), [Ended("NoSuchKey")] * 3, horizon=0, seal=True)
    chain.spool.delete(chain.spool.names(f"acme/job-1/{kind}/"))
    with pytest.raises(JobFailure, match="OutcomesGone: what job job-1 left is no longer kept"):
        chain.again(source)


def test_a_limit_of_tasks_holds_for_retries_too(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    source = chain.stage(manifest(3), [Ended("NoSuchKey")] * 3, horizon=0, seal=True)
    with pytest.raises(JobFailure, match="TooManyObjects"):
        list(rerun.staged(source, Retry(of="job-1"), chain.spool, tasks_max=2))
