"""What every job store promises (`core.ports.JobStore`). Subclass it and provide the `jobstore` fixture."""

# A test's name is the sentence that a docstring would repeat; fixtures are asked for by naming them.
# ruff: noqa: ARG002

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from haulier.core.chunk import FIRST_HORIZON, Attempt, Chunk, Segment
from haulier.core.errors import IllegalTransition, JobNotFound, Superseded, TokenReused, TooManyJobs, Unavailable
from haulier.core.failures import CLASSES_MAX, OTHER, FailureClass, Sample
from haulier.core.history import FIRST_KEPT, NEWEST_KEPT, EventKind, happening
from haulier.core.job import RETRIES_KEPT, Delivery, Failure, Job, Manifest, ObjectName, OperationSpec, Placement, Report, Retry
from haulier.core.lifecycle import JobEvent, JobStatus, advance
from haulier.core.ports import (
    ChunkReleased,
    ChunkSealed,
    ChunksOpened,
    ChunksStaged,
    DeliveryEnded,
    Entry,
    JobMoved,
    JobStore,
    ListQuery,
    SegmentAdded,
    Written,
)

PLENTY = 1_000_000
FIRST_ATTEMPT = Attempt(1, 1)


def a_job(job_id: str = "job-1", **changes: Any) -> Job:
    """A job with nothing special about it."""
    job = Job(
        id=job_id,
        account="acme",
        dialect="cos",
        token=f"token of {job_id}",
        digest="d1",
        created_by="admin",
        role="batch",
        role_arn="qcs::cam::uin/100000000001:roleName/batch",
        region="ap-chengdu",
        priority=10,
        confirmation_required=False,
        manifest=Manifest(
            location=ObjectName("lists", "täglich/list.csv", "v1"),
            etag="abc",
            format="COSBatchOperations_CSV_V1",
            fields=("Bucket", "Key"),
        ),
        operation=OperationSpec(name="copy", parameters={"target": "backup", "limits": [1, 2.5, None, True]}),
        report=Report(enabled=True, bucket="lists", prefix="reports", format="Report_CSV_V1"),
        as_sent={"Operation": {"COSPutObjectCopy": {"TargetResource": "…"}}},
        placements=(Placement("lists", "main"),),
        tags={"team": "data"},
        created_ms=1_000,
        status_since_ms=1_000,
    )
    return msgspec.structs.replace(job, **changes)


def ended(job: Job, at_ms: int = 5_000) -> Job:
    """The job, cancelled before anything ran."""
    return advance(job, JobEvent.CANCEL_SETTLED, now_ms=at_ms)


def a_chunk(index: int, rows: int = 20_000, job: str = "job-1") -> Chunk:
    """A staged chunk; the others have as many rows."""
    return Chunk(job=job, index=index, first_row=index * rows, rows=rows, name=f"acme/{job}/chunks/{index}")


def flushed(
    chunk: int,
    sequence: int,
    *,
    rows: int = 100,
    failed: int = 0,
    horizon: int = 0,
    attempt: Attempt = FIRST_ATTEMPT,
    job: str = "job-1",
    failures: tuple[FailureClass, ...] = (),
) -> SegmentAdded:
    """A flush."""
    name = f"acme/{job}/segments/{chunk}-{attempt}-{sequence}"
    segment = Segment(job=job, chunk=chunk, attempt=attempt, sequence=sequence, name=name, rows=rows, failed=failed)
    return SegmentAdded(segment, horizon, failures)


def a_class(count: int, code: str = "NoSuchKey", status: int = 404, *, at_ms: int = 10, key: bytes = b"k") -> FailureClass:
    """Tasks that failed at one moment, one of them as a sample."""
    sample = Sample(bucket="data", key=key, version=b"v1", at_ms=at_ms, message="gone", request_id="7F3A")
    return FailureClass(code=code, status=status, count=count, first_ms=at_ms, last_ms=at_ms, samples=(sample,))


def everything(jobstore: JobStore, job_ids: Iterable[str] = ("job-1",)) -> object:
    """All that the store says of the jobs."""
    told = (jobstore.chunks, jobstore.segments, jobstore.failures, jobstore.events)
    return [(jobstore.find([job]), *(of(job) for of in told)) for job in job_ids]


def moved(*events: JobEvent, job: str = "job-1", total: int | None = None) -> list[Entry]:
    """Moves of a job, the total with each."""
    return [JobMoved(job, event, total=total) for event in events]


class JobStoreSuite:
    """Every promise of `JobStore`'s docstrings."""

    @pytest.fixture
    def epoch(self, jobstore: JobStore) -> int:
        """The coordinator has taken over."""
        return jobstore.begin_epoch()

    @pytest.fixture
    def active(self, jobstore: JobStore, epoch: int) -> Job:
        """`job-1`, Active, with three chunks of 20,000 rows, chunk 0 opened."""
        jobstore.create(a_job(), unfinished_max=PLENTY)
        jobstore.commit(epoch, moved(JobEvent.PICKED_UP))
        jobstore.commit(epoch, [ChunksStaged("job-1", (a_chunk(0), a_chunk(1), a_chunk(2)), first=True)])
        jobstore.commit(epoch, moved(JobEvent.PREPARED, JobEvent.STARTED, total=60_000))
        return jobstore.commit(epoch, [ChunksOpened("job-1", (0,), at_ms=2_000)])["job-1"]

    # -- create, get, by_token

    def test_a_stored_job_is_read_back_as_it_was(self, jobstore: JobStore) -> None:
        jobstore.create(a_job(), unfinished_max=1)
        assert jobstore.get("acme", "job-1") == a_job()
        assert jobstore.by_token("acme", "token of job-1") == a_job()
        assert jobstore.find(["job-1"]) == {"job-1": a_job()}

    def test_a_token_in_use_is_refused_whatever_the_content(self, jobstore: JobStore) -> None:
        jobstore.create(a_job(), unfinished_max=PLENTY)
        for digest in ("d1", "d2"):
            with pytest.raises(TokenReused) as caught:
                jobstore.create(a_job("job-2", token="token of job-1", digest=digest), unfinished_max=PLENTY)
            assert (caught.value.token, caught.value.job_id) == ("token of job-1", "job-1")
        assert not jobstore.find(["job-2"])

    def test_a_token_belongs_to_its_account(self, jobstore: JobStore) -> None:
        jobstore.create(a_job(), unfinished_max=PLENTY)
        jobstore.create(a_job("job-2", account="other", token="token of job-1"), unfinished_max=PLENTY)
        found = jobstore.by_token("other", "token of job-1")
        assert found is not None
        assert found.id == "job-2"
        assert jobstore.by_token("third", "token of job-1") is None
        assert jobstore.by_token("acme", "never used") is None

    def test_a_repeated_request_is_recognised_even_when_the_quota_is_used_up(self, jobstore: JobStore) -> None:
        jobstore.create(a_job(), unfinished_max=1)
        with pytest.raises(TokenReused):
            jobstore.create(a_job(), unfinished_max=1)

    def test_a_retry_is_told_to_the_job_that_it_repeats(self, jobstore: JobStore, epoch: int) -> None:
        jobstore.create(a_job(), unfinished_max=PLENTY)
        jobstore.change("acme", "job-1", ended)
        for number in range(2, RETRIES_KEPT + 4):
            retry = a_job(f"job-{number}", retry=Retry(of="job-1", codes=("NoSuchKey",)), created_ms=6_000)
            jobstore.create(retry, unfinished_max=PLENTY)
        assert jobstore.get("acme", "job-2").retry == Retry(of="job-1", codes=("NoSuchKey",))
        assert jobstore.get("acme", "job-1").retried_by[-1] == f"job-{RETRIES_KEPT + 3}"
        assert len(jobstore.get("acme", "job-1").retried_by) == RETRIES_KEPT
        told = [event for event in jobstore.events("job-1") if event.kind == EventKind.RETRIED]
        assert (told[0].at_ms, told[0].by, told[0].facts) == (6_000, "admin", {"retry": "job-2", "codes": ["NoSuchKey"]})
        assert jobstore.events("job-2")[0].facts["retry_of"] == "job-1"

    def test_a_retry_of_a_job_that_the_account_does_not_see_is_not_stored(self, jobstore: JobStore) -> None:
        jobstore.create(a_job(account="other"), unfinished_max=PLENTY)
        with pytest.raises(JobNotFound):
            jobstore.create(a_job("job-2", retry=Retry(of="job-1")), unfinished_max=PLENTY)
        assert not jobstore.find(["job-2"])

    def test_only_unfinished_jobs_of_the_account_count_against_its_quota(self, jobstore: JobStore) -> None:
        jobstore.create(ended(a_job("old")), unfinished_max=1)
        jobstore.create(a_job("foreign", account="other"), unfinished_max=1)
        jobstore.create(a_job("job-1"), unfinished_max=1)
        with pytest.raises(TooManyJobs):
            jobstore.create(a_job("job-2"), unfinished_max=1)
        assert not jobstore.find(["job-2"])

    def test_one_token_makes_one_job_however_many_ask_at_once(self, jobstore: JobStore) -> None:
        together = threading.Barrier(8)

        def attempt(number: int) -> str:
            together.wait()
            try:
                jobstore.create(a_job(f"job-{number}", token="same"), unfinished_max=PLENTY)
            except TokenReused as error:
                return error.job_id
            return f"job-{number}"

        with ThreadPoolExecutor(8) as pool:
            named = set(pool.map(attempt, range(8)))
        assert len(named) == 1
        assert [job.id for job in jobstore.unfinished()] == list(named)

    def test_a_job_id_is_used_once(self, jobstore: JobStore) -> None:
        jobstore.create(a_job(), unfinished_max=PLENTY)
        with pytest.raises(ValueError, match="job"):
            jobstore.create(a_job(account="other", token="another"), unfinished_max=PLENTY)

    def test_a_job_of_another_account_is_not_found(self, jobstore: JobStore) -> None:
        jobstore.create(a_job(), unfinished_max=PLENTY)
        with pytest.raises(JobNotFound):
            jobstore.get("other", "job-1")
        with pytest.raises(JobNotFound):
            jobstore.change("other", "job-1", lambda job: job)
        with pytest.raises(JobNotFound):
            jobstore.delete("other", "job-1")
        assert jobstore.get("acme", "job-1") == a_job()

    # -- change

    def test_a_change_is_stored_and_returned(self, jobstore: JobStore) -> None:
        jobstore.create(a_job(), unfinished_max=PLENTY)
        after = jobstore.change("acme", "job-1", lambda job: msgspec.structs.replace(job, priority=99, tags={"a": "b"}))
        assert after == a_job(priority=99, tags={"a": "b"})
        assert jobstore.get("acme", "job-1") == after

    def test_what_a_change_raises_is_raised_and_nothing_is_changed(self, jobstore: JobStore) -> None:
        jobstore.create(a_job(), unfinished_max=PLENTY)
        with pytest.raises(IllegalTransition):
            jobstore.change("acme", "job-1", lambda job: advance(job, JobEvent.DRAINED, now_ms=1))
        assert jobstore.get("acme", "job-1") == a_job()

    @pytest.mark.parametrize("field", ["succeeded", "failed", "total", "created_ms"])
    def test_a_change_cannot_touch_what_is_not_its_own(self, jobstore: JobStore, field: str) -> None:
        jobstore.create(a_job(), unfinished_max=PLENTY)
        with pytest.raises(ValueError, match=field):
            jobstore.change("acme", "job-1", lambda job: msgspec.structs.replace(job, **{field: 7}))
        assert jobstore.get("acme", "job-1") == a_job()

    def test_changes_of_one_job_at_once_are_all_kept(self, jobstore: JobStore) -> None:
        jobstore.create(a_job(priority=0), unfinished_max=PLENTY)

        def raise_priority(_: int) -> None:
            jobstore.change("acme", "job-1", lambda job: msgspec.structs.replace(job, priority=job.priority + 1))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(raise_priority, range(40)))
        assert jobstore.get("acme", "job-1").priority == 40

    def test_no_such_job_no_change(self, jobstore: JobStore) -> None:
        with pytest.raises(JobNotFound) as caught:
            jobstore.change("acme", "job-9", lambda job: job)
        assert caught.value.job_id == "job-9"

    # -- delete

    def test_a_deleted_job_is_hidden_but_its_token_stays_in_use(self, jobstore: JobStore) -> None:
        jobstore.create(a_job(), unfinished_max=PLENTY)
        assert jobstore.delete("acme", "job-1") == a_job()
        with pytest.raises(JobNotFound):
            jobstore.get("acme", "job-1")
        with pytest.raises(JobNotFound):
            jobstore.change("acme", "job-1", lambda job: job)
        with pytest.raises(JobNotFound):
            jobstore.delete("acme", "job-1")
        assert not jobstore.list(ListQuery(account="acme", newest_first=True))
        assert jobstore.by_token("acme", "token of job-1") == a_job()
        with pytest.raises(TokenReused):
            jobstore.create(a_job("job-2", token="token of job-1"), unfinished_max=PLENTY)

    # -- retention

    def test_only_jobs_that_ended_before_the_moment_are_listed_as_ended(
        self, jobstore: JobStore, active: Job, epoch: int
    ) -> None:
        assert not jobstore.ended(0, 2**53, 10)
        jobstore.commit(epoch, moved(JobEvent.CANCEL_REQUESTED, JobEvent.REPORTED))
        (job,) = jobstore.ended(0, 2**53, 10)
        assert (job.id, job.status) == (active.id, JobStatus.CANCELLED)
        assert not jobstore.ended(0, job.ended_ms or 0, 10)
        assert not jobstore.ended((job.ended_ms or 0) + 1, 2**53, 10)
        assert not jobstore.ended(0, 2**53, 0)

    def test_a_forgotten_job_is_gone_with_its_ledger_and_its_token_is_free(
        self, jobstore: JobStore, active: Job, epoch: int
    ) -> None:
        jobstore.commit(epoch, moved(JobEvent.CANCEL_REQUESTED, JobEvent.REPORTED))
        jobstore.forget([active.id, "job-9"])
        assert not jobstore.find([active.id])
        assert not jobstore.chunks(active.id)
        assert jobstore.by_token("acme", active.token) is None
        jobstore.create(a_job("job-2", token=active.token), unfinished_max=PLENTY)

    def test_a_job_that_has_not_ended_is_never_forgotten(self, jobstore: JobStore, active: Job) -> None:
        jobstore.forget([active.id])
        assert jobstore.get("acme", active.id).id == active.id

    def test_the_coordinator_finishes_a_deleted_job(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        jobstore.delete("acme", "job-1")
        assert [job.id for job in jobstore.unfinished()] == ["job-1"]
        jobstore.commit(epoch, moved(JobEvent.CANCEL_REQUESTED, JobEvent.REPORTED))
        assert not jobstore.unfinished()
        assert jobstore.find(["job-1"])["job-1"].status == JobStatus.CANCELLED
        assert active.status == JobStatus.ACTIVE

    # -- list

    @pytest.mark.parametrize("newest_first", [True, False])
    @pytest.mark.parametrize("limit", [1, 2, 3, 100])
    def test_pages_hold_every_job_once_in_order_also_where_times_are_equal(
        self, jobstore: JobStore, newest_first: bool, limit: int
    ) -> None:
        places = [(1_000 + number // 3, f"job-{number * 7 % 10}") for number in range(10)]
        for created_ms, job_id in places:
            job = a_job(job_id, created_ms=created_ms)
            jobstore.create(ended(job) if job_id in ("job-3", "job-4") else job, unfinished_max=PLENTY)
        jobstore.create(a_job("foreign", account="other"), unfinished_max=PLENTY)
        listed: list[tuple[int, str]] = []
        while True:
            after = listed[-1] if listed else None
            page = jobstore.list(ListQuery(account="acme", newest_first=newest_first, after=after, limit=limit))
            assert len(page) <= limit
            if not page:
                break
            listed += [(job.created_ms, job.id) for job in page]
        assert listed == sorted(places, reverse=newest_first)

    def test_a_list_can_be_of_some_statuses(self, jobstore: JobStore, epoch: int) -> None:
        for number in range(4):
            jobstore.create(a_job(f"job-{number}", created_ms=number), unfinished_max=PLENTY)
        jobstore.create(ended(a_job("old", created_ms=9)), unfinished_max=PLENTY)
        jobstore.commit(epoch, [*moved(JobEvent.PICKED_UP, job="job-1"), *moved(JobEvent.PICKED_UP, job="job-2")])
        query = ListQuery(account="acme", newest_first=False, statuses=frozenset({"Preparing", "Cancelled"}))
        assert [job.id for job in jobstore.list(query)] == ["job-1", "job-2", "old"]
        assert not jobstore.list(msgspec.structs.replace(query, statuses=frozenset({"Active"})))

    def test_a_list_can_be_of_some_operations_tags_and_text(self, jobstore: JobStore) -> None:
        delete = OperationSpec(name="delete", parameters={})
        jobs = [
            a_job("job-1", tags={"team": "data", "env": "live"}, description="Nightly 100% copy_all"),
            a_job("job-2", tags={"team": "web"}, operation=delete, description="nightly"),
            a_job("job-3", tags={}, operation=delete),
            a_job("foreign", account="other", tags={"team": "data"}, description="nightly"),
        ]
        for job in jobs:
            jobstore.create(job, unfinished_max=PLENTY)

        def found(**sought: Any) -> list[str]:
            return [job.id for job in jobstore.list(ListQuery(account="acme", newest_first=False, **sought))]

        assert found(operations=frozenset({"delete"})) == ["job-2", "job-3"]
        assert found(operations=frozenset({"delete", "copy"})) == ["job-1", "job-2", "job-3"]
        assert found(tags=("team",)) == ["job-1", "job-2"]
        assert found(tags=("team=data",)) == found(tags=("team", "env=live")) == ["job-1"]
        assert found(tags=("team=web", "env")) == found(tags=("Team",)) == found(tags=("team=",)) == []
        assert found(text="NIGHT") == ["job-1", "job-2"]
        assert found(text="-3") == ["job-3"]
        assert found(text="0% copy_") == ["job-1"]
        assert found(text="0_ copy") == []
        assert found(text="nightly", operations=frozenset({"delete"}), tags=("team",)) == ["job-2"]
        assert found(text="nightly", after=(1_000, "job-1")) == ["job-2"]

    def test_changed_tags_are_the_ones_a_list_looks_for(self, jobstore: JobStore) -> None:
        jobstore.create(a_job(tags={"old": "1", "kept": "1"}), unfinished_max=PLENTY)
        jobstore.change("acme", "job-1", lambda job: msgspec.structs.replace(job, tags={"kept": "2", "new": ""}))

        def found(tag: str) -> int:
            return len(jobstore.list(ListQuery(account="acme", newest_first=True, tags=(tag,))))

        assert [found("old"), found("kept=1"), found("kept=2"), found("new=")] == [0, 0, 1, 1]

    def test_the_key_of_a_tag_may_hold_an_equals_sign(self, jobstore: JobStore) -> None:
        jobstore.create(a_job(tags={"a=b": "c=d"}), unfinished_max=PLENTY)

        def found(tag: str) -> int:
            return len(jobstore.list(ListQuery(account="acme", newest_first=True, tags=(tag,))))

        assert [found("a=b"), found("a=b=c=d"), found("a"), found("a=b=c"), found("a=b=")] == [1, 1, 0, 0, 0]

    def test_old_jobs_are_left_out_unless_they_are_unfinished(self, jobstore: JobStore) -> None:
        for created_ms in (1_000, 2_000, 3_000):
            jobstore.create(a_job(f"open-{created_ms}", created_ms=created_ms), unfinished_max=PLENTY)
            jobstore.create(ended(a_job(f"done-{created_ms}", created_ms=created_ms)), unfinished_max=PLENTY)
        query = ListQuery(account="acme", newest_first=False, created_since_ms=2_000)
        assert [job.id for job in jobstore.list(query)] == ["open-1000", "done-2000", "open-2000", "done-3000", "open-3000"]

    def test_what_ended_long_ago_is_left_out_however_young_it_is(self, jobstore: JobStore) -> None:
        for created_ms, ended_ms in ((1_000, 9_000), (2_000, 4_999), (3_000, 5_000)):
            jobstore.create(a_job(f"open-{created_ms}", created_ms=created_ms), unfinished_max=PLENTY)
            done = a_job(f"done-{created_ms}", created_ms=created_ms)
            jobstore.create(ended(done, ended_ms), unfinished_max=PLENTY)
        query = ListQuery(account="acme", newest_first=True, ended_since_ms=5_000)
        assert [job.id for job in jobstore.list(query)] == ["open-3000", "done-3000", "open-2000", "open-1000", "done-1000"]

    # -- changed

    def test_who_waits_is_woken_by_create_change_and_delete(self, jobstore: JobStore) -> None:
        wait = jobstore.changed()
        with ThreadPoolExecutor(1) as pool:
            for act in (
                lambda: jobstore.create(a_job(), unfinished_max=PLENTY),
                lambda: jobstore.change("acme", "job-1", lambda job: job),
                lambda: jobstore.delete("acme", "job-1"),
            ):
                woken = pool.submit(wait, 30.0)
                act()
                assert woken.result() is True
                assert wait(0.0) is False

    def test_a_change_before_the_wait_is_not_missed(self, jobstore: JobStore) -> None:
        mine, other = jobstore.changed(), jobstore.changed()
        jobstore.create(a_job("job-1"), unfinished_max=PLENTY)
        jobstore.create(a_job("job-2"), unfinished_max=PLENTY)
        assert [mine(0.0), mine(0.0)] == [True, False]
        assert [other(0.0), other(0.0)] == [True, False]

    def test_what_failed_and_what_the_coordinator_commits_wakes_nobody(self, jobstore: JobStore, epoch: int) -> None:
        jobstore.create(a_job(), unfinished_max=PLENTY)
        wait = jobstore.changed()
        with pytest.raises(TokenReused):
            jobstore.create(a_job(), unfinished_max=PLENTY)
        with pytest.raises(JobNotFound):
            jobstore.delete("acme", "job-9")
        jobstore.commit(epoch, moved(JobEvent.PICKED_UP))
        assert wait(0.0) is False

    def test_who_watches_is_told_of_every_write_in_order_until_the_end_of_it(self, jobstore: JobStore, epoch: int) -> None:
        told: list[tuple[str, str, bool, bool]] = []

        def watcher(written: Sequence[Written]) -> None:
            told.extend((one.job.id, str(one.job.status), one.recorded, one.hidden) for one in written)

        end = jobstore.watch(watcher)
        jobstore.create(a_job(), unfinished_max=PLENTY)
        jobstore.change("acme", "job-1", lambda job: job)
        jobstore.commit(epoch, moved(JobEvent.PICKED_UP))
        jobstore.commit(epoch, moved(JobEvent.DRAINED))
        with pytest.raises(JobNotFound):
            jobstore.delete("acme", "job-9")
        jobstore.delete("acme", "job-1")
        end()
        jobstore.commit(epoch, moved(JobEvent.PREPARED, total=1))
        assert told == [
            ("job-1", "New", True, False),
            ("job-1", "New", False, False),
            ("job-1", "Preparing", True, False),
            ("job-1", "Preparing", True, True),
        ]

    def test_progress_is_told_to_watchers(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        told: list[Written] = []
        jobstore.watch(told.extend)
        jobstore.commit(epoch, [flushed(0, 1, rows=10, failed=3)])
        assert [(one.job.succeeded, one.job.failed, one.recorded) for one in told] == [(7, 3, False)]

    def test_a_watcher_that_fails_fails_no_write(self, jobstore: JobStore) -> None:
        def fails(_: object) -> None:
            raise RuntimeError("the watcher's own trouble")

        jobstore.watch(fails)
        jobstore.create(a_job(), unfinished_max=PLENTY)
        assert jobstore.find(["job-1"])

    # -- the record

    def test_a_record_tells_who_changed_what_and_why_in_order(self, jobstore: JobStore, epoch: int) -> None:
        jobstore.create(a_job(tags={"team": "data", "old": "1"}), unfinished_max=PLENTY)
        jobstore.commit(epoch, [*moved(JobEvent.PICKED_UP), *moved(JobEvent.CONFIRMATION_DUE, total=0)])
        jobstore.change("acme", "job-1", lambda job: msgspec.structs.replace(job, priority=99), by="olaf")
        tags = {"team": "web", "new": ""}
        jobstore.change("acme", "job-1", lambda job: msgspec.structs.replace(job, tags=tags), by="olaf")
        cancelled = JobEvent.CANCEL_SETTLED
        jobstore.change("acme", "job-1", lambda job: advance(job, cancelled, now_ms=7), by="ida", reason="not that one")
        jobstore.delete("acme", "job-1", by="ida")
        told = jobstore.events("job-1")
        assert [(event.sequence, event.kind, event.by, event.facts) for event in told] == [
            (1, "created", "admin", {"status": "New"}),
            (2, "status", None, {"status": "Preparing", "was": "New"}),
            (3, "status", None, {"status": "Suspended", "was": "Preparing", "total": 0}),
            (4, "priority", "olaf", {"priority": 99, "was": 10}),
            (5, "tags", "olaf", {"set": ["team", "new"], "removed": ["old"], "tags": 2}),
            (6, "status", "ida", {"status": "Cancelled", "was": "Suspended", "reason": "not that one"}),
            (7, "deleted", "ida", {}),
        ]
        assert told[0].at_ms == 1_000
        assert {event.job for event in told} == {"job-1"}

    def test_a_change_that_changes_nothing_is_not_recorded(self, jobstore: JobStore) -> None:
        jobstore.create(a_job(), unfinished_max=PLENTY)
        jobstore.change("acme", "job-1", lambda job: job, by="admin")
        with pytest.raises(IllegalTransition):
            jobstore.change("acme", "job-1", lambda job: advance(job, JobEvent.DRAINED, now_ms=1), by="admin")
        assert [event.kind for event in jobstore.events("job-1")] == ["created"]

    def test_progress_is_not_recorded(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        before = jobstore.events("job-1")
        jobstore.commit(epoch, [flushed(0, 1, rows=10, failed=3)])
        assert jobstore.events("job-1") == before

    def test_a_happening_is_recorded_once_however_often_it_is_committed(
        self, jobstore: JobStore, active: Job, epoch: int
    ) -> None:
        before = len(jobstore.events("job-1"))
        lost = happening("job-1", 5_000, EventKind.RUNNER_LOST, runner="r1", chunks=3)
        again = happening("job-1", 5_001, EventKind.RUNNER_LOST, runner="r1", chunks=3)
        for entries in ([lost, lost], [lost], [again], [happening("job-9", 1, EventKind.RUNNER_LOST)]):
            jobstore.commit(epoch, entries)
        told = jobstore.events("job-1", after=before)
        assert [(event.sequence - before, event.at_ms, event.facts) for event in told] == [
            (1, 5_000, {"runner": "r1", "chunks": 3}),
            (2, 5_001, {"runner": "r1", "chunks": 3}),
        ]
        assert jobstore.events("job-9") == []

    def test_a_record_is_read_from_any_number_on(self, jobstore: JobStore) -> None:
        jobstore.create(a_job(priority=0), unfinished_max=PLENTY)
        for _ in range(5):
            jobstore.change("acme", "job-1", lambda job: msgspec.structs.replace(job, priority=job.priority + 1))
        numbers = [[event.sequence for event in jobstore.events("job-1", after=after, limit=2)] for after in (0, 2, 4, 6)]
        assert numbers == [[1, 2], [3, 4], [5, 6], []]

    def test_a_long_record_keeps_its_first_and_its_newest_events(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        kind = EventKind.POSTPONED
        count = FIRST_KEPT + NEWEST_KEPT + 50
        jobstore.commit(epoch, [happening("job-1", 9_000, kind, seconds=number) for number in range(count)])
        numbers = [event.sequence for event in jobstore.events("job-1", limit=count)]
        last = numbers[-1]
        assert last > count
        assert numbers == [*range(1, FIRST_KEPT + 1), *range(last - NEWEST_KEPT + 1, last + 1)]
        jobstore.commit(epoch, [happening("job-1", 9_001, kind)])
        assert [event.sequence for event in jobstore.events("job-1", after=last)] == [last + 1]

    def test_a_forgotten_jobs_record_is_gone(self, jobstore: JobStore) -> None:
        jobstore.create(ended(a_job()), unfinished_max=PLENTY)
        assert jobstore.events("job-1")
        jobstore.forget(["job-1"])
        assert jobstore.events("job-1") == []

    # -- epochs

    def test_a_coordinator_that_was_taken_over_cannot_commit(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        before = everything(jobstore)
        assert jobstore.begin_epoch() > epoch
        with pytest.raises(Superseded):
            jobstore.commit(epoch, [flushed(0, 1), *moved(JobEvent.HELD)])
        assert everything(jobstore) == before

    # -- unfinished, find

    def test_unfinished_jobs_come_oldest_first_over_all_accounts(self, jobstore: JobStore) -> None:
        for job_id, created_ms, account in (("b", 2, "acme"), ("a", 2, "acme"), ("c", 1, "other"), ("d", 3, "acme")):
            jobstore.create(a_job(job_id, created_ms=created_ms, account=account), unfinished_max=PLENTY)
        jobstore.create(ended(a_job("done")), unfinished_max=PLENTY)
        assert [job.id for job in jobstore.unfinished()] == ["c", "a", "b", "d"]

    def test_find_knows_jobs_of_all_accounts_and_leaves_out_unknown_ids(self, jobstore: JobStore) -> None:
        jobstore.create(a_job("job-1"), unfinished_max=PLENTY)
        jobstore.create(a_job("job-2", account="other"), unfinished_max=PLENTY)
        jobstore.delete("other", "job-2")
        assert set(jobstore.find(["job-1", "job-2", "job-9"])) == {"job-1", "job-2"}
        assert not jobstore.find([])

    # -- staging

    def test_chunks_are_told_by_index_in_whatever_order_they_came(self, jobstore: JobStore, epoch: int) -> None:
        jobstore.create(a_job(), unfinished_max=PLENTY)
        jobstore.commit(epoch, moved(JobEvent.PICKED_UP))
        jobstore.commit(
            epoch, [ChunksStaged("job-1", (a_chunk(2), a_chunk(0)), first=True), ChunksStaged("job-1", (a_chunk(1),))]
        )
        assert jobstore.chunks("job-1") == [a_chunk(0), a_chunk(1), a_chunk(2)]
        assert not jobstore.chunks("job-9")

    def test_a_new_preparation_drops_what_the_earlier_one_left(self, jobstore: JobStore, epoch: int) -> None:
        jobstore.create(a_job(), unfinished_max=PLENTY)
        jobstore.commit(epoch, moved(JobEvent.PICKED_UP))
        jobstore.commit(epoch, [ChunksStaged("job-1", (a_chunk(0, 10), a_chunk(1, 10), a_chunk(2, 10)), first=True)])
        again: list[Entry] = [*moved(JobEvent.PICKED_UP), ChunksStaged("job-1", (a_chunk(0, 500),), first=True)]
        jobstore.commit(epoch, again)
        assert jobstore.chunks("job-1") == [a_chunk(0, 500)]

    def test_a_job_that_is_not_preparing_any_more_takes_no_chunks(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        before = everything(jobstore)
        jobstore.commit(epoch, [ChunksStaged("job-1", (a_chunk(0, 7), a_chunk(9)), first=True)])
        assert everything(jobstore) == before

    def test_thousands_of_chunks_can_be_staged_at_once(self, jobstore: JobStore, epoch: int) -> None:
        jobstore.create(a_job(), unfinished_max=PLENTY)
        chunks = tuple(a_chunk(index) for index in range(3_000))
        staged = ChunksStaged("job-1", chunks, first=True)
        opened = ChunksOpened("job-1", tuple(range(3_000)), at_ms=2_000)
        jobstore.commit(epoch, [*moved(JobEvent.PICKED_UP), staged, opened])
        assert [chunk.opened_ms for chunk in jobstore.chunks("job-1")] == [2_000] * 3_000

    # -- opening and releasing

    def test_an_opened_chunk_keeps_the_first_moment_and_gets_a_horizon(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        jobstore.commit(epoch, [ChunkReleased("job-1", 0, horizon=300)])
        released = jobstore.chunks("job-1")[0]
        assert (released.opened_ms, released.first_opened_ms, released.horizon) == (None, 2_000, 300)
        jobstore.commit(epoch, [ChunksOpened("job-1", (0,), at_ms=9_000)])
        opened = jobstore.chunks("job-1")[0]
        assert (opened.opened_ms, opened.first_opened_ms, opened.horizon) == (9_000, 2_000, 300 + FIRST_HORIZON)
        assert jobstore.chunks("job-1")[1] == a_chunk(1)

    def test_an_open_chunk_is_not_opened_again(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        before = everything(jobstore)
        jobstore.commit(epoch, [ChunksOpened("job-1", (0,), at_ms=9_000)])
        assert everything(jobstore) == before

    def test_a_horizon_never_lies_beyond_the_chunk(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        jobstore.commit(epoch, [ChunkReleased("job-1", 0, horizon=19_999), ChunksOpened("job-1", (0,), at_ms=9_000)])
        assert jobstore.chunks("job-1")[0].horizon == 20_000
        jobstore.commit(epoch, [ChunksOpened("job-1", (1,), at_ms=9_000), flushed(1, 1, horizon=99_000)])
        assert jobstore.chunks("job-1")[1].horizon == 20_000

    # -- segments

    def test_a_flush_adds_to_the_counters_and_raises_the_horizon(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        after = jobstore.commit(epoch, [flushed(0, 1, rows=700, failed=30, horizon=6_000), flushed(0, 2, rows=5, horizon=5_500)])
        assert (after["job-1"].succeeded, after["job-1"].failed) == (675, 30)
        assert jobstore.get("acme", "job-1") == after["job-1"]
        assert jobstore.chunks("job-1")[0].horizon == 6_000
        assert [segment.sequence for segment in jobstore.segments("job-1")] == [1, 2]

    def test_a_flush_counts_once(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        jobstore.commit(epoch, [flushed(0, 1, rows=700), flushed(0, 1, rows=700)])
        jobstore.commit(epoch, [flushed(0, 1, rows=700), flushed(0, 2, rows=10)])
        assert jobstore.get("acme", "job-1").succeeded == 710
        assert len(jobstore.segments("job-1")) == 2

    def test_flushes_of_two_attempts_are_told_apart_by_attempt(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        attempts = [Attempt(1, 1), Attempt(1, 2), Attempt(2, 1)]
        jobstore.commit(epoch, [flushed(0, 1, rows=10, attempt=attempt) for attempt in attempts])
        jobstore.commit(epoch, [flushed(0, 1, rows=10, attempt=attempts[0])])
        assert jobstore.get("acme", "job-1").succeeded == 30
        assert [segment.attempt for segment in jobstore.segments("job-1")] == attempts

    def test_what_was_read_back_is_summed_by_store_once(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        first = msgspec.structs.replace(flushed(0, 1, rows=30), read_back={"main": 12})
        second = msgspec.structs.replace(flushed(0, 2, rows=30), read_back={"main": 8, "other": 1})
        for _ in range(2):
            jobstore.commit(epoch, [first, second])
        jobstore.commit(epoch, [flushed(0, 3, rows=30)])
        assert jobstore.get("acme", "job-1").read_back == {"main": 20, "other": 1}
        sealed = ChunkSealed("job-1", 0, "sealed", succeeded=20_000, failed=0, read_back={"other": 2})
        for _ in range(2):
            jobstore.commit(epoch, [sealed])
        assert jobstore.get("acme", "job-1").read_back == {"main": 20, "other": 3}

    def test_why_tasks_failed_is_summed_by_class_once(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        first = flushed(0, 1, rows=30, failed=4, failures=(a_class(3, at_ms=50, key=b"a"), a_class(1, "AccessDenied", 403)))
        second = flushed(0, 2, rows=30, failed=2, failures=(a_class(2, at_ms=20, key=b"b"),))
        sealed = ChunkSealed("job-1", 0, "sealed", 19_993, 7, failures=(a_class(1, at_ms=90, key=b"c"),))
        commits: list[list[Entry]] = [[first, second], [second], [sealed], [sealed, first]]
        for entries in commits:
            job = jobstore.commit(epoch, entries)["job-1"]
        found = jobstore.failures("job-1")
        assert [(each.code, each.status, each.count) for each in found] == [("NoSuchKey", 404, 6), ("AccessDenied", 403, 1)]
        assert (found[0].first_ms, found[0].last_ms) == (20, 90)
        assert [sample.key for sample in found[0].samples] == [b"a", b"b", b"c"]
        assert (job.failed, job.failures) == (7, {"NoSuchKey": 6, "AccessDenied": 1})

    def test_of_a_class_the_first_samples_are_kept(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        keys = [b"\xff\x00", "ä".encode(), b"c", b"d", b"e"]
        for sequence, key in enumerate(keys):
            jobstore.commit(epoch, [flushed(0, sequence, rows=1, failed=1, failures=(a_class(1, key=key),))])
        assert [sample.key for sample in jobstore.failures("job-1")[0].samples] == keys[:3]

    def test_a_store_that_makes_codes_up_fills_no_disk(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        for first in range(0, 200, 20):
            classes = tuple(a_class(2, f"E{number}", 500) for number in range(first, first + 20))
            jobstore.commit(epoch, [flushed(0, first, rows=40, failed=40, failures=classes)])
        found = jobstore.failures("job-1")
        assert len(found) == CLASSES_MAX
        assert (found[0].code, found[0].count) == (OTHER, 400 - 2 * (CLASSES_MAX - 1))
        assert sum(each.count for each in found) == jobstore.get("acme", "job-1").failed

    def test_classes_stay_when_the_job_has_ended_and_go_with_its_record(
        self, jobstore: JobStore, active: Job, epoch: int
    ) -> None:
        jobstore.commit(epoch, [flushed(0, 1, rows=1, failed=1, failures=(a_class(1),))])
        before = jobstore.failures("job-1")
        jobstore.commit(epoch, moved(JobEvent.CANCEL_REQUESTED, JobEvent.REPORTED))
        jobstore.commit(epoch, [flushed(0, 2, rows=1, failed=1, failures=(a_class(1),))])
        assert jobstore.failures("job-1") == before != []
        jobstore.forget(["job-1"])
        assert jobstore.failures("job-1") == []

    def test_segments_come_in_order_of_commit(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        jobstore.commit(epoch, [ChunksOpened("job-1", (1, 2), at_ms=2_000)])
        places = [(2, 5), (0, 3), (2, 1), (1, 1), (0, 1)]
        jobstore.commit(epoch, [flushed(chunk, sequence) for chunk, sequence in places[:3]])
        jobstore.commit(epoch, [flushed(chunk, sequence) for chunk, sequence in places[3:]])
        assert [(segment.chunk, segment.sequence) for segment in jobstore.segments("job-1")] == places

    def test_a_flush_that_has_more_outcomes_than_rows_are_left_is_refused(
        self, jobstore: JobStore, active: Job, epoch: int
    ) -> None:
        before = everything(jobstore)
        with pytest.raises(ValueError, match="20000 rows"):
            jobstore.commit(epoch, [flushed(0, 1, rows=15_000), flushed(0, 2, rows=5_001)])
        assert everything(jobstore) == before

    # -- reports that are delivered once more

    def test_who_waits_for_a_delivery_is_found_until_it_is_over_and_only_then(self, jobstore: JobStore, epoch: int) -> None:
        jobstore.create(a_job(), unfinished_max=PLENTY)
        jobstore.change("acme", "job-1", ended)
        assert jobstore.awaiting_delivery() == []
        place = Delivery(number=2, bucket="b", prefix="p", by="admin", asked_ms=7_000)
        asked = jobstore.change("acme", "job-1", lambda job: msgspec.structs.replace(job, delivery=place), by="admin")
        jobstore.delete("acme", "job-1")
        assert jobstore.awaiting_delivery() == [asked]
        jobstore.commit(epoch, [DeliveryEnded("job-1", 1), DeliveryEnded("job-9", 2)])
        assert jobstore.awaiting_delivery() == [asked]
        told: list[bool] = []
        jobstore.watch(lambda written: told.extend(each.ended for each in written))
        for failure in (Failure("ReportDeliveryFailed", "no"), None):
            after = jobstore.commit(epoch, [DeliveryEnded("job-1", 2, failure)])["job-1"]
        assert after.delivery is not None
        assert (after.delivery.status, after.delivery.failure) == ("Failed", Failure("ReportDeliveryFailed", "no"))
        assert (after.status, after.ended_ms) == ("Cancelled", asked.ended_ms)
        assert jobstore.awaiting_delivery() == []
        assert told == [False], "what is written about a job that has ended is no second end"
        kinds = [(event.kind, event.facts["became"]) for event in jobstore.events("job-1")[2:] if event.kind != "deleted"]
        assert kinds == [(EventKind.DELIVERY, "Waiting"), (EventKind.DELIVERY, "Failed")]

    # -- sealing

    def test_a_sealed_chunk_has_the_counts_of_its_file_and_no_segments(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        jobstore.commit(
            epoch, [ChunksOpened("job-1", (1,), at_ms=2_000), flushed(0, 1, rows=700, failed=30), flushed(1, 1, rows=9)]
        )
        assert jobstore.chunks("job-1")[0].succeeded == 0
        after = jobstore.commit(epoch, [ChunkSealed("job-1", 0, "sealed-0", succeeded=19_950, failed=50)])["job-1"]
        assert (after.succeeded, after.failed) == (19_950 + 9, 50)
        sealed = jobstore.chunks("job-1")[0]
        assert (sealed.sealed_name, sealed.succeeded, sealed.failed) == ("sealed-0", 19_950, 50)
        assert [segment.chunk for segment in jobstore.segments("job-1")] == [1]

    def test_nothing_changes_a_sealed_chunk(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        jobstore.commit(epoch, [flushed(0, 1), ChunkSealed("job-1", 0, "sealed-0", succeeded=20_000, failed=0)])
        before = everything(jobstore)
        late: list[Entry] = [
            flushed(0, 1),
            flushed(0, 2, horizon=20_000),
            ChunkSealed("job-1", 0, "another", succeeded=0, failed=20_000),
            ChunkReleased("job-1", 0, horizon=0),
            ChunksOpened("job-1", (0,), at_ms=9_000),
        ]
        jobstore.commit(epoch, late)
        assert everything(jobstore) == before

    def test_a_sealed_file_has_an_outcome_for_every_row(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        before = everything(jobstore)
        with pytest.raises(ValueError, match="20000 rows"):
            jobstore.commit(epoch, [flushed(0, 1), ChunkSealed("job-1", 0, "sealed-0", succeeded=19_998, failed=1)])
        assert everything(jobstore) == before

    # -- moves

    def test_a_move_is_what_the_table_says(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        failing = JobMoved("job-1", JobEvent.FAILED, reason="too many", failure=Failure("FailureThresholdExceeded", "51 %"))
        after = jobstore.commit(epoch, [failing])["job-1"]
        assert (after.status, after.status_reason, after.failure) == ("Failing", "too many", failing.failure)
        assert jobstore.get("acme", "job-1") == after
        jobstore.commit(epoch, moved(JobEvent.REPORTED))
        assert jobstore.get("acme", "job-1").ended_ms is not None

    def test_a_move_that_came_too_late_is_skipped_and_the_rest_is_kept(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        cancelled = jobstore.change("acme", "job-1", lambda job: advance(job, JobEvent.CANCEL_REQUESTED, now_ms=7_000))
        after = jobstore.commit(epoch, [flushed(0, 1, rows=5), *moved(JobEvent.TASKS_DONE), flushed(0, 2, rows=6)])["job-1"]
        assert after == msgspec.structs.replace(cancelled, succeeded=11)

    def test_a_job_that_has_ended_counts_nothing_more(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        jobstore.commit(epoch, [flushed(0, 1, rows=5), *moved(JobEvent.CANCEL_REQUESTED, JobEvent.REPORTED)])
        before = everything(jobstore)
        sealed = ChunkSealed("job-1", 0, "sealed-0", succeeded=20_000, failed=0)
        jobstore.commit(epoch, [flushed(0, 2, rows=5), sealed, *moved(JobEvent.FAILED)])
        assert everything(jobstore) == before

    def test_a_job_with_tasks_left_cannot_be_complete(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        before = everything(jobstore)
        with pytest.raises(ValueError, match="complete"):
            jobstore.commit(epoch, [flushed(0, 1, rows=5), *moved(JobEvent.TASKS_DONE, JobEvent.REPORTED)])
        assert everything(jobstore) == before

    # -- commits

    def test_entries_of_one_commit_apply_in_order(self, jobstore: JobStore, epoch: int) -> None:
        jobstore.create(a_job(), unfinished_max=PLENTY)
        entries: list[Entry] = [
            *moved(JobEvent.PICKED_UP),
            ChunksStaged("job-1", (a_chunk(0, 10), a_chunk(1, 10)), first=True),
            *moved(JobEvent.PREPARED, JobEvent.STARTED, total=20),
            ChunksOpened("job-1", (0, 1), at_ms=2_000),
            flushed(0, 1, rows=4, failed=1, horizon=10),
            ChunkSealed("job-1", 0, "sealed-0", succeeded=9, failed=1),
            ChunkSealed("job-1", 1, "sealed-1", succeeded=10, failed=0),
            *moved(JobEvent.TASKS_DONE, JobEvent.REPORTED),
        ]
        after = jobstore.commit(epoch, entries)["job-1"]
        assert (after.status, after.total, after.succeeded, after.failed) == ("Complete", 20, 19, 1)
        before = everything(jobstore)
        assert jobstore.commit(epoch, entries) == {"job-1": after}
        assert everything(jobstore) == before

    def test_a_commit_returns_the_jobs_it_names(self, jobstore: JobStore, active: Job, epoch: int) -> None:
        jobstore.create(a_job("job-2"), unfinished_max=PLENTY)
        after = jobstore.commit(epoch, [flushed(0, 1), *moved(JobEvent.PICKED_UP, job="job-2"), flushed(0, 1, job="job-9")])
        assert after == jobstore.find(["job-1", "job-2"])
        assert jobstore.commit(epoch, []) == {}

    def test_counters_are_the_sums_over_chunks_whatever_the_order_of_repeats(
        self, jobstore: JobStore, active: Job, epoch: int
    ) -> None:
        commits: list[list[Entry]] = [
            [flushed(0, 1, rows=100, failed=1, horizon=6_000)],
            [ChunkReleased("job-1", 0, horizon=150), flushed(0, 2, rows=50, horizon=5_100)],
            [ChunksOpened("job-1", (0, 1), at_ms=3_000), flushed(1, 1, rows=7, failed=7)],
            [ChunkSealed("job-1", 0, "sealed-0", succeeded=19_999, failed=1), flushed(1, 2, rows=3)],
        ]
        executed = 0
        for entries in commits:
            after = jobstore.commit(epoch, entries)["job-1"]
            assert after.executed > executed
            executed = after.executed
            before = everything(jobstore)
            assert jobstore.commit(epoch, entries)["job-1"] == after
            assert everything(jobstore) == before
        assert (after.succeeded, after.failed) == (19_999 + 3, 8)

    # -- close

    def test_after_closing_nothing_is_written(self, jobstore: JobStore) -> None:
        jobstore.create(a_job(), unfinished_max=PLENTY)
        jobstore.close()
        with pytest.raises(Unavailable):
            jobstore.create(a_job("job-2"), unfinished_max=PLENTY)
        jobstore.close()
