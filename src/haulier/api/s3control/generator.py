"""ManifestGenerator: a manifest that the service makes itself from a bucket's listing (s3-batch-operations.md §4.4).

Everything in it is checked, above all what would select more than was meant. No code generates manifests yet, so a valid one is
refused by name.
"""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.elements import Named
from haulier.api.s3control.resources import bucket
from haulier.core.errors import InvalidField, MalformedDocument, NotImplementedHere

_KEY_LISTS: Final = ("MatchAnyPrefix", "MatchAnySuffix", "MatchAnySubstring")


def check(sent: Mapping[str, Any], named: Named, *, extensions: bool) -> None:
    """Raises MalformedDocument or InvalidField for what is wrong with the generator, NotImplementedHere when nothing is."""
    path, asked = "ManifestGenerator.S3JobManifestGenerator", sent["S3JobManifestGenerator"]
    bucket(asked["SourceBucket"], f"{path}.SourceBucket", named)
    if "ManifestOutputLocation" in asked:
        _output(asked["ManifestOutputLocation"], f"{path}.ManifestOutputLocation", named)
    elif asked["EnableManifestOutput"]:
        raise MalformedDocument(f"{path}.ManifestOutputLocation", "is missing; EnableManifestOutput needs it")
    if "Filter" in asked:
        _filter(asked["Filter"], f"{path}.Filter", extensions=extensions)
    raise NotImplementedHere("ManifestGenerator")


def _output(sent: Mapping[str, Any], path: str, named: Named) -> None:
    bucket(sent["Bucket"], f"{path}.Bucket", named)
    encryption = sent.get("ManifestEncryption")
    if encryption is not None and len(encryption) != 1:
        found = "both" if encryption else "neither"
        raise MalformedDocument(f"{path}.ManifestEncryption", f"must hold either SSES3 or SSEKMS; it holds {found}")


def _filter(sent: Mapping[str, Any], path: str, *, extensions: bool) -> None:
    for name in ("ObjectReplicationStatuses", "MatchAnyStorageClass"):
        _not_empty(sent, name, path)
    after, before = sent.get("CreatedAfter"), sent.get("CreatedBefore")
    if after is not None and before is not None and after >= before:
        raise InvalidField(f"{path}.CreatedBefore", "is not later than CreatedAfter: no object could match")
    larger, smaller = sent.get("ObjectSizeGreaterThanBytes", -1), sent.get("ObjectSizeLessThanBytes")
    if smaller is not None and smaller <= max(larger, -1) + 1:
        raise InvalidField(f"{path}.ObjectSizeLessThanBytes", "leaves no size between the bounds: no object could match")
    if "KeyNameConstraint" in sent:
        _keys(sent["KeyNameConstraint"], f"{path}.KeyNameConstraint", extensions=extensions)


def _keys(sent: Mapping[str, Any], path: str, *, extensions: bool) -> None:
    if not sent:
        raise MalformedDocument(path, f"must hold one of {', '.join(_KEY_LISTS)}; leave it out to take every key")
    for name in _KEY_LISTS:
        _not_empty(sent, name, path)
        if len(sent.get(name, ())) > 1 and not extensions:  # the model's text allows one
            raise InvalidField(f"{path}.{name}", f"has {len(sent[name])} strings; it can have one")


def _not_empty(sent: Mapping[str, Any], name: str, path: str) -> None:
    """An empty list could mean every object or none, so it means neither."""
    if name in sent and not sent[name]:
        raise InvalidField(f"{path}.{name}", "is empty; leave it out to take every object")
