"""`haulier backup` and `haulier restore`: a copy of a data directory that a server works on, and one to go on from."""

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from haulier.cli import output as out
from haulier.cli.exits import CommandFailed, Exit

_Config = Annotated[Path, Parameter(name="--config", env_var="HAULIER_CONFIG")]
_Output = Annotated[Literal["table", "json"], Parameter(name=("--output", "-o"))]


def backup(folder: Path, /, *, config: _Config, with_secrets: bool = False, output: _Output = "table") -> int:
    """Back up the data directory of a server, which may run on: database, spool and audit log, as they are together now.

    Files that never change are linked where the backup is on the same disk: fast, and no help when that disk fails.

    Parameters
    ----------
    folder
        Where to: a folder that is not there yet. It appears when it is whole.
    config
        The settings file of the server (TOML).
    with_secrets
        Take along the file of the master keys, without which no stored secret opens. Else keep a copy of it elsewhere.
    output
        How to print what was done: for people, or as JSON.
    """
    from haulier.core.clock import SystemClock  # noqa: PLC0415
    from haulier.settings import load  # noqa: PLC0415
    from haulier.upkeep import backup as taking  # noqa: PLC0415

    server = load(config, os.environ).server
    if with_secrets and server.secrets_key is not None:
        raise CommandFailed(Exit.USAGE, "--with-secrets: the master keys are in the settings or the environment, not in a file")
    if with_secrets and not server.master_key_file.is_file():
        raise CommandFailed(Exit.USAGE, f"--with-secrets: there are no master keys, for {server.master_key_file} does not exist")
    keys = server.master_key_file if with_secrets else None
    about = taking.backup(server.data_dir, folder, now_ms=SystemClock().now_ms, master_keys=keys)
    if output == "json":
        out.as_json({"folder": str(folder), **_told(about)})
        return Exit.CLEAN
    out.fields({"backup": str(folder), "taken": about.taken, "spool": f"{about.files:,} files, {about.bytes:,} bytes"})
    if with_secrets:
        out.note(f"the backup holds the master keys ({taking.MASTER_KEYS}): whoever can read it can use every stored secret")
    else:
        out.note(f"the master keys are not in it: keep a copy of {server.master_key_file} elsewhere")
    return Exit.CLEAN


def restore(folder: Path, /, *, config: _Config, output: _Output = "table") -> int:
    """Restore a backup into a data directory that is empty, or not there yet, after a check of all that it holds.

    What ran when the backup was taken comes up Paused, or waits to be confirmed. Tasks without an outcome may have been done
    since, so each object is looked at before anything is repeated. The server that the backup was taken of must never run again.

    Parameters
    ----------
    folder
        The backup.
    config
        The settings file of the server (TOML) that is to go on from it.
    output
        How to print what was done: for people, or as JSON.
    """
    from haulier.core.clock import SystemClock  # noqa: PLC0415
    from haulier.settings import load  # noqa: PLC0415
    from haulier.upkeep import restore as restoring  # noqa: PLC0415

    server = load(config, os.environ).server
    done = restoring.restore(folder, server.data_dir, SystemClock())
    brought_back = done.brought_back
    if output == "json":
        told = {"epoch": brought_back.epoch, "unfinished_jobs": brought_back.jobs, "sealed_secrets": brought_back.sealed_secrets}
        out.as_json({"data_dir": str(server.data_dir), **_told(done.about), **told})
        return Exit.CLEAN
    out.fields({"restored": str(server.data_dir), "taken": done.about.taken, "unfinished jobs": f"{brought_back.jobs:,}"})
    if brought_back.jobs:
        out.note("unfinished jobs are Paused, or wait to be confirmed: look at each, then resume, confirm or cancel it")
    if brought_back.sealed_secrets and not (server.master_key_file.is_file() or server.secrets_key is not None):
        out.note(f"the master keys are missing: put their file to {server.master_key_file} before you start the server")
    return Exit.CLEAN


def _told(about: object) -> dict[str, object]:
    import msgspec  # noqa: PLC0415

    told: dict[str, object] = msgspec.to_builtins(about)
    return told
