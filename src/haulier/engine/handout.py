"""Handing out: chunks are opened, go to runners by the scheduler's choice, and come back with outcomes or without."""

from collections.abc import Mapping
from typing import Final

import msgspec
import structlog

from haulier.core.chunk import Attempt
from haulier.core.history import EventKind
from haulier.core.lifecycle import ENDING, JobStatus
from haulier.core.ports import ChunkReleased, ChunkSealed, ChunksOpened, Clock, SegmentAdded
from haulier.engine import frames
from haulier.engine.clocksteps import ClockSteps
from haulier.engine.dispatch import Dispatch
from haulier.engine.jobrun import JobRun
from haulier.engine.progress import Progress
from haulier.engine.proofs import Proofs
from haulier.engine.scheduler import Candidate, choose

CHUNKS_PER_RUNNER: Final = 3
"""Two run, so that the end of one does not leave the runner idle; the third is loaded meanwhile."""
RETRY_SECONDS: Final = 2.0
"""How soon the chunks of a job are tried again of which one could not be loaded for now."""
CHUNKS_PER_RUNNER_MAX: Final = 16
"""A job that has no chunk out gets one even when others hold all ordinary places: no slow job may starve the rest."""

_log = structlog.get_logger(__name__)


class HandOut:
    """Where each chunk is stands in its `JobRun`; here is what moves it there."""

    def __init__(
        self,
        runs: Mapping[str, JobRun],
        dispatch: Dispatch,
        progress: Progress,
        proofs: Proofs,
        clock: Clock,
        steps: ClockSteps | None,
    ) -> None:
        self._runs = runs
        self._dispatch = dispatch
        self._progress = progress
        self._proofs = proofs
        self._clock = clock
        self._steps = steps
        self.outdated_files: list[str] = []
        """Segments of sealed chunks: to be removed once the sealing is stored."""

    # -- out

    def open(self, run: JobRun) -> None:
        """Keep enough chunks open for all runners; what is open beyond costs at most a HEAD a row after a crash."""
        if self._clock.monotonic() < run.retry_at:
            return
        chosen = run.open(len(self._dispatch.runners) * CHUNKS_PER_RUNNER, self._clock.now_ms())
        if chosen:
            opened = ChunksOpened(job=run.job.id, chunks=chosen, at_ms=self._clock.now_ms())
            self._progress.add(opened, urgent=not run.available)

    def close(self, run: JobRun) -> None:
        """Release what is open and nobody has, or a later start would take its rows for sent ones."""
        for index, horizon in run.close().items():
            self._progress.add(ChunkReleased(job=run.job.id, chunk=index, horizon=horizon))

    def fill(self, allowed: frozenset[str]) -> None:
        """Fill every free place of every runner, one chunk at a time; only of these jobs."""
        load = self._load()
        while load:
            runner = min(load, key=lambda name: (load[name], name))
            candidates = self._candidates(allowed)
            if load[runner] >= CHUNKS_PER_RUNNER:
                candidates = [candidate for candidate in candidates if not candidate.running]
            chosen = choose(candidates)
            if chosen is None or load[runner] >= CHUNKS_PER_RUNNER_MAX:
                return
            run = self._runs[chosen.job]
            brief = self._dispatch.brief(run)
            if brief is None:
                allowed -= {chosen.job}
                continue
            unit = run.hand_out(self._dispatch.next_attempt(), runner, self._proofs.read_backs(run.job))
            self._submit(runner, brief, unit)
            load[runner] += 1

    def _load(self) -> dict[str, int]:
        """How many chunks each runner has."""
        load = dict.fromkeys(self._dispatch.runners, 0)
        for run in self._runs.values():
            for held in run.held.values():
                if held.runner in load:
                    load[held.runner] += 1
        return load

    def settle(self, run: JobRun) -> bool:
        """Have the rows in doubt of a job that ends early looked at once more, and nothing done; whether that is over. What was
        done belongs into the report."""
        self.close(run)
        chunks = run.unsettled()
        load = self._load()
        if chunks and load and not self._progress.entries and self._clock.monotonic() >= run.retry_at:
            self._hand_out_settling(run, chunks, load)
        return not chunks and not run.settling

    def _hand_out_settling(self, run: JobRun, chunks: list[int], load: dict[str, int]) -> None:
        found = self._dispatch.settling_brief(run)
        if found is None:
            return
        brief, blind = found
        if blind:
            run.blind.update(chunks)
        for index in chunks:
            runner = min(load, key=lambda name: (load[name], name))
            if load[runner] >= CHUNKS_PER_RUNNER_MAX:
                return
            self._submit(runner, brief, run.hand_out_settling(index, self._dispatch.next_attempt(), runner))
            load[runner] += 1

    def _submit(self, runner: str, brief: frames.JobBrief, unit: frames.RunChunk) -> None:
        chunk = unit.chunk if self._steps is None else self._steps.seen_from_now(unit.chunk)
        self._dispatch.submit(runner, brief, msgspec.structs.replace(unit, chunk=chunk))

    def _candidates(self, allowed: frozenset[str]) -> list[Candidate]:
        return [
            Candidate(
                job=run.job.id,
                account=run.job.account,
                weight=self._dispatch.weight(run.job.account),
                priority=run.job.priority,
                created_ms=run.job.created_ms,
                running=len(run.held),
                available=run.available,
            )
            for run in self._runs.values()
            if run.job.status == JobStatus.ACTIVE
            and run.job.id in allowed
            and self._clock.monotonic() >= run.retry_at
            and self._proofs.obstacle(run.job) is None
        ]

    # -- back

    def _current(self, job_id: str, chunk: int, attempt: Attempt) -> JobRun | None:
        """The run, if the event is of the attempt that holds the chunk now."""
        run = self._runs.get(job_id)
        return run if run is not None and run.is_current(chunk, attempt) else None

    def flushed(self, event: frames.Flushed) -> None:
        """Outcomes of some rows lie in a segment."""
        run = self._current(event.segment.job, event.segment.chunk, event.attempt)
        if run is not None:
            run.flushed(event.segment, event.horizon)
            self._progress.add(
                SegmentAdded(segment=event.segment, horizon=event.horizon, failures=event.failures, read_back=event.read_back)
            )

    def sealed(self, event: frames.Sealed) -> None:
        """Every row of the chunk has its outcome."""
        run = self._current(event.job, event.chunk, event.attempt)
        if run is None:
            return
        self.outdated_files += run.sealed(event.chunk, event.name, event.succeeded, event.failed)
        sealed = ChunkSealed(
            job=event.job,
            chunk=event.chunk,
            name=event.name,
            succeeded=event.succeeded,
            failed=event.failed,
            failures=event.failures,
            read_back=event.read_back,
        )
        self._progress.add(sealed, urgent=run.unsealed == 0 or not run.held)

    def lied(self, event: frames.Lied) -> None:
        """The store does not do what it answers: the job stops at once."""
        run = self._current(event.job, event.chunk, event.attempt)
        if run is not None and JobStatus(run.job.status) not in ENDING and not self._progress.moves(run):
            self._progress.note(run, EventKind.PROBED, store=event.store, verdict="lying", detail=event.seen)
            failure = self._proofs.lied(run.job, event.store, event.seen)
            self._progress.fail(run, failure.code, failure.reason)

    def given_back(self, event: frames.GivenBack) -> None:
        """The runner has stopped the chunk."""
        run = self._current(event.job, event.chunk, event.attempt)
        if run is not None:
            if event.settled:
                run.settled.add(event.chunk)
            self._release(run, event.chunk, event.horizon)

    def failed(self, event: frames.UnitFailed) -> None:
        """A chunk that cannot be run (its file is broken, a bug): the job ends with the reason, unless the trouble is passing."""
        run = self._runs.get(event.job)
        index = None if run is None else run.chunk_of(event.attempt)
        if run is None or index is None:
            return
        horizon = run.doubt(index)  # it could not be loaded: nothing of it was sent
        if event.passing:
            run.retry_at = self._clock.monotonic() + RETRY_SECONDS
            self._tell_trouble(run, event)
        elif index not in run.settling:
            self._progress.fail(run, event.code, event.reason)
        elif not run.settling_failed(index):
            _log.error("what became of rows in doubt is lost", job=run.job.id, chunk=index, reason=event.reason)
        self._dispatch.call_back(run, run.held[index].runner)
        self._release(run, index, horizon)

    def _tell_trouble(self, run: JobRun, event: frames.UnitFailed) -> None:
        """Once for each reason, until a chunk of the job gets on."""
        if event.reason != run.trouble:
            run.trouble = event.reason
            _log.warning("a chunk cannot be loaded; trying again", job=run.job.id, reason=event.reason)
            self._progress.note(run, EventKind.POSTPONED, code=event.code, reason=event.reason, seconds=round(RETRY_SECONDS))

    def _release(self, run: JobRun, index: int, horizon: int) -> None:
        run.given_back(index, horizon)
        self._progress.add(ChunkReleased(job=run.job.id, chunk=index, horizon=horizon), urgent=not run.held)
