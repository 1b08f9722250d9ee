"""What the audit log tells of a job's end: as whom it acted, and how many tasks it ended with."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from haulier.core.lifecycle import TERMINAL
from haulier.core.ports import Audit, Written

TOLD_MAX: Final = 10_000


class Endings:
    """A watcher of a job store (`JobStore.watch`) that records each job once when it ends."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._told: OrderedDict[str, None] = OrderedDict()
        """Of the last so many jobs that ended: what is written about one later is no second end."""

    def __call__(self, written: Sequence[Written]) -> None:
        """Some jobs were written."""
        for job in (each.job for each in written):
            if job.status not in TERMINAL or job.ended_ms != job.status_since_ms or job.id in self._told:
                continue
            self._told[job.id] = None
            if len(self._told) > TOLD_MAX:
                self._told.popitem(last=False)
            self._audit.record(
                {
                    "kind": "job ended",
                    "job": job.id,
                    "account": job.account,
                    "created_by": job.created_by,
                    "role": job.role,
                    "does": job.operation.name,
                    "became": str(job.status),
                    "total": job.total,
                    "succeeded": job.succeeded,
                    "failed": job.failed,
                    "code": None if job.failure is None else job.failure.code,
                }
            )
