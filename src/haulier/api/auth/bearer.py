"""Bearer tokens (RFC 6750): the native API only, and only where nobody on the way can read them."""

import hmac
import re
from collections.abc import Callable
from typing import Final

from haulier.api.auth.request import RawRequest, Verified
from haulier.core.accounts import Identity, hash_of
from haulier.core.errors import AccessRefused, TokenExpired, UnknownAccessKey

_SCHEME: Final = b"bearer "
TOKEN: Final = re.compile(rb"hlr_[0-9A-Za-z]{43,128}")


def is_bearer(request: RawRequest) -> bool:
    """Whether the request says that a bearer token is in it; then no other form is tried."""
    return any(value.lower().startswith(_SCHEME) for value in request.values(b"authorization"))


def verify(request: RawRequest, lookup: Callable[[bytes], Identity | None], now: float) -> Verified:
    """Whose token it is. `lookup` finds it by its hash, `now` is Unix time in seconds. No region is signed for.

    Raises AccessRefused, UnknownAccessKey, TokenExpired.
    """
    value = request.needed(b"authorization")
    if any(name.lower().startswith((b"x-amz-", b"q-")) for name, _ in request.query_pairs()):
        raise AccessRefused("The request carries credentials both in the Authorization header and in the query.")
    if not request.secure and not request.peer_is_loopback:
        raise AccessRefused("A bearer token is taken over TLS, or from a client on the same machine.")
    token = value[len(_SCHEME) :].strip(b" ")
    if not value.lower().startswith(_SCHEME) or not TOKEN.fullmatch(token):
        raise AccessRefused("The Authorization header is not of the form Bearer hlr_…")
    hashed = hash_of(token)
    identity = lookup(hashed)
    if identity is None or not hmac.compare_digest(identity.key.token_hash, hashed):
        raise UnknownAccessKey("The bearer token is not known.")
    if identity.key.expired(int(now * 1000)):
        raise TokenExpired("The bearer token has expired.")
    return Verified(identity, "")
