"""Which job gets the next free place on a runner, and which jobs must wait: pure choices (design §4, decisions §1 "Tenants").

Accounts share the runners by weight; inside an account the highest priority goes first, and jobs of one priority share fairly.
"""

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from haulier.core.job import Job
from haulier.core.lifecycle import JobStatus


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A job that may run: how many of its chunks run now, how many could be handed out at once."""

    job: str
    account: str
    weight: float = 1.0
    """The account's."""
    priority: int
    created_ms: int
    running: int
    available: int


def choose(candidates: Iterable[Candidate]) -> Candidate | None:
    """The job whose chunk goes out next; None when nothing is available.

    The account with the fewest running chunks for its weight, in it the highest priority, then the job with the fewest running
    chunks, then the older job.
    """
    candidates = list(candidates)
    busy = Counter[str]()
    for candidate in candidates:
        busy[candidate.account] += candidate.running
    waiting = [candidate for candidate in candidates if candidate.available > 0]
    if not waiting:
        return None
    return min(waiting, key=lambda c: (busy[c.account] / c.weight, c.account, -c.priority, c.running, c.created_ms, c.job))


def in_turn(jobs: Iterable[Job], busy: Mapping[str, int], weight: Callable[[str], float]) -> Sequence[str]:
    """Ids of the jobs in the order in which they are given units of whole files, which are few: one account after the other by
    what it has of them for its weight (`busy`); in an account the highest priority first, then the older job."""
    waiting: dict[str, deque[Job]] = {}
    for job in sorted(jobs, key=lambda job: (-job.priority, job.created_ms, job.id)):
        waiting.setdefault(job.account, deque()).append(job)
    shares = [(busy.get(account, 0) / weight(account), account) for account in waiting]
    heapq.heapify(shares)
    given = Counter(busy)
    found = []
    while shares:
        _, account = heapq.heappop(shares)
        found.append(waiting[account].popleft().id)
        given[account] += 1
        if waiting[account]:
            heapq.heappush(shares, (given[account] / weight(account), account))
    return found


_WORKING = frozenset({JobStatus.READY, JobStatus.ACTIVE, JobStatus.PAUSING, JobStatus.PAUSED})
_RUNNING = frozenset({JobStatus.ACTIVE, JobStatus.PAUSING})


def may_run(jobs: Sequence[Job], active_max: int, weight: Callable[[str], float] = lambda _account: 1.0) -> frozenset[str]:
    """Which jobs may start or go on: per account only those of its highest priority that are neither paused by their user nor
    finished. Over all accounts at most `active_max`: those that run keep their place, and the next is of the account that has
    the fewest for its weight, its oldest.

    AWS and COS: a job of higher priority pauses the lower ones of its account; they go on by themselves.
    """
    ready = [job for job in jobs if job.status in _WORKING and job.paused_by != "user"]
    highest: dict[str, int] = {}
    for job in ready:
        highest[job.account] = max(highest.get(job.account, 0), job.priority)
    first = [job for job in ready if job.priority == highest[job.account]]
    first.sort(key=lambda job: (job.created_ms, job.id))
    # A job is not paused because another of its rank was confirmed, whoever's it is.
    running = [job for job in first if job.status in _RUNNING][:active_max]
    active = Counter(job.account for job in running)
    waiting: dict[str, deque[Job]] = {}
    for job in first:
        if job.status not in _RUNNING:
            waiting.setdefault(job.account, deque()).append(job)
    allowed = [job.id for job in running]
    shares = [(active[account] / weight(account), account) for account in waiting]
    heapq.heapify(shares)
    while shares and len(allowed) < active_max:
        _, account = heapq.heappop(shares)
        allowed.append(waiting[account].popleft().id)
        active[account] += 1
        if waiting[account]:
            heapq.heappush(shares, (active[account] / weight(account), account))
    return frozenset(allowed)
