"""Probing, on a runner: the trial of a job's operation in the store's scratch bucket (decisions §4)."""

from collections.abc import Callable
from typing import Any, Final

from haulier import operations
from haulier.core.effects import Effect
from haulier.engine.connections import Connections
from haulier.engine.frames import Event, JobBrief, Probed, ProbeStore
from haulier.operations.probing import Finding, probe

Await = Callable[[Effect[Any]], Any]
SCRATCH_PREFIX: Final = b"haulier-probe/"


def run_probe(unit: ProbeStore, brief: JobBrief, connections: Connections, wait: Await, put: Callable[[Event], None]) -> None:
    """Try the operation in the store's scratch bucket, under the job's credentials; puts Probed."""
    store = connections.named(unit.store)
    if store.scratch_bucket is None:
        finding = Finding("inconclusive", "the store has no scratch_bucket in the settings")
    else:
        objects = connections.scratch_of(brief, store)
        prefix = SCRATCH_PREFIX + f"{unit.job}/{unit.attempt}/".encode()
        finding = wait(probe(operations.load(brief.operation), objects, store.scratch_bucket, prefix))
    put(Probed(attempt=unit.attempt, job=unit.job, store=unit.store, finding=finding))
