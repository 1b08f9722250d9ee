"""What must be true of a job that has ended, and of its report."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from haulier.core.lifecycle import JobStatus
from haulier.engine.finisher import write_report
from haulier.objectstore.memory import MemoryObjectStore
from haulier.testing.s3answers import at_once
from haulier.testing.simulation.ledger import StoredLedger, Violation
from haulier.testing.simulation.oracle import Oracle
from haulier.testing.simulation.spool import ModelSpool
from haulier.testing.simulation.truth import JobTruth


def check_status(job: JobTruth, ledger: StoredLedger, *, cancelled: bool, unsure: bool) -> None:
    """`cancelled`: a user was told that it would be; `unsure`: somebody may have asked for that and got no answer."""
    stored = ledger.jobs[job.id]
    if cancelled and stored.status != JobStatus.CANCELLED:
        raise Violation(f"job {job.id} was cancelled and has ended {stored.status}")
    if stored.status == JobStatus.CANCELLED and not cancelled and not unsure:
        raise Violation(f"job {job.id} is Cancelled, which nobody asked for")
    if stored.status == JobStatus.FAILED:
        raise Violation(
            f"job {job.id} has failed, which no trouble here may bring about: {json.loads(stored.document).get('failure')}"
        )


def check_report(job: JobTruth, ledger: StoredLedger, objects: MemoryObjectStore) -> None:
    """Every row once, in the order of the manifest, with the outcome that was recorded."""
    lists = objects.buckets["lists"]
    manifest = json.loads(lists[f"reports/job-{job.id}/manifest.json".encode()][-1].body)
    reported: dict[int, str] = {}
    numbers: dict[tuple[bytes, bytes], list[int]] = {}
    for row in job.rows:
        numbers.setdefault((row.key, row.version or b""), []).append(row.number)
    for file in manifest["Results"]:
        text = lists[file["Key"].encode()][-1].body.decode()
        last = -1
        for _, key, version, status, *_ in csv.reader(io.StringIO(text)):
            number = numbers[unquote_to_bytes(key), version.encode()].pop(0)
            if number < last:
                raise Violation(f"row {number} stands behind row {last} in {file['Key']}")
            last = number
            reported[number] = status
    _compare(job, reported, ledger)


def _compare(job: JobTruth, reported: Mapping[int, str], ledger: StoredLedger) -> None:
    wanted = {row: "succeeded" if code is None else "failed" for row, (code, _) in ledger.outcomes_of(job.id).items()}
    if job.plan.failed_only:
        wanted = {row: status for row, status in wanted.items() if status == "failed"}
    if sorted(reported.values()) != sorted(wanted.values()):
        raise Violation(f"the report of job {job.id} has {len(reported)} rows, its outcomes {len(wanted)}")
    # Rows that are equal cannot be told apart in a report.
    if not job.plan.doubled and reported != wanted:
        raise Violation(f"the report of job {job.id} tells other outcomes than were recorded")


def check_repeated_report(job: JobTruth, oracle: Oracle, objects: MemoryObjectStore, spool: ModelSpool, scratch: Path) -> None:
    """Written again, the report is the same, byte for byte: nothing is put, for the finisher finds all there."""
    brief, unit = oracle.reports[job.id]
    before = len(objects.log)
    write_report(unit, brief, _Direct(objects), spool, scratch, _wait, lambda _: None)  # type: ignore[arg-type]  # what it uses of it
    if len(objects.log) != before:
        raise Violation(f"the report of job {job.id} is another one when it is written again")


class _Direct:
    """The store, without a runner."""

    def __init__(self, objects: MemoryObjectStore) -> None:
        self._objects = objects

    def store(self, *_: object, **__: object) -> MemoryObjectStore:
        """See `engine.connections.Connections`."""
        return self._objects


def _wait(coroutine: Any, *_: float) -> Any:
    return at_once(coroutine)
