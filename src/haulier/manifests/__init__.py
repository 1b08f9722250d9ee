"""Readers of manifest formats: bytes in, staged rows out.

`reader` is the way in. A new format is one new file and one line in `FORMATS`.
"""

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

import msgspec

from haulier.core.errors import NotImplementedHere
from haulier.core.job import Dialect, Manifest
from haulier.manifests.csv import CsvReader
from haulier.manifests.rules import COS_CSV, S3_CSV, CsvRules
from haulier.manifests.staging import CHUNK_SCHEMA, StagedChunk, Stager

__all__ = ["CHUNK_SCHEMA", "FORMATS", "Format", "ManifestReader", "StagedChunk", "Stager", "reader"]


class ManifestReader(Protocol):
    """Turns the bytes of one manifest into chunks of a job's tasks."""

    def stage(self, blocks: Iterable[bytes], *, tasks_max: int | None = None) -> Iterator[StagedChunk]:
        """Chunks in row order, as they become known; memory stays at about one piece of text and one chunk.

        `blocks` are the manifest's bytes, cut anywhere. Raises JobFailure: `InvalidManifest` naming the first bad line,
        `EmptyManifest`, `TooManyObjects` (more rows than `tasks_max`).
        """
        ...


class Format(msgspec.Struct, frozen=True):
    """A manifest format: its name on the wire, the dialects that may use it, and its rules."""

    name: str
    dialects: tuple[Dialect, ...]
    rules: CsvRules


FORMATS: Final = (
    Format("S3BatchOperations_CSV_20180820", ("s3control", "native"), S3_CSV),
    Format("COSBatchOperations_CSV_V1", ("cos", "native"), COS_CSV),
)


def reader(manifest: Manifest, dialect: Dialect) -> ManifestReader:
    """The reader for the manifest's format. Raises NotImplementedHere for a format that no code reads, or not in this dialect."""
    for format_ in FORMATS:
        if format_.name == manifest.format and dialect in format_.dialects:
            return CsvReader(manifest.fields, format_.rules)
    known = ", ".join(format_.name for format_ in FORMATS if dialect in format_.dialects)
    raise NotImplementedHere("Manifest.Spec.Format", f"{manifest.format!r} cannot be read; formats of this dialect: {known}")
