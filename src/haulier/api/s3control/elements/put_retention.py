"""S3PutObjectRetention (s3-batch-operations.md §3.6). Without mode and date, retention is removed."""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.elements import BucketName, Element, Named
from haulier.api.s3control.elements.locks import event_hold, retention, shown_event_hold

_HOLD: Final = "EventHold"
_DURATION: Final = "EventHoldDuration"


def _read(sent: Mapping[str, Any], path: str, _named: Named) -> dict[str, Any]:
    path, asked = f"{path}.Retention", sent["Retention"]
    return {
        "retention": retention(asked, path, mode="Mode", until="RetainUntilDate"),
        "event_hold": event_hold(asked, path, hold=_HOLD, duration=_DURATION),
        "bypass_governance": sent.get("BypassGovernanceRetention", False),
    }


def _write(parameters: Mapping[str, Any], _bucket_name: BucketName) -> dict[str, Any]:
    asked = parameters["retention"]
    lock = {} if asked is None else {"RetainUntilDate": asked["until_ms"], "Mode": asked["mode"]}
    hold = shown_event_hold(parameters["event_hold"], name=_HOLD, duration=_DURATION)
    bypass = {"BypassGovernanceRetention": True} if parameters["bypass_governance"] else {}
    return {**bypass, "Retention": {**lock, **hold}}


PUT_RETENTION: Final = Element("S3PutObjectRetention", "put_retention", _read, _write)
