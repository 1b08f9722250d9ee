"""What can be asked of Haulier, with the names that policies know it by (cos-batch.md §1.7, decisions §2)."""

from enum import Enum, StrEnum
from typing import Final


class Target(StrEnum):
    """What a call acts on, and so which resource a policy can name for it."""

    EVERYTHING = "*"
    """No resource of its own: only `*` stands for it."""
    JOB = "job"
    ROLE = "role"


class Call(Enum):
    """The calls. The value holds the names of one action: as S3 calls it, as COS does, or as only Haulier does."""

    CREATE = ("s3:CreateJob", "cos:CreateJob")
    DESCRIBE = ("s3:DescribeJob", "cos:ListJobs")
    LIST = ("s3:ListJobs", "cos:ListJobs")
    SET_PRIORITY = ("s3:UpdateJobPriority", "cos:UpdateJobPriority")
    SET_LIMITS = ("haulier:UpdateJobLimits",)
    SET_STATUS = ("s3:UpdateJobStatus", "cos:UpdateJobStatus")
    GET_TAGS = ("s3:GetJobTagging",)
    PUT_TAGS = ("s3:PutJobTagging",)
    DELETE_TAGS = ("s3:DeleteJobTagging",)
    DELETE = ("cos:DeleteJob", "haulier:DeleteJob")
    PASS_ROLE = ("iam:PassRole", "cam:PassRole")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its action."""
        names: tuple[str, ...] = self.value
        return names

    @property
    def target(self) -> Target:
        """What it acts on."""
        return _TARGETS.get(self, Target.JOB)


_TARGETS: Final = {Call.CREATE: Target.EVERYTHING, Call.LIST: Target.EVERYTHING, Call.PASS_ROLE: Target.ROLE}

ACTIONS: Final = frozenset(name for call in Call for name in call.names)
"""Every name of every action."""


def targets_of(action: str) -> frozenset[Target]:
    """What the calls of that name act on: `cos:ListJobs` is asked for a list and for one job."""
    return frozenset(call.target for call in Call if action in call.names)
