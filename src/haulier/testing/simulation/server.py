"""The server process: job store, service and coordinator, wired as `app` does it, but for the parts that carry HTTP."""

from collections.abc import Callable
from concurrent.futures import Future

from haulier.core.accounts import Account, AssumedRole, Caller, Credentials, Key, Role, User
from haulier.core.directory import Directory
from haulier.core.errors import HaulierError, Unavailable
from haulier.core.placement import Resolver
from haulier.core.policy import Policies
from haulier.core.policy.rights import Rights
from haulier.engine.briefs import Briefs
from haulier.engine.coordinator import COMMIT_SECONDS, Coordinator
from haulier.engine.credentials import RoleCredentials
from haulier.engine.grants import Grants
from haulier.engine.joblife import JobLimits
from haulier.engine.proofs import Proofs
from haulier.objectstore.sts import StsUnavailable
from haulier.service import CreateJob, Service
from haulier.testing.simulation.database import CrashingJobStore, DatabaseFiles, Troubles
from haulier.testing.simulation.hub import Process
from haulier.testing.simulation.plan import ACCOUNTS
from haulier.testing.simulation.runners import Machine, ModelEngine
from haulier.testing.simulation.spool import ModelSpool
from haulier.testing.simulation.strands import StrandFuture

IDENTITIES = {name: {"aws": f"{number}" * 12, "uin": f"1{number:011d}"} for number, name in enumerate(ACCOUNTS, 1)}
KEYS = {"main": Credentials("AKSTORE", "secret")}


ASSUMED = AssumedRole(arn="arn:aws:iam::1:role/main", endpoint="http://sts.test", caller=KEYS["main"], region="us-east-1")
STS_SECONDS_MAX = 0.5
STS_DOWN_SHARE = 0.2


def _account(name: str, *, from_sts: bool) -> Account:
    user = User(account=name, name="admin", policy="admin", keys=(Key(id=f"AK-{name}", secret_key="secret"),))
    role = Role(
        account=name,
        name="batch",
        stores=("main",),
        buckets=("*",),
        use_store_keys=not from_sts,
        assumed={"main": ASSUMED} if from_sts else {},
        users=("admin",),
    )
    identity = IDENTITIES[name]
    return Account(name=name, aws_account_id=identity["aws"], cos_uin=identity["uin"], users=(user,), roles=(role,))


class ServerProcess(Process):
    """One life of the server."""

    def __init__(
        self,
        machine: Machine,
        database: DatabaseFiles,
        troubles: Troubles,
        *,
        name: str,
        runners: int,
        sts_seconds: float | None,
        committed: Callable[[], None],
        new_id: Callable[[], str],
    ) -> None:
        super().__init__(machine.hub, name)
        self._machine = machine
        self._stopping = False
        clock, stores = machine.hub.clock, (machine.settings,)
        self.jobstore = CrashingJobStore(database.path, clock, self, machine.points, troubles, committed)
        self._sts_seconds = sts_seconds
        assumed = ACCOUNTS[:1] if sts_seconds is not None else ()
        self._directory = Directory(_account(account, from_sts=account in assumed) for account in ACCOUNTS)
        rights = Rights(Policies())
        self._engine = ModelEngine(machine, self, runners)
        spool = ModelSpool(machine.disk, self, machine.points)
        credentials = RoleCredentials(self._assume, clock, machine.hub.chance.random, answered=self._wake)
        self.coordinator = Coordinator(
            self.jobstore,
            self._engine,
            spool,
            Briefs(self._directory, KEYS, rights, spool, credentials),
            Proofs(stores, clock),
            Grants(stores, clock),
            credentials,
            clock,
            limits=JobLimits(),
            crashed=machine.hub.fail,
        )
        self.service = Service(self.jobstore, Resolver(stores), clock, rights=rights, secret=b"secret", new_id=new_id)
        self._changed = self.jobstore.changed()
        self.start(self._run)

    def _run(self) -> None:
        try:
            self.coordinator.take_over()
        except Unavailable:
            self.crash()  # it ends with a message, and whoever watches over it starts it again
        while not self._stopping:
            if self._changed(0):
                self.coordinator.reload()
            self.coordinator.turn(COMMIT_SECONDS)
        self.coordinator.drain()
        self._engine.stop()
        self.crash()

    def _wake(self) -> None:
        self._engine.wake()

    def _assume(self, _how: AssumedRole, _session: str) -> Future[Credentials]:
        """What an STS answers, after a moment, if it can be reached."""
        chance, future = self.hub.chance, StrandFuture[Credentials]()

        def answer() -> None:
            if chance.random() < STS_DOWN_SHARE:
                future.set_exception(StsUnavailable("no answer"))
                return
            expires_ms = self.hub.clock.now_ms() + int(1000 * (self._sts_seconds or 0))
            future.set_result(Credentials(f"ASIA{expires_ms}", "secret", str(expires_ms), expires_ms))

        self.later(chance.uniform(0.01, STS_SECONDS_MAX), answer)
        return future

    def stop(self) -> None:
        """As by SIGTERM: it ends in good order, and by itself."""
        self._stopping = True
        self._engine.wake()

    def create(self, account: str, request: CreateJob) -> str:
        """The new job's id. Raises HaulierError when it was not accepted, Crash when nobody knows."""
        job = self.service.create(self._caller(account, request.dialect), request)
        self._engine.wake()
        return job.id

    def ask(self, account: str, dialect: str, job_id: str, status: str) -> bool:
        """Ask for a status; whether it was granted."""
        try:
            self.service.set_status(self._caller(account, dialect), job_id, status, None)
        except HaulierError:
            return False
        self._engine.wake()
        return True

    def set_priority(self, account: str, job_id: str, priority: int) -> bool:
        """Whether the job has it."""
        try:
            self.service.set_priority(self._caller(account, "s3control"), job_id, priority)
        except HaulierError:
            return False
        self._engine.wake()
        return True

    def _caller(self, account: str, dialect: str) -> Caller:
        found = self._directory.accounts[account]
        return Caller(account=found, user=found.users[0], dialect=dialect, region="us-east-1")  # type: ignore[arg-type]
