"""COSPutObjectTagging: these tags alone, or these besides the others."""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.cos.elements.directives import directive
from haulier.api.elements import BucketName, Element, Named, pairs
from haulier.api.rules import OBJECT_TAGS_MAX, tag_map
from haulier.core.errors import InvalidField


def _read(sent: Mapping[str, Any], path: str, _named: Named) -> dict[str, Any]:
    mode = directive(sent, "TaggingDirective", path) or "replace"
    if mode == "copy":
        raise InvalidField(f"{path}.TaggingDirective", "'Copy' makes no sense here; use Replaced or Add")
    return {"mode": mode, "tags": tag_map(sent["TagSet"].get("COSTag", ()), f"{path}.TagSet.COSTag", OBJECT_TAGS_MAX)}


def _write(parameters: Mapping[str, Any], _bucket_name: BucketName) -> dict[str, Any]:
    mode = "Replaced" if parameters.get("mode", "replace") == "replace" else "Add"
    return {"TaggingDirective": mode, "TagSet": {"COSTag": pairs(parameters["tags"])}}


PUT_TAGGING: Final = Element("COSPutObjectTagging", "put_tagging", _read, _write)
