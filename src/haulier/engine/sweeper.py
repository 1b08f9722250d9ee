"""Removes what retention says is over: a job's files in the spool `spool_retention_days` after its end, its record after
`retention_days`. Rows and outcomes go together, for a retry and a report need both (docs/decisions/0021)."""

import threading
from collections.abc import Iterator
from typing import Final

import structlog

from haulier.core.errors import HaulierError
from haulier.core.job import Job
from haulier.core.ports import Clock, JobStore, Spool

DAY_MS: Final = 86_400_000
SWEEP_SECONDS: Final = 600.0
PAGE: Final = 1_000

_log = structlog.get_logger(__name__)


class Sweeper:
    """Sweeps every ten minutes between `start` and `stop`; each sweep looks only at jobs that came of age since the last one."""

    def __init__(
        self, jobstore: JobStore, spool: Spool, clock: Clock, *, spool_retention_days: float, retention_days: float
    ) -> None:
        self._jobstore = jobstore
        self._spool = spool
        self._clock = clock
        self._spool_retention_ms = int(spool_retention_days * DAY_MS)
        self._retention_ms = int(retention_days * DAY_MS)
        self._swept: dict[str, int] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin; the first sweep is at once."""
        self._thread.start()

    def stop(self) -> None:
        """End after the job that is being swept."""
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
        for job in self._of_age("spool", self._spool_retention_ms):
            self._remove(f"{job.account}/{job.id}/")
        for job in self._of_age("record", self._retention_ms):
            self._remove(f"{job.account}/{job.id}/")
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

    def _remove(self, prefix: str) -> None:
        self._spool.delete(self._spool.names(prefix))
