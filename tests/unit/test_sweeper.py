import pytest
from msgspec import structs

from haulier.core.chunk import Attempt, Chunk, Segment
from haulier.core.lifecycle import JobEvent, advance
from haulier.core.ports import ChunksOpened, ChunksStaged, JobMoved, SegmentAdded
from haulier.engine.sweeper import DAY_MS, Sweeper
from haulier.jobstore import SqlJobStore
from haulier.spool import FolderSpool
from haulier.spool.names import chunk_name, job_folder, sealed_name, segment_name
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
    sweeper = Sweeper(jobstore, spool, clock, epoch=lambda: 0, spool_retention_days=7, retention_days=90)
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


def test_a_job_of_ten_thousand_chunks_goes_in_slices_between_which_others_write(rooms, monkeypatch):
    clock, jobstore, _ = rooms
    ended, other = a_job(id="1" * 36, token="a"), a_job(id="2" * 36, token="b")
    epoch = jobstore.begin_epoch()
    for job in (ended, other):
        jobstore.create(job, unfinished_max=10)
    chunks = tuple(Chunk(job=ended.id, index=n, first_row=n, rows=1, name=f"acme/{ended.id}/chunks/{n}") for n in range(10_000))
    opened = ChunksOpened(ended.id, (9_999,), at_ms=1)
    segment = Segment(job=ended.id, chunk=9_999, attempt=Attempt(1, 1), sequence=0, name="s", rows=1, failed=0)
    jobstore.commit(epoch, [JobMoved(ended.id, JobEvent.PICKED_UP), ChunksStaged(ended.id, chunks, first=True)])
    jobstore.commit(epoch, [JobMoved(ended.id, JobEvent.PREPARED, total=10_000), JobMoved(ended.id, JobEvent.STARTED)])
    ending = [JobMoved(ended.id, event) for event in (JobEvent.CANCEL_REQUESTED, JobEvent.REPORTED)]
    jobstore.commit(epoch, [opened, SegmentAdded(segment, 1), *ending])
    rows_at_once, priorities = [], []
    run = jobstore._database.writer.run

    def measured(work, **more):
        def counting(connection):
            driver = connection.connection.dbapi_connection
            before = driver.total_changes
            result = work(connection)
            rows_at_once.append(driver.total_changes - before)
            return result

        result = run(counting, **more)
        if len(rows_at_once) % 5 == 0:
            priorities.append(
                jobstore.change("acme", other.id, lambda job: structs.replace(job, priority=job.priority + 1)).priority
            )
        return result

    monkeypatch.setattr(jobstore._database.writer, "run", measured)
    clock.now += 91 * DAY_MS
    Sweeper(jobstore, rooms[2], clock, epoch=lambda: epoch, spool_retention_days=7, retention_days=90).sweep()
    assert not jobstore.find([ended.id])
    assert not jobstore.chunks(ended.id)
    assert not jobstore.segments(ended.id)
    assert sum(rows_at_once) > 10_000
    assert max(rows_at_once) < 1_100
    assert len(priorities) >= 3
    assert jobstore.get("acme", other.id).priority == priorities[-1]


def test_what_nobody_lived_to_tell_of_goes_and_what_may_be_told_yet_stays(rooms):
    clock, jobstore, spool = rooms
    job = a_job(id="1" * 36)
    jobstore.create(job, unfinished_max=10)
    folder = job_folder("acme", job.id)
    first = jobstore.begin_epoch()
    chunk = Chunk(job=job.id, index=0, first_row=0, rows=9, name=chunk_name(folder, 0, Attempt(first, 1)))
    told = segment_name(folder, 0, Attempt(first, 2), 0)
    segment = Segment(job=job.id, chunk=0, attempt=Attempt(first, 2), sequence=0, name=told, rows=1, failed=0)
    moves = [JobMoved(job.id, JobEvent.PICKED_UP), ChunksStaged(job.id, (chunk,), first=True)]
    moves += [JobMoved(job.id, JobEvent.PREPARED, total=9), JobMoved(job.id, JobEvent.STARTED)]
    jobstore.commit(first, [*moves, ChunksOpened(job.id, (0,), at_ms=1), SegmentAdded(segment, 9)])
    second = jobstore.begin_epoch()
    kept = [
        chunk.name,
        told,
        segment_name(folder, 0, Attempt(second, 1), 0),
        sealed_name(folder, 0, Attempt(second, 1)),
        f"{folder}sealed/not-ours",
    ]
    gone = [
        chunk_name(folder, 0, Attempt(first, 9)),
        segment_name(folder, 0, Attempt(first, 2), 1),
        sealed_name(folder, 0, Attempt(first, 2)),
    ]
    for name in (*kept, *gone):
        spool.write(name, b"x")
    epochs = iter([0, second])
    sweeper = Sweeper(jobstore, spool, clock, epoch=lambda: next(epochs), spool_retention_days=7, retention_days=90)
    sweeper.sweep()
    assert spool.names("") == sorted([*kept, *gone]), "who works here is not known yet"
    sweeper.sweep()
    assert spool.names("") == sorted(kept)


def test_a_deleted_job_keeps_its_token_until_its_record_goes(rooms):
    clock, jobstore, spool = rooms
    sweeper = Sweeper(jobstore, spool, clock, epoch=lambda: 0, spool_retention_days=7, retention_days=90)
    job = a_job(id="1" * 36, token="a")
    jobstore.create(job, unfinished_max=10)
    jobstore.change("acme", job.id, lambda job: advance(job, JobEvent.CANCEL_SETTLED, now_ms=clock.now))
    jobstore.delete("acme", job.id)
    clock.now += 90 * DAY_MS
    sweeper.sweep()
    assert jobstore.by_token("acme", "a") is not None
    clock.now += 1
    sweeper.sweep()
    assert jobstore.by_token("acme", "a") is None
    assert not jobstore.events(job.id)
