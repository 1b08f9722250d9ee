"""The units that read or write whole files, one of a job at a time: preparing, probing a store, reporting. Who gets them, what
they tell, and when one that failed is tried again."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import structlog

from haulier.core.chunk import Attempt
from haulier.core.history import EventKind
from haulier.core.job import Job
from haulier.core.lifecycle import ENDING, JobEvent, JobStatus
from haulier.core.ports import ChunksStaged, Clock, JobStore, Spool
from haulier.core.restoring import confirmation_due
from haulier.engine import frames
from haulier.engine.clocksteps import ClockSteps
from haulier.engine.dispatch import Dispatch
from haulier.engine.jobrun import Held, JobRun
from haulier.engine.progress import Progress
from haulier.engine.proofs import Proofs
from haulier.engine.scheduler import in_turn

FILE_UNITS_PER_RUNNER: Final = 2
RETRY_SECONDS_MAX: Final = 300.0
GIVE_UP_MS: Final = 24 * 3600 * 1000
"""How long a manifest, a trial or a report is tried again while its store or the disk is out of order."""

FileUnitEnded = frames.Prepared | frames.Probed | frames.Delivered | frames.Dropped | frames.UnitFailed

_WANTED_IN: Final = frozenset({JobStatus.PREPARING, *ENDING})
"""Where units take long. A trial, which a Ready job may need, does not: so the many that are Ready need not be put in order."""

_log = structlog.get_logger(__name__)


def _may_want_one(run: JobRun) -> bool:
    return run.file_unit is None and (run.job.awaits_delivery or JobStatus(run.job.status) in _WANTED_IN)


class FileUnits:
    """Starts file units, and draws the conclusions from their end."""

    def __init__(
        self,
        jobstore: JobStore,
        runs: Mapping[str, JobRun],
        dispatch: Dispatch,
        progress: Progress,
        proofs: Proofs,
        spool: Spool,
        clock: Clock,
        steps: ClockSteps | None,
    ) -> None:
        self._jobstore = jobstore
        self._runs = runs
        self._dispatch = dispatch
        self._progress = progress
        self._proofs = proofs
        self._spool = spool
        self._clock = clock
        self._steps = steps

    # -- starting

    def in_turn(self) -> Sequence[JobRun]:
        """All jobs, those first whose turn it is to have a unit, should they want one."""
        busy = Counter(run.job.account for run in self._runs.values() if run.file_unit is not None)
        waiting = {run.job.id: run for run in self._runs.values() if _may_want_one(run)}
        first = [waiting[job_id] for job_id in in_turn([run.job for run in waiting.values()], busy, self._dispatch.weight)]
        return [*first, *(run for run in self._runs.values() if run.job.id not in waiting)]

    def prepare(self, run: JobRun) -> None:
        """Have the manifest staged, or the rows that a retry runs again."""
        if self._start(run, lambda attempt: frames.PrepareJob(attempt=attempt, job=run.job.id, source=self._source(run.job))):
            run.staging = []

    def _source(self, job: Job) -> frames.Source | None:
        if job.retry is None:
            return None
        chunks, segments = self._jobstore.chunks(job.retry.of), self._jobstore.segments(job.retry.of)
        if self._steps is not None:
            chunks = [self._steps.seen_from_now(chunk) for chunk in chunks]
        return frames.Source(chunks=tuple(chunks), segments=tuple(segments))

    def probe(self, run: JobRun, store: str) -> None:
        """Have the operation tried on the store."""
        self._start(run, lambda attempt: frames.ProbeStore(attempt=attempt, job=run.job.id, store=store))

    def report(self, run: JobRun) -> None:
        """Have the report written and delivered; of a job that has ended, to where its delivery says."""

        def unit(attempt: Attempt) -> frames.WriteReport:
            chunks, segments = run.report_parts()
            report, delivery = run.job.report, run.job.delivery
            if delivery is not None and delivery.waits:
                report = msgspec.structs.replace(report, bucket=delivery.bucket, prefix=delivery.prefix)
            return frames.WriteReport(attempt=attempt, job=run.job.id, chunks=chunks, segments=segments, report=report)

        self._start(run, unit)

    def _start(self, run: JobRun, unit: Callable[[Attempt], frames.Unit]) -> bool:
        """Give the unit to the runner that has the least to do, if the job may have one now; whether it went out."""
        if run.file_unit is not None or self._clock.monotonic() < run.retry_at or self._spool.shortage() is not None:
            return False
        runner = self._least_busy()
        brief = self._dispatch.brief(run) if runner is not None else None
        if runner is None or brief is None:
            return False
        attempt = self._dispatch.next_attempt()
        run.file_unit = Held(attempt, runner)
        self._dispatch.submit(runner, brief, unit(attempt))
        return True

    def _least_busy(self) -> str | None:
        """The runner with the fewest file units, unless all have enough."""
        busy = dict.fromkeys(self._dispatch.runners, 0)
        for run in self._runs.values():
            if run.file_unit is not None and run.file_unit.runner in busy:
                busy[run.file_unit.runner] += 1
        runner = min(busy, key=lambda name: (busy[name], name), default=None)
        return runner if runner is not None and busy[runner] < FILE_UNITS_PER_RUNNER else None

    # -- what they tell

    def chunk_written(self, event: frames.ChunkWritten) -> None:
        """The preparation has staged one more chunk."""
        run = self._runs.get(event.chunk.job)
        if run is not None and run.has_file_unit(event.attempt):
            run.staging.append(event.chunk)
            self._progress.add(ChunksStaged(job=event.chunk.job, chunks=(event.chunk,), first=len(run.staging) == 1))

    def ended(self, event: FileUnitEnded) -> None:
        """The unit is over; a late word of one that was lost changes nothing."""
        run = self._runs.get(event.job)
        if run is None or not run.has_file_unit(event.attempt):
            return
        run.file_unit = None
        run.file_losses = 0
        if isinstance(event, frames.Prepared):
            due = confirmation_due(run.job)
            run.loaded = False
            moved = JobEvent.CONFIRMATION_DUE if due else JobEvent.PREPARED
            self._progress.move(run, moved, total=event.total, row_stores=event.row_stores, placements=event.placements)
        elif isinstance(event, frames.Probed):
            self._probed(run, event)
        elif isinstance(event, frames.Delivered):
            self._progress.reported(run)
        elif isinstance(event, frames.UnitFailed):
            self._failed(run, event)

    def _probed(self, run: JobRun, event: frames.Probed) -> None:
        finding = event.finding
        self._progress.note(run, EventKind.PROBED, store=event.store, verdict=finding.verdict, detail=finding.detail)
        failure = self._proofs.record(run.job, event.store, finding)
        if failure is None:
            return
        passing = finding.passing and self._clock.now_ms() - run.job.status_since_ms < GIVE_UP_MS
        if finding.verdict == "inconclusive" and (passing or run.job.executed):
            # Where it was proven when the job began, a scratch bucket that cannot be reached now is no reason to end the job.
            self._try_later(run, failure.code, failure.reason)
        else:
            self._progress.fail(run, failure.code, failure.reason)

    def _failed(self, run: JobRun, event: frames.UnitFailed) -> None:
        ending = JobStatus(run.job.status) in ENDING
        since = run.job.reporting_ms or run.job.status_since_ms
        if (event.passing or ending) and self._clock.now_ms() - since < GIVE_UP_MS:
            self._try_later(run, event.code, event.reason)
        elif ending:
            self._progress.fail(run, "ReportDeliveryFailed", event.reason)
        else:
            self._progress.fail(run, event.code, event.reason)

    def _try_later(self, run: JobRun, code: str, reason: str) -> None:
        run.retries += 1
        seconds = min(RETRY_SECONDS_MAX, 2.0 ** min(run.retries, 10))
        run.retry_at = self._clock.monotonic() + seconds
        self._progress.note(run, EventKind.POSTPONED, code=code, reason=reason, seconds=round(seconds))
        _log.warning("unit will be tried again", job=run.job.id, code=code, reason=reason)
