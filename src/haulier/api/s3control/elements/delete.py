"""S3DeleteObject, ours: neither cloud's S3 wire can delete."""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.elements import BucketName, Element, Named


def _read(sent: Mapping[str, Any], _path: str, _named: Named) -> dict[str, Any]:
    return {"bypass_governance": sent.get("BypassGovernanceRetention", False)}


def _write(parameters: Mapping[str, Any], _bucket_name: BucketName) -> dict[str, Any]:
    return {"BypassGovernanceRetention": True} if parameters.get("bypass_governance") else {}


DELETE: Final = Element("S3DeleteObject", "delete", _read, _write, extension=True)
