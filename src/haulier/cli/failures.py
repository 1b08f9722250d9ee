"""`haulier job failures` and `haulier job retry`: why tasks of a job failed, and only those again."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from cyclopts import Parameter

from haulier.cli import output as out
from haulier.cli.client import Connection
from haulier.cli.exits import Exit
from haulier.cli.jobargs import JobId, OutputOption
from haulier.cli.native import native
from haulier.core.failures import FailureKind

_HERE: Final = Connection()


def failures(job_id: JobId, /, *, output: OutputOption = "table", connection: Connection = _HERE) -> int:
    """Show why tasks of a job failed, also while it runs: in classes, with a few samples of each and what to do about it.

    Parameters
    ----------
    job_id
        The job's id.
    output
        How to print: text, JSON as the API has it, or the codes only.
    """
    with native(connection) as server:
        classes = server.of_job("GET", job_id, "failures")["failures"]
    if output == "json":
        out.as_json(classes)
    elif output == "name":
        for code in dict.fromkeys(each["code"] for each in classes):
            out.line(code)
    elif not classes:
        out.note(f"no task of job {job_id} has failed")
    else:
        for each in classes:
            _show(each)
    return Exit.CLEAN


def retry(
    job_id: JobId,
    /,
    *,
    codes: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    kinds: Annotated[tuple[FailureKind, ...], Parameter(negative=(), show_default=False)] = (),
    priority: int | None = None,
    confirm: bool | None = None,
    description: str | None = None,
    output: OutputOption = "table",
    connection: Connection = _HERE,
) -> int:
    """Run again, as a new job, what failed of a job that has ended, and what it left undone. Nothing else is touched.

    Parameters
    ----------
    job_id
        The id of the job that has ended.
    codes
        Only tasks that failed with this code; may be given several times. NotAttempted stands for those left undone.
    kinds
        Only tasks that failed in this way; may be given several times, also beside --codes.
    priority
        Else that of the job.
    confirm
        Whether the new job waits for its confirmation. Else as with the job.
    description
        Else that of the job.
    output
        How to print the new job: a line, JSON as the API has it, or the id only.
    """
    asked: dict[str, Any] = {"codes": codes, "kinds": [kind.value for kind in kinds]}
    more = {"priority": priority, "confirm": confirm, "description": description}
    asked |= {name: value for name, value in more.items() if value is not None}
    with native(connection) as server:
        # A key of its own, so that a request which is sent twice makes one job.
        job = server.of_job("POST", job_id, "retry", asked, key=uuid.uuid4().hex)
    if output == "json":
        out.as_json(job)
    elif output == "name":
        out.line(job["id"])
    else:
        out.line(f"{job['id']} {job['status']}, runs again what failed of {job_id}")
        out.note(f"follow it with: haulier job watch {job['id']}")
    return Exit.CLEAN


def _show(found: Mapping[str, Any]) -> None:
    status = found["http_status"]
    out.line(f"{found['count']:,}  {found['code']}" + (f" ({status})" if status else "") + f"  {found['kind']}")
    first, last = _moment(found["first_at"]), _moment(found["last_at"])
    if first:
        out.line(f"    {first}" if first == last else f"    {first} to {last}")
    out.line(f"    {found['hint']}")
    for sample in found["samples"]:
        version = f"?versionId={sample['version']}" if sample["version"] else ""
        named = f"  (request {sample['request_id']})" if sample["request_id"] else ""
        out.line(f"    s3://{sample['bucket']}/{sample['key']}{version}{named}")
        if sample["message"]:
            out.line(f"        {sample['message']}")


def _moment(text: str | None) -> str | None:
    return None if text is None else out.local(datetime.fromisoformat(text))
