"""Steps of our clock are noticed, kept over restarts, and make stored times as early as they can have been."""

from pathlib import Path

import pytest

from haulier.core.chunk import Chunk
from haulier.engine.clocksteps import Boot, ClockSteps, this_boot

HOUR = 3_600_000


class World:
    """A wall clock that can be set, and a boot that cannot."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "clock.json"
        self.wall_ms = 1_800_000_000_000
        self.boot = Boot("one", 50_000)
        self.restart()

    def restart(self) -> None:
        self.steps = ClockSteps(self.file, self, lambda: self.boot)

    def now_ms(self) -> int:
        return self.wall_ms

    def monotonic(self) -> float:
        raise AssertionError

    def go_on(self, milliseconds: int) -> int:
        self.wall_ms += milliseconds
        self.boot = self.boot._replace(elapsed_ms=self.boot.elapsed_ms + milliseconds)
        self.steps.look()
        return self.wall_ms

    def put(self, milliseconds: int) -> None:
        self.wall_ms += milliseconds


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.steps.look()
    return made


def test_without_a_step_a_time_means_what_it_says(world: World) -> None:
    opened = world.go_on(HOUR)
    world.go_on(HOUR)
    assert world.steps.earliest(opened) == opened


@pytest.mark.parametrize("restarted", [False, True])
def test_a_time_before_a_step_back_is_read_as_that_much_earlier(world: World, restarted: bool) -> None:
    opened = world.go_on(HOUR)
    world.put(-10 * 60_000)
    if restarted:
        world.restart()
    world.go_on(HOUR)
    assert world.steps.earliest(opened) == opened - 10 * 60_000
    later = world.go_on(HOUR)
    assert world.steps.earliest(later) == later, "what comes long enough after it is as it says"
    world.restart()
    assert world.steps.earliest(opened) == opened - 10 * 60_000


def test_steps_add_up_and_those_forward_make_nothing_later(world: World) -> None:
    opened = world.go_on(HOUR)
    for step in (-60_000, 5 * 60_000, -2 * 60_000):
        world.put(step)
        world.go_on(1_000)
    assert world.steps.earliest(opened) == opened - 3 * 60_000


def test_a_time_that_is_still_to_come_can_mean_any(world: World) -> None:
    opened = world.go_on(HOUR)
    world.put(-HOUR)
    world.boot = Boot("two", 0)
    world.restart()
    world.steps.look()
    assert world.steps.earliest(opened) == 0
    chunk = Chunk(job="j", index=0, name="n", first_row=0, rows=1, first_opened_ms=opened)
    assert world.steps.seen_from_now(chunk).first_opened_ms == 0


def test_a_broken_file_is_begun_anew(world: World) -> None:
    world.file.write_bytes(b"{")
    world.restart()
    world.steps.look()
    assert world.steps.earliest(world.wall_ms) == world.wall_ms


def test_this_machine_tells_its_boot() -> None:
    boot = this_boot()
    assert boot is not None
    assert boot.name
    assert boot.elapsed_ms > 0
