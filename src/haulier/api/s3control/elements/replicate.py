"""S3ReplicateObject: replicates by the source bucket's replication rules (s3-batch-operations.md §3.7)."""

from typing import Final

from haulier.api.elements import Element, empty

REPLICATE: Final = Element("S3ReplicateObject", "replicate", *empty())
