"""What a user's policy allows. Three are built in; any other name allows nothing."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

from haulier.core.accounts import User

BUILT_IN: Final[Mapping[str, tuple[str, ...]]] = {
    "admin": ("*",),
    "operator": ("s3:*Job*", "cos:*Job*", "haulier:*Job*", "iam:PassRole", "cam:PassRole"),
    "viewer": ("s3:DescribeJob", "s3:ListJobs", "s3:GetJobTagging", "cos:DescribeJob", "cos:ListJobs"),
}
"""Policy → globs over the actions it allows."""


def allowed(user: User, actions: Sequence[str]) -> bool:
    """Whether the user may do something that needs all of these actions. One action under several names is all of them too:
    what is not allowed under one name is not allowed (decisions §2)."""
    patterns = BUILT_IN.get(user.policy, ())
    return bool(actions) and all(any(fnmatchcase(action, pattern) for pattern in patterns) for action in actions)
