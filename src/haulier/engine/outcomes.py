"""The outcomes of a chunk: those of its sealed file, or of the segments that were committed before its job ended."""

from collections.abc import Iterable, Iterator

import pyarrow as pa

from haulier.core.chunk import Chunk, Segment
from haulier.core.ports import Spool
from haulier.spool import files


def by_chunk(chunks: Iterable[Chunk], segments: Iterable[Segment], spool: Spool) -> Iterator[tuple[Chunk, pa.Table]]:
    """The chunks in order, each with its outcomes in order of rows; raises SpoolError where a file is missing."""
    names: dict[int, list[str]] = {}
    for segment in segments:
        names.setdefault(segment.chunk, []).append(segment.name)
    for chunk in sorted(chunks, key=lambda chunk: chunk.index):
        found = [chunk.sealed_name] if chunk.sealed_name else names.get(chunk.index, [])
        yield chunk, files.merge_outcomes([files.decode_outcomes(spool.read(name)) for name in found])
