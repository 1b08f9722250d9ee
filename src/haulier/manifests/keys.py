"""Keys and buckets as manifests write them: percent escapes undone, limits checked, one by one and by the column."""

import re
from binascii import a2b_qp
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from haulier.manifests.rules import KEY_BYTES_MAX, CsvRules

BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
"""Wider than any provider's rule: the store knows its own names, we keep out what cannot be one."""
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def percent_decoded(text: bytes) -> bytes:
    """Every `%XX` as its byte. Each `%` must be followed by two hexadecimal digits."""
    # Quoted-printable is percent-encoding with another sign, and its decoder is written in C: 20 times faster than urllib's.
    return a2b_qp(text.replace(b"=", b"=3D").replace(b"%", b"="))


def decoded_key(raw: bytes, rules: CsvRules) -> bytes:
    """The key that a manifest's text names. Raises ValueError, with the problem as its text, where it names none."""
    key = raw.replace(b"+", b" ") if rules.plus_is_blank else raw
    if b"%" in key:
        if rules.bad_escapes_literal:
            key = _BAD_ESCAPE.sub(b"%25", key)
        elif bad := _BAD_ESCAPE.search(raw):
            raise ValueError(f"the key has a bad percent-escape at byte {bad.start()} (a literal % is written %25)")
        key = percent_decoded(key)
    if not key:
        raise ValueError("the key is empty")
    if len(key) > KEY_BYTES_MAX:
        raise ValueError(f"the key has {len(key)} bytes, {KEY_BYTES_MAX} are allowed")
    if b"\0" in key:
        raise ValueError("the key holds a NUL")
    try:
        raw.decode()
        key.decode()
    except UnicodeDecodeError:
        raise ValueError("the key is not UTF-8") from None
    return key


def decoded_keys(raw: pa.Array, rules: CsvRules) -> pa.Array | None:
    """As `decoded_key` for a whole column of valid UTF-8 without NUL; None where some row is, or may be, bad."""
    keys = raw.cast(pa.binary())
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(keys)], pa.int32()), keys), b"\0")[0].as_py()
    if b"%" in joined or (rules.plus_is_blank and b"+" in joined):
        decoded = _decoded_text(joined, rules)
        if decoded is None:
            return None
        keys = pa.array(decoded.split(b"\0"), pa.binary())
    lengths = pc.min_max(pc.binary_length(keys)).as_py()
    return keys if lengths["min"] > 0 and lengths["max"] <= KEY_BYTES_MAX else None


def _decoded_text(joined: bytes, rules: CsvRules) -> bytes | None:
    if rules.plus_is_blank:
        joined = joined.replace(b"+", b" ")
    if _BAD_ESCAPE.search(joined):
        if not rules.bad_escapes_literal:
            return None
        joined = _BAD_ESCAPE.sub(b"%25", joined)
    if b"%00" in joined:
        return None
    decoded = percent_decoded(joined)
    try:
        decoded.decode()  # NUL cannot stand inside a character: valid as a whole is valid one by one
    except UnicodeDecodeError:
        return None
    return decoded
