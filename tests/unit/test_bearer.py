"""Bearer tokens: only the right one, only where nobody listens, only while it is good."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulier.api.auth import RawRequest, bearer
from haulier.core.accounts import Account, Key, KeyKind, User, hash_of
from haulier.core.directory import Directory
from haulier.core.errors import AccessRefused, TokenExpired, UnknownAccessKey

NOW = 1_700_000_000
TOKEN = "hlr_" + "a" * 43
KEY = Key(id="HLB1", kind=KeyKind.BEARER, token_hash=hash_of(TOKEN.encode()), expires_ms=(NOW + 1) * 1000)
KNOWN = Directory([Account(name="acme", users=(User(account="acme", name="bob", policy="viewer", keys=(KEY,)),))])


def request(*authorization: str, query: str = "", secure: bool = False, peer: str = "127.0.0.1") -> RawRequest:
    headers = [(b"host", b"x"), *((b"authorization", value.encode("latin-1")) for value in authorization)]
    return RawRequest("GET", b"/api/v1/jobs", query.encode(), headers, b"", secure=secure, peer=peer)


def verify(*authorization: str, now: float = NOW, **more: Any) -> str:
    return bearer.verify(request(*authorization, **more), KNOWN.bearer, now).identity.user.name


@pytest.mark.parametrize("value", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER   {TOKEN} "])
def test_the_right_token_is_let_in(value: str) -> None:
    assert bearer.is_bearer(request(value))
    assert verify(value) == "bob"
    assert verify(value, secure=True, peer="192.0.2.1") == "bob"


def test_over_plain_http_it_is_taken_from_this_machine_only() -> None:
    with pytest.raises(AccessRefused, match="over TLS"):
        verify(f"Bearer {TOKEN}", peer="192.0.2.1")


@pytest.mark.parametrize("token", ["hlr_" + "b" * 43, TOKEN[:-1] + "A", TOKEN + "a"])
def test_another_token_is_not_known(token: str) -> None:
    with pytest.raises(UnknownAccessKey):
        verify(f"Bearer {token}")


@pytest.mark.parametrize(
    "value", ["Bearer ", "Bearer HLB1", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}\xff", f"Bearer {TOKEN} x", TOKEN]
)
def test_what_has_not_the_form_of_a_token_is_refused(value: str) -> None:
    with pytest.raises(AccessRefused, match="not of the form") as refused:
        verify(value)
    assert TOKEN[4:] not in str(refused.value)


@given(st.binary(max_size=80), st.binary(max_size=20))
def test_nothing_else_is_let_in_and_nothing_crashes(value: bytes, query: bytes) -> None:
    asked = RawRequest("GET", b"/", query, [(b"authorization", b"Bearer " + value)], b"", secure=True, peer="192.0.2.1")
    with pytest.raises(AccessRefused):
        bearer.verify(asked, KNOWN.bearer, NOW)


def test_two_credentials_are_one_too_many() -> None:
    with pytest.raises(AccessRefused, match="more than once"):
        verify(f"Bearer {TOKEN}", f"Bearer {TOKEN}")
    for query in ("X-Amz-Signature=0", "x-amz-security-token=0", "q-ak=x"):
        with pytest.raises(AccessRefused, match="both"):
            verify(f"Bearer {TOKEN}", query=query)
    with pytest.raises(AccessRefused, match="missing"):
        verify()


def test_a_token_is_good_until_it_expires_or_is_taken_away() -> None:
    assert verify(f"Bearer {TOKEN}", now=NOW + 0.999) == "bob"
    with pytest.raises(TokenExpired):
        verify(f"Bearer {TOKEN}", now=NOW + 1)
    with pytest.raises(UnknownAccessKey):
        bearer.verify(request(f"Bearer {TOKEN}"), Directory().bearer, NOW)


def test_other_schemes_are_no_bearer_tokens() -> None:
    assert not bearer.is_bearer(request("AWS4-HMAC-SHA256 Credential=x"))
    assert not bearer.is_bearer(request("BearerX"))
    assert not bearer.is_bearer(request())
