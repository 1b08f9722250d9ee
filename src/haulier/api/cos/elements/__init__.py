"""What may stand inside the COS wire's Operation: one file each, and the list of all."""

from typing import Final

from haulier.api.cos.elements.copy import COPY
from haulier.api.cos.elements.delete import DELETE
from haulier.api.cos.elements.put_tagging import PUT_TAGGING
from haulier.api.elements import Elements

ELEMENTS: Final = Elements(COPY, DELETE, PUT_TAGGING)
