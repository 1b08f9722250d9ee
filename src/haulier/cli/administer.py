"""The way of an operator's command: over the socket to the server on the data directory, else to the database itself."""

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from haulier.cli.exits import CommandFailed, Exit
from haulier.cli.output import Output

if TYPE_CHECKING:
    from haulier.admin import Command


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Target:
    """What all commands of the operator are told."""

    config: Annotated[Path, Parameter(name="--config", env_var="HAULIER_CONFIG")]
    """The settings file of the server (TOML)."""
    output: Annotated[Output, Parameter(name=("--output", "-o"))] = "table"
    """How to print: for people, as JSON, or names only."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class AccountTarget(Target):
    """As `Target`, for what belongs to an account."""

    account: Annotated[str | None, Parameter(name="--account")] = None
    """Whose it is; may be left out where there is one account only, and by lists, which show all then."""


_FREE_SECONDS_MAX: Final = 5.0
"""How long a server that starts or stops, or another command, may keep both ways shut."""


def administer(target: Target, command: "Command") -> Any:
    """Have the command carried out; its answer. Raises CommandFailed, SettingsError."""
    from haulier.admin import protocol  # noqa: PLC0415
    from haulier.core.errors import CommandRefused, DataDirectoryBusy, InvalidField, SecretsError, Unavailable  # noqa: PLC0415
    from haulier.settings import load  # noqa: PLC0415

    settings = load(target.config, os.environ)
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
