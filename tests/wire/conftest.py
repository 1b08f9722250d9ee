from collections.abc import Iterator
from pathlib import Path

import pytest

from wire.serving import Serving, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server that the tests of a file share."""
    with serving(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Serving]:
    """A server of the test's own, without jobs."""
    with serving(tmp_path) as running:
        yield running
