"""S3PutObjectAcl: replaces the access control list, by a canned one or by owner and grants (s3-batch-operations.md §3.3)."""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.elements import BucketName, Element, Named
from haulier.api.s3control.elements.grants import grants, shown_grants
from haulier.core.errors import MalformedDocument

_LIST: Final = "AccessControlList"
_CANNED: Final = "CannedAccessControlList"


def _read(sent: Mapping[str, Any], path: str, _named: Named) -> dict[str, Any]:
    path, policy = f"{path}.AccessControlPolicy", sent["AccessControlPolicy"]
    if len(policy) != 1:
        raise MalformedDocument(path, f"must hold either {_LIST} or {_CANNED}; it holds {'both' if policy else 'neither'}")
    if _CANNED in policy:
        return {"canned_acl": policy[_CANNED], "owner": None, "grants": []}
    path, acl = f"{path}.{_LIST}", policy[_LIST]
    return {"canned_acl": None, "owner": acl["Owner"]["ID"], "grants": grants(acl.get("Grants", ()), f"{path}.Grants")}


def _write(parameters: Mapping[str, Any], _bucket_name: BucketName) -> dict[str, Any]:
    owner = parameters["owner"]
    if owner is None:
        return {"AccessControlPolicy": {_CANNED: parameters["canned_acl"]}}
    return {"AccessControlPolicy": {_LIST: {"Owner": {"ID": owner}, "Grants": shown_grants(parameters["grants"])}}}


PUT_ACL: Final = Element("S3PutObjectAcl", "put_acl", _read, _write)
