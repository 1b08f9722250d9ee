"""Removes what retention says is over: a job's files in the spool `spool_retention_days` after its end, its record after
`retention_days`. Rows and outcomes go together, for a retry and a report need both (docs/decisions/0021).

Also what attempts of earlier epochs wrote for unfinished jobs and did not live to tell: no commit can name it any more.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import structlog

from haulier.core.errors import HaulierError
from haulier.core.job import Job
from haulier.core.ports import Clock, JobStore, Spool
from haulier.spool import names

DAY_MS: Final = 86_400_000
SWEEP_SECONDS: Final = 600.0
PAGE: Final = 1_000
FILES_TOGETHER: Final = 500
"""So many files are removed before the next look whether to stop."""

_log = structlog.get_logger(__name__)


class Sweeper:
    """Sweeps every ten minutes between `start` and `stop`; each sweep looks only at jobs that came of age since the last one."""

    def __init__(
        self,
        jobstore: JobStore,
        spool: Spool,
        clock: Clock,
        *,
        epoch: Callable[[], int],
        spool_retention_days: float,
        retention_days: float,
    ) -> None:
        """`epoch` is that of the coordinator that works on this spool; 0 while there is none."""
        self._jobstore = jobstore
        self._spool = spool
        self._clock = clock
        self._epoch = epoch
        self._tidy_for = 0
        self._spool_retention_ms = int(spool_retention_days * DAY_MS)
        self._retention_ms = int(retention_days * DAY_MS)
        self._swept: dict[str, int] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin; the first sweep is at once."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; what is left is swept after the next start."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.sweep()
            except (HaulierError, OSError) as error:
                _log.warning("sweep failed; trying again later", error=str(error))
            self._stopping.wait(SWEEP_SECONDS)

    def sweep(self) -> None:
        """Remove everything that is due now."""
        self._remove_left_over(self._epoch())
        for job in self._of_age("spool", self._spool_retention_ms):
            self._remove(self._files(job))
        for job in self._of_age("record", self._retention_ms):
            self._remove(self._files(job))
            if not self._stopping.is_set():
                self._jobstore.forget([job.id])

    def _of_age(self, what: str, age_ms: int) -> Iterator[Job]:
        before = self._clock.now_ms() - age_ms
        since = self._swept.get(what, 0)
        while not self._stopping.is_set():
            page = self._jobstore.ended(since, before, PAGE)
            yield from page
            if len(page) < PAGE:
                self._swept[what] = before
                return
            since = max(page[-1].ended_ms or 0, since + 1)

    def _remove_left_over(self, epoch: int) -> None:
        """Once for each epoch. The files are listed before the rows are read: what comes to be named meanwhile is left alone."""
        if epoch == self._tidy_for:
            return
        for job in self._jobstore.unfinished():
            there = self._files(job)
            chunks, segments = self._jobstore.chunks(job.id), self._jobstore.segments(job.id)
            named = {chunk.name for chunk in chunks} | {chunk.sealed_name for chunk in chunks}
            named |= {segment.name for segment in segments}
            left = [name for name in there if name not in named and 0 < (names.epoch_of(name) or 0) < epoch]
            if left:
                _log.info("files that nobody lived to tell of are removed", job=job.id, files=len(left))
                self._remove(left)
        self._tidy_for = epoch

    def _files(self, job: Job) -> Sequence[str]:
        return self._spool.names(names.job_folder(job.account, job.id))

    def _remove(self, files: Sequence[str]) -> None:
        for first in range(0, len(files), FILES_TOGETHER):
            if self._stopping.is_set():
                return
            self._spool.delete(files[first : first + FILES_TOGETHER])
