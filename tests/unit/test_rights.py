"""What the service asks a policy: about which job, what of the request, and when."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from haulier.core.accounts import Caller
from haulier.core.errors import AccessRefused, JobFailure, JobNotFound
from haulier.core.job import Dialect, Job
from haulier.core.policy import Policies, parse
from haulier.core.policy.rights import Rights
from haulier.service import Service
from unit.test_policy import document, statement
from unit.test_service import ACME, Kit, a_request, caller


class Governed(Kit):
    """The kit, where the callers' user is governed by a document."""

    def under(self, *statements: dict[str, Any]) -> Service:
        """A service under the policy; the other one, which lets all, stays."""
        self.policies = Policies({"own.json": parse(document(*statements), "own.json")})
        self.rights = Rights(self.policies)
        return self.new_service(rights=self.rights)


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Governed]:
    kit = Governed(tmp_path)
    yield kit
    kit.jobstore.close()


USER = msgspec.structs.replace(ACME.users[0], policy="own.json")
OWNED = msgspec.structs.replace(ACME, users=(USER,))


def governed(dialect: Dialect = "s3control", **changes: Any) -> Caller:
    return msgspec.structs.replace(Caller(OWNED, USER, dialect, "us-east-1"), **changes)


def arn(job: Job) -> str:
    return f"arn:aws:s3:us-east-1:123456789012:job/{job.id}"


# -- which job


@pytest.mark.parametrize("spelled", ["arn:aws:s3:us-east-1:123456789012:job/{}", "qcs::cos:us-east-1:uid/1250000000:job/{}"])
@pytest.mark.parametrize("dialect", ["s3control", "cos"])
def test_a_policy_may_name_one_job_by_either_clouds_name_on_either_wire(kit: Governed, spelled: str, dialect: Dialect) -> None:
    mine, other = kit.a_job(), kit.a_job(token="2")
    service = kit.under(statement(Action="cos:UpdateJobPriority", Resource=spelled.format(mine.id)))
    assert service.set_priority(governed(dialect), mine.id, 7).priority == 7
    with pytest.raises(AccessRefused, match=rf"UpdateJobPriority on job {other.id}: no statement of the policy allows it"):
        service.set_priority(governed(dialect), other.id, 7)
    assert kit.jobstore.get("acme", other.id) == other


def test_the_region_of_a_jobs_name_is_the_one_it_was_created_in(kit: Governed) -> None:
    job = kit.a_job(region="eu-west-1")
    service = kit.under(statement(Action="s3:DescribeJob", Resource="arn:aws:s3:eu-west-1:*:job/*"))
    assert service.describe(governed(), job.id) == job


def test_who_may_look_at_some_jobs_alone_is_not_told_which_others_there_are(kit: Governed) -> None:
    mine, other = kit.a_job(tags={"team": "a"}), kit.a_job(token="2", tags={"team": "b"})
    service = kit.under(
        statement(Action="s3:DescribeJob", Condition={"StringEquals": {"aws:ResourceTag/team": "a"}}),
    )
    assert service.describe(governed(), mine.id) == mine
    unknown = "00000000-0000-4000-8000-000000000000"
    messages = []
    for job_id in (other.id, unknown):
        with pytest.raises(AccessRefused) as refused:
            service.describe(governed(), job_id)
        messages.append(str(refused.value).replace(job_id, "ID"))
    assert messages[0] == messages[1]
    with pytest.raises(JobNotFound):
        kit.service.describe(caller(), unknown)


def test_a_right_is_asked_again_for_the_job_as_it_is_when_it_is_changed(kit: Governed, monkeypatch: pytest.MonkeyPatch) -> None:
    before = kit.a_job(tags={"team": "a"})
    kit.service.put_tags(caller(), before.id, {"team": "b"})
    service = kit.under(statement(Condition={"StringEquals": {"aws:ResourceTag/team": "a"}}))
    monkeypatch.setattr(kit.jobstore, "get", lambda *_: before)  # looked at a moment too early
    calls: list[Callable[[], object]] = [
        lambda: service.set_priority(governed(), before.id, 9),
        lambda: service.set_status(governed(), before.id, "Cancelled", None),
        lambda: service.put_tags(governed(), before.id, {"team": "a"}),
        lambda: service.delete_tags(governed(), before.id),
        lambda: service.delete(governed(), before.id),
    ]
    for call in calls:
        with pytest.raises(AccessRefused):
            call()
    after = kit.jobstore.find([before.id])[before.id]
    assert after == msgspec.structs.replace(before, tags={"team": "b"})


# -- what is asked for


def test_a_priority_may_be_limited_when_creating_and_when_changing(kit: Governed) -> None:
    service = kit.under(
        statement(),
        statement(
            "Deny",
            Action=["s3:CreateJob", "s3:UpdateJobPriority"],
            Condition={"NumericGreaterThan": {"s3:RequestJobPriority": 10}},
        ),
    )
    job = service.create(governed(), a_request(priority=10))
    with pytest.raises(AccessRefused, match=r"s3:CreateJob: Statement\[1\] of the policy denies it"):
        service.create(governed(), a_request(priority=11, token="2"))
    with pytest.raises(AccessRefused):
        service.set_priority(governed(), job.id, 11)
    assert [job.priority for job in kit.jobstore.unfinished()] == [10]


def test_jobs_of_high_priority_may_be_out_of_reach(kit: Governed) -> None:
    low, high = kit.a_job(priority=1), kit.a_job(priority=50, token="2")
    service = kit.under(
        statement(Action="s3:UpdateJobStatus", Condition={"NumericLessThan": {"s3:ExistingJobPriority": "50"}}),
    )
    assert service.set_status(governed(), low.id, "Cancelled", None)
    with pytest.raises(AccessRefused):
        service.set_status(governed(), high.id, "Cancelled", None)


@pytest.mark.parametrize("dialect", ["s3control", "cos"])
def test_an_operation_has_one_name_for_policies_on_every_wire(kit: Governed, dialect: Dialect) -> None:
    service = kit.under(
        statement(),
        statement("Deny", Action="s3:CreateJob", Condition={"StringEquals": {"s3:RequestJobOperation": "S3DeleteObject"}}),
        statement("Deny", Action="s3:*", Condition={"StringLike": {"s3:ExistingJobOperation": "*Delete*"}}),
    )
    with pytest.raises(AccessRefused):
        service.create(governed(dialect), a_request(dialect=dialect))
    job = kit.a_job(dialect=dialect)
    with pytest.raises(AccessRefused):
        service.describe(governed(dialect), job.id)
    assert kit.jobstore.unfinished() == [job]


def test_tags_may_be_demanded_and_limited(kit: Governed) -> None:
    service = kit.under(
        statement(Action=["iam:PassRole", "s3:GetJobTagging"]),
        statement(
            Action=["s3:CreateJob", "s3:PutJobTagging"],
            Condition={
                "StringEquals": {"aws:RequestTag/team": "a"},
                "ForAllValues:StringEquals": {"aws:TagKeys": ["team", "cost"]},
            },
        ),
    )
    for tags in ({}, {"team": "b"}, {"Team": "a"}, {"team": "a", "other": "x"}):
        with pytest.raises(AccessRefused):
            service.create(governed(), a_request(tags=tags))
    assert kit.jobstore.unfinished() == []
    job = service.create(governed(), a_request(tags={"team": "a", "cost": "1"}))
    with pytest.raises(AccessRefused):
        service.put_tags(governed(), job.id, {"cost": "2"})
    service.put_tags(governed(), job.id, {"team": "a"})
    assert service.get_tags(governed(), job.id) == {"team": "a"}


def test_creating_with_tags_needs_the_right_to_tag_that_job(kit: Governed) -> None:
    plain = kit.under(statement(Action=["s3:CreateJob", "iam:PassRole"]))
    plain.create(governed(), a_request())
    with pytest.raises(AccessRefused, match="s3:PutJobTagging"):
        plain.create(governed(), a_request(token="2", tags={"team": "a"}))
    tagging = kit.under(
        statement(Action=["s3:CreateJob", "iam:PassRole"]),
        statement(Action="s3:PutJobTagging", Resource="arn:aws:s3:*:123456789012:job/*"),
    )
    assert tagging.create(governed(), a_request(token="2", tags={"team": "a"})).tags == {"team": "a"}


# -- confirming and resuming


CONFIRM = statement(Action="s3:UpdateJobStatus", Condition={"StringEquals": {"s3:JobSuspendedCause": "AWAITING_CONFIRMATION"}})
CREATE = statement(Action="s3:CreateJob", Condition={"NumericLessThan": {"s3:RequestJobPriority": 5}})
PASS = statement(Action="iam:PassRole", Resource="arn:aws:iam::123456789012:role/batch")


def test_confirming_needs_what_creating_that_job_would_need(kit: Governed) -> None:
    job, important = kit.a_job("Suspended", priority=4), kit.a_job("Suspended", priority=5, token="2")
    tagged = kit.a_job("Suspended", tags={"a": "b"}, token="3")
    for given in ([CONFIRM], [CONFIRM, CREATE], [CONFIRM, PASS]):
        with pytest.raises(AccessRefused, match=r"CreateJob|PassRole"):
            kit.under(*given).set_status(governed(), job.id, "Ready", None)
    service = kit.under(CONFIRM, CREATE, PASS)
    with pytest.raises(AccessRefused, match="s3:CreateJob"):
        service.set_status(governed(), important.id, "Ready", None)
    with pytest.raises(AccessRefused, match="s3:PutJobTagging"):
        service.set_status(governed(), tagged.id, "Ready", None)
    assert kit.jobstore.get("acme", job.id) == job
    assert service.set_status(governed(), job.id, "Ready", None).status == "Ready"
    assert service.set_status(governed(), important.id, "Cancelled", None).status == "Cancelled"


def test_a_cause_to_be_suspended_is_there_only_while_the_job_is(kit: Governed) -> None:
    active = kit.a_job("Active")
    with pytest.raises(AccessRefused):
        kit.under(CONFIRM).set_status(governed(), active.id, "Cancelled", None)


def test_resuming_needs_what_creating_needs_and_pausing_does_not(kit: Governed) -> None:
    job = kit.a_job("Active")
    status = statement(Action="s3:UpdateJobStatus")
    kit.under(status).set_status(governed(), job.id, "Paused", None)
    with pytest.raises(AccessRefused, match="s3:CreateJob"):
        kit.under(status).set_status(governed(), job.id, "Ready", None)
    with pytest.raises(AccessRefused, match="iam:PassRole on role 'batch'"):
        kit.under(status, CREATE).set_status(governed(), job.id, "Ready", None)
    assert kit.jobstore.get("acme", job.id).paused_by == "user"
    assert kit.under(status, CREATE, PASS).set_status(governed(), job.id, "Ready", None).status == "Ready"


# -- where it comes from


@pytest.mark.parametrize(
    ("condition", "good", "bad"),
    [
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"peer": "::ffff:10.1.2.3"}, {"peer": "192.0.2.7"}),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"peer": "10.0.0.1"}, {"peer": ""}),
        ({"Bool": {"aws:SecureTransport": "true"}}, {"secure": True}, {"secure": False}),
        ({"StringEquals": {"haulier:Dialect": ["cos", "native"]}}, {"dialect": "cos"}, {"dialect": "s3control"}),
        ({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}, {"region": "eu-west-1"}, {"region": "us-east-1"}),
        ({"StringEquals": {"aws:username": "admin"}}, {}, {"user": msgspec.structs.replace(USER, name="Admin")}),
        (
            {"StringEquals": {"aws:PrincipalAccount": "123456789012"}},
            {},
            {"account": msgspec.structs.replace(OWNED, aws_account_id="1")},
        ),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/a*"}}, {}, {"user": msgspec.structs.replace(USER, name="b")}),
    ],
)
def test_conditions_on_the_request_and_the_caller(
    kit: Governed, condition: dict[str, Any], good: dict[str, Any], bad: dict[str, Any]
) -> None:
    service = kit.under(statement(Action="s3:ListJobs", Condition=condition))
    assert service.list(governed(**good)).jobs == []
    with pytest.raises(AccessRefused):
        service.list(governed(**bad))


def test_a_policy_may_end_at_a_date(kit: Governed) -> None:
    service = kit.under(statement(Condition={"DateLessThan": {"aws:CurrentTime": "2023-11-14T22:13:21Z"}}))
    kit.clock.now = 1_700_000_000_999
    service.list(governed())
    kit.clock.now += 1
    with pytest.raises(AccessRefused):
        service.list(governed())


# -- roles


@pytest.mark.parametrize(
    "sent",
    [
        "arn:aws:iam::123456789012:role/batch",
        "arn:aws:iam::123456789012:role/allowed/batch",
        "arn:aws-cn:iam::123456789012:role/batch",
        "qcs::cam::uin/100000000001:roleName/batch",
    ],
)
def test_a_role_is_known_by_its_own_name_however_it_was_sent(kit: Governed, sent: str) -> None:
    create = statement(Action="s3:CreateJob")
    other = statement(Action="iam:PassRole", Resource=["arn:aws:iam::*:role/allowed*", "qcs::cam::*:roleName/other"])
    service = kit.under(create, other)
    with pytest.raises(AccessRefused):
        service.create(governed(), a_request(role_arn=sent))
    for denied in ("arn:aws:iam::123456789012:role/ba*", "qcs::cam::uin/100000000001:roleName/batch"):
        service = kit.under(statement(), statement("Deny", Action="cam:PassRole", Resource=denied))
        with pytest.raises(AccessRefused):
            service.create(governed(), a_request(role_arn=sent))
    assert kit.jobstore.unfinished() == []
    assert kit.under(create, PASS).create(governed(), a_request(role_arn=sent)).role == "batch"


def test_a_forbidden_a_foreign_and_an_absent_role_are_refused_in_the_same_words(kit: Governed) -> None:
    create = statement(Action="s3:CreateJob")
    texts = set()
    for given, name in (([create], "batch"), ([create, statement(Action="iam:PassRole")], "none"), ([create, PASS], "none")):
        with pytest.raises(AccessRefused) as refused:
            kit.under(*given).create(governed(), a_request(role_arn=f"arn:aws:iam::123456789012:role/{name}"))
        texts.add(str(refused.value).replace(name, "NAME"))
    assert len(texts) == 1


def test_a_role_may_be_passed_to_this_service_alone(kit: Governed) -> None:
    for service, may in (("batchoperations.s3.amazonaws.com", True), ("ec2.amazonaws.com", False)):
        given = statement(Action="iam:PassRole", Condition={"StringEquals": {"iam:PassedToService": service}})
        under = kit.under(statement(Action="s3:CreateJob"), given)
        if may:
            under.create(governed(), a_request(token=service))
        else:
            with pytest.raises(AccessRefused):
                under.create(governed(), a_request(token=service))


def test_work_is_handed_out_by_the_creators_right_now_but_for_what_the_request_decided(kit: Governed) -> None:
    job = kit.a_job()
    office = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}, "DateLessThan": {"aws:CurrentTime": "2020-01-01"}}
    for given in (
        [statement(Action="iam:PassRole", Condition=office)],
        [statement(), statement("Deny", Condition={"Bool": {"aws:SecureTransport": "false"}})],
        [statement(Action="iam:PassRole", Condition={"StringEquals": {"aws:username": "admin"}})],
    ):
        kit.under(*given)
        assert kit.rights.running_role(OWNED, job).name == "batch"
    for given in (
        [statement(Action="s3:*")],
        [statement(), statement("Deny", Action="iam:PassRole", Resource="arn:aws:iam::*:role/batch")],
        [statement(Action="iam:PassRole", Condition={**office, "StringEquals": {"aws:username": "other"}})],
    ):
        kit.under(*given)
        with pytest.raises(JobFailure, match=r"^RoleNotAllowed: user 'admin' may no longer pass role 'batch': ") as failed:
            kit.rights.running_role(OWNED, job)
        assert failed.value.code == "RoleNotAllowed"
