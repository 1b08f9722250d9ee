"""The thread that writes the audit log, for all who have something to record.

Entries are written in the order in which `record` was called, many to one `fdatasync`. A caller that must not answer before its
entry is on disk says `durable`. While the disk refuses, entries wait in memory and `problem` says so: whoever would change
something asks it first and refuses, so nothing is done that the log does not tell.
"""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from haulier.audit.chain import line
from haulier.audit.files import Tail
from haulier.core.clock import timestamp
from haulier.core.errors import AuditBroken
from haulier.core.ports import Clock

WAITING_MAX: Final = 10_000
"""Entries that wait to be written; further ones are counted, and the log tells how many were left out."""
BATCH: Final = 1_000
GATHER_SECONDS: Final = 0.2
"""How long an entry that nobody waits for may wait for others."""
RETRY_SECONDS: Final = 1.0
DURABLE_SECONDS_MAX: Final = 10.0

STRANGERS_PER_SECOND: Final = 20
STRANGERS_BURST: Final = 200
"""Of requests whose sender is unknown, so many are recorded one by one, the rest counted: without a key nobody fills the disk."""

_log = structlog.get_logger(__name__)


class AuditLog:
    """An `Audit` in files below a folder of the data directory, written by a thread between `start` and `stop`."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """Opens the log. Raises AuditBroken."""
        self._clock = clock
        try:
            self._tail = Tail(folder)
        except OSError as error:
            raise AuditBroken(f"the audit log in {folder} cannot be opened: {error.strerror}") from None
        self._strangers = _Bucket(STRANGERS_PER_SECOND, STRANGERS_BURST, clock)
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._changed = threading.Condition()  # guards all that follows
        self._waiting: list[Mapping[str, Any]] = []
        self._left_out = 0
        self._recorded = 0
        self._written = 0
        self._urgent = False
        self._closing = False
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """Why nothing can be written now; None while all is well."""
        return self._problem

    def start(self) -> None:
        """Begin to write, with the entry that says so."""
        self._thread.start()
        self.record({"kind": "log opened", "torn_bytes": self._tail.torn_bytes or None})

    def stop(self) -> None:
        """Write what waits, then close; what a refusing disk does not take is lost, and is told on standard error."""
        if self._thread.ident is not None:
            self.record({"kind": "log closed"})
            with self._changed:
                self._closing = True
                self._changed.notify_all()
            self._thread.join()
        self._tail.close()

    def record(self, entry: Mapping[str, Any], *, durable: bool = False) -> bool:
        """Add an entry with the time. With `durable`, True says that it is on disk; where it is not `problem` says why.

        A request's entry without an `account` is one of somebody unknown: of those only a limited number is kept. Whoever waits
        is never left out for want of room.
        """
        stranger = entry.get("kind") == "request" and entry.get("account") is None
        with self._changed:
            full = len(self._waiting) >= WAITING_MAX and not durable
            if self._closing or full or (stranger and not self._strangers.take()):
                self._left_out += 1
                return False
            self._waiting.append({"at": timestamp(self._clock.now_ms()), **entry})
            self._recorded += 1
            mine = self._recorded
            self._urgent = self._urgent or durable
            self._changed.notify_all()
            if not durable:
                return True
            if not self._changed.wait_for(lambda: self._written >= mine or self._problem is not None, DURABLE_SECONDS_MAX):
                self._problem = "the audit log cannot be written: the disk does not answer"
            return self._written >= mine

    def _run(self) -> None:
        while batch := self._gathered():
            try:
                self._write(batch)
            except OSError as error:
                if not self._put_back(batch, error):
                    return

    def _gathered(self) -> list[Mapping[str, Any]]:
        """The next entries to write, when there are some: at once if somebody waits for them. None when the log is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            self._changed.wait_for(lambda: self._urgent or self._closing, GATHER_SECONDS)
            self._urgent = False
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            return batch

    def _write(self, batch: list[Mapping[str, Any]]) -> None:
        left_out = self._left_out
        told = [{"at": timestamp(self._clock.now_ms()), "kind": "entries left out", "entries": left_out}] if left_out else []
        end = self._tail.end
        lines: list[bytes] = []
        for entry in [*batch, *told]:
            written, end = line(entry, end)
            lines.append(written)
        self._tail.append(b"".join(lines), end)
        with self._changed:
            self._left_out -= left_out
            self._written += len(batch)
            if self._problem is not None:
                _log.info("the audit log is written again")
            self._problem = None
            self._changed.notify_all()

    def _put_back(self, batch: list[Mapping[str, Any]], error: OSError) -> bool:
        """Keep the entries for the next try, which is due on return. False when there will be none, for the log is closed."""
        with self._changed:
            if self._problem is None:
                _log.error("the audit log cannot be written; requests that change something are refused", error=str(error))
            self._problem = f"the audit log cannot be written: {error.strerror}"
            self._waiting[:0] = batch
            self._changed.notify_all()
            if self._closing:
                _log.error("audit entries were lost at the end", entries=len(self._waiting), problem=self._problem)
                return False
            self._changed.wait_for(lambda: self._closing, RETRY_SECONDS)
            return True


class _Bucket:
    """A token bucket. Not exact between threads: it may let one too many through."""

    def __init__(self, per_second: float, burst: float, clock: Clock) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._left = burst
        self._at = clock.monotonic()

    def take(self) -> bool:
        """Whether there was a token."""
        now = self._clock.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
