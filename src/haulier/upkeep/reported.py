"""A copy of a delivered report, held against the one that the recorded outcomes give."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

from haulier.core.errors import SpoolError
from haulier.jobstore.snapshot import JobSnapshot
from haulier.reports import ReportFiles
from haulier.upkeep.findings import Finding, Findings
from haulier.upkeep.spooled import JobFiles

MANIFEST: Final = "manifest.json"
RESULTS: Final = "results"
_BLOCK: Final = 1 << 20


class _Result(msgspec.Struct, frozen=True):
    """What manifest.json says of a file."""

    key: str = msgspec.field(name="Key")
    md5: str = msgspec.field(name="MD5Checksum")
    status: str = msgspec.field(name="TaskExecutionStatus")


class _Manifest(msgspec.Struct, frozen=True):
    results: list[_Result] = msgspec.field(name="Results")


def check(found: JobSnapshot, files: JobFiles, copied: Path) -> Findings:
    """`copied` is the folder `job-<id>` of the report, with `manifest.json` and `results/`.

    Names are compared without their prefix: a report may have been delivered to another place than the job's own.
    """
    manifest = copied / MANIFEST
    try:
        listed = {
            result.key.rpartition("/")[2]: result for result in msgspec.json.decode(manifest.read_bytes(), type=_Manifest).results
        }
    except (OSError, msgspec.DecodeError) as error:
        yield _wrong(MANIFEST, f"it cannot be read: {error}")
        return
    try:
        given = _given(found, files)
    except (SpoolError, ValueError) as error:
        yield Finding(check="report", problem=f"the recorded outcomes give no report: {error}")
        return
    for name in sorted(given.keys() | listed.keys()):
        md5, result = given.get(name), listed.get(name)
        if result is None:
            yield _wrong(name, f"{MANIFEST} does not name it, and the recorded outcomes give it")
        elif md5 is None:
            yield _wrong(result.key, f"{MANIFEST} names it, and the recorded outcomes do not give it")
        elif result.md5 != md5:
            yield _wrong(result.key, f"by {MANIFEST} its MD5 is {result.md5}, the recorded outcomes give {md5}")
        elif (there := _md5(copied / RESULTS / name)) != md5:
            yield _wrong(result.key, f"the file's MD5 is {there}, the recorded outcomes give {md5}" if there else "it is missing")


def _given(found: JobSnapshot, files: JobFiles) -> dict[str, str]:
    """The MD5 of each result file of the report, by its name without the prefix. Raises SpoolError, ValueError."""
    with tempfile.TemporaryDirectory(prefix="haulier-report-") as folder:
        written = ReportFiles(found.job, Path(folder))
        for rows, outcomes in files.by_chunk():
            written.add(rows, outcomes)
        return {file.key.rpartition("/")[2]: file.md5 for file in written.finish()}


def _md5(path: Path) -> str | None:
    digest: Any = hashlib.md5(usedforsecurity=False)
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError:
        return None
    return str(digest.hexdigest())


def _wrong(file: str, problem: str) -> Finding:
    return Finding(check="report", file=file, problem=problem)
