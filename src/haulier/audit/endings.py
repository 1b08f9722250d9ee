"""What the audit log tells of a job's end: as whom it acted, and how many tasks it ended with."""

from collections.abc import Sequence

from haulier.core.ports import Audit, Written


class Endings:
    """A watcher of a job store (`JobStore.watch`) that records each job once when it ends."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def __call__(self, written: Sequence[Written]) -> None:
        """Some jobs were written."""
        for job in (each.job for each in written if each.ended):
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
