"""Cutting a stream of bytes into pieces of whole CSV rows.

A line end is a row's end exactly when an even number of quotes stands before it (RFC 4180: quotes open and close, or are
doubled). A malformed row breaks that count, but only behind its own beginning: whoever parses the pieces strictly, from
their first byte on, meets the malformed row first.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from haulier.manifests.rules import ROW_BYTES_MAX

PIECE_BYTES: Final = 1 << 19


class Piece(NamedTuple):
    """Rows as written. `data` ends with a line feed unless it is a row that goes on beyond every limit."""

    data: bytes
    line: int
    """The number of the first line, from 1."""


def pieces(blocks: Iterable[bytes]) -> Iterator[Piece]:
    """Pieces of about 512 KiB; the first row is a piece of its own (it may be a header). A last row without a line end gets one.

    A row that does not end within ROW_BYTES_MAX is given as the start of a piece, cut off; the caller must refuse it.
    """
    rest, line, first = b"", 1, True
    for block in _even(blocks):
        data = rest + block if rest else block
        if first:
            end = _first_row_end(data)
            if end:
                yield Piece(data[:end], line)
                line += data.count(b"\n", 0, end)
                data, first = data[end:], False
        end = 0 if first else _last_row_end(data)
        if end:
            yield Piece(data[:end], line)
            line += data.count(b"\n", 0, end)
        rest = data[end:]
        if len(rest) > ROW_BYTES_MAX + len(b"\r\n"):
            yield Piece(rest, line)
            return
    if rest:
        yield Piece(rest + b"\n", line)


def head(blocks: Iterable[bytes], size: int) -> tuple[bytes, Iterator[bytes]]:
    """The first `size` bytes (fewer if there are no more), and all the blocks."""
    source, start = iter(blocks), b""
    for block in source:
        start += bytes(block)
        if len(start) >= size:
            break
    return start[:size], _chain(start, source)


def _chain(start: bytes, source: Iterator[bytes]) -> Iterator[bytes]:
    yield start
    yield from source


def _even(blocks: Iterable[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for block in blocks:
        for start in range(0, len(block), PIECE_BYTES):
            held.append(block[start : start + PIECE_BYTES])
            size += len(held[-1])
            if size >= PIECE_BYTES:
                yield b"".join(held)
                held, size = [], 0
    if held:
        yield b"".join(held)


def _first_row_end(data: bytes) -> int:
    end = data.find(b"\n") + 1
    quotes = data.count(b'"', 0, end)
    while end and quotes % 2:
        further = data.find(b"\n", end) + 1
        quotes += data.count(b'"', end, further)
        end = further
    return end


def _last_row_end(data: bytes) -> int:
    end = data.rfind(b"\n") + 1
    quotes = data.count(b'"', 0, end)
    while end and quotes % 2:
        before = data.rfind(b"\n", 0, end - 1) + 1
        quotes -= data.count(b'"', before, end)
        end = before
    return end
