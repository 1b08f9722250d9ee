"""Whether a caller may do something: its key's limits, its user's policy, and whom a role names (decisions §1, §2)."""

from haulier.core.accounts import Account, Caller, Role
from haulier.core.calls import Call
from haulier.core.errors import AccessRefused, JobFailure
from haulier.core.job import Job
from haulier.core.policy.builtin import Policies
from haulier.core.policy.questions import NOTHING_REQUESTED, Requested, of_call, of_having_passed, of_passing


class Rights:
    """Raises AccessRefused for what a caller may not do. Asks the policies as they are at that moment."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies

    def admit(self, caller: Caller, call: Call) -> None:
        """Refuses what is allowed for no job and whatever is asked of it: known before a request is read in full."""
        _check_key(caller, call)
        if not self._policies.find(caller.user.policy).may_allow(call.names):
            raise _refusal(caller, call, why="its policy allows it in no case")

    def check(
        self,
        caller: Caller,
        call: Call,
        now_ms: int,
        *,
        job: Job | None = None,
        job_id: str = "",
        requested: Requested = NOTHING_REQUESTED,
    ) -> None:
        """The call: to that job, to the job of that id, of which nothing is known, or to none."""
        _check_key(caller, call)
        question = of_call(caller, call, now_ms, job=job, job_id=job_id, requested=requested)
        decision = self._policies.decide(caller.user.policy, question)
        if not decision.allowed:
            named = job_id if job is None else job.id
            raise _refusal(caller, call, f" on job {named}" if named else "", decision.reason)

    def check_run(self, caller: Caller, job: Job, now_ms: int) -> Role:
        """What letting a job run needs, be it by creating, confirming or resuming it: the right to create such a job, with its
        tags, and to pass its role. Returns the role."""
        requested = Requested.again(job)
        self.check(caller, Call.CREATE, now_ms, requested=requested)
        if job.tags:
            self.check(caller, Call.PUT_TAGS, now_ms, job=job, requested=requested)
        _check_key(caller, Call.PASS_ROLE)
        decision = self._policies.decide(caller.user.policy, of_passing(caller, job.role, now_ms))
        role = caller.account.role(job.role)
        # One refusal for a role that the policy forbids, one that is not this user's to pass, and one that does not exist.
        if not decision.allowed or role is None or caller.user.name not in role.users:
            raise _refusal(caller, Call.PASS_ROLE, f" on role {job.role!r}")
        return role

    def running_role(self, account: Account | None, job: Job) -> Role:
        """The role that a job of the account is handed work under, asked each time. Raises JobFailure `RoleNotAllowed` when it is
        gone, or when the job's creator could not pass it now."""
        role = account.role(job.role) if account is not None else None
        if account is None or role is None:
            raise _not_allowed(f"role {job.role!r} of account {job.account!r} is no longer defined")
        creator = account.user(job.created_by)
        if job.created_by not in role.users or creator is None:
            raise _not_allowed(f"user {job.created_by!r} may no longer pass role {job.role!r}")
        if creator.disabled:
            raise _not_allowed(f"user {job.created_by!r}, who created the job, is disabled")
        decision = self._policies.decide(creator.policy, of_having_passed(account, creator.name, role.name))
        if not decision.allowed:
            raise _not_allowed(f"user {job.created_by!r} may no longer pass role {job.role!r}: {decision.reason}")
        return role


def _not_allowed(reason: str) -> JobFailure:
    return JobFailure("RoleNotAllowed", reason)


def _check_key(caller: Caller, call: Call) -> None:
    if caller.key is not None and not caller.key.covers(call.names):
        raise AccessRefused(f"The key {caller.key.id!r} is not good for {_name(caller, call)}.")


def _refusal(caller: Caller, call: Call, where: str = "", why: str = "") -> AccessRefused:
    return AccessRefused(f"{caller.user.name!r} is not allowed {_name(caller, call)}{where}{why and ': '}{why}.")


def _name(caller: Caller, call: Call) -> str:
    """The action as the caller's wire calls it."""
    clouds = ("cos:", "cam:") if caller.dialect == "cos" else ("s3:", "iam:")
    return next((name for name in call.names if name.startswith(clouds)), call.names[0])
