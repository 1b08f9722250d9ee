"""Which job gets the next free place on a runner, and which jobs must wait: pure choices (design §4, decisions §1 "Tenants").

Accounts share the runners; inside an account the highest priority goes first, and jobs of one priority share fairly.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from haulier.core.job import Job
from haulier.core.lifecycle import JobStatus


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A job that may run: how many of its chunks run now, how many could be handed out at once."""

    job: str
    account: str
    priority: int
    created_ms: int
    running: int
    available: int


def choose(candidates: Iterable[Candidate]) -> Candidate | None:
    """The job whose chunk goes out next; None when nothing is available.

    The account with the fewest running chunks, in it the highest priority, then the job with the fewest running chunks, then
    the older job.
    """
    candidates = list(candidates)
    busy = Counter[str]()
    for candidate in candidates:
        busy[candidate.account] += candidate.running
    waiting = [candidate for candidate in candidates if candidate.available > 0]
    if not waiting:
        return None
    return min(waiting, key=lambda c: (busy[c.account], c.account, -c.priority, c.running, c.created_ms, c.job))


_WORKING = frozenset({JobStatus.READY, JobStatus.ACTIVE, JobStatus.PAUSING, JobStatus.PAUSED})


def may_run(jobs: Sequence[Job], active_max: int) -> frozenset[str]:
    """Which jobs may start or go on: per account only those of its highest priority that are neither paused by their user nor
    finished; over all accounts at most `active_max`, the older first.

    AWS and COS: a job of higher priority pauses the lower ones of its account; they go on by themselves.
    """
    ready = [job for job in jobs if job.status in _WORKING and job.paused_by != "user"]
    highest: dict[str, int] = {}
    for job in ready:
        highest[job.account] = max(highest.get(job.account, 0), job.priority)
    first = [job for job in ready if job.priority == highest[job.account]]
    # Jobs that run already keep their place: a job is not paused because an older one of its rank was confirmed.
    first.sort(key=lambda job: (job.status not in (JobStatus.ACTIVE, JobStatus.PAUSING), job.created_ms, job.id))
    return frozenset(job.id for job in first[:active_max])
