"""`haulier audit`: check the audit log of a data directory, whether a server is at work on it or not."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from haulier.cli import output as out
from haulier.cli.exits import CommandFailed, Exit

app = App(name="audit", help="Check the audit log.")


@app.command
def verify(*, config: Path, tip: Annotated[str | None, Parameter(negative=())] = None) -> int:
    """Check every line of the audit log and print how many there are and the last line's hash.

    Keep that hash where the server cannot write: a later check with --tip proves that nothing up to there was changed or cut off.

    Parameters
    ----------
    config
        The settings file of the server (TOML).
    tip
        A hash that an earlier check printed; the log must still hold the line that has it.
    """
    from haulier.audit.files import verify as check  # noqa: PLC0415
    from haulier.settings import load  # noqa: PLC0415

    folder = load(config, os.environ).server.data_dir / "audit"
    found = check(folder, tip)
    if tip is not None and not found.tip_found:
        raise CommandFailed(Exit.FAILED, f"no line of the audit log in {folder} has the hash {tip}")
    out.as_json({"lines": found.lines, "sequence": found.end.sequence, "tip": found.end.hash})
    return Exit.CLEAN
