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


def configure() -> None:
    """Set up logging for this process."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _blank_secrets,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_JsonLines()], level=logging.WARNING, force=True)


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
