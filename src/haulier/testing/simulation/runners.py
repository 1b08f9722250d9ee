"""Runner processes, and the engine that keeps them: what `engine.local` and `engine.child` do, with strands for processes.

Frames travel in order and take their time; what is under way when either end dies is lost, from some frame on. A runner that is
silent for lease and grace is killed; it is reported lost only then. A frame with events may come twice.
"""

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from haulier.core.chunk import GRACE_SECONDS, LEASE_SECONDS
from haulier.core.placement import Store
from haulier.engine.frames import Access, Configure, Control, Down, Events, Renew, Submit
from haulier.engine.port import FromRunner, Notice, RunnerJoined, RunnerLost
from haulier.engine.runner import Runner
from haulier.objectstore.driver import EffectDriver
from haulier.testing.simulation.crashpoints import CrashPoints
from haulier.testing.simulation.hub import Hub, Process, sleep
from haulier.testing.simulation.network import ModelStore, ModelTransport, Watch
from haulier.testing.simulation.spool import Disk, ModelSpool
from haulier.testing.simulation.strands import StrandFuture, StrandPoller, StrandThreads, Waiters

SIGN_OF_LIFE_SECONDS: Final = 1.0
FRAME_SECONDS_MAX: Final = 0.03
THAW_SECONDS: Final = 0.5
"""How long a runner that was frozen may need until each of its threads has noticed."""


class Machine:
    """What outlives every process: the disk, the store, the folder for temporary files, and the names that were given."""

    def __init__(
        self, hub: Hub, disk: Disk, store: ModelStore, points: CrashPoints, watch: Watch, scratch: Path, settings: Store
    ) -> None:
        self.hub = hub
        self.disk = disk
        self.store = store
        self.points = points
        self.watch = watch
        self.scratch = scratch
        self.settings = settings
        self.events_doubled = 0.0
        self.runners: dict[str, RunnerProcess] = {}
        """Those that live."""
        self.names = (f"runner {number}" for number in itertools.count(1))
        self.renewed: Callable[[str], None] = lambda _: None
        """Called when a runner's lease was renewed."""
        self.submitted: Callable[[str, Submit], None] = lambda _, __: None
        """Called when a runner takes units."""
        self.speaks: Callable[[str], None] = lambda _: None
        """Called when a runner that was not frozen just now says something, if only that it lives."""


class Channel:
    """Frames one way, in order."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._last = 0.0
        self._cut_at = float("inf")

    def carry(self, deliver: Callable[[], None]) -> None:
        """Let a frame arrive after all before it, unless the channel is cut before."""
        chance = self._hub.chance.random()
        seconds = FRAME_SECONDS_MAX * chance if chance < 0.95 else chance
        at = self._last = max(self._last + 1e-6, self._hub.now + seconds)
        self._hub.later(at - self._hub.now, lambda: deliver() if at < self._cut_at else None)

    def hold(self, seconds: float) -> None:
        """Nothing arrives for so long, and then all of it."""
        self._last = max(self._last, self._hub.now + seconds)

    def cut(self) -> float:
        """Nothing arrives any more, but for some of what is under way; seconds until that has arrived."""
        self._cut_at = self._hub.chance.uniform(self._hub.now, max(self._hub.now, self._last))
        return self._cut_at - self._hub.now


class RunnerProcess(Process):
    """A real `Runner`, and what carries its frames."""

    def __init__(self, machine: Machine, name: str, events: Callable[[Events], None]) -> None:
        super().__init__(machine.hub, name)
        self._machine = machine
        self._up = Channel(machine.hub)
        self._down = Channel(machine.hub)
        self._events = events
        machine.runners[name] = self
        self.at_death(self._died)
        self.start(self._boot)

    def _boot(self) -> None:
        sleep(self.hub.chance.uniform(0.05, 0.3))
        machine, poller = self._machine, StrandPoller()
        transport = ModelTransport(self, machine.store, poller, machine.points, machine.watch)
        driver = EffectDriver(transport, poller, clock=self.hub.clock, future=StrandFuture)
        configure = Configure(runner=self.name, stores=(machine.settings,), spool="", scratch=str(machine.scratch))
        self.runner = Runner(
            configure,
            clock=self.hub.clock,
            driver=driver,
            spool=ModelSpool(machine.disk, self, machine.points),
            threads=StrandThreads(self),
            random=self.hub.chance.random,
            fenced=self.crash,
        )
        self._machine.renewed(self.name)
        self._ended = False
        self.start(self._push)
        self.runner.run()
        self._ended = True

    def _push(self) -> None:
        self._tell(self.runner.collect(0))
        while True:
            last = self._ended
            events = self.runner.collect(0.02 if last else SIGN_OF_LIFE_SECONDS)
            self._tell(events)
            if last and not events.events:
                sleep(0.1)
                self.crash()

    def _tell(self, events: Events) -> None:
        self._machine.points.reach("events: before telling", self)
        if self.hub.now - self.thawed_at > THAW_SECONDS:
            self._machine.speaks(self.name)
        times = 2 if events.events and self.hub.chance.random() < self._machine.events_doubled else 1
        for _ in range(times):
            self._up.carry(lambda: self._events(events))
        self._machine.points.reach("events: told", self)

    def hold_frames(self, seconds: float, *, both_ways: bool) -> None:
        """Frames to it come late, and those from it too where it is both ways."""
        self._down.hold(seconds)
        if both_ways:
            self._up.hold(seconds)

    def take(self, frame: Down) -> None:
        """The server sends it a frame."""
        self._down.carry(lambda: self.later(0, lambda: self._obey(frame)))

    def _obey(self, frame: Down) -> None:
        if not hasattr(self, "runner"):
            self.later(0.05, lambda: self._obey(frame))
            return
        self._machine.points.reach("frame: taken", self)
        if isinstance(frame, Renew):
            self._machine.renewed(self.name)
            self.runner.renew(frame)
        elif isinstance(frame, Submit):
            self._machine.submitted(self.name, frame)
            self.runner.submit(frame)
        elif isinstance(frame, Control):
            self.runner.control(frame)
        elif isinstance(frame, Access):
            self.runner.replace_credentials(frame)

    def _died(self) -> None:
        self._machine.runners.pop(self.name, None)
        self._down.cut()
        self.last_words_seconds = self._up.cut()


class ModelEngine:
    """`engine.port.Engine` of one server process."""

    def __init__(self, machine: Machine, process: Process, count: int) -> None:
        self._machine = machine
        self._process = process
        self._count = count
        self._hub = machine.hub
        self._notices: deque[Notice] = deque()
        self._waiters = Waiters()
        self._woken = False
        self._heard: dict[str, float] = {}
        self._stopped = False
        process.at_death(self._abandon)

    def _abandon(self) -> None:
        """A runner notices at once that its server is gone; at once takes a moment."""
        for runner in tuple(self._machine.runners.values()):
            self._hub.later(self._hub.chance.uniform(0.0, 0.3), runner.kill)

    def start(self) -> None:
        """See `Engine`: when no runner of an earlier server lives."""
        while self._machine.runners:
            sleep(0.02)
        for _ in range(self._count):
            self._spawn()

    def _spawn(self) -> None:
        if self._stopped:
            return
        name = next(self._machine.names)
        joined = False

        def events(told: Events) -> None:
            self._process.later(0, lambda: heard(told))

        def heard(told: Events) -> None:
            nonlocal joined
            self._heard[name] = self._hub.now
            if not joined:
                joined = True
                self._note(RunnerJoined(name))
            self._note(FromRunner(name, told))

        runner = RunnerProcess(self._machine, name, events)
        self._heard[name] = self._hub.now
        runner.at_death(lambda: self._process.later(runner.last_words_seconds + 0.001, lambda: self._buried(name)))

    def _buried(self, name: str) -> None:
        self._heard.pop(name, None)
        self._note(RunnerLost(name, "killed"))
        self._process.later(self._hub.chance.uniform(0.0, 0.5), self._spawn)

    def _note(self, notice: Notice) -> None:
        self._notices.append(notice)
        self.wake()

    def send(self, runner: str, frame: Down) -> None:
        """See `Engine`."""
        points = self._machine.points
        points.reach("units: before sending" if isinstance(frame, Submit) else "lease: before renewing", self._process)
        process = self._machine.runners.get(runner)
        if process is not None:
            process.take(frame)
        if isinstance(frame, Submit):
            points.reach("units: sent", self._process)

    def receive(self, wait_seconds: float) -> Sequence[Notice]:
        """See `Engine`."""
        for name, heard_at in tuple(self._heard.items()):
            if self._hub.now - heard_at > LEASE_SECONDS + GRACE_SECONDS and name in self._machine.runners:
                self._machine.runners[name].kill()
        if not self._notices and not self._woken:
            self._waiters.wait(wait_seconds)
        self._woken = False
        found = tuple(self._notices)
        self._notices.clear()
        if found:
            self._machine.points.reach("events: taken", self._process)
        return found

    def wake(self) -> None:
        """See `Engine`."""
        self._woken = True
        self._waiters.wake()

    def wind_down(self) -> None:
        """See `Engine`."""
        self._stopped = True

    def stop(self) -> None:
        """See `Engine`."""
        self.wind_down()
        for runner in tuple(self._machine.runners.values()):
            runner.kill()
