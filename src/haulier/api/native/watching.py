"""Who waits for a job on the event loop, and what wakes them: the job store's news, the end of their key, the end of the server.

A waiter costs no thread and no query: the job store tells what it wrote, in the order of commits.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from haulier.core.errors import JobNotFound, TooManyWaiting
from haulier.core.ports import Written
from haulier.service import Service

WAITERS_MAX: Final = 4_000
WAITERS_PER_ACCOUNT_MAX: Final = 2_000


class Waiter:
    """One client that waits for one job. Of the event loop alone."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.hidden = False
        """Whether the job was deleted meanwhile."""
        self.gone = False
        """Whether the client has hung up."""
        self._news: list[Written] = []
        self._woken = asyncio.Event()

    def take(self, written: Written) -> None:
        """Something was written about the job."""
        self.hidden = self.hidden or written.hidden
        if self._news:  # the newest job, and whether its record has grown since the waiter looked
            written = Written(written.job, recorded=written.recorded or self._news[0].recorded)
        self._news = [written]
        self._woken.set()

    def wake(self) -> None:
        """For another reason than news."""
        self._woken.set()

    def leave(self) -> None:
        """The client has hung up."""
        self.gone = True
        self._woken.set()

    async def news(self, seconds: float) -> Written | None:
        """What was written since this was asked last, waiting for it so long. Raises JobNotFound once the job was deleted."""
        if not self._news:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, seconds)):  # unlike wait_for it makes no task
                    await self._woken.wait()
        self._woken.clear()
        if self.hidden:
            raise JobNotFound(self.job_id)
        newest, self._news = self._news, []
        return newest[0] if newest else None


class Watching:
    """All waiters of a process, for one event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiters: dict[str, set[Waiter]] = {}
        self._by_account: Counter[str] = Counter()
        self.closing = False
        """Whether the server ends: nobody should wait any more."""

    def close(self) -> None:
        """Let everybody who waits go. From any thread, and from a signal handler."""
        self.closing = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._wake_all)

    def _wake_all(self) -> None:
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.wake()

    @contextlib.contextmanager
    def of(self, account: str, job_id: str) -> Iterator[Waiter]:
        """A waiter for the job: what is written from here on it is told. Raises TooManyWaiting."""
        if self._by_account.total() >= WAITERS_MAX or self._by_account[account] >= WAITERS_PER_ACCOUNT_MAX:
            raise TooManyWaiting("More clients wait for jobs than this server allows; ask again without waiting, or later.")
        self._listen()
        waiter = Waiter(job_id)
        self._by_account[account] += 1
        self._waiters.setdefault(job_id, set()).add(waiter)
        try:
            yield waiter
        finally:
            self._by_account[account] -= 1
            self._waiters[job_id].discard(waiter)
            if not self._waiters[job_id]:
                del self._waiters[job_id]

    def _listen(self) -> None:
        if self._loop is None:
            loop = self._loop = asyncio.get_running_loop()
            self._service.watch(lambda written: self._told(loop, written))

    def _told(self, loop: asyncio.AbstractEventLoop, written: Sequence[Written]) -> None:
        """On the writer's thread. Who waits was entered before they first looked, so nobody misses what comes after."""
        wanted = [one for one in written if one.job.id in self._waiters]
        if wanted:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._hand_on, wanted)

    def _hand_on(self, written: Sequence[Written]) -> None:
        for one in written:
            for waiter in self._waiters.get(one.job.id, ()):
                waiter.take(one)
