"""The rules that hold whatever wire a call comes by, on the real job store."""

import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from haulier.core.accounts import Account, Caller, Key, Quotas, Role, User
from haulier.core.calls import Call
from haulier.core.chunk import Attempt, Chunk, Segment
from haulier.core.delivery import Place
from haulier.core.errors import (
    AccessRefused,
    IllegalTransition,
    InvalidField,
    InvalidListToken,
    InvalidRequest,
    JobNotFound,
    NothingToRetry,
    OutcomesGone,
    TokenReused,
    TooManyJobs,
    TooManyRequests,
    TooManyTags,
)
from haulier.core.failures import FailureClass, FailureKind
from haulier.core.job import Delivery, Dialect, Job, Manifest, ObjectName, OperationSpec, Placement, Report, Retry
from haulier.core.lifecycle import JobEvent, JobStatus
from haulier.core.placement import Resolver, Store
from haulier.core.policy import Policies
from haulier.core.policy.rights import Rights
from haulier.core.ports import ChunkReleased, ChunkSealed, ChunksOpened, ChunksStaged, Entry, JobMoved, SegmentAdded
from haulier.core.retry import RetryJob
from haulier.jobstore import SqlJobStore
from haulier.service import CreateJob, Service

NOW = 1_700_000_000_000
E = JobEvent

PATHS: dict[str, tuple[JobEvent, ...]] = {
    "New": (),
    "Preparing": (E.PICKED_UP,),
    "Suspended": (E.PICKED_UP, E.CONFIRMATION_DUE),
    "Ready": (E.PICKED_UP, E.PREPARED),
    "Active": (E.PICKED_UP, E.PREPARED, E.STARTED),
    "Pausing": (E.PICKED_UP, E.PREPARED, E.STARTED, E.HELD),
    "Paused": (E.PICKED_UP, E.PREPARED, E.STARTED, E.HELD, E.DRAINED),
    "Completing": (E.PICKED_UP, E.PREPARED, E.STARTED, E.TASKS_DONE),
    "Complete": (E.PICKED_UP, E.PREPARED, E.STARTED, E.TASKS_DONE, E.REPORTED),
    "Cancelling": (E.PICKED_UP, E.CANCEL_REQUESTED),
    "Cancelled": (E.CANCEL_SETTLED,),
    "Failing": (E.FAILED,),
    "Failed": (E.FAILED, E.REPORTED),
}


class Clock:
    now = NOW

    def now_ms(self) -> int:
        return self.now

    def monotonic(self) -> float:
        return self.now / 1000


def user(name: str, rights: str = "admin", account: str = "acme") -> User:
    return User(account=account, name=name, policy=rights, keys=(Key(id=name, secret_key="x"),))


ACME = Account(
    name="acme",
    aws_account_id="123456789012",
    cos_uin="100000000001",
    cos_appid="1250000000",
    users=(user("admin"), user("other"), user("viewer", "viewer"), user("nobody", "none")),
    roles=(Role(account="acme", name="batch", stores=("main",), buckets=("data*", "lists"), users=("admin", "viewer")),),
)
FOREIGN = Account(name="foreign", aws_account_id="210987654321", users=(user("stranger", account="foreign"),))


def caller(dialect: Dialect = "s3control", name: str = "admin") -> Caller:
    return Caller(ACME, next(user for user in ACME.users if user.name == name), dialect, "us-east-1")


STRANGER = Caller(FOREIGN, FOREIGN.users[0], "s3control", "us-east-1")


def a_request(**changes: Any) -> CreateJob:
    values: dict[str, Any] = {
        "dialect": "s3control",
        "region": "us-east-1",
        "token": "token",
        "digest": "d" * 64,
        "description": None,
        "priority": 1,
        "confirmation_required": True,
        "role_arn": "arn:aws:iam::123456789012:role/batch",
        "manifest": Manifest(location=ObjectName("lists", "m.csv"), etag="e", format="f", fields=("Bucket", "Key")),
        "operation": OperationSpec(name="delete", parameters={}),
        "report": Report(enabled=False),
        "buckets": {"lists": None},
        "as_sent": {},
    }
    return CreateJob(**(values | changes))


class Kit:
    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.jobstore = SqlJobStore.open(folder / "haulier.db", self.clock)
        self.epoch = self.jobstore.begin_epoch()
        self.service = self.new_service()

    def new_service(self, **arguments: Any) -> Service:
        resolver = Resolver([Store(name="main", endpoint="http://127.0.0.1:1", default=True)])
        values: dict[str, Any] = {"rights": Rights(Policies()), "secret": b"secret"}
        return Service(self.jobstore, resolver, self.clock, **(values | arguments))

    def a_job(self, status: str = "New", dialect: Dialect = "s3control", paused_by: str = "priority", **changes: Any) -> Job:
        job = self.service.create(caller(dialect), a_request(dialect=dialect, **changes))
        for event in PATHS[status]:
            job = self.jobstore.commit(self.epoch, [JobMoved(job.id, event, paused_by=paused_by, total=0)])[job.id]
        assert job.status == status
        return job


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path)
    yield kit
    kit.jobstore.close()


# -- create


def test_a_job_is_stored_as_asked_and_its_buckets_are_placed(kit: Kit) -> None:
    asked = a_request(buckets={"lists": None, "data-1": "us-east-1", "forbidden": None}, tags={"team": "a"}, description="why")
    job = kit.service.create(caller(), asked)
    stored = kit.jobstore.get("acme", job.id)
    assert stored == job
    assert (job.account, job.created_by, job.role, job.status, job.created_ms) == ("acme", "admin", "batch", "New", NOW)
    assert (job.description, job.tags, job.priority, job.confirmation_required) == ("why", {"team": "a"}, 1, True)
    # What the role may not touch is no error now: the job will fail, as with AWS.
    assert job.placements == (
        Placement("lists", "main"),
        Placement("data-1", "main", "us-east-1"),
        Placement("forbidden", "main"),
    )


def test_the_same_request_twice_is_one_job_on_s3_and_an_error_on_cos(kit: Kit) -> None:
    first = kit.service.create(caller(), a_request())
    assert kit.service.create(caller(), a_request()).id == first.id
    with pytest.raises(TokenReused, match=first.id):
        kit.service.create(caller(), a_request(digest="e" * 64))
    with pytest.raises(TokenReused, match=first.id):
        kit.service.create(caller("cos"), a_request(dialect="cos"))
    other = kit.service.create(caller("cos"), a_request(dialect="cos", token="cos-token"))
    with pytest.raises(TokenReused, match=other.id):
        kit.service.create(caller("cos"), a_request(dialect="cos", token="cos-token"))
    assert len(kit.jobstore.unfinished()) == 2


def test_a_repeated_request_that_loses_a_race_gets_the_winners_job(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    first = kit.service.create(caller(), a_request())
    by_token = kit.jobstore.by_token
    answers = iter([None, first])  # not there when first looked for, there after the insert was refused
    monkeypatch.setattr(kit.jobstore, "by_token", lambda account, token: next(answers, by_token(account, token)))
    assert kit.service.create(caller(), a_request()).id == first.id


def test_a_used_up_quota_refuses_new_jobs_but_not_repeated_requests(kit: Kit) -> None:
    service = kit.new_service(quotas=Quotas(unfinished_jobs=1))
    first = service.create(caller(), a_request())
    with pytest.raises(TooManyJobs):
        service.create(caller(), a_request(token="second"))
    assert service.create(caller(), a_request()).id == first.id


def test_an_accounts_own_quotas_go_before_those_of_all(kit: Kit) -> None:
    own = msgspec.structs.replace(caller(), account=msgspec.structs.replace(ACME, quotas=Quotas(unfinished_jobs=2)))
    service = kit.new_service(quotas=Quotas(unfinished_jobs=1, requests_per_second=1))
    service.create(own, a_request())
    with pytest.raises(TooManyJobs):
        service.create(caller(), a_request(token="2"))
    service.create(own, a_request(token="2"))
    with pytest.raises(TooManyJobs):
        service.create(own, a_request(token="3"))
    service.admit(own, Call.LIST)
    service.admit(own, Call.LIST)
    with pytest.raises(TooManyRequests, match="may send 1 requests a second"):
        service.admit(own, Call.LIST)
    service.admit(STRANGER, Call.LIST)


# -- retry


def ended_job(kit: Kit, *, failed: int = 2, left: int = 0, **changes: Any) -> Job:
    """A job of ten tasks that was cancelled; none of those left had an outcome."""
    job = kit.service.create(caller(), a_request(tags={"team": "a"}, report=Report(enabled=True, bucket="lists"), **changes))
    moves: list[Entry] = [JobMoved(job.id, event, total=10) for event in (E.PICKED_UP, E.PREPARED, E.STARTED)]
    chunk = Chunk(job=job.id, index=0, first_row=0, rows=10, name="acme/chunk")
    segment = Segment(job=job.id, chunk=0, attempt=Attempt(1, 1), sequence=1, name="s", rows=10 - left, failed=failed)
    classes = (FailureClass(code="NoSuchKey", status=404, count=failed),) if failed else ()
    moves.insert(1, ChunksStaged(job.id, (chunk,), first=True))
    moves += [SegmentAdded(segment, 10, classes), JobMoved(job.id, E.CANCEL_REQUESTED), JobMoved(job.id, E.REPORTED)]
    return kit.jobstore.commit(kit.epoch, moves)[job.id]


def a_retry(**changes: Any) -> RetryJob:
    return RetryJob(**({"token": "retry", "digest": "r" * 64} | changes))


def test_a_retry_is_the_same_work_with_a_life_of_its_own(kit: Kit) -> None:
    source = ended_job(kit)
    kit.clock.now += 5_000
    job = kit.service.retry(caller("native"), source.id, a_retry())
    same = ("dialect", "role", "role_arn", "region", "priority", "confirmation_required", "manifest", "operation", "report",
            "as_sent", "placements", "tags", "description")  # fmt: skip
    assert {name: getattr(job, name) for name in same} == {name: getattr(source, name) for name in same}
    assert (job.status, job.created_ms, job.total, job.retry) == ("New", kit.clock.now, None, Retry(of=source.id))
    assert kit.jobstore.get("acme", source.id).retried_by == (job.id,)


def test_a_retry_can_be_of_some_classes_with_another_priority_and_a_confirmation(kit: Kit) -> None:
    asked = a_retry(codes=("NoSuchKey",), kinds=(FailureKind.DENIED,), priority=9, confirm=False, description="again")
    job = kit.service.retry(caller("native"), ended_job(kit).id, asked)
    assert (job.priority, job.confirmation_required, job.description) == (9, False, "again")
    assert job.retry is not None
    assert (job.retry.codes, job.retry.kinds) == (("NoSuchKey",), ("denied",))


def test_the_same_retry_twice_is_one_job_even_when_the_outcomes_are_gone_meanwhile(kit: Kit) -> None:
    source = ended_job(kit)
    first = kit.service.retry(caller("native"), source.id, a_retry())
    kit.clock.now += 30 * 86_400_000
    assert kit.service.retry(caller("native"), source.id, a_retry()).id == first.id
    with pytest.raises(TokenReused):
        kit.service.retry(caller("native"), source.id, a_retry(digest="x" * 64))


@pytest.mark.parametrize("status", [name for name in PATHS if name not in ("Complete", "Cancelled", "Failed")])
def test_a_job_that_has_not_ended_is_not_retried(kit: Kit, status: str) -> None:
    job = kit.a_job(status)
    with pytest.raises(IllegalTransition, match=f"is {status}; a retry"):
        kit.service.retry(caller("native"), job.id, a_retry())


@pytest.mark.parametrize(
    ("job", "asked", "problem"),
    [
        ({"failed": 0}, {}, "No task of job .* failed and none was left undone"),
        ({}, {"codes": ("AccessDenied",)}, "in the way that was chosen"),
        ({}, {"codes": ("NotAttempted",)}, "in the way that was chosen"),
        ({"failed": 0, "left": 3}, {"kinds": (FailureKind.NOT_FOUND,)}, "in the way that was chosen"),
    ],
)
def test_a_retry_without_a_task_is_refused(kit: Kit, job: dict[str, int], asked: dict[str, Any], problem: str) -> None:
    source = ended_job(kit, **job)
    with pytest.raises(NothingToRetry, match=problem):
        kit.service.retry(caller("native"), source.id, a_retry(**asked))
    assert kit.jobstore.unfinished() == []


@pytest.mark.parametrize("asked", [{}, {"codes": ("NotAttempted",)}, {"kinds": (FailureKind.NOT_ATTEMPTED,)}])
def test_what_was_left_undone_can_be_retried(kit: Kit, asked: dict[str, Any]) -> None:
    assert kit.service.retry(caller("native"), ended_job(kit, failed=0, left=3).id, a_retry(**asked)).status == "New"


def test_a_job_whose_manifest_was_never_read_has_nothing_to_retry(kit: Kit) -> None:
    job = kit.service.create(caller(), a_request())
    kit.service.set_status(caller(), job.id, "Cancelled", None)
    kit.jobstore.commit(kit.epoch, [JobMoved(job.id, E.REPORTED)])
    with pytest.raises(NothingToRetry, match="never read in full"):
        kit.service.retry(caller("native"), job.id, a_retry())


def test_the_class_of_all_others_cannot_be_chosen(kit: Kit) -> None:
    with pytest.raises(InvalidField, match="codes: Other stands for"):
        kit.service.retry(caller("native"), ended_job(kit).id, a_retry(codes=("Other",)))


def test_after_the_retention_of_the_spool_a_retry_is_refused_and_told_what_to_do(kit: Kit) -> None:
    source = ended_job(kit)
    service = kit.new_service(spool_retention_days=2)
    kit.clock.now += 2 * 86_400_000
    with pytest.raises(OutcomesGone, match=r"more than 2 days ago.*its report names the failed objects"):
        service.retry(caller("native"), source.id, a_retry())


@pytest.mark.parametrize("name", ["other", "viewer", "nobody"])
def test_a_retry_needs_what_creating_the_job_needs(kit: Kit, name: str) -> None:
    source = ended_job(kit)
    with pytest.raises(AccessRefused):
        kit.service.retry(caller("native", name), source.id, a_retry())
    with pytest.raises(JobNotFound):
        kit.service.retry(STRANGER, source.id, a_retry())
    assert kit.jobstore.unfinished() == []


def test_failures_of_a_job_that_has_ended_tell_also_what_was_left_undone(kit: Kit) -> None:
    source = ended_job(kit, failed=2, left=3)
    assert [(found.code, found.count) for found in kit.service.failures(caller(), source.id)] == [
        ("NotAttempted", 3),
        ("NoSuchKey", 2),
    ]
    with pytest.raises(JobNotFound):
        kit.service.failures(STRANGER, source.id)


# -- reports


def test_a_report_is_asked_for_once_more_by_whoever_may_let_the_job_run(kit: Kit) -> None:
    source = ended_job(kit)
    job = kit.service.deliver_report(caller("native"), source.id, None)
    assert job.delivery == Delivery(number=1, bucket="lists", prefix="", by="admin", asked_ms=NOW)
    assert kit.service.deliver_report(caller("native"), source.id, None) == job, "it waits already"
    with pytest.raises(IllegalTransition, match="another delivery while one to 'lists' waits"):
        kit.service.deliver_report(caller("native"), source.id, Place("data-1", ""))
    for name in ("other", "viewer", "nobody"):
        with pytest.raises(AccessRefused):
            kit.service.deliver_report(caller("native", name), source.id, None)
    with pytest.raises(JobNotFound):
        kit.service.deliver_report(STRANGER, source.id, None)


def test_a_report_that_is_not_there_to_deliver_is_refused(kit: Kit) -> None:
    kit.service.create(caller(), a_request(token="active"))
    with pytest.raises(IllegalTransition, match="a delivery of its report"):
        kit.service.deliver_report(caller("native"), kit.jobstore.unfinished()[0].id, None)
    with pytest.raises(InvalidRequest, match="without a report"):
        kit.service.deliver_report(caller("native"), kit.a_job("Cancelled", token="none").id, None)
    empty = kit.a_job("Cancelled", token="empty", report=Report(enabled=True, bucket="lists"))
    with pytest.raises(InvalidRequest, match="No task"):
        kit.service.deliver_report(caller("native"), empty.id, None)
    source = ended_job(kit)
    kit.clock.now += 7 * 86_400_000
    with pytest.raises(OutcomesGone):
        kit.service.deliver_report(caller("native"), source.id, None)


# -- roles


@pytest.mark.parametrize("name", ["other", "viewer"])
def test_a_role_is_passed_only_by_its_users_with_the_right_to(kit: Kit, name: str) -> None:
    with pytest.raises(AccessRefused):
        kit.service.create(caller(name=name), a_request())
    assert kit.jobstore.unfinished() == []


def test_an_unknown_role_is_refused_like_a_forbidden_one(kit: Kit) -> None:
    with pytest.raises(AccessRefused, match="is not allowed iam:PassRole on role 'none'"):
        kit.service.create(caller(), a_request(role_arn="arn:aws:iam::123456789012:role/none"))


def test_another_accounts_role_is_refused(kit: Kit) -> None:
    with pytest.raises(AccessRefused, match=r"^RoleArn: .*does not belong to the calling account"):
        kit.service.create(caller(), a_request(role_arn="arn:aws:iam::210987654321:role/batch"))
    assert kit.jobstore.unfinished() == []


def test_a_job_may_have_fifty_tags(kit: Kit) -> None:
    fifty = {f"key-{number}": "v" for number in range(50)}
    job = kit.service.create(caller(), a_request(tags=fifty))
    assert kit.service.get_tags(caller(), job.id) == fifty
    with pytest.raises(TooManyTags):
        kit.service.create(caller(), a_request(token="other", tags={**fifty, "one more": ""}))
    with pytest.raises(TooManyTags):
        kit.service.put_tags(caller(), job.id, {**fifty, "one more": ""})


# -- who may


@pytest.mark.parametrize("call", Call)
def test_who_may_do_a_thing_to_no_job_is_not_admitted(kit: Kit, call: Call) -> None:
    kit.service.admit(caller(), call)
    with pytest.raises(AccessRefused, match=call.names[0]):
        kit.service.admit(caller(name="nobody"), call)


def test_another_accounts_job_does_not_exist_for_any_call(kit: Kit) -> None:
    job = kit.a_job("Suspended")
    service = kit.service
    for call in (
        lambda: service.describe(STRANGER, job.id),
        lambda: service.set_priority(STRANGER, job.id, 5),
        lambda: service.set_status(STRANGER, job.id, "Cancelled", None),
        lambda: service.set_status(STRANGER, job.id, "Ready", None),
        lambda: service.get_tags(STRANGER, job.id),
        lambda: service.put_tags(STRANGER, job.id, {}),
        lambda: service.delete_tags(STRANGER, job.id),
        lambda: service.delete(STRANGER, job.id),
    ):
        with pytest.raises(JobNotFound):
            call()
    assert service.list(STRANGER).jobs == []
    assert kit.jobstore.get("acme", job.id) == job


def test_confirming_needs_the_right_to_pass_the_role(kit: Kit) -> None:
    job = kit.a_job("Suspended")
    with pytest.raises(AccessRefused, match="PassRole"):
        kit.service.set_status(caller(name="other"), job.id, "Ready", None)
    assert kit.service.set_status(caller(name="other"), job.id, "Cancelled", None).status == "Cancelled"


# -- status

READY_ON_S3 = {"Suspended": "Ready"}
CANCELLED_ON_S3 = {
    **dict.fromkeys(("New", "Preparing", "Ready", "Active", "Pausing", "Paused", "Cancelling"), "Cancelling"),
    "Suspended": "Cancelled",
}
READY_ON_COS = {"New": "New", "Preparing": "Preparing", "Suspended": "Ready", "Ready": "Ready"}
CANCELLED_ON_COS = {
    **dict.fromkeys(("New", "Preparing", "Suspended", "Ready", "Paused"), "Cancelled"),
    **dict.fromkeys(("Active", "Pausing", "Cancelling"), "Cancelling"),
}
PAUSED = {"Ready": "Paused", "Active": "Pausing", "Pausing": "Pausing", "Paused": "Paused"}


@pytest.mark.parametrize(
    ("dialect", "requested", "legal"),
    [
        ("s3control", "Ready", READY_ON_S3),
        ("s3control", "Cancelled", CANCELLED_ON_S3),
        ("s3control", "Paused", PAUSED),
        ("cos", "Ready", READY_ON_COS),
        ("cos", "Cancelled", CANCELLED_ON_COS),
        ("cos", "Paused", PAUSED),
    ],
)
def test_each_dialect_allows_its_own_status_changes(kit: Kit, dialect: Dialect, requested: str, legal: dict[str, str]) -> None:
    for status in JobStatus:
        job = kit.a_job(status, dialect, token=status)
        if status in legal:
            answer = kit.service.set_status(caller(dialect), job.id, requested, "because")
            assert (status, answer.status) == (status, legal[status])
            assert answer.job.status_reason == "because"
            assert kit.jobstore.get("acme", job.id) == answer.job
        else:
            with pytest.raises(IllegalTransition) as refused:
                kit.service.set_status(caller(dialect), job.id, requested, "because")
            assert (refused.value.job_id, refused.value.status) == (job.id, status)
            assert kit.jobstore.get("acme", job.id) == job


REPORTED = Report(enabled=True, bucket="lists")


@pytest.mark.parametrize(
    ("report", "opened", "rows_done", "horizon", "status"),
    [
        (Report(enabled=False), False, 0, 0, "Cancelled"),
        (Report(enabled=False), True, 0, 0, "Cancelled"),
        (REPORTED, True, 0, 0, "Cancelled"),
        (Report(enabled=False), True, 10, 0, "Cancelled"),
        (REPORTED, True, 10, 0, "Cancelling"),
        (Report(enabled=False), True, 0, 7, "Cancelling"),
        (Report(enabled=False), True, 0, None, "Cancelling"),
    ],
    ids=["never begun", "given back", "nothing to report", "no report asked for", "report due", "in doubt", "still out"],
)
def test_a_paused_job_is_cancelled_at_once_on_cos_where_nothing_is_left_to_settle(
    kit: Kit, report: Report, opened: bool, rows_done: int, horizon: int | None, status: str
) -> None:
    job = kit.service.create(caller("cos"), a_request(dialect="cos", report=report))
    chunks = tuple(Chunk(job=job.id, index=index, first_row=10 * index, rows=10, name=f"acme/{index}") for index in range(2))
    entries: list[Entry] = [JobMoved(job.id, E.PICKED_UP), ChunksStaged(job.id, chunks, first=True)]
    entries += [JobMoved(job.id, event, total=20) for event in (E.PREPARED, E.STARTED)]
    if opened:
        entries.append(ChunksOpened(job=job.id, chunks=(1,), at_ms=NOW))
    if rows_done:
        entries.append(ChunkSealed(job=job.id, chunk=0, name="sealed", succeeded=rows_done, failed=0))
    if opened and horizon is not None:
        entries.append(ChunkReleased(job=job.id, chunk=1, horizon=horizon))
    kit.jobstore.commit(kit.epoch, [*entries, JobMoved(job.id, E.HELD, paused_by="user"), JobMoved(job.id, E.DRAINED)])
    assert kit.service.set_status(caller("cos"), job.id, "Cancelled", None).status == status


def test_cos_remembers_a_confirmation_given_before_the_job_was_suspended(kit: Kit) -> None:
    job = kit.a_job("Preparing", "cos")
    assert kit.service.set_status(caller("cos"), job.id, "Ready", None).job.confirmation_given


@pytest.mark.parametrize("dialect", ["s3control", "cos"])
def test_only_a_user_resumes_a_users_pause_and_is_told_ready(kit: Kit, dialect: Dialect) -> None:
    job = kit.a_job("Active", dialect)
    paused = kit.service.set_status(caller(dialect), job.id, "Paused", None).job
    assert paused.paused_by == "user"
    answer = kit.service.set_status(caller(dialect), job.id, "Ready", "go on")
    assert (answer.status, answer.job.status, answer.job.paused_by) == ("Ready", "Active", None)


def test_a_pause_for_priority_is_not_resumed_but_can_be_taken_over(kit: Kit) -> None:
    job = kit.a_job("Paused")
    with pytest.raises(IllegalTransition):
        kit.service.set_status(caller(), job.id, "Ready", None)
    assert kit.service.set_status(caller(), job.id, "Paused", None).job.paused_by == "user"
    assert kit.service.set_status(caller(), job.id, "Ready", None).status == "Ready"


@pytest.mark.parametrize("requested", ["Paused", "Active", "", "ready"])
def test_other_words_are_no_status_to_ask_for(kit: Kit, requested: str) -> None:
    job = kit.a_job("Active")
    service = kit.new_service(extensions=False)
    with pytest.raises(InvalidField, match=r"^requestedJobStatus: .*is not Ready or Cancelled"):
        service.set_status(caller(), job.id, requested, None)


# -- priority


def test_a_running_jobs_priority_changes_and_a_finished_ones_does_not(kit: Kit) -> None:
    running, finished = kit.a_job("Active"), kit.a_job("Complete", token="2")
    assert kit.service.set_priority(caller(), running.id, 77).priority == 77
    assert kit.jobstore.get("acme", running.id).priority == 77
    with pytest.raises(IllegalTransition):
        kit.service.set_priority(caller(), finished.id, 77)


# -- tags and deletion


def test_tags_can_be_replaced_and_removed_on_a_finished_job(kit: Kit) -> None:
    job = kit.a_job("Complete", tags={"a": "1"})
    kit.service.put_tags(caller(), job.id, {"b": "2"})
    assert kit.service.get_tags(caller(), job.id) == {"b": "2"}
    kit.service.delete_tags(caller(), job.id)
    kit.service.delete_tags(caller(), job.id)
    assert kit.service.get_tags(caller(), job.id) == {}


def test_a_deleted_job_is_gone_at_once_and_ends_unseen(kit: Kit) -> None:
    for status in JobStatus:
        job = kit.a_job(status, "cos", token=status)
        kit.service.delete(caller("cos"), job.id)
        with pytest.raises(JobNotFound):
            kit.service.describe(caller("cos"), job.id)
        assert kit.service.list(caller("cos")).jobs == []
        after = kit.jobstore.find([job.id])[job.id]
        assert after.status == CANCELLED_ON_COS.get(status, status)
        with pytest.raises(TokenReused, match=job.id):
            kit.service.create(caller("cos"), a_request(dialect="cos", token=status))


@pytest.mark.parametrize("dialect", ["s3control", "native"])
def test_the_token_of_a_deleted_job_makes_no_job_and_hands_none_out(kit: Kit, dialect: Dialect) -> None:
    request = a_request(dialect=dialect)
    job = kit.service.create(caller(dialect), request)
    kit.service.delete(caller(dialect), job.id)
    with pytest.raises(TokenReused, match=f"for job {job.id}, which was deleted; a new job needs a new token"):
        kit.service.create(caller(dialect), request)
    assert kit.service.list(caller(dialect)).jobs == []


# -- list


def jobs_over_time(kit: Kit, dialect: Dialect, count: int) -> list[str]:
    made = []
    for number in range(count):
        kit.clock.now = NOW + number // 2  # two in the same millisecond: the id decides
        made.append(kit.service.create(caller(dialect), a_request(dialect=dialect, token=str(number))).id)
    return made


@pytest.mark.parametrize(("dialect", "newest_first"), [("cos", False), ("s3control", True)])
def test_pages_of_any_size_give_every_job_once_in_the_dialects_order(kit: Kit, dialect: Dialect, newest_first: bool) -> None:
    made = jobs_over_time(kit, dialect, 7)
    whole = [job.id for job in kit.service.list(caller(dialect)).jobs]
    assert sorted(whole) == sorted(made)
    times = [kit.jobstore.get("acme", job_id).created_ms for job_id in whole]
    assert times == sorted(times, reverse=newest_first)
    for limit in range(1, 9):
        token, found, pages = None, [], 0
        while pages == 0 or token is not None:
            page = kit.service.list(caller(dialect), limit=limit, token=token)
            token, pages = page.next_token, pages + 1
            assert token is None or len(token) <= 64
            found += [job.id for job in page.jobs]
        assert found == whole
        assert pages == -(-7 // limit)


def test_a_list_token_outlives_the_job_it_ends_at(kit: Kit) -> None:
    jobs_over_time(kit, "cos", 4)
    whole = [job.id for job in kit.service.list(caller("cos")).jobs]
    page = kit.service.list(caller("cos"), limit=2)
    kit.service.delete(caller("cos"), page.jobs[-1].id)
    assert [job.id for job in kit.service.list(caller("cos"), token=page.next_token).jobs] == whole[2:]


def test_cos_also_takes_the_last_job_id_as_token(kit: Kit) -> None:
    jobs_over_time(kit, "cos", 4)
    whole = [job.id for job in kit.service.list(caller("cos")).jobs]
    assert [job.id for job in kit.service.list(caller("cos"), token=whole[1]).jobs] == whole[2:]
    with pytest.raises(InvalidListToken):
        kit.service.list(caller(), token=whole[1])
    with pytest.raises(InvalidListToken):
        kit.service.list(caller("cos"), token="00000000-0000-4000-8000-000000000000")


def test_the_id_of_a_deleted_job_still_tells_where_its_page_ended_but_only_to_its_account(kit: Kit) -> None:
    jobs_over_time(kit, "cos", 4)
    whole = [job.id for job in kit.service.list(caller("cos")).jobs]
    kit.service.delete(caller("cos"), whole[1])
    assert [job.id for job in kit.service.list(caller("cos"), token=whole[1]).jobs] == whole[2:]
    with pytest.raises(InvalidListToken):
        kit.service.list(msgspec.structs.replace(STRANGER, dialect="cos"), token=whole[1])


def test_forged_tokens_and_those_of_another_list_are_refused(kit: Kit) -> None:
    jobs_over_time(kit, "s3control", 3)
    token = kit.service.list(caller(), limit=1).next_token
    assert token is not None
    changed = token[:5] + ("A" if token[5] != "A" else "B") + token[6:]
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    other_ends = [token[:-1] + last for last in alphabet if last != token[-1]]  # some decode to the same bytes
    for forged in (changed, *other_ends, token[:-4], token + "AAAA", "", "x", "é", token + "\n", "%%%%"):
        with pytest.raises(InvalidListToken):
            kit.service.list(caller(), token=forged)
    with pytest.raises(InvalidListToken):
        kit.service.list(caller("cos"), token=token)
    with pytest.raises(InvalidListToken):
        kit.service.list(STRANGER, token=token)
    with pytest.raises(InvalidListToken):
        kit.new_service(secret=b"another").list(caller(), token=token)
    assert kit.new_service().list(caller(), token=token).jobs  # another process with the same secret


def test_statuses_filter_and_finished_jobs_leave_after_ninety_days(kit: Kit) -> None:
    finished, waiting = kit.a_job("Complete"), kit.a_job("Suspended", token="2")
    assert [job.id for job in kit.service.list(caller(), statuses=frozenset({"Suspended"})).jobs] == [waiting.id]
    kit.clock.now += 90 * 86_400_000
    assert {job.id for job in kit.service.list(caller()).jobs} == {finished.id, waiting.id}
    kit.clock.now += 1
    assert [job.id for job in kit.service.list(caller()).jobs] == [waiting.id]


@pytest.mark.parametrize(("dialect", "listed"), [("s3control", ["late", "open"]), ("cos", ["open"])])
def test_s3_lists_by_the_end_of_a_job_and_cos_by_its_creation(kit: Kit, dialect: Dialect, listed: list[str]) -> None:
    jobs = {token: kit.a_job("Active", dialect, token=token) for token in ("early", "late", "open")}
    day = 86_400_000
    for token, now in (("early", NOW + 9 * day), ("late", NOW + 11 * day)):
        kit.clock.now = now
        kit.jobstore.commit(kit.epoch, [JobMoved(jobs[token].id, E.CANCEL_REQUESTED), JobMoved(jobs[token].id, E.REPORTED)])
    kit.clock.now = NOW + 100 * day
    assert sorted(job.token for job in kit.service.list(caller(dialect)).jobs) == listed


def test_a_longer_retention_makes_the_s3_list_longer_and_the_cos_list_not(kit: Kit) -> None:
    kit.a_job("Complete")
    service = kit.new_service(list_days=200)
    kit.clock.now += 150 * 86_400_000
    assert (len(service.list(caller()).jobs), len(service.list(caller("cos")).jobs)) == (1, 0)


def test_a_change_leaves_everything_else_of_a_job_as_it_was(kit: Kit) -> None:
    job = kit.a_job("Active")
    after = kit.service.set_priority(caller(), job.id, 5)
    assert msgspec.structs.replace(after, priority=job.priority) == job
