"""Many seeds: run, counted, and a failure made smaller."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from haulier.testing.simulation import crashpoints
from haulier.testing.simulation.plan import Plan, plan_of
from haulier.testing.simulation.world import Result, run

SMALLER_RUNS_MAX: Final = 80


def run_seed(seed: int) -> Result:
    """The seed with all that it plans; the trace is kept only of a failure."""
    result = run(plan_of(seed))
    if result.problem is None:
        result.trace.clear()
    return result


def smallest(result: Result) -> tuple[Result, list[str]]:
    """Leave troubles out as long as there is a problem still, whichever; the last failure, and what was left out."""
    left_out: list[str] = []
    runs = 0
    again = True
    while again:
        again = False
        for what, plan in result.plan.smaller():
            runs += 1
            if runs > SMALLER_RUNS_MAX:
                return result, left_out
            smaller = run(plan)
            if smaller.problem is not None:
                result, again = smaller, True
                left_out.append(what)
                break
    return result, left_out


class Sum:
    """What many seeds came to."""

    def __init__(self) -> None:
        self.seeds = 0
        self.crashes = 0
        self.hits = Counter[str]()
        self.passed = Counter[str]()
        self.statuses = Counter[str]()
        self.failures: list[Result] = []

    def add(self, result: Result) -> None:
        """One more."""
        self.seeds += 1
        self.crashes += result.crashes
        self.hits.update([result.hit] if result.hit is not None else [])
        self.passed.update(result.places)
        self.statuses.update(result.statuses)
        if result.problem is not None:
            self.failures.append(result)

    @property
    def not_hit(self) -> list[str]:
        """Places at which nothing was ended yet."""
        return [place for place in crashpoints.ALL if not self.hits[place]]


def summed(results: Iterable[Result], told: Callable[[Sum], None]) -> Sum:
    """The sum; told after each seed. Ends at the first failure."""
    total = Sum()
    for result in results:
        total.add(result)
        told(total)
        if result.problem is not None:
            break
    return total


def lines_of(result: Result, left_out: list[str]) -> Iterator[str]:
    """A failure, for a reader: what happened, what had to go wrong for it, what was broken."""
    yield from result.trace
    yield ""
    yield f"seed {result.plan.seed}: {result.problem}"
    if left_out:
        yield f"It fails without: {', '.join(left_out)}. What is left:"
        yield from _plan_lines(result.plan)


def _plan_lines(plan: Plan) -> Iterator[str]:
    for name in plan.__struct_fields__:
        value = getattr(plan, name)
        if isinstance(value, tuple):
            yield from (f"  {name}: {part}" for part in value)
        else:
            yield f"  {name}: {value}"
