"""Tokens of lists: where a page ended, told so that only this list of this account goes on there."""

import hashlib
import hmac
import uuid
from base64 import b64decode, urlsafe_b64encode

from haulier.core.accounts import Caller
from haulier.core.errors import InvalidListToken
from haulier.core.job import Job


def is_job_id(text: str) -> bool:
    """Whether the text has the form of the ids that jobs are given."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


class ListTokens:
    """Where a page ended, as opaque text of 51 characters: (creation ms, job id) and a MAC that binds it to account and order."""

    _TIME_BYTES = 6
    _MAC_BYTES = 16
    _LENGTH = _TIME_BYTES + 16 + _MAC_BYTES

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"haulier list token", hashlib.sha256)

    def _mac(self, caller: Caller, place: bytes) -> bytes:
        order = b"oldest" if caller.dialect == "cos" else b"newest"
        text = b"\0".join((caller.account.name.encode(), order, place))
        return hmac.digest(self._key, text, hashlib.sha256)[: self._MAC_BYTES]

    def make(self, caller: Caller, last: Job) -> str:
        """The token for the page after `last`."""
        place = last.created_ms.to_bytes(self._TIME_BYTES, "big") + uuid.UUID(last.id).bytes
        return urlsafe_b64encode(place + self._mac(caller, place)).rstrip(b"=").decode()

    def read(self, caller: Caller, token: str) -> tuple[int, str]:
        """(creation ms, job id) of the last job of the page before. Raises InvalidListToken."""
        try:
            raw = b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), b"-_", validate=True)
        except ValueError:  # also what UnicodeEncodeError and binascii.Error are
            raw = b""
        place, mac = raw[: -self._MAC_BYTES], raw[-self._MAC_BYTES :]
        as_made = urlsafe_b64encode(raw).rstrip(b"=").decode() == token  # the last character has bits that mean nothing
        if len(raw) != self._LENGTH or not as_made or not hmac.compare_digest(mac, self._mac(caller, place)):
            raise InvalidListToken("The list token was not made by this server for this list.")
        return int.from_bytes(place[: self._TIME_BYTES], "big"), str(uuid.UUID(bytes=place[self._TIME_BYTES :]))
