"""A task is one row of the manifest; an outcome is what became of it."""

from typing import NamedTuple

import msgspec


class Task(msgspec.Struct, frozen=True):
    """One row. `row` counts from 0 over the whole manifest and, with the job id, is the task's identity."""

    row: int
    bucket: str
    key: bytes
    version: bytes | None = None
    """None = the version that is current when the task runs; `b"null"` = the null version."""
    size: int | None = None
    etag: str | None = None
    first_attempt_ms: int | None = None
    """Set when the row is *in doubt*: a request for it may have been sent by an earlier attempt, which began no earlier than
    this moment (Unix ms, our clock). None = no request was ever sent for it."""

    @property
    def in_doubt(self) -> bool:
        """Whether an earlier attempt may have been carried out."""
        return self.first_attempt_ms is not None


class Disproof(NamedTuple):
    """What a store shows of a task that it has just answered with success, and that does not go with it."""

    seen: str
    certain: bool = False
    """Whether nobody but the store itself can have brought it about; else another client may have, between answer and look."""


class Outcome(NamedTuple):
    """The final result of a task; never changes once recorded.

    `status` is the HTTP status of the object call (0 = none was made), `code` is None exactly when the task succeeded.
    `request_id` is the store's own name of a request that it refused, where it gave one.
    """

    status: int
    code: str | None = None
    message: str | None = None
    request_id: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the task succeeded."""
        return self.code is None
