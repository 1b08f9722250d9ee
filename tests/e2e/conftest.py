"""One store for all end-to-end tests; each test has buckets of its own."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from e2e.workbench import Workbench
from haulier.testing.server import COS_APPID, HaulierServer
from haulier.testing.stores import SeaweedFS

SCRATCH = "haulier-scratch"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def store() -> Iterator[SeaweedFS]:
    with SeaweedFS() as started:
        started.client().create_bucket(Bucket=SCRATCH)
        yield started


@pytest.fixture(scope="session")
def server(store: SeaweedFS) -> Iterator[HaulierServer]:
    """A server that all tests share: they must not kill it."""
    with HaulierServer(store.settings(scratch_bucket=SCRATCH)) as started:
        yield started


@pytest.fixture
def bucket(store: SeaweedFS) -> Callable[[str], str]:
    """Makes an empty bucket; the name tells what it is for."""

    def create(purpose: str) -> str:
        name = f"{purpose}-{next(_numbers)}-{COS_APPID}"
        store.client().create_bucket(Bucket=name)
        return name

    return create


@pytest.fixture
def bench(store: SeaweedFS, server: HaulierServer) -> Workbench:
    """Buckets of this test, and the shared server."""
    return Workbench(store, server)
