"""The engine on local child processes: one runner per process, frames over pipes.

A child whose exit was waited for is lost for certain, so its chunks go out again at once. A child that is silent (frozen,
swapped out) is killed after lease + grace. A child that lost its server ends by itself (`child.py`). Children of an earlier
server are known by a lock that they hold: a new server waits for it.
"""

import contextlib
import fcntl
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from haulier.core.chunk import GRACE_SECONDS, LEASE_SECONDS
from haulier.core.errors import DataDirectoryBusy
from haulier.core.placement import Store
from haulier.engine.frames import Configure, Down, read_up, write_frame
from haulier.engine.port import FromRunner, Notice, RunnerJoined, RunnerLost
from haulier.spool import FolderSpool

RESPAWN_SECONDS_MAX: Final = 10.0

_log = structlog.get_logger(__name__)


class _Child:
    """One runner process, with a thread that reads its frames and one that writes them."""

    def __init__(self, name: str, configure: Configure, notices: "queue.SimpleQueue[Notice | None]", lock: int) -> None:
        self.name = name
        self.heard_at = time.monotonic()
        self._notices = notices
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("HAULIER_", "AWS_"))}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "haulier.engine.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            pass_fds=(lock,),
        )
        self._outbox: queue.SimpleQueue[Down | None] = queue.SimpleQueue()
        self.send(configure)
        self._threads = [
            threading.Thread(target=self._read, name=f"{name}-reader", daemon=True),
            threading.Thread(target=self._write, name=f"{name}-writer", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def send(self, frame: Down) -> None:
        """Queue a frame; never blocks on a frozen child."""
        self._outbox.put(frame)

    def kill(self) -> None:
        """End it at once; its reader announces the loss."""
        self.process.kill()

    def join(self) -> None:
        """Wait until the process was waited for, and its pipes are closed."""
        for thread in self._threads:
            thread.join()

    def _write(self) -> None:
        stdin = self.process.stdin
        assert stdin is not None
        with contextlib.suppress(OSError, ValueError):
            while (frame := self._outbox.get()) is not None:
                write_frame(stdin, frame)  # type: ignore[arg-type]
        with contextlib.suppress(OSError):
            stdin.close()

    def _read(self) -> None:
        stdout = self.process.stdout
        assert stdout is not None
        joined = False
        with contextlib.suppress(OSError, ValueError):
            while (events := read_up(stdout)) is not None:  # type: ignore[arg-type]
                self.heard_at = time.monotonic()
                if not joined:  # only now: a child that cannot even begin is given nothing
                    joined = True
                    self._notices.put(RunnerJoined(self.name))
                self._notices.put(FromRunner(self.name, events))
        self.process.kill()
        stdout.close()
        code = self.process.wait()
        self._outbox.put(None)
        self._notices.put(RunnerLost(self.name, f"exit status {code}"))


class LocalEngine:
    """The Engine port on child processes."""

    def __init__(self, data_dir: Path, stores: Sequence[Store], runners: int) -> None:
        """`data_dir` holds the spool; `runners` is the number of processes."""
        self._data_dir = data_dir
        self._stores = tuple(stores)
        self._count = runners
        self._notices: queue.SimpleQueue[Notice | None] = queue.SimpleQueue()
        self._children: dict[str, _Child] = {}
        self._born = 0
        self._deaths: list[float] = []
        self._respawn_at: list[float] = []
        self._lock = -1
        self._stopped = False

    def start(self) -> None:
        """Wait until no runner of an earlier server lives, then start ours. Raises DataDirectoryBusy if one stays."""
        self._lock = os.open(self._data_dir / "runners.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until = time.monotonic() + LEASE_SECONDS + GRACE_SECONDS
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise DataDirectoryBusy(
                        f"a runner of an earlier server still lives and holds {self._data_dir / 'runners.lock'}"
                    ) from None
                time.sleep(0.02)
        self._remove_leftovers()
        for _ in range(self._count):
            self._spawn()

    def _remove_leftovers(self) -> None:
        """What runners that were killed left half-written; nobody writes now."""
        shutil.rmtree(self._data_dir / "tmp", ignore_errors=True)
        (self._data_dir / "tmp").mkdir(mode=0o700)
        FolderSpool(self._data_dir / "spool").remove_unfinished()

    def _spawn(self) -> None:
        self._born += 1
        name = f"local-{os.getpid()}-{self._born}"
        try:
            self._children[name] = _Child(name, self._configure(name), self._notices, self._lock)
        except OSError as error:
            _log.error("a runner could not be started; trying again", error=str(error))
            self._respawn_at.append(time.monotonic() + RESPAWN_SECONDS_MAX)

    def _configure(self, name: str) -> Configure:
        return Configure(
            runner=name,
            stores=self._stores,
            spool=str(self._data_dir / "spool"),
            scratch=str(self._data_dir / "tmp"),
        )

    def reload(self, stores: Sequence[Store]) -> None:
        """Use these stores from the next unit on. From any thread."""
        self._stores = tuple(stores)
        for name, child in list(self._children.items()):
            child.send(self._configure(name))

    def process_id(self, runner: str) -> int:
        """The process of a runner that lives. Raises KeyError when it does not."""
        return self._children[runner].process.pid

    def send(self, runner: str, frame: Down) -> None:
        """Queue a frame for the runner."""
        child = self._children.get(runner)
        if child is not None:
            child.send(frame)

    def wake(self) -> None:
        """Let `receive` return."""
        self._notices.put(None)

    def receive(self, wait_seconds: float) -> Sequence[Notice]:
        """What came; replaces lost children and kills silent ones on the way."""
        self._look_after()
        found: list[Notice] = []
        try:
            notice = self._notices.get(timeout=wait_seconds) if wait_seconds > 0 else self._notices.get_nowait()
            while True:
                if notice is not None:
                    found.append(notice)
                notice = self._notices.get_nowait()
        except queue.Empty:
            pass
        for notice in found:
            if isinstance(notice, RunnerLost):
                self._bury(notice.runner)
        return found

    def _bury(self, name: str) -> None:
        self._children.pop(name).join()
        now = time.monotonic()
        self._deaths = [death for death in self._deaths if now - death < 60] + [now]
        # The first deaths are healed at once; a runner that cannot live is not started in a tight loop.
        delay = 0.0 if len(self._deaths) <= 2 * self._count else min(RESPAWN_SECONDS_MAX, 0.5 * len(self._deaths))
        self._respawn_at.append(now + delay)

    def _look_after(self) -> None:
        now = time.monotonic()
        for child in list(self._children.values()):
            if now - child.heard_at > LEASE_SECONDS + GRACE_SECONDS:
                _log.warning("runner is silent: killed", runner=child.name)
                child.heard_at = now
                child.kill()
        due = [at for at in self._respawn_at if at <= now and not self._stopped]
        for at in due:
            self._respawn_at.remove(at)
            self._spawn()

    def wind_down(self) -> None:
        """Replace no child that ends from now on."""
        self._stopped = True

    def stop(self) -> None:
        """Kill what still lives, and wait for it."""
        self.wind_down()
        for child in self._children.values():
            child.kill()
            child.join()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
