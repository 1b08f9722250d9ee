"""Logs: JSON lines on standard error, constant message, facts as fields. Secrets never reach a log call; as a second line of
defence, fields with telling names are blanked."""

import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

_SECRET_FIELDS: Final = frozenset(
    {"authorization", "secret_key", "session_token", "signature", "x-amz-security-token", "credentials"}
)


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


def _blank_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in event:
        if name.lower() in _SECRET_FIELDS:
            event[name] = "…"
    return event
