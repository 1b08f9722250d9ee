"""Secrets at rest: what is sealed opens again, in its place and under its key only."""

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulier.core.errors import MasterKeyMissing, SealBroken
from haulier.core.sealing import KEY_BYTES, NONCE_BYTES, MasterKeys, Sealed

KEYS = MasterKeys({1: b"k" * KEY_BYTES})
NONCE = b"n" * NONCE_BYTES

places = st.lists(st.text(max_size=8), max_size=4)
nonces = st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES)
keys = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)


@given(st.binary(max_size=200), places, nonces, st.dictionaries(st.integers(1, 9), keys, min_size=1))
def test_what_is_sealed_opens_again(secret: bytes, place: list[str], nonce: bytes, given_keys: dict[int, bytes]) -> None:
    master = MasterKeys(given_keys)
    sealed = master.seal(secret, place, nonce)
    assert sealed.version == max(given_keys)
    assert MasterKeys.parse("".join(MasterKeys.line(*pair) for pair in given_keys.items())).open(sealed, place) == secret
    assert len(secret) < 8 or secret not in sealed.data[NONCE_BYTES:]


@given(st.binary(max_size=50), places, places)
def test_a_sealed_secret_opens_in_its_own_place_only(secret: bytes, place: list[str], other: list[str]) -> None:
    sealed = KEYS.seal(secret, place, NONCE)
    if place == other:
        assert KEYS.open(sealed, other) == secret
        return
    with pytest.raises(SealBroken):
        KEYS.open(sealed, other)


@given(st.binary(max_size=20), st.data())
def test_no_bit_of_a_sealed_secret_can_be_changed(secret: bytes, data: st.DataObject) -> None:
    sealed = KEYS.seal(secret, ["key"], NONCE)
    bit = data.draw(st.integers(0, 8 * len(sealed.data) - 1))
    changed = bytearray(sealed.data)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealBroken):
        KEYS.open(msgspec.structs.replace(sealed, data=bytes(changed)), ["key"])


def test_every_version_opens_what_it_has_sealed_and_the_newest_seals() -> None:
    old = KEYS.seal(b"secret", ["key"], NONCE)
    both = MasterKeys({1: b"k" * KEY_BYTES, 2: b"m" * KEY_BYTES})
    new = both.seal(b"secret", ["key"], NONCE)
    assert (old.version, new.version, both.newest, both.versions) == (1, 2, 2, {1, 2})
    assert both.open(old, ["key"]) == both.open(new, ["key"]) == b"secret"
    with pytest.raises(MasterKeyMissing) as missing:
        KEYS.open(new, ["key"])
    assert missing.value.version == 2


def test_another_key_of_the_same_version_opens_nothing() -> None:
    sealed = KEYS.seal(b"secret", ["key"], NONCE)
    with pytest.raises(SealBroken):
        MasterKeys({1: b"x" * KEY_BYTES}).open(sealed, ["key"])


@pytest.mark.parametrize("data", [b"", b"short", b"n" * (NONCE_BYTES + 15)])
def test_a_sealed_secret_that_is_cut_short_is_no_crash(data: bytes) -> None:
    with pytest.raises(SealBroken):
        KEYS.open(Sealed(1, data), ["key"])


CANARY = base64.b64encode(b"c" * KEY_BYTES).decode()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no line"),
        ("# only a remark\n\n", "no line"),
        (CANARY, "line 1"),
        (f"0:{CANARY}", "line 1"),
        (f"1:{CANARY}\n1:{CANARY}", "line 2: version 1 stands twice"),
        (f"1:{CANARY}\n2:{CANARY[:-4]}", "line 2"),
        (f"1:{CANARY} x", "line 1"),
        (f"\u0661:{CANARY}", "line 1"),
    ],
)
def test_a_file_of_master_keys_that_cannot_be_read_is_named_and_not_quoted(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as refused:
        MasterKeys.parse(text)
    assert CANARY[:12] not in str(refused.value)


@given(st.text(max_size=60))
def test_no_text_in_the_place_of_master_keys_is_too_strange(text: str) -> None:
    with pytest.raises(ValueError, match="line"):
        MasterKeys.parse(text)


def test_remarks_and_blanks_between_master_keys_do_not_matter() -> None:
    assert MasterKeys.parse(f"# since May\r\n\n  2:{CANARY}  \n#1:gone\n").versions == {2}


def test_no_master_key_is_shown() -> None:
    shown = repr(KEYS) + str(KEYS) + repr(KEYS.__rich_repr__())
    assert "kkk" not in shown
    assert "[1]" in shown
    with pytest.raises(ValueError, match="32 bytes"):
        MasterKeys({1: b"short"})
    with pytest.raises(ValueError, match="must be one"):
        MasterKeys({})
