"""A runner's ways to the stores: for each job and bucket the one store that answers for it, with the job's own credentials.

The placement of a bucket is found by the same rules as at creation, and the role is checked before the first request
(decisions §1). Throttle, retry quota and breaker are shared by all jobs that use the same (store, bucket, role), the gate by all
that use the store.
"""

import threading
from collections.abc import Callable, Sequence

from haulier.core.errors import JobFailure
from haulier.core.placement import Resolver, Store
from haulier.core.ports import Clock, ObjectStore
from haulier.engine.frames import JobBrief
from haulier.engine.keyring import Keyring
from haulier.objectstore.gate import Gates
from haulier.objectstore.s3 import S3ObjectStore
from haulier.objectstore.throttle import Throttle


class StoreLane:
    """The store for one bucket under one role, and its throttle (`chunkrun.Lane`)."""

    __slots__ = ("_endpoint", "_throttle", "acquired", "name", "released", "room", "store")

    def __init__(self, store: Store, objects: S3ObjectStore, throttle: Throttle) -> None:
        self.name = store.name
        self.store: ObjectStore = objects
        self._endpoint = store.endpoint
        self._throttle = throttle
        self.room = throttle.room
        self.acquired = throttle.acquired
        self.released = throttle.released

    def held(self) -> str | None:
        """Why its tasks are held, with the store's name and address; None while the store is reached."""
        reason = self._throttle.held
        return None if reason is None else f"store {self.name!r} at {self._endpoint} does not answer: {reason}"


class Connections:
    """Finds lanes; safe from any thread."""

    def __init__(
        self, stores: Sequence[Store], gates: Gates, keyring: Keyring, clock: Clock, random: Callable[[], float]
    ) -> None:
        """`random` as for `S3ObjectStore`."""
        self._resolver = Resolver(stores)
        self._gates = gates
        self._keyring = keyring
        self._clock = clock
        self._random = random
        self._lock = threading.Lock()
        self._lanes: dict[tuple[str, str, str, str], StoreLane] = {}

    def place(self, brief: JobBrief, bucket: str, *, writes: bool) -> Store:
        """The store for the bucket. Raises JobFailure as `Resolver.placed`."""
        return self._resolver.placed(brief.role, bucket, brief.placements, writes=writes)

    def lane(self, brief: JobBrief, bucket: str, *, writes: bool) -> StoreLane:
        """The lane for the bucket. Raises JobFailure as `place`, or `RoleNotAllowed` when the role has no keys there."""
        return self._lane(brief, self.place(brief, bucket, writes=writes), bucket)

    def named(self, name: str) -> Store:
        """The store of that name in the settings. Raises JobFailure `UnknownBucket`."""
        store = self._resolver.stores.get(name)
        if store is None:
            raise JobFailure("UnknownBucket", f"store {name!r} is no longer in the settings")
        return store

    @property
    def scratch_buckets(self) -> tuple[str, ...]:
        """The scratch buckets of all stores."""
        return tuple(store.scratch_bucket for store in self._resolver.stores.values() if store.scratch_bucket is not None)

    def scratch_of(self, brief: JobBrief, store: Store) -> ObjectStore:
        """The store for its scratch bucket, under the job's credentials: the operator named that bucket, not the role."""
        return self._lane(brief, store, store.scratch_bucket or "").store

    def _lane(self, brief: JobBrief, store: Store, bucket: str) -> StoreLane:
        credentials = brief.access.get(store.name)
        if credentials is None:
            raise JobFailure("RoleNotAllowed", f"role {brief.role.name!r} has no keys for store {store.name!r}")
        key = (store.name, bucket, brief.account, brief.role.name)
        with self._lock:
            lane = self._lanes.get(key)
            self._keyring.replace(brief.account, brief.role.name, store.name, credentials)
            if lane is None:
                throttle = Throttle(self._clock, store.in_flight_max, gate=self._gates.of(store.name))
                objects = S3ObjectStore(store, credentials, throttle=throttle, clock=self._clock, random=self._random)
                self._keyring.add(brief.account, brief.role.name, store.name, objects)
                lane = self._lanes[key] = StoreLane(store, objects, throttle)
            return lane

    def store(self, brief: JobBrief, bucket: str, *, writes: bool) -> ObjectStore:
        """The store for the bucket."""
        return self.lane(brief, bucket, writes=writes).store
