"""Compressed manifests: a stream of gzip members → their bytes, bounded against bombs (reliability §8)."""

from collections.abc import Iterable, Iterator
from typing import Final

from isal import igzip_lib

from haulier.core.errors import JobFailure

_IsalError: Final[type[Exception]] = igzip_lib.IsalError  # type: ignore[assignment]  # its stub calls the class an instance
MAGIC: Final = b"\x1f\x8b"
RATIO_MAX: Final = 1_000
"""Output bytes per input byte of the whole stream so far. Deflate cannot do more than 1,032; lists of keys stay below 100."""
RATIO_FREE_BYTES: Final = 1 << 20
"""Output that no ratio is asked of: the first bytes of a stream say little."""
OUTPUT_BYTES: Final = 1 << 20
"""Most bytes per step."""
INFLATED_BYTES_MAX: Final = 1 << 40


def inflate(blocks: Iterable[bytes], *, inflated_bytes_max: int = INFLATED_BYTES_MAX) -> Iterator[bytes]:
    """The uncompressed bytes in blocks of at most 1 MiB; checksums are verified, several members follow one another.

    Raises JobFailure `InvalidManifest` for broken or cut data, for anything after the last member, and for bombs.
    """
    member = None
    taken = given = 0
    for block in blocks:
        taken += len(block)
        data = block
        while data or (member is not None and not member.needs_input):
            if member is None:
                member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
            output = _step(member, data, first=given == 0)
            given += len(output)
            limit = min(inflated_bytes_max, RATIO_MAX * taken + RATIO_FREE_BYTES)
            if given > limit:
                raise JobFailure(
                    "InvalidManifest", f"the gzip data grow to more than {limit} bytes from {taken}: refused as a bomb"
                )
            if output:
                yield output
            data = b""
            if member.eof:
                data, member = member.unused_data, None
    if member is not None:
        raise JobFailure("InvalidManifest", f"the gzip data end too early, after {taken} bytes")


def _step(member: igzip_lib.IgzipDecompressor, data: bytes, *, first: bool) -> bytes:
    try:
        return bytes(member.decompress(data, OUTPUT_BYTES))
    except (_IsalError, EOFError) as error:
        where = "are broken" if first else "are broken, or are followed by something else"
        raise JobFailure("InvalidManifest", f"the gzip data {where}: {error}") from error
