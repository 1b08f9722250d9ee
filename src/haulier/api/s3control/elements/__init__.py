"""What may stand inside the S3 wire's Operation: one file each, and the list of all."""

from typing import Final

from haulier.api.elements import Elements
from haulier.api.s3control.elements.compute_checksum import COMPUTE_CHECKSUM
from haulier.api.s3control.elements.copy import COPY
from haulier.api.s3control.elements.delete import DELETE
from haulier.api.s3control.elements.delete_tagging import DELETE_TAGGING
from haulier.api.s3control.elements.invoke_function import INVOKE_FUNCTION
from haulier.api.s3control.elements.merge_tagging import MERGE_TAGGING
from haulier.api.s3control.elements.put_acl import PUT_ACL
from haulier.api.s3control.elements.put_legal_hold import PUT_LEGAL_HOLD
from haulier.api.s3control.elements.put_retention import PUT_RETENTION
from haulier.api.s3control.elements.put_tagging import PUT_TAGGING
from haulier.api.s3control.elements.replicate import REPLICATE
from haulier.api.s3control.elements.restore import RESTORE
from haulier.api.s3control.elements.undelete import UNDELETE
from haulier.api.s3control.elements.update_encryption import UPDATE_ENCRYPTION
from haulier.api.s3control.elements.update_properties import UPDATE_PROPERTIES
from haulier.api.s3control.elements.verify import VERIFY

ELEMENTS: Final = Elements(
    INVOKE_FUNCTION,
    COPY,
    PUT_ACL,
    PUT_TAGGING,
    DELETE_TAGGING,
    RESTORE,
    PUT_LEGAL_HOLD,
    PUT_RETENTION,
    REPLICATE,
    COMPUTE_CHECKSUM,
    UPDATE_ENCRYPTION,
    DELETE,
    UNDELETE,
    MERGE_TAGGING,
    UPDATE_PROPERTIES,
    VERIFY,
)
