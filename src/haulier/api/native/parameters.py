"""An operation as the native API takes it: what both wires would refuse is refused here too, by their rules, rather than failed
task by task."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from haulier import operations
from haulier.api import rules
from haulier.api.elements import Named
from haulier.api.native.documents import OperationDocument
from haulier.api.native.jsonbody import refusal
from haulier.core.arns import s3_bucket_name, s3_resource
from haulier.core.errors import InvalidField, MalformedDocument, NotImplementedHere
from haulier.core.job import Dialect, OperationSpec

KEY_BYTES_MAX: Final = 1024
_OWN: Final[Mapping[Dialect, Mapping[str, Any]]] = {
    "s3control": {"dialect": "s3control", "key_bytes_max": 1024},
    "cos": {"dialect": "cos", "key_bytes_max": 850},
}
"""Parameters that operations have for the rules of the job's dialect; here those of the manifest's format."""
INTERNAL: Final = frozenset(_OWN["s3control"])
"""Their names: nobody gives them, and nobody is shown them."""
_PATH: Final = "operation.parameters"


def operation(sent: OperationDocument, rules_of: Dialect, buckets: Named) -> OperationSpec:
    """The operation that is asked for, under the rules of the dialect. Raises NotImplementedHere, MalformedDocument,
    InvalidField."""
    kind = operations.BY_NAME.get(sent.name)
    if kind is None:
        known = ", ".join(sorted(operations.BY_NAME))
        raise NotImplementedHere("operation.name", f"{sent.name[:80]!r} is none of {known}")
    for name in INTERNAL:
        if name in sent.parameters:
            raise MalformedDocument(f"{_PATH}.{name}", "the member is not known here")
    own = {name: value for name, value in _OWN[rules_of].items() if name in kind.__struct_fields__}
    spec = OperationSpec(name=sent.name, parameters={**sent.parameters, **own})
    try:
        loaded = operations.load(spec)
    except msgspec.ValidationError as error:
        raise refusal(str(error), _PATH, sent.parameters, kind) from None
    except ValueError as error:
        raise InvalidField(_PATH, str(error)) from None
    _check(sent.parameters)
    for name in loaded.buckets():
        bucket(name, _PATH, buckets)
    return spec


def bucket(name: str, path: str, buckets: Named) -> str:
    """The bucket's name, noted in `buckets`. Raises InvalidField for what is none."""
    s3_resource(s3_bucket_name(name), path)
    buckets.setdefault(name, None)
    return name


def _check(parameters: Mapping[str, Any]) -> None:
    """Of parameters that have the right types: their lengths and forms."""
    tags, metadata = parameters.get("tags"), parameters.get("metadata")
    if isinstance(tags, dict):
        if len(tags) > rules.OBJECT_TAGS_MAX:
            raise InvalidField(f"{_PATH}.tags", f"has {len(tags)} tags; an object can have {rules.OBJECT_TAGS_MAX}")
        rules.tag_forms(tags, f"{_PATH}.tags")
    for part in (parameters.get("folder"), *(parameters.get("replace_prefix") or ())):
        rules.text_bytes(part or "", f"{_PATH}.folder" if parameters.get("folder") else f"{_PATH}.replace_prefix", KEY_BYTES_MAX)
    if isinstance(metadata, dict):
        _check_metadata(metadata, f"{_PATH}.metadata")
    _check_grants(parameters.get("grants", ()), f"{_PATH}.grants")


def _check_metadata(metadata: Mapping[str, Any], path: str) -> None:
    for name, value in metadata.items():
        if isinstance(value, str):
            rules.text_bytes(value, f"{path}.{name}", rules.METADATA_BYTES_MAX)
    rules.user_metadata(metadata.get("user", {}), f"{path}.user")


def _check_grants(grants: Sequence[Mapping[str, str]], path: str) -> None:
    rules.grant_count(len(grants), path)
    for number, grant in enumerate(grants):
        rules.grantee(grant["grantee"], f"{path}[{number}].grantee")
