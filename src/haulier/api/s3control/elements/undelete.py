"""S3UndeleteObject, ours: takes delete markers away again."""

from typing import Final

from haulier.api.elements import Element, empty

UNDELETE: Final = Element("S3UndeleteObject", "undelete", *empty(), extension=True)
