"""Who uses the server of a round: creates jobs, asks for them all the time, pauses, resumes and cancels."""

import contextlib
import http.client
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from haulier.core.lifecycle import TERMINAL, JobStatus
from haulier.testing.cosclient import CosClient, CosError
from haulier.testing.force.work import Work
from haulier.testing.server import ACCESS_KEY, COS_APPID, SECRET_KEY, HaulierServer

CREATE_SECONDS_MAX: Final = 120.0
RETRY_SECONDS: Final = 0.03
ANSWER_SECONDS_MAX: Final = 2.0


class Said(NamedTuple):
    """What the API said of a job."""

    status: str
    total: int
    succeeded: int
    failed: int


class _Wish(NamedTuple):
    """A status that is asked for from a moment on, until it is granted or the job has ended."""

    at: float
    work: Work
    status: str


class Users:
    """See above. `problems` are answers that contradict earlier ones."""

    def __init__(self, server: HaulierServer, works: Sequence[Work], say: Callable[[str], None]) -> None:
        self.problems: list[str] = []
        self.said: dict[str, Said] = {}
        """The last answer, by job."""
        self._server = server
        self._works = works
        self._say = say
        self._client = CosClient(server.url, COS_APPID, ACCESS_KEY, SECRET_KEY, timeout_seconds=ANSWER_SECONDS_MAX)
        self._wishes: list[_Wish] = []
        self._cancel_asked: set[str] = set()
        self._cancel_granted: set[str] = set()

    def create(self, work: Work, look_after: Callable[[], None]) -> None:
        """Create the job, again with the same token where no answer came; `look_after` brings back what is down meanwhile."""
        end = time.monotonic() + CREATE_SECONDS_MAX
        while True:
            try:
                work.id = self._server.s3control().create_job(**work.request())["JobId"]
            except (BotoCoreError, ClientError) as error:
                if time.monotonic() > end:
                    raise
                self._say(f"create: {error}")
                look_after()
                time.sleep(RETRY_SECONDS)
            else:
                return

    def pause(self, work: Work, now: float, seconds: float) -> None:
        """Pause the job from now on, and resume it after so long."""
        self._wishes += [_Wish(now, work, "Paused"), _Wish(now + seconds, work, "Ready")]

    def cancel(self, work: Work, now: float) -> None:
        """Cancel the job."""
        self._wishes.append(_Wish(now, work, "Cancelled"))

    def turn(self, now: float) -> None:
        """Ask for all jobs, and for what is wished by now."""
        for work in self._works:
            if work.id:
                self._ask(work)
        for wish in [each for each in self._wishes if each.at <= now]:
            self._ask_for(wish)

    def all_ended(self) -> bool:
        """Whether all jobs have, as far as was said."""
        return all(work.id in self.said and self.said[work.id].status in TERMINAL for work in self._works)

    def expected_end(self, work: Work, status: str) -> str:
        """The status in which the job has to end: where a cancellation was asked for and no answer came, either will do."""
        if work.id in self._cancel_granted:
            return JobStatus.CANCELLED
        return status if work.id in self._cancel_asked and status == JobStatus.CANCELLED else JobStatus.COMPLETE

    def _ask(self, work: Work) -> None:
        """Ask for the job, and compare with what was said before."""
        try:
            answer = self._client.describe_job(work.id)
        except CosError as error:
            if error.code == "NoSuchJob":
                self.problems.append(f"job {work.id} was accepted and is gone")
            return
        except (OSError, http.client.HTTPException, ET.ParseError):
            return

        def number(name: str) -> int:
            return int(answer.text(f"Job/ProgressSummary/NumberOfTasks{name}") or 0)

        total = int(answer.text("Job/ProgressSummary/TotalNumberOfTasks") or 0)
        now = Said(answer.text("Job/Status") or "", total, number("Succeeded"), number("Failed"))
        before, self.said[work.id] = self.said.get(work.id, now), now
        fallen = now.succeeded < before.succeeded or now.failed < before.failed
        moved = before.status != JobStatus.PREPARING and before.total not in (0, now.total)
        if fallen or moved or (before.status in TERMINAL and now != before):
            self.problems.append(f"job {work.id} ({work.plan.kind}) was {before} and is {now}")

    def _ask_for(self, wish: _Wish) -> None:
        if wish.status == "Ready" and any(each.work is wish.work and each.status == "Paused" for each in self._wishes):
            return
        if wish.status == "Cancelled":
            self._cancel_asked.add(wish.work.id)
        query = {"requestedJobStatus": wish.status, "statusUpdateReason": "force"}
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = self._client.send("POST", f"/jobs/{wish.work.id}/status", query=query)
            said = self.said.get(wish.work.id)
            if answer.status == 200 or (said is not None and said.status in TERMINAL):
                self._wishes.remove(wish)
                self._say(f"{wish.status}: {answer.status} {wish.work.plan.kind}")
                if answer.status == 200 and wish.status == "Cancelled":
                    self._cancel_granted.add(wish.work.id)
