"""What has happened and is not committed yet: the entries of the next transaction."""

from collections.abc import Sequence
from typing import Any

import msgspec
import structlog

from haulier.core.history import EventKind, happening
from haulier.core.job import Failure, Waits
from haulier.core.lifecycle import JobEvent
from haulier.core.ports import Clock, DeliveryEnded, Entry, JobMoved, JobWaits
from haulier.engine.jobrun import JobRun

_log = structlog.get_logger(__name__)


class Progress:
    """Collects entries; the coordinator takes them to the job store, again and again until they are stored."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: list[Entry] = []
        self.urgent = False
        """Something waits for the commit: it should not wait for its time."""

    def add(self, entry: Entry, *, urgent: bool = False) -> None:
        """One more entry."""
        self._entries.append(entry)
        self.urgent = self.urgent or urgent

    def move(self, run: JobRun, event: JobEvent, **facts: Any) -> None:
        """The job moves, unless it is in another state by then."""
        self.add(JobMoved(job=run.job.id, event=event, was=run.job.status, **facts), urgent=True)

    def fail(self, run: JobRun, code: str, reason: str) -> None:
        """The job cannot go on; where it has ended, the delivery of its report has failed."""
        if run.job.awaits_delivery:
            self._delivered(run, Failure(code, reason))
            return
        _log.warning("job fails", job=run.job.id, code=code, reason=reason)
        self.move(run, JobEvent.FAILED, failure=Failure(code, reason))

    def reported(self, run: JobRun) -> None:
        """The report is where it belongs."""
        if run.job.awaits_delivery:
            self._delivered(run, None)
        else:
            self.move(run, JobEvent.REPORTED)

    def _delivered(self, run: JobRun, failure: Failure | None) -> None:
        if run.job.delivery is not None:
            self.add(DeliveryEnded(job=run.job.id, number=run.job.delivery.number, failure=failure), urgent=True)

    def note(self, run: JobRun, kind: EventKind, **facts: Any) -> None:
        """Something for the job's record that none of its fields shows."""
        self.add(happening(run.job.id, self._clock.now_ms(), kind, **facts))

    def wait(self, run: JobRun, problem: str | None) -> None:
        """Its role has no credentials. Told once for each reason; None = they are only being asked for."""
        if problem is not None and problem != run.waits_for:
            _log.warning("job waits", job=run.job.id, reason=problem)
            self.note(run, EventKind.POSTPONED, code="CredentialsUnavailable", reason=problem)
        run.waits_for = problem or run.waits_for

    def outage(self, run: JobRun, waits: Waits | None) -> None:
        """A store that it needs does not answer, or does so again (None)."""
        _log.warning("job waits" if waits is not None else "job goes on", job=run.job.id, reason=waits and waits.reason)
        run.job = msgspec.structs.replace(run.job, waits=waits)  # so that it is told once, also before it is stored
        self.add(JobWaits(run.job.id, waits))

    def moves(self, run: JobRun) -> bool:
        """Whether a move of the job waits for its commit: until then nothing is decided about it."""
        return any(isinstance(entry, JobMoved | DeliveryEnded) and entry.job == run.job.id for entry in self._entries)

    @property
    def entries(self) -> Sequence[Entry]:
        """In the order in which they were added."""
        return self._entries

    def committed(self) -> None:
        """They are stored."""
        self._entries = []
        self.urgent = False
