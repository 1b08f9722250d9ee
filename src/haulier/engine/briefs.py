"""What a runner is told of a job: put together from the job, the directory and the settings, each time a unit goes out.

The role and its keys are looked up anew every time, so a role that was taken away stops a job at its next chunk.
"""

from collections.abc import Mapping

import msgspec

from haulier.core.accounts import NO_QUOTAS, Credentials, Quotas, Role
from haulier.core.directory import Directory
from haulier.core.job import Job
from haulier.core.lifecycle import JobStatus
from haulier.core.policy.rights import Rights
from haulier.core.ports import Spool
from haulier.engine.credentials import RoleCredentials
from haulier.engine.frames import JobBrief


class Briefs:
    """Makes briefs from the directory's roles and the stores' own keys."""

    def __init__(
        self,
        directory: Directory,
        store_keys: Mapping[str, Credentials],
        rights: Rights,
        spool: Spool,
        credentials: RoleCredentials,
        *,
        quotas: Quotas = NO_QUOTAS,
    ) -> None:
        """`quotas` hold for accounts that have none of their own."""
        self._directory = directory
        self._rights = rights
        self._spool = spool
        self._credentials = credentials
        self.reload(store_keys, quotas=quotas)

    def reload(self, store_keys: Mapping[str, Credentials], *, quotas: Quotas = NO_QUOTAS) -> None:
        """Use these from the next brief on."""
        self._store_keys = store_keys
        self._quotas = quotas

    def brief(self, job: Job) -> JobBrief:
        """Raises JobFailure `RoleNotAllowed` when the account or role is gone, its creator may not pass it any longer, or STS
        refuses it; CredentialsAwaited while it has none."""
        account = self._directory.account(job.account)
        role = self._rights.running_role(account, job)
        return self._brief(job, role, self._access(role))

    def blind(self, job: Job) -> JobBrief:
        """For a job whose role is gone: with it nothing can be asked of any store."""
        return self._brief(job, Role(account=job.account, name=job.role), {})

    def _brief(self, job: Job, role: Role, access: dict[str, Credentials]) -> JobBrief:
        account = self._directory.account(job.account)
        quotas = self._quotas if account is None else account.quotas.or_else(self._quotas)
        return JobBrief(
            id=job.id,
            account=job.account,
            dialect=job.dialect,
            manifest=job.manifest,
            operation=job.operation,
            report=job.report,
            placements=job.placements,
            role=msgspec.structs.replace(role, keys={}, assumed={}),
            access=access,
            status=job.status,
            reporting_ms=job.reporting_ms,
            retry=job.retry,
            tasks_max=quotas.tasks_per_job or 0,
            spool_bytes_max=self._spool_bytes_left(job, quotas.spool_bytes),
            succeeded=job.succeeded,
            failed=job.failed,
            limited=job.limits is not None,
        )

    def check(self, job: Job) -> None:
        """Whether the job may be handed work at all. Raises as `brief`."""
        self._access(self._rights.running_role(self._directory.account(job.account), job))

    def weight(self, account: str) -> float:
        """The account's share of the runners, beside the weights of others."""
        found = self._directory.account(account)
        return 1.0 if found is None else found.weight

    def _spool_bytes_left(self, job: Job, spool_bytes: int | None) -> int | None:
        """What the account may still put into the spool; looked up when a manifest is about to be staged, which needs most."""
        if spool_bytes is None or job.status != JobStatus.PREPARING:
            return None
        return max(0, spool_bytes - self._spool.used(f"{job.account}/"))

    def _access(self, role: Role) -> dict[str, Credentials]:
        return {name: keys for name in role.stores if (keys := self._keys(role, name)) is not None}

    def _keys(self, role: Role, store: str) -> Credentials | None:
        if store in role.assumed:
            return self._credentials.of(role, store)
        return role.keys.get(store) or (self._store_keys.get(store) if role.use_store_keys else None)
