"""The table of what the native API has: how each call is asked for, by which action it is allowed, and what it answers.

`routes` serves by it and `openapi` describes by it, so neither can say what the other does not.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from haulier.api.native import documents as d
from haulier.core.calls import Call

ROOT: Final = "/api/v1/"


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """One call. Its name is that of the method of `routes.NativeWire` that carries it out."""

    name: str
    method: str
    path: str
    """Behind the root; `{id}` stands for a job."""
    call: Call
    about: str
    query: type[d.Document] = d.NoQuery
    body: type[d.Document] | None = None
    body_optional: bool = False
    answer: type[Any] | None = None
    status: int = 200
    changes_version: bool = False
    """Whether If-Match holds it back."""
    headers: Mapping[str, str] = {}
    """Request headers that mean something to this call, with what they mean."""
    conflicts: bool = False
    """Whether the job's state, or an earlier request, may forbid it (409)."""
    waits: bool = False
    """Whether it may take one of the places of those who wait (429, 503)."""
    stream: bool = False
    """Whether the answer is a stream of events."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The path as routed."""
        return tuple("{}" if part == "{id}" else part for part in self.path.split("/"))


_IDEMPOTENCY_KEY: Final = {
    "Idempotency-Key": f"1 to {d.TOKEN_CHARACTERS_MAX} printable ASCII characters. The same request under the same key is the "
    "same job; another request under it is refused, and so is the same one once the job was deleted."
}
_IF_NONE_MATCH: Final = {"If-None-Match": "Answer 304 while this is still the ETag."}
_LAST_EVENT_ID: Final = {"Last-Event-ID": "The last event that arrived, as browsers send it: go on behind it."}


def _to_status(name: str, about: str) -> Api:
    return Api(
        name=name,
        method="POST",
        path=f"jobs/{{id}}/{name}",
        call=Call.SET_STATUS,
        about=about,
        body=d.ReasonDocument,
        body_optional=True,
        answer=d.JobDocument,
        changes_version=True,
        conflicts=True,
    )


APIS: Final = (
    Api(
        name="create",
        method="POST",
        path="jobs",
        call=Call.CREATE,
        about="Create a job: in this API's own words, or in those of S3 Batch Operations or COS Batch as JSON (`dialect`).",
        body=d.NewJob,
        answer=d.JobDocument,
        status=201,
        headers=_IDEMPOTENCY_KEY,
        conflicts=True,
    ),
    Api(
        name="list",
        method="GET",
        path="jobs",
        call=Call.LIST,
        about="List the account's jobs, newest first.",
        query=d.ListQuery,
        answer=d.JobList,
    ),
    Api(
        name="get",
        method="GET",
        path="jobs/{id}",
        call=Call.DESCRIBE,
        about="Get a job. With `wait` the answer comes when the job has another version than the one named by `version` or "
        "If-None-Match, or, with neither, when it has ended; at the latest after so many seconds, with the job as it is then.",
        query=d.JobQuery,
        answer=d.JobDocument,
        headers=_IF_NONE_MATCH,
        waits=True,
    ),
    Api(
        name="events",
        method="GET",
        path="jobs/{id}/events",
        call=Call.DESCRIBE,
        about="Get what happened to a job. With `wait` the answer comes when there is an event behind `after`, or the job has "
        "ended; at the latest after so many seconds.",
        query=d.EventQuery,
        answer=d.EventList,
        waits=True,
    ),
    Api(
        name="progress",
        method="GET",
        path="jobs/{id}/progress",
        call=Call.DESCRIBE,
        about="Follow a job as server-sent events: `event` (each entry of its record, once), `progress` (the job, at most twice "
        "a second) and, when it has ended, `end`.",
        query=d.ProgressQuery,
        headers=_LAST_EVENT_ID,
        waits=True,
        stream=True,
    ),
    Api(
        name="failures",
        method="GET",
        path="jobs/{id}/failures",
        call=Call.DESCRIBE,
        about="Get why tasks of a job failed, in classes: live while it runs, and for as long as its record is kept. Tasks that "
        "a job which has ended left undone are a class of their own, `NotAttempted`.",
        answer=d.FailureList,
    ),
    _to_status("confirm", "Let a job run that waits for its confirmation."),
    _to_status("pause", "Stop starting tasks; the job keeps its place."),
    _to_status("resume", "Go on after a pause."),
    _to_status("cancel", "Start no further task; what was done is reported."),
    Api(
        name="retry",
        method="POST",
        path="jobs/{id}/retry",
        call=Call.CREATE,
        about="Run again what failed of a job that has ended, as a new job: its tasks are exactly the chosen ones, with the "
        "versions that were frozen, and no manifest is read. It needs what creating a job needs.",
        body=d.RetryDocument,
        body_optional=True,
        answer=d.JobDocument,
        status=201,
        headers=_IDEMPOTENCY_KEY,
        conflicts=True,
    ),
    Api(
        name="deliver_report",
        method="POST",
        path="jobs/{id}/report",
        call=Call.SET_STATUS,
        about="Deliver the report of a job that has ended once more, byte for byte: to its own place, or to another one. It is "
        "done soon after the answer, and `delivery` tells what became of it. It needs what letting the job run needs.",
        body=d.DeliverDocument,
        body_optional=True,
        answer=d.JobDocument,
        status=202,
        changes_version=True,
        conflicts=True,
    ),
    Api(
        name="set_priority",
        method="PUT",
        path="jobs/{id}/priority",
        call=Call.SET_PRIORITY,
        about="Give a job another priority, also while it runs.",
        body=d.PriorityDocument,
        answer=d.JobDocument,
        changes_version=True,
        conflicts=True,
    ),
    Api(
        name="set_limits",
        method="PUT",
        path="jobs/{id}/limits",
        call=Call.SET_LIMITS,
        about="Limit what a job does to its stores, also while it runs; it holds within seconds. Replaces all its limits.",
        body=d.LimitsDocument,
        answer=d.JobDocument,
        changes_version=True,
        conflicts=True,
    ),
    Api(
        name="get_tags",
        method="GET",
        path="jobs/{id}/tags",
        call=Call.GET_TAGS,
        about="Get a job's tags. Their ETag is their own, and does not change while the job runs.",
        answer=d.TagsDocument,
        headers=_IF_NONE_MATCH,
    ),
    Api(
        name="put_tags",
        method="PUT",
        path="jobs/{id}/tags",
        call=Call.PUT_TAGS,
        about="Replace all of a job's tags. If-Match names the ETag of the tags.",
        body=d.TagsDocument,
        answer=d.TagsDocument,
        changes_version=True,
    ),
    Api(
        name="delete_tags",
        method="DELETE",
        path="jobs/{id}/tags",
        call=Call.DELETE_TAGS,
        about="Remove all of a job's tags. If-Match names the ETag of the tags.",
        status=204,
        changes_version=True,
    ),
    Api(
        name="delete",
        method="DELETE",
        path="jobs/{id}",
        call=Call.DELETE,
        about="Remove a job from sight. One that has not ended is cancelled first, and ends properly, unseen.",
        status=204,
        changes_version=True,
    ),
)
