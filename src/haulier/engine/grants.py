"""Grants: how the coordinator shares each store's limits among its runners, so that together they never exceed them and a runner
that works alone can have them all.

What one runner is to lose another can have only once the first has told that it no longer uses it (or is gone): until then it
counts as held. A grant lasts as long as its runner's lease, which every frame with one renews.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from haulier.core.grants import Grant, Usage, divide, in_whole
from haulier.core.job import Job, Limits
from haulier.core.placement import Store
from haulier.core.ports import Clock
from haulier.engine.joblimits import PREFIX

DIVIDE_SECONDS: Final = 1.0
"""How often the shares are worked out anew while nobody asks for more."""
TURN_SECONDS: Final = 5.0
"""How long one of several runners keeps a limit that is too small for all of them."""
SLACK: Final = 1.25
"""What a runner used, times this, is what it will not miss."""
WITHOUT_CONCURRENCY: Final = 1 << 20
"""In flight at most, of a job that has only a rate: more than all stores together allow."""


class _Shares:
    """One limit of one store: what each runner was granted, and what it may still use."""

    def __init__(self) -> None:
        self.granted: dict[str, float] = {}
        self.held: dict[str, float] = {}

    def lost(self, runner: str) -> None:
        self.granted.pop(runner, None)
        self.held.pop(runner, None)

    def approach(self, targets: Mapping[str, float], total: float) -> None:
        """Grant what is possible now on the way to the targets: less at once, more as far as nobody holds it."""
        for runner, target in targets.items():
            if target < self.granted.get(runner, 0):
                self.granted[runner] = target
        free = total - sum(self.held.values())
        for runner, target in targets.items():
            granted, held = self.granted.get(runner, 0), self.held.get(runner, 0)
            more = max(granted, min(target, max(held, granted) + max(0, free)))
            free -= max(0, more - held)
            self.granted[runner], self.held[runner] = more, max(held, more)


class Limited(NamedTuple):
    """What is shared out: a store's limits, or a job's."""

    in_flight: int
    per_second: float | None


class Grants:
    """Belongs to the coordinator's thread, but for `reload`."""

    def __init__(self, stores: Sequence[Store], clock: Clock) -> None:
        self._clock = clock
        self._of_stores: Mapping[str, Limited] = {}
        self._of_jobs: Mapping[str, Limited] = {}
        self._in_flight: dict[str, _Shares] = {}
        self._per_second: dict[str, _Shares] = {}
        self._usage: dict[str, Mapping[str, Usage]] = {}
        self._serials: dict[str, int] = {}
        self._divided_at = float("-inf")
        self._changed = True
        self.reload(stores)

    def reload(self, stores: Sequence[Store]) -> None:
        """Other limits, from the next `renew` on. From any thread."""
        self._of_stores = {store.name: Limited(store.in_flight_max, store.requests_per_second) for store in stores}
        self._changed = True

    def limit_jobs(self, jobs: Iterable[Job]) -> None:
        """The jobs that run; those among them that have limits of their own are granted them as stores' are."""
        found = {PREFIX + job.id: _of_job(job.limits) for job in jobs if job.limits is not None}
        if found != self._of_jobs:
            for name in self._of_jobs.keys() - found.keys():
                self._in_flight.pop(name, None)
                self._per_second.pop(name, None)
                self._usage = {runner: {n: u for n, u in usage.items() if n != name} for runner, usage in self._usage.items()}
            self._of_jobs = found
            self._changed = True

    def joined(self, runner: str) -> None:
        """A runner is there; it has nothing yet."""
        self._usage[runner] = {}
        self._serials[runner] = 0
        self._changed = True

    def lost(self, runner: str) -> None:
        """The runner can send no further request: what it held is free."""
        self._usage.pop(runner, None)
        self._serials.pop(runner, None)
        for shares in (*self._in_flight.values(), *self._per_second.values()):
            shares.lost(runner)
        self._changed = True

    def heard(self, runner: str, serial: int, usage: Mapping[str, Usage]) -> None:
        """What the runner used; `serial` is that of the last grants that it has taken over."""
        if runner not in self._usage:
            return
        self._usage[runner] = {**self._usage[runner], **usage}
        if serial != self._serials[runner]:
            return
        for store, used in usage.items():
            if store in self._in_flight:
                in_flight, per_second = self._in_flight[store], self._per_second[store]
                self._changed = self._changed or in_flight.held.get(runner, 0) != in_flight.granted.get(runner, 0)
                in_flight.held[runner] = max(in_flight.granted.get(runner, 0), used.holds)
                per_second.held[runner] = per_second.granted.get(runner, 0)
        self._changed = self._changed or any(used.full or used.paced for used in usage.values())

    def renew(self) -> None:
        """Work out who should have how much, and grant what is possible of it now."""
        now = self._clock.monotonic()
        if not self._changed and now - self._divided_at < DIVIDE_SECONDS:
            return
        self._changed = False
        self._divided_at = now
        before = {runner: self.of(runner)[1] for runner in self._serials}
        for name, limited in (*self._of_stores.items(), *self._of_jobs.items()):
            self._renew(name, limited)
        for runner, grants in before.items():
            if self.of(runner)[1] != grants:
                self._serials[runner] += 1

    def _renew(self, name: str, limited: Limited) -> None:
        in_flight = self._in_flight.setdefault(name, _Shares())
        per_second = self._per_second.setdefault(name, _Shares())
        used = {runner: usage.get(name) for runner, usage in self._usage.items()}
        most, rate = limited
        wanted = {who: 0 if u is None else most if u.full else math.ceil(u.in_flight * SLACK) for who, u in used.items()}
        turn = int(self._clock.monotonic() / TURN_SECONDS) if most < len(used) else 0
        shares = in_whole(divide(most, wanted), turn)
        in_flight.approach(shares, most)
        if rate is not None:
            paced = {who: 0 if u is None else rate if u.paced else u.per_second * SLACK for who, u in used.items()}
            per_second.approach(divide(rate, paced), rate)

    def of(self, runner: str) -> tuple[int, dict[str, Grant]]:
        """The runner's grants, and the serial by which it tells that it has taken them over."""
        grants = {}
        for name, limited in (*self._of_stores.items(), *self._of_jobs.items()):
            if name in self._in_flight:
                rate = None if limited.per_second is None else self._per_second[name].granted.get(runner, 0)
                grants[name] = Grant(int(self._in_flight[name].granted.get(runner, 0)), rate)
        return self._serials.get(runner, 0), grants


def _of_job(limits: Limits) -> Limited:
    return Limited(limits.concurrency or WITHOUT_CONCURRENCY, limits.requests_per_second)
