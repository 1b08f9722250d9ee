"""What a copy leaves on its target, as far as HEAD tells: whether an object is the one that a CopyObject was to make. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from haulier.core.ports import ObjectHead

Headers = Sequence[tuple[str, str]]

_TOLD: Final = {
    "content-type": "metadata",
    "cache-control": "metadata",
    "content-disposition": "metadata",
    "content-encoding": "metadata",
    "content-language": "metadata",
    "expires": "metadata",
    "x-amz-storage-class": "storage class",
    "x-amz-server-side-encryption": "encryption",
    "x-amz-server-side-encryption-aws-kms-key-id": "encryption",
    "x-amz-server-side-encryption-bucket-key-enabled": "encryption",
    "x-amz-website-redirect-location": "redirect",
}
"""Headers of CopyObject that HEAD gives back under the same name, and what each sets."""
_UNTOLD: Final = frozenset({"x-amz-acl", "x-amz-checksum-algorithm"})
"""What a copy sets and HEAD does not show."""
_DEFAULTS: Final = {"x-amz-storage-class": "STANDARD", "x-amz-server-side-encryption-bucket-key-enabled": "false"}
"""What the absence of a header means."""
_CHECKSUMS: Final = (
    *(f"x-amz-checksum-{name}" for name in ("crc64nvme", "crc32", "crc32c", "sha1", "sha256")),
    "x-cos-hash-crc64ecma",
)
_MD5: Final = re.compile(r"[0-9a-f]{32}")


def shows(head: ObjectHead, wanted: Headers) -> bool:
    """Whether the object has what these headers of CopyObject set, in so far as HEAD tells it."""
    return lacks(head, wanted) is None


def lacks(head: ObjectHead, wanted: Headers) -> str | None:
    """The first thing that these headers of CopyObject set and the object has otherwise, in so far as HEAD tells it: `metadata`,
    `storage class`, `encryption`, `redirect`."""
    if ("x-amz-metadata-directive", "REPLACE") in wanted:
        user = {name[11:]: value for name, value in wanted if name.startswith("x-amz-meta-")}
        found = user_metadata(head)
        if user.keys() != found.keys() or not all(_agrees(value, found[name]) for name, value in user.items()):
            return "metadata"
    return next((_TOLD[name] for name, value in wanted if name in _TOLD and not _has(head, name, value)), None)


def shows_all(wanted: Headers) -> bool:
    """Whether HEAD tells everything that these headers set (tags aside, which have a request of their own)."""
    return not any(name in _UNTOLD for name, _ in wanted)


def same_content(target: ObjectHead, source: ObjectHead) -> bool | None:
    """Whether both hold the same bytes; None where neither ETags nor checksums can tell.

    A copy in one request of an object that was uploaded in parts has another ETag than its source, and so has one under
    another KMS key: such ETags prove something only when they are equal.
    """
    if target.size != source.size:
        return False
    if target.etag == source.etag:
        return True
    for name in _CHECKSUMS:
        one, other = target.headers.get(name), source.headers.get(name)
        if one and other and "-" not in one + other:  # with a dash: a checksum of the parts' checksums
            return one == other
    return False if _etag_is_md5(target) and _etag_is_md5(source) else None


def comparable(etag: str) -> bool:
    """Whether the ETag looks like an MD5 of the content, not like that of an upload in parts."""
    return _MD5.fullmatch(etag.lower()) is not None


def _etag_is_md5(head: ObjectHead) -> bool:
    encrypted = _told(head, "x-amz-server-side-encryption").startswith("aws:kms")
    return comparable(head.etag) and not encrypted and not _told(head, "x-amz-server-side-encryption-customer-algorithm")


def _told(head: ObjectHead, name: str) -> str:
    """A header of the answer; COS has some under its own prefix."""
    return head.headers.get(name) or head.headers.get(name.replace("x-amz-", "x-cos-", 1)) or _DEFAULTS.get(name, "")


def user_metadata(head: ObjectHead) -> Mapping[str, str]:
    """User metadata by name; COS tells it under its own prefix, also to S3 clients."""
    cos = {name[11:]: value for name, value in head.headers.items() if name.startswith("x-cos-meta-")}
    return cos | dict(head.metadata)


def _has(head: ObjectHead, name: str, value: str) -> bool:
    found = _told(head, name)
    if name.endswith("kms-key-id"):
        # Asked for by id, alias or ARN, told as ARN. What an alias stands for only KMS knows.
        return "alias/" in value or found.rpartition("/")[2] == value.rpartition("/")[2]
    return _agrees(value, found)


def _agrees(wanted: str, found: str) -> bool:
    """Stores encode other characters than ASCII each in its own way: those count as present."""
    return not wanted.isascii() or wanted.strip() == found
