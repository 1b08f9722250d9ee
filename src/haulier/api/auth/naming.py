"""Which key a request's head says it is signed with, before its body is read and anything verified.

Whoever names no key that is known can be told so at once: it is given no room for a large body, and no turn. Nobody is let in by
this, and nobody refused: the verifiers have the word in either case.
"""

import re
from typing import Final

from haulier.api.auth.bearer import TOKEN
from haulier.api.auth.request import RawRequest
from haulier.core.accounts import Identity, hash_of
from haulier.core.directory import Directory

_HEADER: Final = re.compile(rb"AWS4-HMAC-SHA256 +Credential=([^/,\s]{1,128})/|(?:.*&)?q-ak=([^&]{1,128})(?:&|\Z)", re.DOTALL)
_BEARER: Final = re.compile(rb"bearer +(" + TOKEN.pattern + rb")", re.IGNORECASE)
_PARAMETERS: Final = (b"x-amz-credential", b"q-ak")


def named(request: RawRequest, directory: Directory) -> Identity | None:
    """Whose key it is, None where the head names none that is known. The request's body does not matter."""
    sent = request.values(b"authorization")
    if len(sent) > 1:
        return None
    if not sent:
        return _in_query(request, directory)
    if found := _BEARER.fullmatch(sent[0]):
        return directory.bearer(hash_of(found[1]))
    found = _HEADER.match(sent[0])
    return _signer(directory, found[1] or found[2]) if found else None


def _in_query(request: RawRequest, directory: Directory) -> Identity | None:
    if not request.raw_query:
        return None
    keys = [value.partition(b"/")[0] for name, value in request.query_pairs() if name.lower() in _PARAMETERS]
    return _signer(directory, keys[0]) if len(keys) == 1 else None


def _signer(directory: Directory, key: bytes) -> Identity | None:
    return directory.signer(key.decode("latin-1"))
