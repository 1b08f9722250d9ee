"""Logs: JSON lines on standard error, constant message, facts as fields. Secrets never reach a log call; as a second line of
defence, fields with telling names are blanked. What libraries log by `logging` comes out in the same form."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

_SECRET_FIELDS: Final = frozenset(
    {"authorization", "secret_key", "session_token", "signature", "x-amz-security-token", "credentials"}
)

_log = structlog.get_logger(__name__)


def configure(least: int = logging.DEBUG) -> None:
    """Set up logging for this process; what is below the level `least` (of `logging`) is left out."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(least),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _blank_secrets,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=_Lines,
        cache_logger_on_first_use=False,
    )
    logging.raiseExceptions = False  # it would tell standard error that standard error cannot be told
    logging.basicConfig(handlers=[_JsonLines()], level=logging.WARNING, force=True)


class _Lines:
    """Writes to standard error. That may be a full disk, or a pipe that nobody reads any more: then the line is lost, and whoever
    logs goes on with what it has to do."""

    def __init__(self, *_arguments: Any) -> None:
        self._file = sys.stderr

    def msg(self, message: str) -> None:
        """One line."""
        try:
            self._file.write(message + "\n")
            self._file.flush()
        except (OSError, ValueError):  # ValueError: closed
            return

    debug = info = warning = error = critical = exception = log = msg


class _JsonLines(logging.Handler):
    """Makes of a record of `logging` (uvicorn's, asyncio's) one line like all others; its traceback is a field of it."""

    def emit(self, record: logging.LogRecord) -> None:
        """The record's message without the blanks around it; uvicorn's end in a line break."""
        try:
            level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
            facts = {} if record.exc_info is None else {"exc_info": record.exc_info}
            _log.log(level, record.getMessage().strip(), logger=record.name, **facts)
        except Exception:  # noqa: BLE001 - whatever is wrong with a record, it must not stop who logs
            self.handleError(record)


def _blank_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in event:
        if name.lower() in _SECRET_FIELDS:
            event[name] = "…"
    return event
