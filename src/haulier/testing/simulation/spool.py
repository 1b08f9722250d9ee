"""A spool that forgets what was not synced when the power goes, is full when it has to be, and slow."""

from collections.abc import Iterable, Sequence

from haulier.core.errors import SpoolError, SpoolUnavailable
from haulier.testing.simulation.crashpoints import CrashPoints
from haulier.testing.simulation.hub import Hub, Process, sleep

FILES = {"chunks": "chunk", "segments": "segment", "sealed": "sealed file"}


class Disk:
    """What all processes share. `durable` survives everything; `unsynced` the death of processes, but not of the machine."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.durable: dict[str, bytes] = {}
        self.unsynced: dict[str, bytes] = {}
        self.full = False
        self.slow = False
        self.deleted: set[str] = set()
        """Names of files that were there once."""

    def seconds(self) -> float:
        """How long a sync takes."""
        chance = self.hub.chance
        return chance.uniform(0.05, 2.0) if self.slow else chance.uniform(0.0005, 0.02)

    def refuses(self) -> bool:
        """Whether a sync fails now."""
        return self.full and self.hub.chance.random() < 0.5

    def lose_power(self) -> None:
        """Some of what was not synced is there all the same."""
        for name, data in self.unsynced.items():
            if self.hub.chance.random() < 0.5:
                self.durable[name] = data
        self.unsynced.clear()


class ModelSpool:
    """`core.ports.Spool` of one process on the disk."""

    def __init__(self, disk: Disk, process: Process, points: CrashPoints) -> None:
        self._disk = disk
        self._process = process
        self._points = points

    def write(self, name: str, data: bytes | memoryview) -> None:
        """See `Spool`."""
        disk, content = self._disk, bytes(data)
        what = FILES[name.split("/")[2]]
        self._points.reach(f"{what}: before writing", self._process)
        if disk.full:
            raise SpoolUnavailable(name, "the spool's disk refuses: No space left on device")
        there = disk.durable.get(name)
        if there is not None and there != content:
            raise SpoolError(name, "exists already with other content; a file of the spool is never changed")
        sleep(disk.seconds())
        disk.unsynced[name] = content
        sleep(disk.seconds())
        self._points.reach(f"{what}: not synced", self._process)
        if disk.refuses():
            disk.unsynced.pop(name, None)
            raise SpoolUnavailable(name, "the spool's disk refuses: Input/output error")
        disk.unsynced.pop(name, None)
        disk.durable[name] = content
        self._points.reach(f"{what}: durable", self._process)

    def read(self, name: str) -> memoryview:
        """See `Spool`."""
        data = self._disk.durable.get(name, self._disk.unsynced.get(name))
        if data is None:
            raise SpoolError(name, "is missing from the spool")
        return memoryview(data)

    def names(self, prefix: str) -> Sequence[str]:
        """See `Spool`."""
        return sorted(name for name in {**self._disk.durable, **self._disk.unsynced} if name.startswith(prefix))

    def delete(self, names: Iterable[str]) -> None:
        """See `Spool`."""
        self._points.reach("outdated files: before removing", self._process)
        for name in names:
            self._disk.durable.pop(name, None)
            self._disk.unsynced.pop(name, None)
            self._disk.deleted.add(name)
        self._points.reach("outdated files: removed", self._process)

    def used(self, prefix: str) -> int:
        """See `Spool`."""
        return sum(len(self._disk.durable.get(name, b"")) for name in self.names(prefix))

    def shortage(self) -> str | None:
        """See `Spool`."""
        return "the disk has only 0 MiB free" if self._disk.full else None
