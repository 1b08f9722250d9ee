"""Makes the sizes of chunks, horizons and flushes small while a seed runs, wherever they are used."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from haulier.core import chunk
from haulier.operations import Delete
from haulier.testing.simulation.plan import Sizes


@contextmanager
def small(sizes: Sizes) -> Iterator[None]:
    """The constants of `core.chunk` under every name that a module has for them."""
    wanted = {
        "FIRST_CHUNK_ROWS": sizes.chunk_rows,
        "CHUNK_ROWS_MIN": sizes.chunk_rows,
        "FIRST_HORIZON": sizes.first_horizon,
        "FLUSH_OUTCOMES": sizes.flush_outcomes,
    }
    before: list[tuple[Any, str, int]] = []
    for name, value in wanted.items():
        assert hasattr(chunk, name), f"core.chunk has no {name} any more"
        for module in list(sys.modules.values()):
            if module.__name__.startswith("haulier.") and name in vars(module):
                before.append((module, name, getattr(module, name)))
                setattr(module, name, value)
    batch_rows = Delete.batch_rows
    Delete.batch_rows = sizes.batch_rows
    try:
        yield
    finally:
        Delete.batch_rows = batch_rows
        for module, name, value in before:
            setattr(module, name, value)
