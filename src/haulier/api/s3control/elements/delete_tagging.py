"""S3DeleteObjectTagging: removes all tags (s3-batch-operations.md §3.4)."""

from typing import Final

from haulier.api.elements import Element, empty

DELETE_TAGGING: Final = Element("S3DeleteObjectTagging", "delete_tagging", *empty())
