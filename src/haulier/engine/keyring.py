"""The keys by which one runner signs: of each role on each store the newest, whatever way they came."""

import threading
import weakref
from collections.abc import Callable
from functools import partial

from haulier.core.accounts import Credentials
from haulier.objectstore.s3 import S3ObjectStore

Rejected = Callable[[str, str, str, Credentials], None]
"""Called with account, role, store and the credentials that the store says are over."""


class Keyring:
    """From any thread; what it changes belongs to the driver's, which reads whole values only."""

    def __init__(self, rejected: Rejected) -> None:
        self._rejected = rejected
        self._lock = threading.Lock()
        self._newest: dict[tuple[str, str, str], Credentials] = {}
        self._users: dict[tuple[str, str, str], weakref.WeakSet[S3ObjectStore]] = {}

    def add(self, account: str, role: str, store: str, objects: S3ObjectStore) -> None:
        """It signs by the newest keys from now on."""
        key = account, role, store
        objects.when_rejected(partial(self._rejected, account, role, store))
        with self._lock:
            self._users.setdefault(key, weakref.WeakSet()).add(objects)
            newest = self._newest.get(key)
        if newest is not None:
            objects.replace_credentials(newest)

    def replace(self, account: str, role: str, store: str, credentials: Credentials) -> None:
        """Sign by these, unless newer ones came already: a unit may have waited with the older ones."""
        key = account, role, store
        with self._lock:
            newest = self._newest.get(key)
            if newest == credentials or (newest is not None and _over_before(credentials, newest)):
                return
            self._newest[key] = credentials
            users = list(self._users.get(key, ()))
        for objects in users:
            objects.replace_credentials(credentials)


def _over_before(one: Credentials, other: Credentials) -> bool:
    return one.expires_ms is not None and other.expires_ms is not None and one.expires_ms < other.expires_ms
