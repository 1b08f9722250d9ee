import random
from collections.abc import Iterator

import pytest

from haulier.core.accounts import Credentials
from haulier.core.clock import SystemClock
from haulier.core.placement import Store
from haulier.core.ports import ObjectStore
from haulier.objectstore.memory import MemoryObjectStore
from haulier.objectstore.s3 import S3ObjectStore
from haulier.objectstore.throttle import Throttle
from haulier.objectstore.transport import CurlDriver
from haulier.testing.effects import EffectRunner
from haulier.testing.faulty_s3 import FaultyS3
from haulier.testing.suites.driver import Running
from haulier.testing.suites.objectstore import ObjectStoreSuite, Run, VersionedObjectStoreSuite


class OnMemory:
    @pytest.fixture
    def store(self) -> ObjectStore:
        return MemoryObjectStore(SystemClock(), ["plain", "kept"], versioned=["kept"])

    @pytest.fixture
    def run(self) -> Run:
        return EffectRunner().run


class OnS3:
    @pytest.fixture
    def server(self) -> Iterator[FaultyS3]:
        with FaultyS3(["plain", "kept"], versioned=["kept"]) as server:
            yield server

    @pytest.fixture
    def store(self, server: FaultyS3) -> ObjectStore:
        clock = SystemClock()
        return S3ObjectStore(
            Store(name="faulty", endpoint=server.endpoint),
            Credentials("key", "secret"),
            throttle=Throttle(clock, 32),
            clock=clock,
            random=random.Random(1).random,
        )

    @pytest.fixture
    def run(self) -> Iterator[Run]:
        running = Running(CurlDriver(clock=SystemClock()))
        yield running.do
        running.stop()


class TestMemory(OnMemory, ObjectStoreSuite):
    @pytest.fixture
    def bucket(self) -> str:
        return "plain"


class TestMemoryWithVersions(OnMemory, VersionedObjectStoreSuite):
    @pytest.fixture
    def bucket(self) -> str:
        return "kept"


class TestS3(OnS3, ObjectStoreSuite):
    @pytest.fixture
    def bucket(self) -> str:
        return "plain"


class TestS3WithVersions(OnS3, VersionedObjectStoreSuite):
    @pytest.fixture
    def bucket(self) -> str:
        return "kept"
