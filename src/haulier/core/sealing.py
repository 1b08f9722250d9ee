"""Secrets at rest: sealed by a master key, and bound to the place they belong to (reliability.md §6).

A secret is sealed with AES-256-GCM. The names of its place (key id, account) are authenticated with it, so a sealed secret that
is moved to another place does not open there. Every sealed secret names the version of the master key, so that a new one can be
added before the old one is given up. Pure: master keys and nonces are passed in.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from haulier.core.errors import MasterKeyMissing, SealBroken

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_LINE: Final = re.compile(r"([1-9][0-9]{0,8}):([A-Za-z0-9+/]{43}=)")
_PURPOSE: Final = "haulier"


class Sealed(msgspec.Struct, frozen=True):
    """A secret as it is stored."""

    version: int
    """Of the master key."""
    data: bytes
    """Nonce, then ciphertext and tag."""


class MasterKeys:
    """The master keys by version; the highest version seals, each opens what it has sealed."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        """Raises ValueError for a key that has not KEY_BYTES bytes, and when there is none at all."""
        if not keys or any(len(key) != KEY_BYTES for key in keys.values()):
            raise ValueError(f"a master key has {KEY_BYTES} bytes, and there must be one")
        self._keys = dict(keys)

    @classmethod
    def parse(cls, text: str) -> "MasterKeys":
        """From lines of VERSION:BASE64; empty lines and those that begin with # are passed over. Raises ValueError, in which
        nothing of the text stands."""
        keys: dict[int, bytes] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            found = _LINE.fullmatch(line.strip())
            if found is None:
                raise ValueError(f"line {number} is not VERSION:KEY, a whole number and the base64 of {KEY_BYTES} bytes")
            version = int(found[1])
            if version in keys:
                raise ValueError(f"line {number}: version {version} stands twice")
            try:
                keys[version] = b64decode(found[2], validate=True)
            except NotBase64:
                raise ValueError(f"line {number}: the key is not base64") from None
        if not keys:
            raise ValueError("there is no line VERSION:KEY")
        return cls(keys)

    @staticmethod
    def line(version: int, key: bytes) -> str:
        """A key as `parse` reads it, with a line break."""
        return f"{version}:{b64encode(key).decode('ascii')}\n"

    @property
    def versions(self) -> frozenset[int]:
        """The versions that can be opened."""
        return frozenset(self._keys)

    @property
    def newest(self) -> int:
        """The version that seals."""
        return max(self._keys)

    def seal(self, secret: bytes, place: Sequence[str], nonce: bytes) -> Sealed:
        """The secret, sealed for this place. `nonce` is NONCE_BYTES random bytes that were never used before."""
        assert len(nonce) == NONCE_BYTES
        version = self.newest
        return Sealed(version, nonce + AESGCM(self._keys[version]).encrypt(nonce, secret, _bound(place)))

    def open(self, sealed: Sealed, place: Sequence[str]) -> bytes:
        """The secret. Raises MasterKeyMissing for a version that is not here, SealBroken where the master key is another one of
        that version, the place is another, or any bit was changed."""
        key = self._keys.get(sealed.version)
        if key is None:
            raise MasterKeyMissing(sealed.version)
        nonce, data = sealed.data[:NONCE_BYTES], sealed.data[NONCE_BYTES:]
        if len(data) < _TAG_BYTES:
            raise SealBroken("the sealed secret is cut short")
        try:
            return AESGCM(key).decrypt(nonce, data, _bound(place))
        except InvalidTag:
            raise SealBroken("the sealed secret was changed, moved, or sealed by another master key") from None

    def __repr__(self) -> str:
        return f"MasterKeys(versions {sorted(self._keys)})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("versions", sorted(self._keys))]


def _bound(place: Sequence[str]) -> bytes:
    # As JSON, in which no two lists of names read the same.
    return msgspec.json.encode([_PURPOSE, *place])
