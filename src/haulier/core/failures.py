"""Why tasks fail, in classes: failed tasks of one error code and one HTTP status, counted, with a few samples and a hint. Pure.

A job's classes are sums over what was committed, as its counters are: `merged` adds what a flush tells to what is stored, in the
transaction that counts it. However many codes a store may make up, there is a limit to what is kept.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

from haulier.core.job import Retry
from haulier.core.task import Outcome, Task

CLASSES_MAX: Final = 50
"""Classes of one job; tasks that fail in a further way are counted under OTHER."""
SAMPLES_MAX: Final = 3
"""Tasks that are shown of each class: its first ones."""
CODE_CHARACTERS_MAX: Final = 100
MESSAGE_CHARACTERS_MAX: Final = 300

OTHER: Final = "Other"
NOT_ATTEMPTED: Final = "NotAttempted"
"""The code of tasks that have no outcome although their job has ended."""
UNKNOWN: Final = "OutcomeUnknown"
CHANGED: Final = "ChangedSinceAttempt"


class FailureKind(StrEnum):
    """What sort of thing went wrong, whatever the store's word for it."""

    NOT_FOUND = "not found"
    DENIED = "denied"
    PRECONDITION = "precondition"
    THROTTLED = "throttled"
    STORE_FAULT = "store fault"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    INVALID = "invalid"
    NOT_ATTEMPTED = "not attempted"
    OTHER = "other"


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A task that failed."""

    bucket: str
    key: bytes
    version: bytes | None = None
    at_ms: int
    """When its outcome was known."""
    message: str | None = None
    """What the store said, or Haulier; cut to MESSAGE_CHARACTERS_MAX."""
    request_id: str | None = None
    """The store's name of the request that it refused."""


ClassKey: TypeAlias = tuple[str, int]
"""Code and HTTP status."""


class FailureClass(msgspec.Struct, frozen=True, kw_only=True):
    """Failed tasks of one code and one HTTP status."""

    code: str
    status: int
    """0 = the store was not asked, or did not answer."""
    count: int
    first_ms: int | None = None
    """When the first of them failed; None where that was not recorded (jobs of an earlier version)."""
    last_ms: int | None = None
    samples: tuple[Sample, ...] = ()

    @property
    def key(self) -> ClassKey:
        """What tells it from the others of its job."""
        return self.code, self.status

    @property
    def kind(self) -> FailureKind:
        """What sort of failure it is."""
        return kind_of(self.code, self.status)

    @property
    def hint(self) -> str:
        """What to do about it, in plain words."""
        return _HINTS_BY_CODE.get(self.code) or _HINTS[self.kind]


def kind_of(code: str, status: int) -> FailureKind:
    """The kind of a failure: by its code where that says more than its HTTP status."""
    return _KINDS_BY_CODE.get(code) or _KINDS_BY_STATUS.get(status) or _by_range(status)


def _by_range(status: int) -> FailureKind:
    if status >= 500 or status == 0:
        return FailureKind.STORE_FAULT
    return FailureKind.INVALID if 400 <= status < 500 else FailureKind.OTHER


class Tally:
    """Counts failed tasks as they come, and forgets them when they are told. Not for several threads."""

    def __init__(self) -> None:
        self._classes: dict[ClassKey, _Counted] = {}

    def add(self, task: Task, outcome: Outcome, at_ms: int) -> None:
        """One more task that failed."""
        key = ((outcome.code or "")[:CODE_CHARACTERS_MAX], outcome.status)
        counted = self._classes.get(key)
        if counted is None:
            if len(self._classes) >= CLASSES_MAX - 1:
                key = OTHER, 0
            counted = self._classes.setdefault(key, _Counted(at_ms))
        counted.count += 1
        counted.last_ms = at_ms
        if len(counted.samples) < SAMPLES_MAX:
            counted.samples.append(_sample(task, outcome, at_ms))

    def take(self) -> tuple[FailureClass, ...]:
        """The classes of what was added since the last time."""
        found, self._classes = self._classes, {}
        return tuple(
            FailureClass(
                code=code,
                status=status,
                count=counted.count,
                first_ms=counted.first_ms,
                last_ms=counted.last_ms,
                samples=tuple(counted.samples),
            )
            for (code, status), counted in found.items()
        )


class _Counted:
    """A class that grows."""

    __slots__ = ("count", "first_ms", "last_ms", "samples")

    def __init__(self, at_ms: int) -> None:
        self.count = 0
        self.first_ms = self.last_ms = at_ms
        self.samples: list[Sample] = []


def _sample(task: Task, outcome: Outcome, at_ms: int) -> Sample:
    message = outcome.message
    return Sample(
        bucket=task.bucket,
        key=task.key,
        version=task.version,
        at_ms=at_ms,
        message=None if message is None else message[:MESSAGE_CHARACTERS_MAX],
        request_id=outcome.request_id,
    )


def merged(known: Mapping[ClassKey, FailureClass], more: Iterable[FailureClass]) -> dict[ClassKey, FailureClass]:
    """All of them, each class once. Of the samples the earlier ones stay; what goes beyond CLASSES_MAX is counted as OTHER."""
    found = dict(known)
    for added in more:
        key = added.key
        if key not in found and len(found) >= CLASSES_MAX - 1:
            key = OTHER, 0
        there = found.get(key)
        found[key] = msgspec.structs.replace(added, code=key[0], status=key[1]) if there is None else _sum(there, added)
    return found


def _sum(one: FailureClass, more: FailureClass) -> FailureClass:
    firsts = [moment for moment in (one.first_ms, more.first_ms) if moment is not None]
    lasts = [moment for moment in (one.last_ms, more.last_ms) if moment is not None]
    return msgspec.structs.replace(
        one,
        count=one.count + more.count,
        first_ms=min(firsts, default=None),
        last_ms=max(lasts, default=None),
        samples=(*one.samples, *more.samples)[:SAMPLES_MAX],
    )


def chooses(retry: Retry, code: str, status: int) -> bool:
    """Whether the retry runs tasks again that failed so; NOT_ATTEMPTED with status 0 stands for those without an outcome."""
    if not retry.codes and not retry.kinds:
        return True
    return code[:CODE_CHARACTERS_MAX] in retry.codes or kind_of(code, status) in retry.kinds


def by_code(classes: Iterable[FailureClass]) -> dict[str, int]:
    """How many tasks failed, by code."""
    counts: dict[str, int] = {}
    for each in classes:
        counts[each.code] = counts.get(each.code, 0) + each.count
    return counts


def most_first(classes: Iterable[FailureClass]) -> Sequence[FailureClass]:
    """In the order in which people want to read them."""
    return sorted(classes, key=lambda each: (-each.count, each.key))


_K = FailureKind

_KINDS_BY_CODE: Final[Mapping[str, FailureKind]] = {
    UNKNOWN: _K.UNKNOWN,
    CHANGED: _K.CHANGED,
    NOT_ATTEMPTED: _K.NOT_ATTEMPTED,
    OTHER: _K.OTHER,
    "AccessControlLost": _K.STORE_FAULT,
    "ConditionalRequestConflict": _K.PRECONDITION,
    "DeleteMarker": _K.NOT_FOUND,
    "InternalError": _K.STORE_FAULT,
    "InvalidObjectState": _K.PRECONDITION,
    "ObjectLocked": _K.DENIED,
    "OperationAborted": _K.STORE_FAULT,
    "PermanentRedirect": _K.INVALID,
    "RequestTimeout": _K.STORE_FAULT,
    "SlowDown": _K.THROTTLED,
    "TemporaryRedirect": _K.INVALID,
    "UnreadableAnswer": _K.STORE_FAULT,
}
_KINDS_BY_STATUS: Final[Mapping[int, FailureKind]] = {
    401: _K.DENIED,
    403: _K.DENIED,
    404: _K.NOT_FOUND,
    405: _K.INVALID,
    408: _K.STORE_FAULT,
    409: _K.PRECONDITION,
    410: _K.NOT_FOUND,
    412: _K.PRECONDITION,
    429: _K.THROTTLED,
    503: _K.THROTTLED,
}

_HINTS: Final[Mapping[FailureKind, str]] = {
    _K.NOT_FOUND: "The objects were not there when their turn came. A retry helps only once they are there again.",
    _K.DENIED: "The store refused the job's role. Give its keys the right that the message names, then retry.",
    _K.PRECONDITION: "The objects are in a state, or have changed to one, in which this may not be done to them.",
    _K.THROTTLED: "The store asked for fewer requests for too long. Lower the store's limits, or wait; then retry.",
    _K.STORE_FAULT: "The store had trouble of its own. Look for the request ids in its logs; a retry may succeed.",
    _K.UNKNOWN: "Whether these were carried out could not be found out. A retry looks at each object before it does anything.",
    _K.CHANGED: "Someone else wrote these objects after the first attempt: they were left untouched, also by a retry.",
    _K.INVALID: "The store will not take the request as it is. A retry fails again unless the manifest or operation is another.",
    _K.NOT_ATTEMPTED: "The job ended before their turn came. A retry runs them.",
    _K.OTHER: "Failures of further codes, which are not told apart here; the report names each.",
}
_HINTS_BY_CODE: Final[Mapping[str, str]] = {
    "AccessControlLost": "The copies are there, but the store did not keep the access control list that they were to have.",
    "DeleteMarker": "The newest version of these objects is a delete marker: name a version, or remove the marker.",
    "EntityTooLarge": "These objects are larger than the store copies in one request.",
    "InvalidObjectState": "These objects are archived: restore them, then retry.",
    "InvalidTag": "An object would have more tags than it can, or a tag that the store does not take.",
    "KeyTooLong": "The new keys would be longer than a key may be.",
    "NoSuchBucket": "The bucket is not there: check its name in the manifest and the store that answers for it.",
    "NoSuchVersion": "The versions that the manifest names are gone.",
    "ObjectLocked": "An object lock protects these objects until its date.",
    "PermanentRedirect": "The bucket is in another region: name that region in the store's settings.",
    "SignatureDoesNotMatch": "The store does not accept the key's signature: check the role's keys, and the store's region.",
    "StoreUnreachable": "The store could not be reached for too long. Check its endpoint and the network, then retry.",
}
