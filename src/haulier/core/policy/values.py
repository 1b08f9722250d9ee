"""What a policy compares a key with, read by the kind of the key."""

import ipaddress
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from haulier.core.errors import PolicyError
from haulier.core.policy.conditions import Network, Wanted
from haulier.core.policy.patterns import ARN_PARTS
from haulier.core.policy.words import Kind

_NUMBER: Final = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?")
_DATE: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2}))?"
)
_SECONDS: Final = re.compile(r"[0-9]{1,11}")


def read_value(kind: Kind, value: str | bool, path: str) -> Wanted:
    """The value, fit to be compared with a key of the kind. Raises PolicyError naming `path`."""
    match kind:
        case Kind.TRUTH:
            return _truth(value, path)
        case _ if isinstance(value, bool):
            raise PolicyError(path, f"must be a {kind.value}, not true or false")
        case Kind.NUMBER:
            if not _NUMBER.fullmatch(value):
                raise PolicyError(path, f"{value!r} is not a number")
            return Decimal(value)
        case Kind.DATE:
            return _date_ms(value, path)
        case Kind.ADDRESS:
            return _network(value, path)
        case Kind.ARN:
            if value != "*" and len(value.split(":")) < ARN_PARTS:
                raise PolicyError(path, f"{value!r} is not an ARN: six parts with colons between them")
            return value
        case _:
            return value


def _truth(value: str | bool, path: str) -> bool:
    if isinstance(value, bool):
        return value
    if value not in ("true", "false"):
        raise PolicyError(path, "must be true or false")
    return value == "true"


def _date_ms(value: str, path: str) -> int:
    if _SECONDS.fullmatch(value):
        return int(value) * 1000
    if not _DATE.fullmatch(value):
        raise PolicyError(path, f"{value!r} is no date: YYYY-MM-DD, YYYY-MM-DDThh:mm:ssZ or Unix seconds")
    try:
        found = datetime.fromisoformat(value)
        return round((found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise PolicyError(path, f"{value!r} is no date of the calendar") from None


def _network(value: str, path: str) -> Network:
    try:
        found = ipaddress.ip_network(value)
    except ValueError as error:
        raise PolicyError(path, f"is no address and no network: {error}") from None
    if found.version == 6 and found.network_address.ipv4_mapped is not None:
        raise PolicyError(path, f"{value!r} is an IPv4 address inside IPv6: write it as IPv4")
    return found
