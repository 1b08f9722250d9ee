"""Carries commands out, and keeps the directory as settings and database have it together.

The same code runs in a server and in a program that has the database to itself. Every change passes through `execute`: decided on
what is stored, told to the audit log as what is about to be done, stored in one transaction, told as what was done, and then in
force for whoever asks the directory.
"""

import secrets
import threading
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog

from haulier.admin.keyfile import KeyFile
from haulier.admin.keys import AddMasterKey
from haulier.admin.merging import merged
from haulier.admin.state import Asked, Decided, Defined, State, check_master_key
from haulier.core.brake import Brake
from haulier.core.directory import Directory
from haulier.core.errors import SecretsError, SettingsError, Unavailable
from haulier.core.policy import Policies
from haulier.core.ports import Audit, Clock
from haulier.core.sealing import MasterKeys
from haulier.core.stored import AccountStore, Change, Stored

NAMES_MAX: Final = 100
"""Of what changed in the settings, in one entry of the audit log."""

_log = structlog.get_logger(__name__)


class Peer(msgspec.Struct, frozen=True):
    """Who sends a command: the local user, as the kernel knows it."""

    uid: int
    pid: int


class InForce(msgspec.Struct, frozen=True):
    """What a server asks with each request."""

    directory: Directory
    policies: Policies
    brake: Brake = msgspec.field(default_factory=Brake)


class Administration:
    """The operator's commands on one account store. Safe to use from any thread; commands run one after another."""

    def __init__(
        self,
        store: AccountStore,
        key_file: KeyFile,
        audit: Audit,
        clock: Clock,
        *,
        in_force: InForce | None,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """`in_force` is kept up to date; None for a command by itself, which then can mend what no server starts with."""
        self._store = store
        self._in_force = in_force
        self._key_file = key_file
        self._audit = audit
        self._clock = clock
        self._random = random
        self._defined = Defined()
        self._keys: MasterKeys | None = None
        """The master keys that were good last."""
        self._turn = threading.Lock()

    def load(self, defined: Defined) -> None:
        """Hold these settings, at start and whenever they were read anew; what there is then is in force.

        Raises SettingsError where settings and database define the same, and where the master keys are not those that sealed what
        is stored: nothing has changed then, and a server must not start.
        """
        with self._turn:
            if self._in_force is not None:
                stored, keys = self._store.read(), self._key_file.read()
                _check_master_keys(stored, keys)
                self._hold(self._in_force, defined, stored, keys, tell=True)
                self._audit.record({"kind": "settings", **differences(self._defined, defined)}, durable=True)
            self._defined = defined

    def execute(self, command: Asked, peer: Peer) -> Any:
        """Carry the command out; its answer, as JSON values. Raises CommandRefused, InvalidField, SecretsError, SettingsError,
        Unavailable: nothing has changed then."""
        with self._turn:
            if command.changes:
                self._intend(command, peer)
            keys = self._master_keys(command)
            decided = Decided(None)

            def decide(stored: Stored) -> list[Change]:
                nonlocal decided
                decided = command.decide(self._state(stored, keys))
                return list(decided.changes)

            if not command.changes:
                decide(self._store.read())
                return decided.answer
            try:
                after = self._store.write(decide)
            except Exception as error:
                self._audit.record(
                    {"kind": "administration", **_entry(command, peer), "refused": type(error).__name__}, durable=True
                )
                raise
            self._tell(command, decided, peer)
            if self._in_force is not None:
                self._take_over(self._in_force, after)
            return decided.answer

    def note_uses(self) -> None:
        """Store when keys were used last."""
        if self._in_force is not None:
            self._store.note_uses(self._in_force.directory.take_uses())

    def _state(self, stored: Stored, keys: MasterKeys | None) -> State:
        return State(
            defined=self._defined,
            stored=stored,
            now_ms=self._clock.now_ms(),
            random=self._random,
            master_keys=keys,
            has_jobs=lambda account, unfinished: self._store.has_jobs(account, unfinished=unfinished),
        )

    def _master_keys(self, command: Asked) -> MasterKeys | None:
        """Those that the command needs; the first one is made where nothing was ever sealed."""
        if not command.seals:
            return None
        stored, keys = self._store.read(), self._key_file.read()
        _check_master_keys(stored, keys)
        if isinstance(command, AddMasterKey):
            return self._key_file.add(self._random)
        return keys or self._key_file.make(self._random)

    def _intend(self, command: Asked, peer: Peer) -> None:
        """Nothing is changed that the audit log does not tell: what is about to be done is on disk first. Raises Unavailable."""
        if self._audit.problem is None and self._audit.record({"kind": "intent", **_entry(command, peer)}, durable=True):
            return
        raise Unavailable(f"Nothing can be changed now: {self._audit.problem}.")

    def _tell(self, command: Asked, decided: Decided, peer: Peer) -> None:
        """The one place that every change passes on its way to the audit log, once it is done."""
        made = {what: decided.answer[what] for what in ("account", "user", "role", "key") if what in decided.answer}
        entry = {"kind": "administration", **_entry(command, peer), **made}
        self._audit.record(entry, durable=True)
        _log.info("administration", command=entry["command"], uid=peer.uid)

    def _take_over(self, in_force: InForce, stored: Stored) -> None:
        """Let what is stored now be in force, whatever has become of the file of the master keys: a key is disabled at once."""
        try:
            keys = self._key_file.read()
            _check_master_keys(stored, keys)
        except SettingsError as error:
            _log.error("the master keys have gone, no server will start; those read before are used still", error=str(error))
            keys = self._keys
        self._hold(in_force, self._defined, stored, keys)

    def _hold(self, in_force: InForce, defined: Defined, stored: Stored, keys: MasterKeys | None, *, tell: bool = False) -> None:
        """Let this be in force. Raises SettingsError, and has then changed nothing."""
        found = merged(defined, stored, keys)
        in_force.brake.since_ms = None if stored.stop is None else stored.stop.since_ms
        in_force.policies.reload({**defined.policies, **found.policies})  # first: a user without a policy may do nothing
        in_force.directory.reload(found.accounts)
        self._keys = keys
        if tell:
            for problem in found.problems:
                _log.warning(problem.message, **problem.facts)


def _entry(command: Asked, peer: Peer) -> dict[str, Any]:
    return {"command": str(type(command).__struct_config__.tag), "uid": peer.uid, "pid": peer.pid, **command.noted()}


def differences(before: Defined, after: Defined) -> dict[str, list[str]]:
    """Names of what the settings define otherwise than before: `acme`, `acme/users/olaf`, `acme/roles/batch`, `policies/p`. At
    most NAMES_MAX of each kind. Values may be secret, and are not told."""
    old, new = _named(before), _named(after)
    found = {
        "added": [name for name in new if name not in old],
        "changed": [name for name in new if name in old and new[name] != old[name]],
        "removed": [name for name in old if name not in new],
    }
    return {kind: names[:NAMES_MAX] for kind, names in found.items() if names}


def _named(defined: Defined) -> dict[str, object]:
    named: dict[str, object] = {f"policies/{name}": policy for name, policy in defined.policies.items()}
    for name, account in defined.accounts.items():
        named[name] = msgspec.structs.replace(account, users=(), roles=())
        named |= {f"{name}/users/{user.name}": user for user in account.users}
        named |= {f"{name}/roles/{role.name}": role for role in account.roles}
    return named


def _check_master_keys(stored: Stored, keys: MasterKeys | None) -> None:
    """Raises SettingsError unless everything that is sealed can be opened, as far as the keys themselves tell."""
    needed = stored.versions()
    path = "server.secrets_key_file"
    if needed and keys is None:
        raise SettingsError(
            path,
            f"the database holds {len(stored.sealed())} sealed secrets, and there is no master key to open them with;"
            " haulier key delete and haulier role delete take away what is lost",
        )
    for version in sorted(needed):
        try:
            assert keys is not None
            check_master_key(keys, stored.master_keys.get(version), version)
        except SecretsError as error:
            raise SettingsError(path, f"{error}; the stored secrets cannot be opened") from None
