"""The way of an operator's command: over the socket to the server on the data directory, else to the database itself."""

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from haulier.cli.exits import CommandFailed, Exit
from haulier.cli.output import Output

if TYPE_CHECKING:
    from haulier.admin import Command

Config = Annotated[Path, Parameter(name="--config", env_var="HAULIER_CONFIG")]
AccountOption = Annotated[str | None, Parameter(name="--account")]
OutputOption = Annotated[Output, Parameter(name=("--output", "-o"))]

_FREE_SECONDS_MAX: Final = 5.0
"""How long a server that starts or stops, or another command, may keep both ways shut."""


def administer(config: Path, command: "Command") -> Any:
    """Have the command carried out; its answer. Raises CommandFailed, SettingsError."""
    from haulier.admin import protocol  # noqa: PLC0415
    from haulier.core.errors import CommandRefused, DataDirectoryBusy, InvalidField, SecretsError, Unavailable  # noqa: PLC0415
    from haulier.settings import load  # noqa: PLC0415

    settings = load(config, os.environ)
    end = time.monotonic() + _FREE_SECONDS_MAX
    while True:
        try:
            return protocol.ask(settings.server.data_dir, command)
        except protocol.Refused as error:
            raise CommandFailed(_exit_code(error.kind), str(error)) from None
        except protocol.AnswerLost as error:
            raise CommandFailed(Exit.UNREACHABLE, str(error)) from None
        except protocol.NobodyListens as error:
            unheard = error
        try:
            return _alone(settings, command)
        except DataDirectoryBusy as error:
            if time.monotonic() > end:
                raise CommandFailed(Exit.UNREACHABLE, f"{error}; but {unheard}") from None
        except (CommandRefused, InvalidField, SecretsError, Unavailable) as error:
            raise CommandFailed(_exit_code(type(error)), str(error)) from None
        time.sleep(0.1)


def _alone(settings: Any, command: "Command") -> Any:
    from haulier import logs  # noqa: PLC0415
    from haulier.admin import Peer  # noqa: PLC0415
    from haulier.admin.setup import alone  # noqa: PLC0415

    logs.configure(logging.WARNING)
    with alone(settings, changes=command.changes) as administration:
        return administration.execute(command, Peer(os.geteuid(), os.getpid()))


def _exit_code(kind: type[Exception]) -> Exit:
    from haulier.core.errors import InvalidField, NotDefined, SettingsError, Unavailable  # noqa: PLC0415

    codes = {NotDefined: Exit.NOT_FOUND, InvalidField: Exit.USAGE, SettingsError: Exit.USAGE, Unavailable: Exit.UNREACHABLE}
    return next((code for each, code in codes.items() if issubclass(kind, each)), Exit.FAILED)
