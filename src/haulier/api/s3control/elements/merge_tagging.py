"""S3MergeObjectTagging, ours: sets some tags and removes others, and leaves the rest as they are."""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.elements import BucketName, Element, Named, pairs
from haulier.api.rules import OBJECT_TAGS_MAX, tag_map
from haulier.core.errors import InvalidField, MalformedDocument, NotImplementedHere


def _read(sent: Mapping[str, Any], path: str, _named: Named) -> dict[str, Any]:
    tags = tag_map(sent.get("TagSet", ()), f"{path}.TagSet", OBJECT_TAGS_MAX)
    removed: set[str] = set()
    for number, key in enumerate(sent.get("RemoveKeys", ())):
        if key in removed or key in tags:
            where = "given twice" if key in removed else "set by TagSet"
            raise InvalidField(f"{path}.RemoveKeys[{number}]", f"{key!r} is {where}")
        removed.add(key)
    if not tags and not removed:
        raise MalformedDocument(path, "must hold tags in TagSet or keys in RemoveKeys")
    if removed:
        raise NotImplementedHere(f"{path}.RemoveKeys")
    return {"mode": "add", "tags": tags}


def _write(parameters: Mapping[str, Any], _bucket_name: BucketName) -> dict[str, Any] | None:
    return {"TagSet": pairs(parameters["tags"])} if parameters.get("mode") == "add" and parameters["tags"] else None


MERGE_TAGGING: Final = Element("S3MergeObjectTagging", "put_tagging", _read, _write, extension=True)
