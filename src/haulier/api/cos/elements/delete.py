"""COSDeleteObject: an empty element."""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.elements import BucketName, Element, Named


def _read(_sent: Mapping[str, Any], _path: str, _named: Named) -> dict[str, Any]:
    return {"bypass_governance": False}


def _write(parameters: Mapping[str, Any], _bucket_name: BucketName) -> dict[str, Any] | None:
    return None if parameters.get("bypass_governance") else {}


DELETE: Final = Element("COSDeleteObject", "delete", _read, _write)
