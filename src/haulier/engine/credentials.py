"""The credentials that roles get from STS: asked for by the coordinator alone, renewed long before they are over.

Of one role at most one question is under way. Three refusals in a row mean that the role is gone or not allowed: its jobs fail.
An STS that does not answer is waited for, and its jobs' tasks are held. Rules: reliability §4 "Role credentials", decisions §1.
"""

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Final, NamedTuple

import msgspec
import structlog

from haulier.core.accounts import AssumedRole, Credentials, Role
from haulier.core.errors import HaulierError, JobFailure
from haulier.core.ports import Clock
from haulier.objectstore.sts import StsRefused, session_name

REFUSALS_MAX: Final = 3
REFUSED_SECONDS: Final = 3.0
"""Between two refusals, and then before a refused role is asked for again."""
RETRY_SECONDS_MAX: Final = 30.0
WANTED_SECONDS: Final = 60.0
"""Credentials that no job has asked for this long are not renewed."""
HALF_LIFE: Final = 0.5
JITTER: Final = 0.1
"""Renewed between 0.4 and 0.6 of their life, so that roles which began together do not ask together."""

_log = structlog.get_logger(__name__)


class CredentialsAwaited(HaulierError):
    """The role has no credentials at present. `problem` says why, None while they are being asked for."""

    def __init__(self, problem: str | None) -> None:
        super().__init__(problem or "the role's credentials are being asked for")
        self.problem = problem


class RoleAt(NamedTuple):
    """A role on a store: what credentials are for."""

    account: str
    role: str
    store: str


class _Lease(msgspec.Struct):
    """What is known of one role on one store."""

    how: AssumedRole
    credentials: Credentials | None = None
    ask_at: float = 0.0
    """Monotonic time of the next question."""
    wanted_at: float = 0.0
    failures: int = 0
    refusals: int = 0
    problem: str | None = None


class RoleCredentials:
    """Belongs to the coordinator's thread."""

    def __init__(
        self,
        assume: Callable[[AssumedRole, str], Future[Credentials]],
        clock: Clock,
        random: Callable[[], float],
        *,
        answered: Callable[[], None] = lambda: None,
    ) -> None:
        """`assume` asks STS; `answered` is called, on any thread, when it has said something. `random`: numbers in [0, 1)."""
        self._assume = assume
        self._clock = clock
        self._random = random
        self._answered = answered
        self._leases: dict[RoleAt, _Lease] = {}
        self._asking: dict[tuple[str, str], tuple[RoleAt, _Lease, Future[Credentials]]] = {}

    def of(self, role: Role, store: str) -> Credentials:
        """The credentials of the role there. Raises CredentialsAwaited, or JobFailure `RoleNotAllowed` where STS refuses."""
        now = self._clock.monotonic()
        at = RoleAt(role.account, role.name, store)
        lease = self._leases.get(at)
        if lease is None or lease.how != role.assumed[store]:
            lease = self._leases[at] = _Lease(role.assumed[store])
        lease.wanted_at = now
        if lease.refusals >= REFUSALS_MAX:
            reason = f"STS refuses role {role.name!r} for store {store!r} ({lease.how.arn}): {lease.problem}"
            if now >= lease.ask_at:  # the next job finds out anew
                lease.refusals = 0
            raise JobFailure("RoleNotAllowed", reason)
        if lease.credentials is None or (lease.credentials.expires_ms or 0) <= self._clock.now_ms():
            raise CredentialsAwaited(None if lease.problem is None else f"role {role.name!r} has no credentials: {lease.problem}")
        return lease.credentials

    def rejected(self, at: RoleAt, access_key: str) -> None:
        """The store says that these credentials are over: new ones are asked for at once."""
        lease = self._leases.get(at)
        if lease is not None and lease.credentials is not None and lease.credentials.access_key == access_key:
            lease.credentials = None
            lease.ask_at = 0.0

    def turn(self) -> list[tuple[RoleAt, Credentials]]:
        """Ask for what is due, take in what came; the credentials that are new."""
        new = self._take_answers()
        now = self._clock.monotonic()
        for at, lease in self._leases.items():
            role = at.account, at.role
            if now >= lease.ask_at and now - lease.wanted_at < WANTED_SECONDS and role not in self._asking:
                future = self._assume(lease.how, session_name(at.account, at.role))
                self._asking[role] = at, lease, future
                future.add_done_callback(lambda _: self._answered())
        return new

    def _take_answers(self) -> list[tuple[RoleAt, Credentials]]:
        new = []
        for role, (at, lease, future) in list(self._asking.items()):
            if not future.done():
                continue
            del self._asking[role]
            if self._leases.get(at) is not lease:
                continue  # the role is another one by now: what was answered, good or bad, is of the one before
            try:
                credentials = future.result()
            except (HaulierError, CancelledError) as error:
                self._failed(at, lease, error)
            else:
                self._got(lease, credentials)
                new.append((at, credentials))
        return new

    def _got(self, lease: _Lease, credentials: Credentials) -> None:
        lease.credentials = credentials
        lease.failures = lease.refusals = 0
        lease.problem = None
        life = max(0, (credentials.expires_ms or 0) - self._clock.now_ms()) / 1000
        lease.ask_at = self._clock.monotonic() + life * (HALF_LIFE + JITTER * (2 * self._random() - 1))

    def _failed(self, at: RoleAt, lease: _Lease, error: BaseException) -> None:
        now = self._clock.monotonic()
        lease.problem = str(error) or type(error).__name__
        if isinstance(error, StsRefused):
            lease.refusals += 1
            lease.ask_at = now + REFUSED_SECONDS
        else:
            lease.failures += 1
            lease.ask_at = now + (0.5 + self._random() / 2) * min(RETRY_SECONDS_MAX, 2.0 ** min(lease.failures, 10))
        _log.warning("no new credentials", account=at.account, role=at.role, store=at.store, problem=lease.problem)
