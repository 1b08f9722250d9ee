"""`haulier doctor --job ID`: whether all that must be true of a job is true in its server's data directory."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from haulier.cli import output as out
from haulier.cli.exits import CommandFailed, Exit
from haulier.cli.output import Output

if TYPE_CHECKING:
    from haulier.upkeep.findings import Examined, Finding


def examine(job_id: str, report: Path | None, output: Output, config: Path | None) -> int:
    """Check the job and print what was found; the exit code. Raises CommandFailed, SettingsError, NoReport."""
    from haulier.settings import load  # noqa: PLC0415
    from haulier.upkeep.examine import examine as look  # noqa: PLC0415

    settings = load(settings_file(config), os.environ)
    days = settings.limits.spool_retention_days
    found = look(settings.server.data_dir, job_id, now_ms=time.time_ns() // 1_000_000, spool_retention_days=days, report=report)
    if found is None:
        raise CommandFailed(Exit.NOT_FOUND, f"there is no job {job_id!r} in {settings.server.data_dir}")
    if output == "json":
        out.as_json(_document(found))
    elif output == "name":
        for check in _broken(found):
            out.line(check)
    else:
        _print(found)
    return Exit.CLEAN if found.sound else Exit.FAILED


def settings_file(config: Path | None) -> Path:
    """The server's settings, which lead to its data directory. Raises CommandFailed."""
    named = config or os.environ.get("HAULIER_CONFIG")
    if not named:
        raise CommandFailed(Exit.USAGE, "which data directory? Give --config, the server's settings file, or set HAULIER_CONFIG")
    return Path(named)


def _broken(found: "Examined") -> Mapping[str, int]:
    """How many findings each broken check has, in the order of the checks."""
    checks = {finding.check for finding in found.findings}
    counts = {check: sum(finding.check == check for finding in found.findings) for check in found.checked}
    assert checks <= counts.keys()
    return {check: count for check, count in counts.items() if count}


def _document(found: "Examined") -> dict[str, object]:
    import msgspec  # noqa: PLC0415

    return {**msgspec.to_builtins(found), "sound": found.sound}


def _print(found: "Examined") -> None:
    from haulier.upkeep.findings import CHECKS  # noqa: PLC0415

    total = "of tasks still unknown in number" if found.total is None else f"of {found.total:,} tasks"
    done = f"{found.succeeded:,} succeeded, {found.failed:,} failed, {total}; {found.chunks:,} chunks"
    out.fields({"job": found.job, "account": found.account, "status": found.status, "outcomes": done})
    out.line("")
    broken = _broken(found)
    result = {check: f"BROKEN ({broken[check]})" if check in broken else "holds" for check in found.checked}
    out.table(("CHECK", "RESULT", "WHAT MUST HOLD"), [(check, result[check], CHECKS[check]) for check in found.checked])
    for heading, lines in (("broken:", list(map(_line, found.findings))), ("notes:", found.notes)):
        if lines:
            out.line("")
            out.line(heading)
            for text in lines:
                out.line(f"  {text}")


def _line(finding: "Finding") -> str:
    places = (
        None if finding.chunk is None else f"chunk {finding.chunk}",
        None if finding.row is None else f"row {finding.row}",
        finding.file,
    )
    return f"{finding.check}: {', '.join([place for place in places if place is not None] or ['the job'])}: {finding.problem}"
