"""Probing: what a store is trusted with before a job's first task (decisions §4)."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from haulier import operations
from haulier.core.effects import Effect
from haulier.core.job import Failure, Job
from haulier.core.placement import Store
from haulier.core.ports import Clock
from haulier.engine.connections import Connections
from haulier.engine.frames import Event, JobBrief, Probed, ProbeStore
from haulier.operations.probing import Finding, often_faked, probe

Await = Callable[[Effect[Any]], Any]
KEPT_MS: Final = 24 * 3_600_000
SCRATCH_PREFIX: Final = b"haulier-probe/"
UNTRIED: Final = ("off", "known")
"""Settings of a store's `probe` with which nothing is tried there."""


class Proofs:
    """Findings of the last 24 hours, per store, role and operation with its options: what is proven is not tried again."""

    def __init__(self, stores: Sequence[Store], clock: Clock) -> None:
        self._clock = clock
        self._stores = {store.name: store for store in stores}
        self._proven_ms: dict[tuple[str, str, str, bytes], int] = {}

    def reload(self, stores: Sequence[Store]) -> None:
        """Other settings: what was proven of a store that has changed is proven anew."""
        before, self._stores = self._stores, {store.name: store for store in stores}
        for key in [key for key in self._proven_ms if before.get(key[0]) != self._stores.get(key[0])]:
            del self._proven_ms[key]

    def _key(self, job: Job, store: str) -> tuple[str, str, str, bytes]:
        return store, job.account, job.role, msgspec.json.encode(job.operation, order="deterministic")

    def missing(self, job: Job) -> str | None:
        """The next store that must be tried before the job's first task; None = it may start."""
        for name in job.row_stores:
            store = self._stores.get(name)
            if store is None or store.probe in UNTRIED:
                continue  # a store that is no longer there fails the job at its first chunk
            proven_ms = self._proven_ms.get(self._key(job, name))
            # What was proven when a job began holds until its end.
            if proven_ms is None or (not job.executed and self._clock.now_ms() - proven_ms > KEPT_MS):
                return name
        return None

    def untried(self, job: Job) -> Sequence[tuple[str, str]]:
        """The stores on which the settings let the job run without a trial, and by which word (`off`, `known`)."""
        found = [self._stores[name] for name in job.row_stores if name in self._stores]
        return [(store.name, store.probe) for store in found if store.probe in UNTRIED]

    def record(self, job: Job, store: str, finding: Finding) -> Failure | None:
        """Keep the finding; returns why the job must not run on the store, None where it may."""
        operation = operations.load(job.operation)
        name = job.operation.name.replace("_", " ")
        if finding.verdict == "lying":
            code = "StoreCannot" + name.title().replace(" ", "")
            return Failure(code, f"store {store!r} cannot do {name}: {finding.detail}; no task was run")
        if finding.verdict == "inconclusive" and often_faked(operation):
            return Failure(
                "StoreUnproven",
                f"nothing proves that store {store!r} can do {name}, which some stores answer with 200 and destroy the object"
                f' ({finding.detail}); set stores.{store}.scratch_bucket to a bucket for trials, or probe to "known" or "off"',
            )
        self._proven_ms[self._key(job, store)] = self._clock.now_ms()
        return None


def run_probe(unit: ProbeStore, brief: JobBrief, connections: Connections, wait: Await, put: Callable[[Event], None]) -> None:
    """Try the operation in the store's scratch bucket, under the job's credentials; puts Probed."""
    store = connections.named(unit.store)
    if store.scratch_bucket is None:
        finding = Finding("inconclusive", "the store has no scratch_bucket in the settings")
    else:
        objects = connections.scratch_of(brief, store)
        prefix = SCRATCH_PREFIX + f"{unit.job}/{unit.attempt}/".encode()
        finding = wait(probe(operations.load(brief.operation), objects, store.scratch_bucket, prefix))
    put(Probed(attempt=unit.attempt, job=unit.job, store=unit.store, verdict=finding.verdict, detail=finding.detail))
