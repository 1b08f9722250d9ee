"""Which status a client may ask for, from which state, and what then happens: narrower than `lifecycle`, and not the same on both
wires (decisions §2)."""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

import msgspec

from haulier.core.chunk import Chunk
from haulier.core.job import Dialect, Job
from haulier.core.lifecycle import ENDING, TERMINAL, JobEvent, JobStatus, advance


class Special(Enum):
    """What a status request may do besides causing an event."""

    NOTHING = "nothing"
    """Allowed, and already so."""
    REMEMBER = "remember"
    """Confirmed before the job was Suspended: it will go from Preparing to Ready at once."""
    TAKE_OVER = "take over"
    """A pause for priority becomes the user's own."""
    CANCEL = "cancel"
    """Cancelled at once where nothing is left to settle, else by way of Cancelling."""


_S, _E = JobStatus, JobEvent
Reaction = JobEvent | Special
Legality = Mapping[JobStatus, Reaction]

_PAUSE: Final[Legality] = {
    _S.READY: _E.HELD,
    _S.ACTIVE: _E.HELD,
    _S.PAUSING: Special.TAKE_OVER,
    _S.PAUSED: Special.TAKE_OVER,
}

_S3_LEGAL: Final[Mapping[str, Legality]] = {  # s3-batch-operations.md §5.3
    "Ready": {_S.SUSPENDED: _E.CONFIRMED},
    "Cancelled": {
        _S.SUSPENDED: _E.CANCEL_SETTLED,
        _S.CANCELLING: Special.NOTHING,
        **dict.fromkeys((_S.NEW, _S.PREPARING, _S.READY, _S.ACTIVE, _S.PAUSING, _S.PAUSED), _E.CANCEL_REQUESTED),
    },
    "Paused": _PAUSE,
}

LEGAL: Final[Mapping[Dialect, Mapping[str, Legality]]] = {
    "s3control": _S3_LEGAL,
    "native": _S3_LEGAL,
    "cos": {  # cos-batch.md §4.3
        "Ready": {
            _S.NEW: Special.REMEMBER,
            _S.PREPARING: Special.REMEMBER,
            _S.SUSPENDED: _E.CONFIRMED,
            _S.READY: Special.NOTHING,
        },
        "Cancelled": {
            _S.CANCELLING: Special.NOTHING,
            **dict.fromkeys((_S.NEW, _S.PREPARING, _S.SUSPENDED, _S.READY), _E.CANCEL_SETTLED),
            **dict.fromkeys((_S.ACTIVE, _S.PAUSING), _E.CANCEL_REQUESTED),
            _S.PAUSED: Special.CANCEL,
        },
        "Paused": _PAUSE,
    },
}
"""Dialect → requested status → the states it may be requested in, and what then happens. What is absent is refused."""

DISCARD: Final[Legality] = {
    **dict.fromkeys((_S.NEW, _S.PREPARING, _S.SUSPENDED, _S.READY), _E.CANCEL_SETTLED),
    **dict.fromkeys((_S.ACTIVE, _S.PAUSING), _E.CANCEL_REQUESTED),
    _S.PAUSED: Special.CANCEL,
    **dict.fromkeys((*TERMINAL, *ENDING), Special.NOTHING),
}
"""What DeleteJob does: as a cancel, and never refused."""


def nothing_left(job: Job, chunks: Iterable[Chunk]) -> bool:
    """Of a job at rest: whether no row can be in doubt and no report is due, so that it may end as it is."""
    return not job.owes_report and all(chunk.sealed or (chunk.opened_ms is None and not chunk.horizon) for chunk in chunks)


def react(job: Job, reaction: Reaction, now_ms: int, chunks: Iterable[Chunk]) -> Job:
    """The job after the reaction of a legality table; `chunks` are its ledger, which `Special.CANCEL` alone looks at."""
    match reaction:
        case Special.NOTHING:
            return job
        case Special.REMEMBER:
            return msgspec.structs.replace(job, confirmation_given=True)
        case Special.TAKE_OVER:
            return msgspec.structs.replace(job, paused_by="user")
        case Special.CANCEL:
            event = _E.CANCEL_SETTLED if nothing_left(job, chunks) else _E.CANCEL_REQUESTED
            return advance(job, event, now_ms=now_ms)
        case _:
            changed = advance(job, reaction, now_ms=now_ms, paused_by="user" if reaction is _E.HELD else None)
            return msgspec.structs.replace(changed, confirmation_given=True) if reaction is _E.CONFIRMED else changed
