"""Object Lock in the words of copies and of retention: mode and date go together, and so do an event hold and its duration."""

from collections.abc import Mapping
from typing import Any

from haulier.core.errors import InvalidField, MalformedDocument


def retention(sent: Mapping[str, Any], path: str, *, mode: str, until: str) -> dict[str, Any] | None:
    """Mode and date under the names that the members have there; None when neither is given. Raises MalformedDocument for one
    without the other."""
    for name, other in ((mode, until), (until, mode)):
        if name in sent and other not in sent:
            raise MalformedDocument(f"{path}.{other}", f"is missing; {name} needs it")
    return {"mode": sent[mode], "until_ms": sent[until]} if mode in sent else None


def event_hold(sent: Mapping[str, Any], path: str, *, hold: str, duration: str) -> dict[str, Any] | None:
    """The event hold under the names that the members have there; None when it is not given.

    A duration says how long the object stays protected once the hold is released: it needs a hold that is ON, and is given in
    days or in years. Raises MalformedDocument, InvalidField.
    """
    period = sent.get(duration)
    if period is not None:
        if hold not in sent:
            raise MalformedDocument(f"{path}.{hold}", f"is missing; {duration} needs it")
        if sent[hold] != "ON":
            raise InvalidField(f"{path}.{duration}", f"is given, but {hold} is {sent[hold]}")
        if len(period) != 1:
            found = "both" if period else "neither"
            raise MalformedDocument(f"{path}.{duration}", f"must hold either Days or Years; it holds {found}")
    return {"status": sent[hold], "days": _part(period, "Days"), "years": _part(period, "Years")} if hold in sent else None


def _part(period: Mapping[str, int] | None, name: str) -> int | None:
    return None if period is None else period.get(name)


def shown_event_hold(hold: Mapping[str, Any] | None, *, name: str, duration: str) -> dict[str, Any]:
    """The members that ask for the event hold."""
    if hold is None:
        return {}
    period = {shown: hold[ours] for shown, ours in (("Days", "days"), ("Years", "years")) if hold[ours] is not None}
    return {name: hold["status"], **({duration: period} if period else {})}
