"""S3VerifyObject, ours: looks whether each object is what it should be, and changes nothing.

`Against` names the bucket that holds the other copy; without it the manifest's own columns are the standard. `Check` lists what
is compared; without it, whatever both sides tell.
"""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.elements import BucketName, Element, Named
from haulier.api.s3control.resources import bucket
from haulier.core.errors import InvalidField


def _read(sent: Mapping[str, Any], path: str, named: Named) -> dict[str, Any]:
    checks = list(sent.get("Check", ()))
    for number, check in enumerate(checks):
        if check in checks[:number]:
            raise InvalidField(f"{path}.Check[{number}]", f"{check!r} is given twice")
    against = bucket(sent["Against"], f"{path}.Against", named) if "Against" in sent else None
    return {"against_bucket": against, "checks": checks}


def _write(parameters: Mapping[str, Any], bucket_name: BucketName) -> dict[str, Any]:
    against = parameters["against_bucket"]
    return {
        **({} if against is None else {"Against": bucket_name(against)}),
        **({"Check": list(parameters["checks"])} if parameters["checks"] else {}),
    }


VERIFY: Final = Element("S3VerifyObject", "verify", _read, _write, extension=True)
