"""What a seed decides before a round begins: the jobs, the sizes, and everything that will go wrong.

Real processes keep no score, so two runs of a seed are not the same events: they are the same troubles, at the same places and
about the same moments.
"""

import random
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from haulier.core.chunk import GRACE_SECONDS, LEASE_SECONDS
from haulier.testing.force.dying import Place
from haulier.testing.simulation import crashpoints
from haulier.testing.simulation.plan import Sizes

Kind = Literal["copy", "copy in place", "replace tags", "add tags", "delete", "delete versions", "delete markers"]
KINDS: Final[tuple[Kind, ...]] = Kind.__args__  # type: ignore[attr-defined]
What = Literal[
    "kill server",
    "kill runner",
    "kill store",
    "freeze server",
    "freeze runner",
    "pause",
    "cancel",
]
Victim = Literal["runner", "server", "store"]
ROWS: Final = 1_000
"""Of a job at least."""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happens in the course of a round."""

    at: float
    """The share of the jobs' rows that have been sent by then: so a moment comes however fast the machine is."""
    what: What
    seconds: float = 0.0
    """How long it lasts: a freeze, a pause, a store that is away."""


class JobPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One job."""

    kind: Kind
    rows: int
    missing: int
    """Rows, among all, whose object is not there."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A round."""

    seed: int
    jobs: tuple[JobPlan, ...]
    sizes: Sizes
    in_flight_max: int
    place: Place | None
    """Where a process dies."""
    victim: Victim
    """Who dies when a request has reached the place in front of the store."""
    moments: tuple[Moment, ...]
    cut_share: float
    """Of all requests to the store: those whose connection is cut."""
    foreign_share: float
    """Of the objects that were under way when a server died: those that somebody writes anew before it is back."""


def plan_of(seed: int, *, rows: int = ROWS) -> Plan:
    """The plan of a seed. As many seeds in a row as there are places have one death at each of them; every kind of job comes
    twice in seven seeds."""
    chance = random.Random(f"force {seed}")
    place = crashpoints.ALL[seed % len(crashpoints.ALL)]
    first, second = KINDS[seed % len(KINDS)], KINDS[(seed + 1 + seed // len(KINDS) % (len(KINDS) - 1)) % len(KINDS)]
    return Plan(
        seed=seed,
        jobs=tuple(
            JobPlan(kind=kind, rows=rows + chance.randrange(rows // 4), missing=chance.choice((0, 3, rows // 50)))
            for kind in (first, second)
        ),
        sizes=Sizes(
            chunk_rows=chance.choice((150, 400, 800)),
            first_horizon=chance.choice((40, 200, 5_000)),
            flush_outcomes=chance.choice((25, 200, 5_000)),
            batch_rows=chance.choice((20, 100, 1_000)),
        ),
        in_flight_max=chance.choice((8, 16, 32)),
        place=Place(place, _passing(chance, place)),
        victim=chance.choice(("runner", "runner", "server", "store")),
        moments=tuple(sorted(_moments(chance), key=lambda moment: moment.at)),
        cut_share=chance.choice((0.0, 0.0, 0.002, 0.01)),
        foreign_share=chance.choice((0.0, 0.1, 0.5)),
    )


def _passing(chance: random.Random, place: str) -> int:
    """Early ones are likelier to come to pass, late ones find more that can break."""
    kind, _, stage = place.partition(": ")
    often = {"task": 900, "events": 25, "frame": 40, "lease": 25, "commit": 20, "look back": 15, "segment": 8, "units": 4}
    often |= {"chunk": 4, "sealed file": 4, "outdated files": 2, "other request": 8}
    if stage == "taken" and kind == "events":
        return chance.randint(1, 40)
    return chance.randint(1, often.get(kind, 2))


def _moments(chance: random.Random) -> Iterator[Moment]:
    def moment(what: What, least: float = 0.0, most: float = 0.0) -> Moment:
        return Moment(at=round(chance.uniform(0.0, 0.98), 3), what=what, seconds=round(chance.uniform(least, most), 2))

    yield moment(chance.choice(("kill server", "kill server", "kill runner", "kill store")), 0.1, 3.0)
    if chance.random() < 0.4:
        yield moment(chance.choice(("kill server", "kill runner")))
    if chance.random() < 0.15:
        yield moment("kill store", 0.1, 3.0)
    if chance.random() < 0.2:
        yield moment(chance.choice(("freeze server", "freeze runner")), 0.2, 3.0)
    elif chance.random() < 0.06:
        yield moment("freeze server", LEASE_SECONDS, LEASE_SECONDS + GRACE_SECONDS + 3)
    elif chance.random() < 0.06:
        yield moment("freeze runner", LEASE_SECONDS + GRACE_SECONDS, LEASE_SECONDS + GRACE_SECONDS + 3)
    if chance.random() < 0.2:
        yield moment("pause", 0.1, 2.0)
    if chance.random() < 0.1:
        yield moment("cancel")
