"""S3PutObjectTagging: exactly these tags (s3-batch-operations.md §3.4)."""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.elements import BucketName, Element, Named, pairs
from haulier.api.rules import OBJECT_TAGS_MAX, tag_map


def _read(sent: Mapping[str, Any], path: str, _named: Named) -> dict[str, Any]:
    return {"mode": "replace", "tags": tag_map(sent["TagSet"], f"{path}.TagSet", OBJECT_TAGS_MAX)}


def _write(parameters: Mapping[str, Any], _bucket_name: BucketName) -> dict[str, Any] | None:
    return {"TagSet": pairs(parameters["tags"])} if parameters.get("mode", "replace") == "replace" else None


PUT_TAGGING: Final = Element("S3PutObjectTagging", "put_tagging", _read, _write)
