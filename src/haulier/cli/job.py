"""`haulier job`: look at jobs and their failures, wait for them, confirm and cancel them. Jobs of both wires are shown."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from haulier.cli import output as out
from haulier.cli.client import Connection, Jobs, jobs
from haulier.cli.exits import CommandFailed, Exit
from haulier.cli.failures import failures, retry
from haulier.cli.jobargs import JobId, OutputOption
from haulier.cli.output import Output
from haulier.cli.progress import TERMINAL, State, View, summary, view
from haulier.core.lifecycle import JobStatus

app = App(name="job", help="Look at jobs, wait for them, confirm and cancel them.")

_UNREACHABLE_SECONDS_MAX: Final = 120.0
_REASON_BYTES_MAX: Final = 256
_HERE: Final = Connection()

app.command(failures)
app.command(retry)


@app.command(name="list")
def list_jobs(
    *,
    status: Annotated[tuple[JobStatus, ...], Parameter(negative=(), show_default=False)] = (),
    limit: int = 100,
    output: OutputOption = "table",
    connection: Connection = _HERE,
) -> int:
    """List jobs, newest first.

    Parameters
    ----------
    status
        Only jobs in this state; may be given several times.
    limit
        At most so many jobs.
    output
        How to print: a table, JSON as the API has it, or ids only.
    """
    if limit < 1:
        raise CommandFailed(Exit.USAGE, f"--limit must be at least 1, not {limit}")
    with jobs(connection) as server:
        found = server.list([str(each.value) for each in status], limit)
    if output == "json":
        out.as_json(found)
    elif output == "name":
        for job in found:
            out.line(job["JobId"])
    else:
        out.table(
            ("ID", "STATUS", "OPERATION", "PRIORITY", "DONE", "FAILED", "CREATED", "DESCRIPTION"), [_row(job) for job in found]
        )
    return Exit.CLEAN


@app.command
def get(job_id: JobId, /, *, output: OutputOption = "table", connection: Connection = _HERE) -> int:
    """Show one job.

    Parameters
    ----------
    job_id
        The job's id.
    output
        How to print: fields, JSON as the API has it, or the id only.
    """
    with jobs(connection) as server:
        job = server.get(job_id)
    if output == "table":
        out.fields(_fields(job))
    else:
        _print(job, output)
    return Exit.CLEAN


@app.command
def watch(
    job_id: JobId,
    /,
    *,
    interval: float = 1.0,
    timeout: float | None = None,
    output: OutputOption = "table",
    connection: Connection = _HERE,
) -> int:
    """Follow a job until it ends.

    Exit codes: 0 Complete without failures, 1 Failed or with failed tasks, 3 cancelled, 4 access refused, 5 no such job, 6 server
    unreachable for two minutes, 7 timed out, 130 Ctrl-C. Neither a time-out nor Ctrl-C touches the job.

    Parameters
    ----------
    job_id
        The job's id.
    interval
        Seconds between two looks.
    timeout
        Give up after so many seconds.
    output
        How to print the job that ended: a line, JSON as the API has it, or the id only.
    """
    if not interval > 0 or (timeout is not None and not timeout >= 0):
        raise CommandFailed(Exit.USAGE, "--interval must be above 0, and --timeout not below")
    with jobs(connection) as server:
        shown = view(time.monotonic)
        try:
            with _interrupts() as interrupted:
                job = _follow(server, job_id, shown, interval, timeout, interrupted)
        except KeyboardInterrupt:
            shown.close()
            out.note(f"detached; the job goes on. Come back with: haulier job watch {job_id}")
            return Exit.INTERRUPTED
        finally:
            shown.close()
    return _ended(job, output)


@app.command
def confirm(job_id: JobId, /, *, output: OutputOption = "table", connection: Connection = _HERE) -> int:
    """Let a job run that waits for confirmation.

    Parameters
    ----------
    job_id
        The job's id.
    output
        How to print the answer: a line, JSON as the API has it, or the id only.
    """
    with jobs(connection) as server:
        state = State.of(server.get(job_id))
        # Ready means "resume" to a paused job: that is not what was asked for.
        if state.status not in (JobStatus.SUSPENDED, JobStatus.NEW, JobStatus.PREPARING):
            raise CommandFailed(Exit.FAILED, f"job {job_id} is {state.status}: it does not wait for confirmation")
        answer = server.request(job_id, "Ready")
    _say(answer, output)
    return Exit.CLEAN


@app.command
def cancel(job_id: JobId, /, *, reason: str | None = None, output: OutputOption = "table", connection: Connection = _HERE) -> int:
    """Cancel a job. What was done stays done and stands in the report.

    Parameters
    ----------
    job_id
        The job's id.
    reason
        Kept with the job, up to 256 bytes in UTF-8.
    output
        How to print the answer: a line, JSON as the API has it, or the id only.
    """
    if reason and (size := len(reason.encode("utf-8", "surrogateescape"))) > _REASON_BYTES_MAX:
        raise CommandFailed(Exit.USAGE, f"--reason has {size} bytes in UTF-8; it may have {_REASON_BYTES_MAX}")
    with jobs(connection) as server:
        answer = server.request(job_id, "Cancelled", reason)
    _say(answer, output)
    return Exit.CLEAN


# -- watching ----------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Set by Ctrl-C, which also raises KeyboardInterrupt: raised inside a destructor or a callback, that alone would be lost."""
    interrupted = threading.Event()

    def note(_signal: int, _frame: FrameType | None) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _follow(
    server: Jobs, job_id: str, shown: View, interval: float, timeout: float | None, interrupted: threading.Event
) -> dict[str, Any]:
    """Look again and again until the job ends; outlives a restart of the server. Raises CommandFailed, KeyboardInterrupt."""
    begun = time.monotonic()
    answered: float | None = None
    reachable = True
    while True:
        now = time.monotonic()
        try:
            job = server.get(job_id)
        except CommandFailed as error:
            if error.exit_code != Exit.UNREACHABLE or answered is None or now - answered > _UNREACHABLE_SECONDS_MAX:
                raise
            if reachable:
                shown.say(f"haulier: {error}; trying again")
            reachable = False
        else:
            reachable, answered = True, now
            shown.show(State.of(job))
            if job["Status"] in TERMINAL:
                return job
        left = None if timeout is None else begun + timeout - time.monotonic()
        if left is not None and left <= 0:
            raise CommandFailed(Exit.TIMED_OUT, f"the job goes on. Come back with: haulier job watch {job_id}")
        if interrupted.wait(interval if left is None else min(interval, left)):
            raise KeyboardInterrupt


def _ended(job: dict[str, Any], output: Output) -> int:
    state = State.of(job)
    if output == "table":
        out.line(summary(state))
    else:
        _print(job, output)
    for reason in job.get("FailureReasons") or ():
        out.note(f"{reason.get('FailureCode')}: {reason.get('FailureReason')}")
    if state.failed and (report := _report(job)):
        out.note(f"the report names the failed objects: {report}")
    if state.failed:
        out.note(f"why: haulier job failures {state.job_id}; only these again: haulier job retry {state.job_id}")
    if state.status == JobStatus.CANCELLED:
        return Exit.CANCELLED
    return Exit.CLEAN if state.status == JobStatus.COMPLETE and not state.failed else Exit.FAILED


# -- printing ----------------------------------------------------------------------------------------------------------------


def _print(job: dict[str, Any], output: Output) -> None:
    if output == "json":
        out.as_json(job)
    else:
        out.line(job["JobId"])


def _say(answer: dict[str, Any], output: Output) -> None:
    if output == "table":
        out.line(f"{answer['JobId']} {answer['Status']}")
    else:
        _print(answer, output)


def _row(job: dict[str, Any]) -> tuple[str, ...]:
    state = State.of(job)
    done = f"{state.executed:,}/{state.total:,}" if state.total else "-"
    return (
        state.job_id,
        state.status,
        str(job.get("Operation") or "-"),
        str(job.get("Priority", "-")),
        done,
        f"{state.failed:,}",
        out.local(job.get("CreationTime")) or "-",
        job.get("Description") or "",
    )


def _fields(job: dict[str, Any]) -> dict[str, str | None]:
    state = State.of(job)
    timers = (job.get("ProgressSummary") or {}).get("Timers") or {}
    active = timers.get("ElapsedTimeInActiveSeconds")
    suspended = out.local(job.get("SuspendedDate"))
    return {
        "Job": state.job_id,
        "Status": state.status,
        "Reason": job.get("StatusUpdateReason"),
        "Failure": "; ".join(
            f"{each.get('FailureCode')}: {each.get('FailureReason')}" for each in job.get("FailureReasons") or ()
        )
        or None,
        "Operation": ", ".join(job.get("Operation") or ()) or None,
        "Description": job.get("Description"),
        "Priority": str(job.get("Priority", "-")),
        "Tasks": f"{state.total:,}" if state.total else "not counted yet",
        "Succeeded": f"{state.succeeded:,}",
        "Failed": f"{state.failed:,}",
        "Active": None if active is None else f"{active:,} s",
        "Created": out.local(job.get("CreationTime")),
        "Suspended": suspended and f"{suspended} ({job.get('SuspendedCause')})",
        "Ended": out.local(job.get("TerminationDate")),
        "Manifest": ((job.get("Manifest") or {}).get("Location") or {}).get("ObjectArn"),
        "Report": _report(job),
        "Role": job.get("RoleArn"),
        "Retry of": job.get("RetryOf"),
        "Retried by": ", ".join(job.get("RetriedBy") or ()) or None,
        "Stores": ", ".join(f"{each['Bucket']} on {each.get('Store', 'none')}" for each in job.get("Placements") or ()) or None,
    }


def _report(job: dict[str, Any]) -> str | None:
    report = job.get("Report") or {}
    if not report.get("Enabled"):
        return None
    return "/".join(part for part in (report.get("Bucket"), report.get("Prefix")) if part)
