"""What a runner is told of a job: put together from the job, the directory and the settings, each time a unit goes out.

The role and its keys are looked up anew every time, so a role that was taken away stops a job at its next chunk.
"""

from collections.abc import Mapping

import msgspec

from haulier.core.accounts import Credentials
from haulier.core.directory import Directory
from haulier.core.job import Job
from haulier.core.policy.rights import Rights
from haulier.engine.frames import JobBrief


class Briefs:
    """Makes briefs from the directory's roles and the stores' own keys."""

    def __init__(
        self, directory: Directory, store_keys: Mapping[str, Credentials], rights: Rights, *, tasks_max: int = 0
    ) -> None:
        """`tasks_max`: tasks per job at most; 0 = no limit."""
        self._directory = directory
        self._rights = rights
        self.reload(store_keys, tasks_max=tasks_max)

    def reload(self, store_keys: Mapping[str, Credentials], *, tasks_max: int = 0) -> None:
        """Use these from the next brief on."""
        self._store_keys = store_keys
        self._tasks_max = tasks_max

    def brief(self, job: Job) -> JobBrief:
        """Raises JobFailure `RoleNotAllowed` when the account or role is gone, or its creator may not pass it any longer."""
        role = self._rights.running_role(self._directory.account(job.account), job)
        access = {name: keys for name in role.stores if (keys := self._keys(role.keys, role.use_store_keys, name)) is not None}
        return JobBrief(
            id=job.id,
            account=job.account,
            dialect=job.dialect,
            manifest=job.manifest,
            operation=job.operation,
            report=job.report,
            placements=job.placements,
            role=msgspec.structs.replace(role, keys={}),
            access=access,
            status=job.status,
            reporting_ms=job.reporting_ms,
            tasks_max=self._tasks_max,
            succeeded=job.succeeded,
            failed=job.failed,
        )

    def _keys(self, own: Mapping[str, Credentials], use_store_keys: bool, store: str) -> Credentials | None:
        return own.get(store) or (self._store_keys.get(store) if use_store_keys else None)
