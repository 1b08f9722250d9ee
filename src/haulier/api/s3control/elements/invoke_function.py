"""LambdaInvoke: a function is called for each object (s3-batch-operations.md §3.1)."""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.elements import BucketName, Element, Named
from haulier.api.rules import given
from haulier.core.errors import InvalidField

SCHEMA_VERSIONS: Final = ("1.0", "2.0")
"""1.0 is the default; user arguments need 2.0."""


def _read(sent: Mapping[str, Any], path: str, _named: Named) -> dict[str, Any]:
    version = sent.get("InvocationSchemaVersion", SCHEMA_VERSIONS[0])
    if version not in SCHEMA_VERSIONS:
        raise InvalidField(f"{path}.InvocationSchemaVersion", f"{version!r} is not one of {', '.join(SCHEMA_VERSIONS)}")
    if "UserArguments" in sent and version != "2.0":
        raise InvalidField(f"{path}.UserArguments", "needs InvocationSchemaVersion 2.0")
    return {"function": sent["FunctionArn"], "schema_version": version, "arguments": sent.get("UserArguments", {})}


def _write(parameters: Mapping[str, Any], _bucket_name: BucketName) -> dict[str, Any]:
    return given(
        {
            "FunctionArn": parameters["function"],
            "InvocationSchemaVersion": parameters["schema_version"],
            "UserArguments": parameters["arguments"] or None,
        }
    )


INVOKE_FUNCTION: Final = Element("LambdaInvoke", "invoke_function", _read, _write)
