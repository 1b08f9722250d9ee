"""Exit codes, the same for every command, and the one exception by which a command ends with another code than 0."""

from enum import IntEnum

from haulier.core.errors import HaulierError


class Exit(IntEnum):
    """What a script may rely on."""

    CLEAN = 0
    """Done; of a watched job: Complete, and no task failed."""
    FAILED = 1
    """A watched job ended Failed or with failed tasks; or the server refused a request."""
    USAGE = 2
    """The command line or the settings cannot be used."""
    CANCELLED = 3
    """A watched job was cancelled."""
    DENIED = 4
    """No credentials, or they are not accepted or not sufficient."""
    NOT_FOUND = 5
    """No such job, account, user, key or role."""
    UNREACHABLE = 6
    """The server does not answer, or not sensibly."""
    TIMED_OUT = 7
    """The time given to a watch is over; the job goes on."""
    INTERRUPTED = 130
    """Ctrl-C; a watched job goes on."""


class CommandFailed(HaulierError):
    """Ends a command with an exit code and one line on standard error."""

    def __init__(self, exit_code: Exit, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
