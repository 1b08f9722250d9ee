"""Proofs: what probes have found, and so whether a job may run on its stores (decisions §4)."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from haulier import operations
from haulier.core.job import Failure, Job
from haulier.core.placement import Store
from haulier.core.ports import Clock
from haulier.engine.readback import FIRST_TASKS, cannot_code
from haulier.operations.probing import Finding, often_faked

KEPT_MS: Final = 24 * 3_600_000
UNTRIED: Final = ("off", "known")
"""Settings of a store's `probe` with which nothing is tried there."""


class FindingKey(NamedTuple):
    """What a finding is about: it says nothing of any other."""

    store: str
    bucket_kind: Literal["scratch"]
    """Where it was tried; a bucket of another kind may have versions or locks."""
    account: str
    role: str
    operation: str
    options: bytes


class Unproven(NamedTuple):
    """A store on which the job's operation must be tried before it may run."""

    store: str


class Proofs:
    """Keeps findings for 24 hours. A finding holds under the Server header that the store answered with when it was tried: behind
    another one there may be other software. So a store of two kinds of servers is tried once for each.

    Belongs to the coordinator's thread, but for `reload`.
    """

    def __init__(self, stores: Sequence[Store], clock: Clock) -> None:
        self._clock = clock
        self._stores = {store.name: store for store in stores}
        self._taken_out: frozenset[str] = frozenset()
        self._servers: dict[str, str] = {}
        """Store → its Server header, as last seen."""
        self._kept: dict[tuple[FindingKey, str], tuple[int, Finding]] = {}
        """When what was found, by what it is about and the Server header."""
        self._let_through: set[tuple[str, str]] = set()
        """Jobs, each with a store where nothing could be found out: of no meaning for any other job."""

    def reload(self, stores: Sequence[Store]) -> None:
        """Other settings: a store that has changed is tried anew. From any thread."""
        before, self._stores = self._stores, {store.name: store for store in stores}
        self._taken_out = (self._taken_out | before.keys()) - self._stores.keys()
        same = {name for name, store in self._stores.items() if before.get(name) == store}
        self._kept = {key: found for key, found in list(self._kept.items()) if key[0].store in same}

    def seen(self, store: str, server: str) -> None:
        """The store answers with this Server header now."""
        self._servers[store] = server

    def obstacle(self, job: Job) -> Failure | Unproven | None:
        """Why the job may not run: it must not at all, or a store must be tried first. None = it may."""
        for name in self._to_be_proven(job):
            if (job.id, name) in self._let_through:
                continue
            finding = self._finding(job, name)
            if finding is None:
                return Unproven(name)
            if finding.verdict == "lying":
                return _refused(job, name, finding)
        return None

    def _to_be_proven(self, job: Job) -> Sequence[str]:
        """Without stores that are no longer there: they fail the job at its first chunk."""
        return [name for name in job.row_stores if name in self._stores and self._stores[name].probe not in UNTRIED]

    def _finding(self, job: Job, store: str) -> Finding | None:
        kept = self._kept.get((_key(job, store), self._servers.get(store, "")))
        if kept is None:
            return None
        at_ms, finding = kept
        # What was proven when a job began holds until its end.
        over = self._clock.now_ms() - at_ms > KEPT_MS and not (job.executed and finding.verdict == "proven")
        return None if over else finding

    def read_only(self, job: Job) -> str | None:
        """A store that the job changes and that the settings say is not to be changed."""
        return next((name for name in job.row_stores if name in self._stores and self._stores[name].read_only), None)

    def gone(self, job: Job) -> str | None:
        """A store that the job's rows or its other buckets are on and that was taken out of the settings while we ran; a job that
        begins without its store fails at its first chunk."""
        named = (*job.row_stores, *(placed.store for placed in job.placements))
        return next((name for name in named if name in self._taken_out), None)

    def untried(self, job: Job) -> Sequence[tuple[str, str]]:
        """The stores on which the settings let the job run without a trial, and by which word (`off`, `known`)."""
        found = [self._stores[name] for name in job.row_stores if name in self._stores]
        return [(store.name, store.probe) for store in found if store.probe in UNTRIED]

    def record(self, job: Job, store: str, finding: Finding) -> Failure | None:
        """Keep the finding; returns why the job must not run on the store, None where it may."""
        if finding.verdict == "inconclusive":
            # Of this job alone: what one role may not try says nothing of another, nor of the same role tomorrow.
            if often_faked(operations.load(job.operation)):
                return _unproven(job, store, finding.detail)
            self._let_through.add((job.id, store))
            return None
        self._servers[store] = finding.server
        self._kept[_key(job, store), finding.server] = self._clock.now_ms(), finding
        return _refused(job, store, finding) if finding.verdict == "lying" else None

    def read_backs(self, job: Job) -> dict[str, int]:
        """By store: how many of the job's successes are still to be read back."""
        left = {store: FIRST_TASKS - job.read_back.get(store, 0) for store in self._to_be_proven(job)}
        return {store: count for store, count in left.items() if count > 0}

    def lied(self, job: Job, store: str, seen: str) -> Failure:
        """A task's success was not what the store shows; why the job must end. The next job is tried anew."""
        self._kept.pop((_key(job, store), self._servers.get(store, "")), None)
        return _cannot(job, store, f"{seen}, as was found when the first tasks were read back")

    def forget(self, job_id: str) -> None:
        """The job has ended."""
        self._let_through = {each for each in self._let_through if each[0] != job_id}


def _key(job: Job, store: str) -> FindingKey:
    options = msgspec.json.encode(job.operation.parameters, order="deterministic")
    return FindingKey(store, "scratch", job.account, job.role, job.operation.name, options)


def _refused(job: Job, store: str, finding: Finding) -> Failure:
    return _cannot(job, store, finding.detail + ("; no further task is run" if job.executed else "; no task was run"))


def _cannot(job: Job, store: str, detail: str) -> Failure:
    name = job.operation.name
    return Failure(cannot_code(name), f"store {store!r} cannot do {name.replace('_', ' ')}: {detail}")


def _unproven(job: Job, store: str, detail: str) -> Failure:
    name = job.operation.name.replace("_", " ")
    return Failure(
        "StoreUnproven",
        f"nothing proves that store {store!r} can do {name}, which some stores answer with 200 and destroy the object"
        f' ({detail}); set stores.{store}.scratch_bucket to a bucket for trials, or probe to "known" or "off"',
    )
