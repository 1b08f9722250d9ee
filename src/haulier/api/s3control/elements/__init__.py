"""What may stand inside the S3 wire's Operation: one file each, and the list of all."""

from typing import Final

from haulier.api.elements import Elements
from haulier.api.s3control.elements.copy import COPY
from haulier.api.s3control.elements.delete import DELETE
from haulier.api.s3control.elements.put_tagging import PUT_TAGGING

ELEMENTS: Final = Elements(COPY, DELETE, PUT_TAGGING)
