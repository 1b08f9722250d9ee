"""S3UpdateObjectProperties, ours: changes class, metadata, encryption or redirect of each object where it lies."""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.elements import BucketName, Element, Named
from haulier.api.rules import given
from haulier.api.s3control.elements.metadata import encryption, new_metadata, shown
from haulier.core.errors import MalformedDocument


def _read(sent: Mapping[str, Any], path: str, _named: Named) -> dict[str, Any]:
    found = {
        "metadata": new_metadata(sent, path),
        "storage_class": sent.get("StorageClass"),
        **encryption(sent, path),
        "checksum": sent.get("ChecksumAlgorithm"),
        "redirect": sent.get("RedirectLocation"),
    }
    if found["metadata"] == "copy" and all(value is None for name, value in found.items() if name != "metadata"):
        raise MalformedDocument(path, "changes nothing: give StorageClass, NewObjectMetadata or another property")
    return found


def _write(parameters: Mapping[str, Any], _bucket_name: BucketName) -> dict[str, Any]:
    return given(
        {
            "StorageClass": parameters["storage_class"],
            **shown(parameters),
            "ChecksumAlgorithm": parameters["checksum"],
            "RedirectLocation": parameters["redirect"],
        }
    )


UPDATE_PROPERTIES: Final = Element("S3UpdateObjectProperties", "update_properties", _read, _write, extension=True)
