"""What a policy is asked about a call: all names of its action and resource, and what the condition keys are worth for it."""

from collections.abc import Mapping

import msgspec

from haulier.core import arns
from haulier.core.accounts import Account, Caller
from haulier.core.calls import Call, Target
from haulier.core.job import Job, OperationSpec
from haulier.core.lifecycle import JobStatus
from haulier.core.policy.conditions import Value
from haulier.core.policy.document import EVERYTHING, Question
from haulier.core.policy.words import operation_name

BATCH_SERVICE = "batchoperations.s3.amazonaws.com"


class Requested(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks for that conditions can ask about; None where it says nothing of the kind."""

    priority: int | None = None
    operation: OperationSpec | None = None
    tags: Mapping[str, str] | None = None

    @classmethod
    def again(cls, job: Job) -> "Requested":
        """What the job's creation asked for: to let it run needs what creating it needs."""
        return cls(priority=job.priority, operation=job.operation, tags=job.tags)


NOTHING_REQUESTED = Requested()


def of_call(
    caller: Caller,
    call: Call,
    now_ms: int,
    *,
    job: Job | None = None,
    job_id: str = "",
    requested: Requested = NOTHING_REQUESTED,
) -> Question:
    """May the caller do this: to that job, to the job of that id of which nothing is known, or to none in particular?"""
    resources: tuple[str, ...] = (EVERYTHING,)
    if call.target is Target.JOB:
        region = caller.region if job is None else job.region
        resources = arns.job_names(caller.account, region, job_id if job is None else job.id) or resources
    context = {**_principal(caller.account, caller.user.name), **_request(caller, now_ms), **_requested(requested)}
    return Question(names=call.names, resources=resources, context=context | ({} if job is None else _existing(job)))


def of_passing(caller: Caller, role: str, now_ms: int) -> Question:
    """May the caller let a job act as the role of its account?"""
    question = _of_passing(caller.account, caller.user.name, role)
    return msgspec.structs.replace(question, context={**question.context, **_request(caller, now_ms)})


def of_having_passed(account: Account, user: str, role: str) -> Question:
    """May the user still do what `of_passing` asked when its request came?"""
    return msgspec.structs.replace(_of_passing(account, user, role), answered=True)


def _of_passing(account: Account, user: str, role: str) -> Question:
    context: dict[str, Value] = {**_principal(account, user), "iam:passedtoservice": BATCH_SERVICE}
    return Question(names=Call.PASS_ROLE.names, resources=arns.role_names(account, role) or (EVERYTHING,), context=context)


def _principal(account: Account, user: str) -> dict[str, Value]:
    found: dict[str, Value] = {"aws:username": user}
    if account.aws_account_id is not None:
        found["aws:principalaccount"] = account.aws_account_id
        found["aws:principalarn"] = arns.s3_user_arn(account, user)
    return found


def _request(caller: Caller, now_ms: int) -> dict[str, Value]:
    found: dict[str, Value] = {
        "aws:requestedregion": caller.region,
        "aws:securetransport": caller.secure,
        "aws:currenttime": now_ms,
        "aws:epochtime": now_ms,
        "haulier:dialect": caller.dialect,
    }
    if caller.peer:
        found["aws:sourceip"] = caller.peer
    return found


def _requested(requested: Requested) -> dict[str, Value]:
    found: dict[str, Value] = {}
    if requested.priority is not None:
        found["s3:requestjobpriority"] = requested.priority
    if requested.operation is not None:
        found["s3:requestjoboperation"] = operation_name(requested.operation)
    if requested.tags is not None:
        found["aws:tagkeys"] = tuple(requested.tags)
        found.update((f"aws:requesttag/{key}", value) for key, value in requested.tags.items())
    return found


def _existing(job: Job) -> dict[str, Value]:
    found: dict[str, Value] = {
        "s3:existingjobpriority": job.priority,
        "s3:existingjoboperation": operation_name(job.operation),
        **{f"aws:resourcetag/{key}": value for key, value in job.tags.items()},
    }
    if job.status == JobStatus.SUSPENDED:
        found["s3:jobsuspendedcause"] = "AWAITING_CONFIRMATION"
    return found
