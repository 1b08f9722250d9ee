"""S3InitiateRestoreObject: asks for archived objects (s3-batch-operations.md §3.5)."""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.elements import BucketName, Element, Named
from haulier.api.rules import given
from haulier.core.errors import InvalidField


def _read(sent: Mapping[str, Any], path: str, _named: Named) -> dict[str, Any]:
    if sent.get("ExpirationInDays") == 0:  # the model allows it, no class of storage does
        problem = "0 is not a number of days: 1 or more for archive classes, left out for the tiers of INTELLIGENT_TIERING"
        raise InvalidField(f"{path}.ExpirationInDays", problem)
    return {"days": sent.get("ExpirationInDays"), "tier": sent.get("GlacierJobTier")}


def _write(parameters: Mapping[str, Any], _bucket_name: BucketName) -> dict[str, Any]:
    return given({"ExpirationInDays": parameters["days"], "GlacierJobTier": parameters["tier"]})


RESTORE: Final = Element("S3InitiateRestoreObject", "restore", _read, _write)
