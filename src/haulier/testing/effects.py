"""Runs coroutines over `core.effects` in virtual time, on the spot: the driver of unit tests.

runner = EffectRunner(answers=[Answer(503), Answer(200, b"", b"<CopyObjectResult>…")])
copied = runner.run(store.copy_object(…))
assert runner.slept == [pytest.approx(0.5)]
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from haulier.core.effects import Answer, Effect, Gather, Request, Sleep

T = TypeVar("T")


class VirtualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now_ms: int = 1_800_000_000_000) -> None:
        self._start_ms = now_ms
        self.seconds = 0.0
        """Passed since the start."""

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        return self._start_ms + round(self.seconds * 1000)

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds


class EffectRunner:
    """Runs one coroutine after another to its end. A `Request` takes the next of `answers`, or what `answer(request)` gives; a
    `Sleep` moves the clock; the children of a `Gather` run one after another."""

    def __init__(
        self,
        *,
        clock: VirtualClock | None = None,
        answers: Iterable[Answer] = (),
        answer: Callable[[Request], Answer] | None = None,
    ) -> None:
        self.clock = clock or VirtualClock()
        self.requests: list[Request] = []
        self.slept: list[float] = []
        self._answers = iter(answers)
        self._answer = answer

    def run(self, coroutine: Effect[T]) -> T:
        """Its result; what it raises is raised."""
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                effect = coroutine.send(value) if error is None else coroutine.throw(error)
            except StopIteration as ended:
                return ended.value  # type: ignore[no-any-return]
            value, error = None, None
            if isinstance(effect, Request):
                value = self._answered(effect)
            elif isinstance(effect, Sleep):
                self.slept.append(effect.seconds)
                self.clock.advance(effect.seconds)
            elif isinstance(effect, Gather):
                value, error = self._gather(effect)
            else:
                error = TypeError(f"a coroutine may await Request, Sleep and Gather, not {type(effect).__name__}")

    def _answered(self, request: Request) -> Answer:
        self.requests.append(request)
        if self._answer is not None:
            return self._answer(request)
        answer = next(self._answers, None)
        if answer is None:
            raise AssertionError(f"no answer is left for {request.method} {request.url}")
        return answer

    def _gather(self, gather: Gather[Any]) -> tuple[list[Any], BaseException | None]:
        results: list[Any] = []
        first: BaseException | None = None
        for coroutine in gather.coroutines:
            try:
                results.append(self.run(coroutine))
            except Exception as error:  # noqa: BLE001 - raised by the caller once all have ended
                results.append(None)
                first = first or error
        return results, first
