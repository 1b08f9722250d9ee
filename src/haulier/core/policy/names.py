"""Which actions and resources a policy may name: those that there are, so that no statement is without effect unseen."""

import difflib
import re
from collections.abc import Collection, Iterable
from typing import Final

from haulier.core.calls import ACTIONS, Target, targets_of
from haulier.core.errors import PolicyError
from haulier.core.policy.document import EVERYTHING
from haulier.core.policy.patterns import ARN_PARTS, matches

_ACTION: Final = re.compile(r"[a-z0-9]{1,32}:[a-z*?]{1,128}")
_ROLE_NAME: Final = re.compile(r"[A-Za-z0-9_+=,.@*?-]+")
_JOB_ID: Final = re.compile(r"[A-Za-z0-9_*?-]+")
_DIGITS: Final = re.compile(r"[0-9*?]+")


def read_action(text: str, path: str) -> str:
    """The pattern, in lower case. Raises PolicyError for what names no action."""
    pattern = text.lower()
    if pattern == EVERYTHING:
        return pattern
    if not text.isascii() or not _ACTION.fullmatch(pattern):
        raise PolicyError(path, f'{text!r} is no action: "SERVICE:NAME", where * and ? may stand in the name, or "*"')
    if not any(matches(pattern, action.lower()) for action in ACTIONS):
        raise PolicyError(path, f"{text!r} names no action{nearest(text, ACTIONS)}")
    return pattern


def read_resource(text: str, path: str) -> Target:
    """What kind of resource the pattern names. Raises PolicyError for what no resource can be."""
    if text == EVERYTHING:
        return Target.EVERYTHING
    parts = text.split(":", ARN_PARTS - 1)
    match parts:
        case ["arn", partition, "s3", region, account, rest] if (
            region and matches(partition, "aws") and _DIGITS.fullmatch(account)
        ):
            target, name = Target.JOB, _after("job/", rest)
        case ["arn", partition, "iam", region, account, rest] if matches(partition, "aws") and _DIGITS.fullmatch(account):
            target, name = Target.ROLE, _after("role/", rest) if matches(region, "") else None
        case ["qcs", "", "cos", region, account, rest] if region and _owner(account, "uid/"):
            target, name = Target.JOB, _after("job/", rest)
        case ["qcs", "", "cam", region, account, rest] if _owner(account, "uin/"):
            target, name = Target.ROLE, _after("roleName/", rest) if matches(region, "") else None
        case _:
            target, name = Target.EVERYTHING, None
    if name is None or not (_JOB_ID if target is Target.JOB else _ROLE_NAME).fullmatch(name):
        raise PolicyError(path, f"{text!r} can be no resource: {_FORMS}")
    return target


_FORMS: Final = (
    "a job is arn:aws:s3:REGION:ACCOUNT:job/ID or qcs::cos:REGION:uid/APPID:job/ID, a role arn:aws:iam::ACCOUNT:role/NAME or "
    'qcs::cam::uin/UIN:roleName/NAME (a role has no path here), * and ? may stand in their parts; or "*"'
)


def _after(prefix: str, text: str) -> str | None:
    """What a resource's last part names: `job/x` is `x`, a star alone is every job."""
    if text == EVERYTHING:
        return text
    return text.removeprefix(prefix) if text.startswith(prefix) else None


def _owner(account: str, prefix: str) -> bool:
    return account == EVERYTHING or (account.startswith(prefix) and _DIGITS.fullmatch(account.removeprefix(prefix)) is not None)


def check_meets(pattern: str, kinds: Collection[Target], path: str) -> None:
    """Raises PolicyError where the action is never done to resources of these kinds: the statement would be without effect."""
    if Target.EVERYTHING in kinds:
        return
    wanted: set[Target] = set()
    for action in ACTIONS:
        if matches(pattern, action.lower()):
            wanted |= targets_of(action)
    if wanted.isdisjoint(kinds):
        names = {Target.EVERYTHING: '"*" alone', Target.JOB: "a job", Target.ROLE: "a role"}
        needed = " or ".join(names[target] for target in sorted(wanted))
        raise PolicyError(path, f"{pattern!r} is never done to any of the statement's resources; its resource is {needed}")


def nearest(text: str, known: Iterable[str]) -> str:
    """What may have been meant, as the end of a message; empty where nothing is near."""
    by_letters = {word.lower(): word for word in known}
    found = difflib.get_close_matches(text[:80].lower(), by_letters, 1)
    return f"; is {by_letters[found[0]]!r} meant?" if found else ""
