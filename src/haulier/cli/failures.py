"""`haulier job failures`: why tasks of a job failed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from haulier.cli import output as out
from haulier.cli.client import Connection
from haulier.cli.exits import Exit
from haulier.cli.jobargs import JobId, OutputOption
from haulier.cli.native import native

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
