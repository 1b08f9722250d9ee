"""`haulier report`: deliver the report of a job that has ended once more."""

import time
from typing import Any, Final

from cyclopts import App

from haulier.cli import output as out
from haulier.cli.client import Connection
from haulier.cli.exits import CommandFailed, Exit
from haulier.cli.jobargs import JobId, OutputOption
from haulier.cli.native import native

app = App(name="report", help="Deliver the report of a job that has ended once more.")

_HERE: Final = Connection()
_LOOK_SECONDS: Final = 0.5
_SCHEME: Final = "s3://"


@app.command
def deliver(
    job_id: JobId,
    /,
    *,
    to: str | None = None,
    timeout: float = 600.0,
    output: OutputOption = "table",
    connection: Connection = _HERE,
) -> int:
    """Deliver a job's report once more, byte for byte: after ReportDeliveryFailed, or to another place. Files that are there
    with other content are never overwritten.

    Parameters
    ----------
    job_id
        The id of the job, which has ended.
    to
        Where to: s3://bucket or s3://bucket/prefix. Else to where the job said.
    timeout
        Wait so many seconds for the delivery; it goes on afterwards.
    output
        How to print: a line, JSON as the API has the job, or the job's id only.
    """
    asked = {} if to is None else {"to": _place(to)}
    with native(connection) as server:
        job = server.of_job("POST", job_id, "report", asked)
        until = time.monotonic() + timeout
        while job["delivery"]["status"] == "Waiting":
            if time.monotonic() >= until:
                raise CommandFailed(Exit.TIMED_OUT, f"the report of job {job_id} is still being delivered")
            time.sleep(_LOOK_SECONDS)
            job = server.of_job("GET", job_id, "")
    return _ended(job, output)


def _ended(job: dict[str, Any], output: str) -> int:
    delivery = job["delivery"]
    prefix = delivery["prefix"]
    folder = f"{_SCHEME}{delivery['bucket']}/{prefix}{'' if not prefix or prefix.endswith('/') else '/'}job-{job['id']}/"
    if output == "json":
        out.as_json(job)
    elif output == "name":
        out.line(job["id"])
    elif delivery["status"] == "Delivered":
        out.line(f"the report of {job['id']} is at {folder}")
    if delivery["status"] == "Delivered":
        return Exit.CLEAN
    failure = delivery["failure"] or {}
    raise CommandFailed(Exit.FAILED, f"{failure.get('code')}: {failure.get('reason')}")


def _place(text: str) -> dict[str, str]:
    bucket, _, prefix = text.removeprefix(_SCHEME).partition("/")
    if not text.startswith(_SCHEME) or not bucket:
        raise CommandFailed(Exit.USAGE, f"--to {text!r} is no place: it is written s3://bucket or s3://bucket/prefix")
    return {"bucket": bucket, "prefix": prefix}
