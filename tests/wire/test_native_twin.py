"""The JSON twin of the S3 wire is judged by botocore: what it makes of its arguments in XML, we make of them in JSON."""

import datetime as dt
from typing import Any

import pytest
from hypothesis import given

from haulier.api.native import twin
from haulier.api.restxml import Model
from haulier.core.errors import InvalidField, MalformedDocument, RequestError
from wire.test_restxml_botocore import MODEL, RELAXED, SENDABLE, SERIALIZER, SERVICE, values

CREATE = SERVICE.operation_model("CreateJob")


def as_json(value: Any) -> Any:
    """Times as botocore writes them."""
    if isinstance(value, dict):
        return {name: as_json(part) for name, part in value.items()}
    if isinstance(value, list):
        return [as_json(part) for part in value]
    if isinstance(value, dt.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if value.microsecond else "%Y-%m-%dT%H:%M:%SZ")
    return value


def result(read: Any) -> Any:
    """What came of it, a refusal too."""
    try:
        return read()
    except RequestError as error:
        return type(error), str(error)


@RELAXED
@given(values(CREATE.input_shape, SENDABLE))
def test_json_is_read_as_the_same_request_in_xml(value: dict[str, Any]) -> None:
    body = SERIALIZER.serialize_to_request({"AccountId": "123456789012"} | value, CREATE)["body"]
    if value:  # botocore sends no body at all for no members
        in_json = result(lambda: twin.checked(MODEL, "CreateJob", as_json(value)))
        assert in_json == result(lambda: MODEL.checked("CreateJob", body))


COPY = "Operation.COSPutObjectCopy"


@pytest.mark.parametrize(
    ("request_", "kind", "path"),
    [
        ({"Operation": {"COSPutObjectCopy": {"PrefixReplace": "true"}}}, InvalidField, f"{COPY}.PrefixReplace"),
        ({"Operation": {"COSPutObjectCopy": {"ModifiedSinceConstraint": True}}}, InvalidField, f"{COPY}.ModifiedSinceConstraint"),
        (
            {"Operation": {"COSPutObjectCopy": {"NewObjectTagging": {"COSTag": {}}}}},
            InvalidField,
            f"{COPY}.NewObjectTagging.COSTag",
        ),
        ({"Operation": {"COSPutObjectCopy": {"Member": 1}}}, MalformedDocument, f"{COPY}.Member"),
        ({"Operation": "COSPutObjectCopy"}, InvalidField, "Operation"),
        ({"Priority": 1.0}, InvalidField, "Priority"),
        ({"ConfirmationRequired": None}, InvalidField, "ConfirmationRequired"),
        ({"jobs": []}, MalformedDocument, "jobs"),
    ],
)
def test_what_is_no_value_of_its_member_is_refused_by_its_path(request_: dict[str, Any], kind: type[Any], path: str) -> None:
    with pytest.raises(kind) as refused:
        twin.checked(Model.cos(), "CreateJob", request_)
    assert refused.value.path == path
