"""The command line: one file per noun. `main` is quick where little is asked: `--version` imports nothing, help no client."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from haulier import __version__

if TYPE_CHECKING:
    from cyclopts import App

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (`exits.Exit`); a refusal is one line on standard error, never a traceback."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        sys.stdout.write(f"haulier {__version__}\n")
        return 0
    try:
        code = _run(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Who read our output has gone (`| head`): end as rich does, and keep Python from flushing once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _app() -> "App":
    from cyclopts import App  # noqa: PLC0415

    from haulier.cli import account, audit, backup, demo, doctor, job, key, report, role, serve, stop_all, user  # noqa: PLC0415

    app = App(name="haulier", help="Batch operations on any S3-compatible object store.", version=f"haulier {__version__}")
    app.command(serve.serve)
    app.command(job.app)
    app.command(report.app)
    app.command(account.app)
    app.command(user.app)
    app.command(key.app)
    app.command(role.app)
    app.command(audit.app)
    app.command(stop_all.stop_all)
    app.command(backup.backup)
    app.command(backup.restore)
    app.command(doctor.doctor)
    app.command(demo.demo)
    return app


def _run(words: list[str]) -> int:
    from cyclopts import CycloptsError  # noqa: PLC0415

    from haulier.cli.exits import CommandFailed, Exit  # noqa: PLC0415
    from haulier.cli.output import note  # noqa: PLC0415
    from haulier.core.errors import HaulierError, SettingsError  # noqa: PLC0415

    try:
        code = _app()(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        note(" ".join(str(error).split()))
        return Exit.USAGE
    except CommandFailed as error:
        note(str(error))
        return error.exit_code
    except SettingsError as error:
        note(str(error))
        return Exit.USAGE
    except HaulierError as error:
        note(str(error))
        return Exit.FAILED
    return int(code or 0)
