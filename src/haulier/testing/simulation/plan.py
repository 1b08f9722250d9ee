"""What a seed decides before anything happens: the jobs, the sizes, and everything that will go wrong."""

import random
from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec

from haulier.testing.simulation import crashpoints

Kind = Literal["put_tagging", "copy", "copy_in_place", "delete", "delete_versions"]
StoreFault = Literal[
    "slow down",
    "500",
    "500 after the effect",
    "504 after the effect",
    "200 with <Error>",
    "200, empty",
    "200, cut XML",
    "reset before the effect",
    "reset after the effect",
    "no answer",
    "carried out twice",
    "slow",
]
STORE_FAULTS: Final[tuple[StoreFault, ...]] = StoreFault.__args__  # type: ignore[attr-defined]
ACCOUNTS: Final = ("acme", "beta")
TASKS: Final = 300
"""Of all jobs together at least (decisions §6)."""


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Small ones, so that few tasks see every boundary that many would."""

    chunk_rows: int
    first_horizon: int
    flush_outcomes: int
    batch_rows: int


class JobPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One job."""

    kind: Kind
    at: float
    """When it is created, in seconds."""
    rows: int
    missing: int
    """Rows whose object is not there."""
    doubled: int
    """Rows that repeat the row before them."""
    versioned: bool
    account: str
    priority: int
    confirm: bool
    dialect: Literal["s3control", "cos"]
    failed_only: bool
    """The report holds failed tasks only."""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happens at a time, for so long where it lasts."""

    at: float
    what: str
    seconds: float = 0.0
    victim: int = 0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. Everything but jobs and sizes can be left out, which is how a failure is made smaller."""

    seed: int
    sizes: Sizes
    jobs: tuple[JobPlan, ...]
    runners: int
    in_flight_max: int
    probe: str
    sts_seconds: float | None
    """How long credentials last that one account's role gets from an STS; None = it has keys of its own."""
    request_seconds: float
    """What a request takes, typically."""
    skew_ms: int
    """The store's clock minus ours."""
    settle_at: float
    """From then on nothing goes wrong any more, and every job has to end."""
    crash_place: str | None
    crash_passing: int
    moments: tuple[Moment, ...]
    """Crashes, freezes, outages, full disks, clean restarts; and what users do."""
    store_faults: dict[StoreFault, float]
    """Shares of all requests."""
    commit_refused: float
    commit_answer_lost: float
    events_doubled: float
    foreign_share: float
    """How many of the objects that were under way when a process died somebody writes anew before it goes on."""

    def smaller(self) -> Iterator[tuple[str, "Plan"]]:
        """The plan without one of its troubles, each with its name."""

        def without(what: str, **changes: Any) -> tuple[str, Plan]:
            return what, msgspec.structs.replace(self, **changes)

        if self.crash_place is not None:
            yield without("the crash at a place", crash_place=None)
        for number, moment in enumerate(self.moments):
            yield without(f"{moment.what} at {moment.at:.1f} s", moments=self.moments[:number] + self.moments[number + 1 :])
        for fault in self.store_faults:
            yield without(fault, store_faults={name: share for name, share in self.store_faults.items() if name != fault})
        for what in ("commit_refused", "commit_answer_lost", "events_doubled", "foreign_share"):
            if getattr(self, what):
                yield without(what.replace("_", " "), **{what: 0.0})
        if self.sts_seconds is not None:
            yield without("credentials that expire", sts_seconds=None)
        if self.skew_ms:
            yield without("the store's other clock", skew_ms=0)


def plan_of(seed: int) -> Plan:
    """The plan of a seed. Every 1 + number of crash places seeds in a row have one crash at each place."""
    chance = random.Random(f"plan {seed}")
    settle_at = chance.uniform(7.0, 15.0)
    place = crashpoints.ALL[seed % len(crashpoints.ALL)]
    return Plan(
        seed=seed,
        sizes=Sizes(
            chunk_rows=chance.choice((20, 30, 50)),
            first_horizon=chance.choice((4, 10, 25)),
            flush_outcomes=chance.choice((5, 12, 40)),
            batch_rows=chance.choice((5, 12)),
        ),
        jobs=tuple(_jobs(chance)),
        runners=chance.choice((1, 2, 2, 3)),
        in_flight_max=chance.choice((3, 6, 10)),
        probe=chance.choice(("off", "off", "scratch")),
        sts_seconds=chance.choice((None, None, chance.uniform(6.0, 20.0))),
        request_seconds=chance.choice((0.03, 0.1, 0.2)),
        skew_ms=chance.choice((0, 0, -7_300, 2_750, 600_250)),
        settle_at=settle_at,
        crash_place=place,
        crash_passing=_passing(chance, place),
        moments=tuple(sorted(_moments(chance, settle_at), key=lambda moment: moment.at)),
        store_faults=_store_faults(chance),
        commit_refused=chance.choice((0.0, 0.0, 0.1)),
        commit_answer_lost=chance.choice((0.0, 0.0, 0.1)),
        events_doubled=chance.choice((0.0, 0.0, 0.2)),
        foreign_share=chance.choice((0.0, 0.3, 0.8)),
    )


def _jobs(chance: random.Random) -> Iterator[JobPlan]:
    number = chance.choice((2, 3))
    for _ in range(number):
        rows = TASKS // number + chance.randint(1, 15)
        kind: Kind = chance.choice(("put_tagging", "copy", "copy", "copy_in_place", "delete", "delete", "delete_versions"))
        yield JobPlan(
            kind=kind,
            at=chance.choice((0.0, chance.uniform(0.0, 3.0))),
            rows=rows,
            missing=chance.choice((0, 3, rows // 10)),
            doubled=chance.choice((0, 4)) if kind in ("put_tagging", "delete") else 0,
            versioned=kind == "delete_versions" or (kind in ("copy", "copy_in_place", "delete") and chance.random() < 0.3),
            account=chance.choice(ACCOUNTS),
            priority=chance.choice((1, 10, 10)),
            confirm=chance.random() < 0.25,
            dialect=chance.choice(("s3control", "cos")),
            failed_only=chance.random() < 0.15,
        )


def _passing(chance: random.Random, place: str) -> int:
    """Early ones are likelier to come to pass, late ones find more that can break."""
    kind, _, stage = place.partition(": ")
    often = {"task": 250, "events": 60, "frame": 60, "lease": 60, "commit": 40, "look back": 12, "segment": 15}
    if stage == "taken" and kind == "events":
        return chance.randint(1, 80)
    return chance.randint(1, often.get(kind, 3))


def _moments(chance: random.Random, settle_at: float) -> Iterator[Moment]:
    def moment(what: str, seconds: float = 0.0) -> Moment:
        return Moment(at=chance.uniform(0.2, settle_at * 0.8), what=what, seconds=seconds, victim=chance.randrange(100))

    def some(what: str, likely: float, *, least: float = 0.0, most: float = 0.0) -> Iterator[Moment]:
        while chance.random() < likely:
            yield moment(what, chance.uniform(least, most))

    yield moment("runner killed")  # every seed has at least one crash
    yield from some("runner killed", 0.4)
    yield from some("server killed", 0.3)
    yield from some("power lost", 0.1)
    yield from some("server stopped", 0.15)
    yield from some("runner frozen", 0.2, least=0.5, most=20.0)
    yield from some("server frozen", 0.08, least=0.5, most=16.0)
    yield from some("frames late", 0.2, least=0.5, most=14.0)
    yield from some("store away", 0.2, least=0.3, most=8.0)
    yield from some("disk full", 0.2, least=0.3, most=6.0)
    yield from some("disk slow", 0.2, least=0.3, most=6.0)
    yield from some("somebody writes", 0.3)
    for what in ("confirm", "pause", "resume", "priority"):
        yield from some(what, 0.35)
    yield from some("cancel", 0.15)


def _store_faults(chance: random.Random) -> dict[StoreFault, float]:
    if chance.random() < 0.15:
        return {}
    heavy = chance.choice((0.01, 0.03))
    return {fault: chance.uniform(0.002, heavy) for fault in STORE_FAULTS if chance.random() < 0.5}
