"""What a request has to show besides a good signature: a temporary key's session token, and that the key's time is not over.

The rules are those of both clouds (cos-batch.md §1.6): a temporary key without its token is as unknown as any other name, and so
is a lasting one with a token, for that is not what was handed out.
"""

import hmac

from haulier.core.accounts import Key, KeyKind, hash_of
from haulier.core.errors import TokenExpired, UnknownAccessKey


def check_token(key: Key, token: bytes | None, now: float) -> None:
    """Let the key pass that has signed the request. `now` is Unix time in seconds. Raises UnknownAccessKey, TokenExpired."""
    if key.kind is KeyKind.SESSION:
        if token is None or not hmac.compare_digest(hash_of(token), key.token_hash):
            raise UnknownAccessKey("The access key is a temporary one; its session token is missing or another.")
        if key.expired(int(now * 1000)):
            raise TokenExpired("The session token has expired.")
    elif key.kind is not KeyKind.ACCESS or token is not None:
        raise UnknownAccessKey("The session token does not belong to the access key.")
    elif key.expired(int(now * 1000)):
        raise UnknownAccessKey("The access key has expired.")
