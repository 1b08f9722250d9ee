"""Those who ask for things: jobs, and then confirmation, pauses, priorities, ends."""

import contextlib
import json
from collections.abc import Callable, Sequence
from typing import Final

from haulier.core.errors import HaulierError
from haulier.core.lifecycle import JobStatus
from haulier.objectstore.memory import MemoryObjectStore
from haulier.testing.s3answers import at_once
from haulier.testing.simulation.hub import Crash, Hub
from haulier.testing.simulation.ledger import StoredLedger
from haulier.testing.simulation.oracle import Oracle
from haulier.testing.simulation.plan import Moment
from haulier.testing.simulation.server import IDENTITIES, ServerProcess
from haulier.testing.simulation.truth import JobTruth

AGAIN_SECONDS: Final = 0.5
HURRY_SECONDS: Final = 2.0
STATUSES: Final = {"confirm": "Ready", "resume": "Ready", "pause": "Paused", "cancel": "Cancelled"}


class Users:
    """All of them. `server` gives the one that answers now, if there is one."""

    def __init__(
        self,
        hub: Hub,
        jobs: Sequence[JobTruth],
        server: Callable[[], ServerProcess | None],
        objects: MemoryObjectStore,
        ledger: StoredLedger,
        oracle: Oracle,
    ) -> None:
        self._hub = hub
        self._jobs = jobs
        self._server = server
        self._objects = objects
        self._ledger = ledger
        self._oracle = oracle
        self.cancelled: set[str] = set()
        """Jobs of which somebody was told that they are being cancelled."""

    def create(self, job: JobTruth) -> None:
        """Until it is accepted. Who got no answer asks again, with the same token."""
        server = self._server()
        if server is not None:
            etag = at_once(self._objects.put_object("lists", job.manifest_key.encode(), job.manifest))
            try:
                job.id = server.create(job.plan.account, job.request(etag, IDENTITIES[job.plan.account]))
            except (HaulierError, Crash):
                job.id = self._stored_all_the_same(job)
        if job.id:
            self._oracle.created(job)
        else:
            self._hub.later(AGAIN_SECONDS, lambda: self.create(job))

    def _stored_all_the_same(self, job: JobTruth) -> str:
        """Its id, if it is there although nobody was told: the same token would give it."""
        for stored in self._ledger.jobs.values():
            if json.loads(stored.document)["digest"] == f"digest-{job.number}":
                return stored.id
        return ""

    def ask(self, moment: Moment) -> None:
        """One thing, of one job; refused, as often as not."""
        jobs = [job for job in self._jobs if job.id]
        server = self._server()
        if not jobs or server is None:
            return
        job = jobs[moment.victim % len(jobs)]
        status = STATUSES.get(moment.what)
        with contextlib.suppress(Crash):
            if status is None:
                server.set_priority(job.plan.account, job.id, moment.victim)
            elif server.ask(job.plan.account, job.plan.dialect, job.id, status) and moment.what == "cancel":
                self.cancelled.add(job.id)

    def hurry(self) -> None:
        """Confirm what waits for it, and resume what users have paused, again and again."""
        server = self._server()
        for job in self._jobs if server is not None else ():
            stored = self._ledger.jobs.get(job.id)
            waits = stored is not None and (stored.status == JobStatus.SUSPENDED or '"paused_by":"user"' in stored.document)
            if waits and server is not None and not server.dead:
                with contextlib.suppress(Crash):
                    server.ask(job.plan.account, job.plan.dialect, job.id, "Ready")
        self._hub.later(HURRY_SECONDS, self.hurry)
