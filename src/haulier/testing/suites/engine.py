"""What every engine promises. Subclass it, give it a started `engine` with two runners and `process_of`, inherit the promises."""

import os
import signal
import time
from collections.abc import Callable

from haulier.core.accounts import Role
from haulier.core.chunk import Attempt
from haulier.core.job import Manifest, ObjectName, OperationSpec, Report
from haulier.engine import frames
from haulier.engine.port import Engine, FromRunner, Notice, RunnerJoined, RunnerLost

PATIENCE_SECONDS = 30.0


def wait_for(engine: Engine, enough: Callable[[list[Notice]], bool]) -> list[Notice]:
    """All notices until there are enough of them; fails after 30 s."""
    found: list[Notice] = []
    until = time.monotonic() + PATIENCE_SECONDS
    while not enough(found):
        assert time.monotonic() < until, f"waited in vain, heard {found}"
        found += engine.receive(0.2)
    return found


def joined(notices: list[Notice]) -> list[str]:
    """Names of the runners that came."""
    return [notice.runner for notice in notices if isinstance(notice, RunnerJoined)]


def lost(notices: list[Notice]) -> list[str]:
    """Names of the runners that are gone."""
    return [notice.runner for notice in notices if isinstance(notice, RunnerLost)]


def a_brief(job: str = "job-1") -> frames.JobBrief:
    """A job that cannot be prepared: no store answers for its bucket."""
    return frames.JobBrief(
        id=job,
        account="acme",
        dialect="s3control",
        manifest=Manifest(
            location=ObjectName("nowhere", "m.csv"), etag="e", format="S3BatchOperations_CSV_20180820", fields=("Bucket", "Key")
        ),
        operation=OperationSpec(name="put_tagging", parameters={"tags": {"a": "b"}}),
        report=Report(enabled=False),
        placements=(),
        role=Role(account="acme", name="batch"),
        access={},
        status="Preparing",
    )


class EngineSuite:
    """The promises of `engine.port.Engine`."""

    def process_of(self, engine: Engine, runner: str) -> int:
        """The process id of a runner."""
        raise NotImplementedError

    def test_every_runner_is_announced_and_gives_signs_of_life(self, engine: Engine) -> None:
        names = joined(wait_for(engine, lambda found: len(joined(found)) == 2))
        assert len(set(names)) == 2
        wait_for(engine, lambda found: {notice.runner for notice in found if isinstance(notice, FromRunner)} >= set(names))

    def test_a_unit_is_carried_there_and_its_end_comes_back_numbered(self, engine: Engine) -> None:
        (first, _) = joined(wait_for(engine, lambda found: len(joined(found)) == 2))
        unit = frames.PrepareJob(attempt=Attempt(7, 3), job="job-1")
        engine.send(first, frames.Submit(jobs=(a_brief(),), units=(unit,)))
        heard = wait_for(engine, lambda found: any(isinstance(n, FromRunner) and n.events.events for n in found))
        (notice,) = [n for n in heard if isinstance(n, FromRunner) and n.events.events]
        (event,) = notice.events.events
        assert notice.runner == first
        assert notice.events.first == 1
        assert isinstance(event, frames.UnitFailed)
        assert (event.attempt, event.code) == (Attempt(7, 3), "UnknownBucket")

    def test_a_killed_runner_is_lost_once_and_replaced_under_a_new_name(self, engine: Engine) -> None:
        names = joined(wait_for(engine, lambda found: len(joined(found)) == 2))
        os.kill(self.process_of(engine, names[0]), signal.SIGKILL)
        heard = wait_for(engine, lambda found: bool(lost(found) and joined(found)))
        assert lost(heard) == [names[0]]
        assert not set(joined(heard)) & set(names)

    def test_a_frame_for_a_runner_that_is_gone_is_no_error(self, engine: Engine) -> None:
        engine.send("nobody", frames.Renew(acknowledged=0))

    def test_a_runner_that_is_told_to_shut_down_ends(self, engine: Engine) -> None:
        names = joined(wait_for(engine, lambda found: len(joined(found)) == 2))
        engine.send(names[0], frames.Control(shutdown=True))
        assert lost(wait_for(engine, lambda found: bool(lost(found)))) == [names[0]]

    def test_no_runner_is_replaced_once_it_winds_down(self, engine: Engine) -> None:
        names = joined(wait_for(engine, lambda found: len(joined(found)) == 2))
        engine.wind_down()
        for name in names:
            engine.send(name, frames.Control(shutdown=True))
        heard = wait_for(engine, lambda found: len(lost(found)) == 2)
        assert not joined(heard + list(engine.receive(1)))

    def test_receive_returns_when_woken(self, engine: Engine) -> None:
        wait_for(engine, lambda found: len(joined(found)) == 2)
        began = time.monotonic()
        engine.wake()
        engine.receive(60)
        assert time.monotonic() - began < 30
