import pytest

from haulier.core.lifecycle import JobEvent, advance
from haulier.engine.sweeper import DAY_MS, Sweeper
from haulier.jobstore import SqlJobStore
from haulier.spool import FolderSpool
from unit.values import a_job


class Clock:
    now = 1_700_000_000_000

    def now_ms(self):
        return self.now

    def monotonic(self):
        return self.now / 1000


@pytest.fixture
def rooms(tmp_path):
    clock = Clock()
    jobstore = SqlJobStore.open(tmp_path / "haulier.db", clock)
    spool = FolderSpool(tmp_path / "spool")
    yield clock, jobstore, spool
    jobstore.close()


def test_files_and_records_go_when_their_time_is_over_and_not_before(rooms):
    clock, jobstore, spool = rooms
    sweeper = Sweeper(jobstore, spool, clock, spool_retention_days=7, retention_days=90)
    ended, running = a_job(id="1" * 36, token="a"), a_job(id="2" * 36, token="b")
    names = []
    for job in (ended, running):
        jobstore.create(job, unfinished_max=10)
        for kind in ("chunks", "segments", "sealed"):
            names.append(f"acme/{job.id}/{kind}/0.arrow")
            spool.write(names[-1], b"x")
    jobstore.change("acme", ended.id, lambda job: advance(job, JobEvent.CANCEL_SETTLED, now_ms=clock.now))

    def left():
        sweeper.sweep()
        return [name for name in names if name in spool.names("acme/")]

    assert left() == names
    clock.now += 7 * DAY_MS - 1
    assert left() == names, "a retry needs the rows as long as the outcomes"
    clock.now += 2
    assert left() == names[3:]
    assert jobstore.get("acme", ended.id).status == "Cancelled"
    clock.now += 90 * DAY_MS
    assert left() == names[3:]
    assert not jobstore.find([ended.id])
    assert jobstore.get("acme", running.id).status == "New"
