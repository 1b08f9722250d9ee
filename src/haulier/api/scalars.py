"""Text of the wire as values: integers, booleans, times and strings, read more strictly than Python would."""

import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, Final

from haulier.api.shapes import Shape
from haulier.core.errors import InvalidField, NotImplementedHere

_BLANK: Final = " \t\r\n"
_DIGITS: Final = re.compile(r"(-?)[0-9]{1,40}")
_LARGEST: Final = {"integer": 2**31 - 1, "long": 2**63 - 1}
_UNIX: Final = re.compile(r"([0-9]{1,11})(?:\.([0-9]{1,9}))?")
_ISO: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?(?:Z|([+-])([0-9]{2}):?([0-9]{2}))"
)
_HTTP_DATE: Final = re.compile(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")
"""What COS's clients write in HttpExpiresDate, which is an object's Expires header: RFC 1123, as RFC 9110 has it."""
_SECONDS_MAX: Final = 253_402_300_799
"""The last second of the year 9999, which is the last that HTTP can tell."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Unreadable:
    """Stands for text that is no value of its type, while what goes before it is looked at (cos-batch.md §2.1, order)."""

    def __init__(self, error: InvalidField) -> None:
        self.error = error


def parse(shape: Shape, text: str, path: str) -> Any:
    """The value that the text stands for. Raises InvalidField naming `path`, NotImplementedHere for kinds of newer models."""
    if shape.kind == "string":
        return text.strip(_BLANK) if shape.trim else text
    trimmed = text.strip(_BLANK)
    if shape.kind in _LARGEST:
        return _integer(shape, trimmed, path)
    if shape.kind == "boolean":
        return _boolean(trimmed, path)
    if shape.kind == "timestamp":
        milliseconds = _milliseconds(trimmed, path)
        return milliseconds // 1000 if shape.unix_seconds else milliseconds
    raise NotImplementedHere(path, f"is of type {shape.kind}, which this version does not know")


def _integer(shape: Shape, text: str, path: str) -> int:
    largest = _LARGEST[shape.kind]
    least, most = -largest if shape.least is None else shape.least, largest if shape.most is None else shape.most
    found = _DIGITS.fullmatch(text)
    if found is None:
        raise InvalidField(path, f"{text[:40]!r} is not a whole number between {least} and {most}")
    value = int(text)
    if abs(value) > largest or (found[1] and least >= 0):
        raise InvalidField(path, f"{text!r} is not between {least} and {most}")
    return value


def _boolean(text: str, path: str) -> bool:
    value = {"true": True, "false": False}.get(text.lower() if text.isascii() else text)
    if value is None:
        raise InvalidField(path, f"{text[:40]!r} is neither true nor false")
    return value


def _milliseconds(text: str, path: str) -> int:
    unix = _UNIX.fullmatch(text)
    if unix and int(unix[1]) <= _SECONDS_MAX:
        return int(unix[1]) * 1000 + _thousandths(unix[2])
    found = _ISO.fullmatch(text)
    if found:
        year, month, day, hour, minute, second, fraction, sign, hours, minutes = found.groups()
        offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        try:
            zone = timezone(-offset if sign == "-" else offset)
            moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=zone).astimezone(UTC)
        except (ValueError, OverflowError):  # OverflowError: in UTC the year is 0 or 10000
            pass
        else:
            return (moment - _EPOCH) // timedelta(milliseconds=1) + _thousandths(fraction)
    dated = _http_date(text)
    if dated is not None:
        return (dated - _EPOCH) // timedelta(milliseconds=1)
    raise InvalidField(
        path, f"{text[:40]!r} is not a time; write 2030-01-02T03:04:05Z, Unix seconds or Wed, 02 Jan 2030 03:04:05 GMT"
    )


def _http_date(text: str) -> datetime | None:
    """None where the text is no date, or names another day of the week than the date's."""
    if not _HTTP_DATE.fullmatch(text):
        return None
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if format_datetime(moment, usegmt=True) == text else None


def _thousandths(fraction: str | None) -> int:
    return int(f"{fraction or '':0<3}"[:3])
