"""S3ComputeObjectChecksum: the checksum goes to the report, the object stays as it is (s3-batch-operations.md §3.8)."""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.elements import BucketName, Element, Named
from haulier.api.rules import given
from haulier.core.errors import InvalidField

_WHOLE_ONLY: Final = frozenset({"CRC64NVME"})
"""Algorithms that have no checksum of checksums."""


def _read(sent: Mapping[str, Any], path: str, _named: Named) -> dict[str, Any]:
    algorithm, kind = sent["ChecksumAlgorithm"], sent.get("ChecksumType")
    if algorithm in _WHOLE_ONLY and kind == "COMPOSITE":
        raise InvalidField(f"{path}.ChecksumType", f"COMPOSITE does not go with {algorithm}; use FULL_OBJECT")
    return {"algorithm": algorithm, "type": kind}


def _write(parameters: Mapping[str, Any], _bucket_name: BucketName) -> dict[str, Any]:
    return given({"ChecksumAlgorithm": parameters["algorithm"], "ChecksumType": parameters["type"]})


COMPUTE_CHECKSUM: Final = Element("S3ComputeObjectChecksum", "compute_checksum", _read, _write)
