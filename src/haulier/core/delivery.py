"""Delivering the report of a job that has ended once more: when that can be, and what becomes of it. Pure."""

import msgspec

from haulier.core.errors import IllegalTransition, InvalidRequest
from haulier.core.job import Delivery, Failure, Job
from haulier.core.lifecycle import TERMINAL


class Place(msgspec.Struct, frozen=True):
    """Where a report goes: its folder `job-<id>/` lies below the prefix."""

    bucket: str
    prefix: str


def asked(job: Job, to: Place | None, *, by: str, now_ms: int) -> Job:
    """The job with a delivery that waits: to `to`, or to the place that the report was meant for. One that waits already is not
    asked for twice.

    Raises IllegalTransition for a job that has not ended, whose report is tried anyway, and while another delivery waits;
    InvalidRequest for a job that has no report.
    """
    if job.status not in TERMINAL:
        raise IllegalTransition(job.id, job.status, "a delivery of its report")
    if not job.report.enabled:
        raise InvalidRequest(f"Job {job.id} was created without a report, so there is none to deliver.")
    if not job.executed:
        raise InvalidRequest(f"No task of job {job.id} was run, so it has no report.")
    place = to or Place(job.report.bucket, job.report.prefix)
    if job.delivery is not None and job.delivery.waits:
        if (job.delivery.bucket, job.delivery.prefix) == (place.bucket, place.prefix):
            return job
        raise IllegalTransition(job.id, job.status, f"another delivery while one to {job.delivery.bucket!r} waits,")
    number = 1 if job.delivery is None else job.delivery.number + 1
    delivery = Delivery(number=number, bucket=place.bucket, prefix=place.prefix, by=by, asked_ms=now_ms)
    return msgspec.structs.replace(job, delivery=delivery)


def ended(job: Job, number: int, failure: Failure | None, *, now_ms: int) -> Job:
    """The job after its delivery of that number; as it was, where that one has ended already."""
    delivery = job.delivery
    if delivery is None or delivery.number != number or not delivery.waits:
        return job
    status = "Delivered" if failure is None else "Failed"
    return msgspec.structs.replace(
        job, delivery=msgspec.structs.replace(delivery, status=status, ended_ms=now_ms, failure=failure)
    )
