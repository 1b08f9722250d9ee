"""Examines one job: the database's word on it and its files, whether a server is at work on them or not. Changes nothing.

A running server writes on meanwhile. The database is therefore read as it is at one moment, and once more at the end: a file that
has gone is missed only where the database names it still, and one that has come is foreign only where it does not name it yet.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from haulier.core.errors import HaulierError
from haulier.jobstore import snapshot
from haulier.jobstore.snapshot import JobSnapshot
from haulier.spool import FolderSpool, names
from haulier.upkeep import ledger, reported, spooled
from haulier.upkeep.findings import CHECKS, Examined, Finding

FINDINGS_MAX: Final = 100
"""Of one check; further ones are counted."""
DAY_MS: Final = 86_400_000


class NoReport(HaulierError):
    """The job has no report that could be compared."""


def examine(
    data_dir: Path, job_id: str, *, now_ms: int, spool_retention_days: float, report: Path | None = None
) -> Examined | None:
    """Check all invariants of a job; None where there is none of that id. `report` is a copy of the job's delivered report.

    Raises SettingsError where the database cannot be read, NoReport.
    """
    database, spool = data_dir / "haulier.db", FolderSpool(data_dir / "spool")
    before = _read(database, job_id)
    if before is None:
        return None
    if report is not None and (not before.job.report.enabled or before.job.reporting_ms is None):
        raise NoReport(f"job {job_id} is {before.job.status} and has no report")
    there = set(spool.names(names.job_folder(before.job.account, job_id)))
    ended_ms = before.job.ended_ms
    kept = ended_ms is None or now_ms - ended_ms < spool_retention_days * DAY_MS
    found: list[Finding] = [each for check in ledger.CHECKS.values() for each in check(before)]
    notes: list[str] = []
    if kept:
        files = spooled.JobFiles(before, spool)
        found += files.check()
        if report is not None:
            found += reported.check(before, files, report)
    else:
        notes.append(f"its files are no longer kept: the job ended more than {spool_retention_days:g} days ago")
    after = _read(database, job_id)
    named_now = set() if after is None else set(spooled.named(after))
    found = [each for each in found if not _gone_since(each, named_now)]
    unnamed = sorted(there - set(spooled.named(before)) - named_now)
    epoch = before.epoch if after is None else after.epoch
    left = [name for name in unnamed if spooled.left_over(name, epoch)]
    found += [Finding(check="files", file=name, problem="nothing names it") for name in unnamed if name not in left]
    if left:
        notes.append(f"files of attempts that are at work, or did not live to tell of them: {len(left)}, such as {left[0]}")
    if not before.events:
        notes.append("it has no record: a version that kept none made it")
    return _examined(before, found, notes, files_kept=kept, report=report is not None)


def _read(database: Path, job_id: str) -> JobSnapshot | None:
    with snapshot.opened(database) as connection:
        return snapshot.read(connection, job_id)


def _gone_since(finding: Finding, named_now: set[str]) -> bool:
    """Whether it is about a file of the spool that is needed no longer, and was taken away meanwhile."""
    return finding.check == "files" and finding.file is not None and finding.file not in named_now


def _examined(found: JobSnapshot, findings: Iterable[Finding], notes: list[str], *, files_kept: bool, report: bool) -> Examined:
    job = found.job
    made = {*ledger.CHECKS, *(("files", "outcomes") if files_kept else ()), *(("report",) if report and files_kept else ())}
    return Examined(
        job=job.id,
        account=job.account,
        status=str(job.status),
        total=job.total,
        succeeded=job.succeeded,
        failed=job.failed,
        chunks=len(found.chunks),
        checked=[check for check in CHECKS if check in made],
        findings=list(_first(findings)),
        notes=notes,
    )


def _first(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Those that are shown, and of each check how many more there are."""
    count: Counter[str] = Counter()
    for finding in findings:
        count[finding.check] += 1
        if count[finding.check] <= FINDINGS_MAX:
            yield finding
    for check, number in count.items():
        if number > FINDINGS_MAX:
            yield Finding(check=check, problem=f"and {number - FINDINGS_MAX} more")
