"""Administration as the settings want it: for a server, and for one command where no server runs."""

import contextlib
from collections.abc import Iterator

from haulier import datadir
from haulier.admin.administration import Administration, InForce
from haulier.admin.keyfile import KeyFile
from haulier.admin.state import Defined
from haulier.audit import AuditLog
from haulier.core.clock import SystemClock
from haulier.core.ports import Audit, Clock
from haulier.core.stored import AccountStore
from haulier.jobstore import SqlJobStore
from haulier.settings import Settings


def defined(settings: Settings) -> Defined:
    """What the settings define."""
    return Defined(
        accounts={account.name: account for account in settings.account_list()},
        policies=settings.policies,
        stores=frozenset(settings.stores),
        keyed=frozenset(settings.store_credentials()),
    )


def administration(
    settings: Settings, store: AccountStore, audit: Audit, clock: Clock, in_force: InForce | None
) -> Administration:
    """For these settings, and loaded with them. Raises SettingsError as `Administration.load`."""
    server = settings.server
    given = None if server.secrets_key is None else str(server.secrets_key)
    key_file = KeyFile(server.master_key_file, given, made_when_needed=server.secrets_key_file is None)
    made = Administration(store, key_file, audit, clock, in_force=in_force)
    made.load(defined(settings))
    return made


@contextlib.contextmanager
def alone(settings: Settings, *, changes: bool) -> Iterator[Administration]:
    """For one command that has the data directory to itself, and may change something or not.

    Raises DataDirectoryBusy, SettingsError, AuditBroken.
    """
    data_dir, clock = settings.server.data_dir, SystemClock()
    with datadir.locked(data_dir, "command"), contextlib.ExitStack() as stack:
        jobstore = SqlJobStore.open(data_dir / "haulier.db", clock)
        stack.callback(jobstore.close)
        audit = AuditLog(data_dir / "audit", clock)
        if changes:
            audit.start()
        stack.callback(audit.stop)
        yield administration(settings, jobstore.accounts, audit, clock, None)
