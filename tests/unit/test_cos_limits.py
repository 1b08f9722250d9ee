"""Every length and range of the COS wire, at nothing, one, its maximum and one byte more, with characters of three bytes.

The limits stand here as the documents give them (cos-batch.md §2 and §3), apart from the model; a test sees that no field of the
model is missing.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import pytest

from haulier.api.cos import mapping
from haulier.api.restxml import Model
from haulier.api.shapes import Shape
from haulier.core.errors import InvalidField
from unit.test_mapping import ACCOUNT, cos_copy, cos_request, from_cos, stored

MODEL = Model.cos()
BYTES, CHARACTERS = "bytes", "characters"

ARN = "qcs::cos:r:uid/1250000000:"
SPEC = "<Spec><Fields><member>Bucket</member><member>Key</member></Fields><Format>COSBatchOperations_CSV_V1</Format></Spec>"


def manifest(etag: str = "e", arn: str = f"{ARN}l-1250000000/m", more: str = "") -> str:
    location = f"<Location><ETag>{etag}</ETag><ObjectArn>{arn}</ObjectArn>{more}</Location>"
    return cos_request("<COSDeleteObject/>", Manifest=f"{location}{SPEC}")


def report(bucket: str = f"{ARN}r-1250000000", prefix: str = "") -> str:
    inside = f"<Bucket>{bucket}</Bucket><Enabled>true</Enabled><Format>Report_CSV_V1</Format><Prefix>{prefix}</Prefix>"
    return cos_request("<COSDeleteObject/>", Report=f"{inside}<ReportScope>AllTasks</ReportScope>")


def target(text: str) -> str:
    return cos_request(f"<COSPutObjectCopy><TargetResource>{text}</TargetResource></COSPutObjectCopy>")


def metadata(inside: str) -> str:
    return cos_copy(f"<MetadataDirective>Replaced</MetadataDirective><NewObjectMetadata>{inside}</NewObjectMetadata>")


def user(key: str = "k", value: str = "v") -> str:
    return metadata(f"<UserMetadata><member><Key>{key}</Key><Value>{value}</Value></member></UserMetadata>")


def grantee(identifier: str = "i", more: str = "") -> str:
    named = f"<Grantee>{more}<Identifier>{identifier}</Identifier><TypeIdentifier>ID</TypeIdentifier></Grantee>"
    return cos_copy(f"<AccessControlGrants><COSGrant>{named}<Permission>READ</Permission></COSGrant></AccessControlGrants>")


def tagging(key: str = "k", value: str = "v") -> str:
    tag = f"<COSTag><Key>{key}</Key><Value>{value}</Value></COSTag>"
    return cos_request(f"<COSPutObjectTagging><TagSet>{tag}</TagSet></COSPutObjectTagging>")


def new_tag(key: str = "k", value: str = "v") -> str:
    tag = f"<NewObjectTagging><COSTag><Key>{key}</Key><Value>{value}</Value></COSTag></NewObjectTagging>"
    return cos_copy(f"<TaggingDirective>Add</TaggingDirective>{tag}")


def a_copy(name: str) -> Any:
    return lambda text: cos_copy(f"<{name}>{text}</{name}>")


COPY = "Operation.COSPutObjectCopy"
NEW = f"{COPY}.NewObjectMetadata"
TAGGING = "Operation.COSPutObjectTagging"


class Text(NamedTuple):
    path: str
    request: Any
    """The request with this text in the field."""
    least: int
    most: int
    counted: str = BYTES
    around: tuple[str, str] = ("", "")
    """What such a text must begin and end with, part of its length."""
    ascii: bool = False

    def filled(self, length: int) -> str:
        """A value that long."""
        begin, end = self.around
        room = length - len(begin) - len(end)
        if self.counted == CHARACTERS:
            return begin + "界" * room + end
        return begin + ("x" * room if self.ascii else "界" * (room // 3) + "x" * (room % 3)) + end


TEXTS = [
    Text("ClientRequestToken", lambda text: cos_request("<COSDeleteObject/>", ClientRequestToken=text), 1, 64),
    Text("Description", lambda text: cos_request("<COSDeleteObject/>", Description=text), 0, 256),
    Text(
        "RoleArn",
        lambda text: cos_request("<COSDeleteObject/>", RoleArn=text),
        1,
        1024,
        around=("qcs::cam::uin/100000000001:roleName/", ""),
    ),
    Text("Manifest.Location.ETag", lambda text: manifest(etag=text), 1, 1024),
    Text("Manifest.Location.ObjectArn", lambda text: manifest(arn=text), 1, 1024, around=(f"{ARN}l-1250000000/", "")),
    Text("Manifest.Location.ObjectVersionId", lambda text: manifest(more=f"<ObjectVersionId>{text}</ObjectVersionId>"), 1, 1024),
    Text("Report.Prefix", lambda text: report(prefix=text), 0, 256),
    Text(f"{COPY}.ResourcesPrefix", a_copy("ResourcesPrefix"), 0, 1024),
    Text(f"{COPY}.TargetKeyPrefix", a_copy("TargetKeyPrefix"), 0, 1024),
    *(
        Text(f"{NEW}.{name}", lambda text, name=name: metadata(f"<{name}>{text}</{name}>"), 0, 1024)
        for name in ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentType")
    ),
    Text(f"{NEW}.UserMetadata[0].Key", lambda text: user(key=text), 1, 1024, ascii=True),
    Text(f"{NEW}.UserMetadata[0].Value", lambda text: user(value=text), 0, 1024),
    Text(f"{COPY}.AccessControlGrants.COSGrant[0].Grantee.Identifier", grantee, 1, 1024),
    Text(
        f"{COPY}.AccessControlGrants.COSGrant[0].Grantee.DisplayName",
        lambda text: grantee(more=f"<DisplayName>{text}</DisplayName>"),
        0,
        1024,
    ),
    Text(f"{COPY}.NewObjectTagging.COSTag[0].Key", lambda text: new_tag(key=text), 1, 127, CHARACTERS),
    Text(f"{COPY}.NewObjectTagging.COSTag[0].Value", lambda text: new_tag(value=text), 1, 255, CHARACTERS),
    Text(f"{TAGGING}.TagSet.COSTag[0].Key", lambda text: tagging(key=text), 1, 127, CHARACTERS),
    Text(f"{TAGGING}.TagSet.COSTag[0].Value", lambda text: tagging(value=text), 1, 255, CHARACTERS),
]
BUCKETS = {"Report.Bucket": report, f"{COPY}.TargetResource": target}
"""Fields that name a bucket: no bucket's name is long enough to reach their maximum of 1,024 bytes."""
NUMBERS = {
    "Priority": (lambda text: cos_request("<COSDeleteObject/>", Priority=text), 0, 2_147_483_647),
}


def cases() -> Iterator[Any]:
    for field in TEXTS:
        for length in sorted({0, 1, field.least, field.most, field.most + 1}):
            short = len(field.around[0]) + len(field.around[1])
            text = field.filled(length) if length > short else "x" * length
            allowed = field.least <= length <= field.most and (length > short or not short)
            yield pytest.param(field.path, field.request, text, allowed, id=f"{field.path}: {length} {field.counted}")
    for path, (request, least, most) in NUMBERS.items():
        for number in (least - 1, least, least + 1, most, most + 1):
            yield pytest.param(path, request, str(number), least <= number <= most, id=f"{path}: {number}")
    for path, request in BUCKETS.items():
        for bucket, allowed in (("", False), ("b", False), ("b-1250000000", True), ("b" * 244 + "-1250000000", True)):
            yield pytest.param(path, request, bucket and ARN + bucket, allowed, id=f"{path}: a bucket of {len(bucket)}")
        for most in (1024, 1025):
            yield pytest.param(path, request, ARN + "b" * (most - len(ARN)), False, id=f"{path}: {most} bytes")


@pytest.mark.parametrize(("path", "request_of", "text", "allowed"), [*cases()])
def test_a_field_is_as_long_as_the_documents_allow(path: str, request_of: Any, text: str, allowed: bool) -> None:
    body = request_of(escape(text))
    if not allowed:
        with pytest.raises(InvalidField) as refused:
            from_cos(body)
        assert refused.value.path == path
        return
    job = stored(from_cos(body), token="t", description=None)
    described = MODEL.serialize("DescribeJob", {"Job": mapping.describe(job, ACCOUNT)}).decode()
    if path.startswith(("Manifest", "Operation", "Report")) and text:
        assert f">{escape(text)}<" in described


@pytest.mark.parametrize(("text", "allowed"), [("0", False), ("1", True), ("365", True), ("366", False), (" 7 ", True)])
def test_a_restore_lasts_from_a_day_to_a_year(text: str, allowed: bool) -> None:
    days = f"<ExpirationInDays>{text}</ExpirationInDays><JobTier> Bulk </JobTier>"
    body = cos_request(f"<COSInitiateRestoreObject>{days}</COSInitiateRestoreObject>").encode()
    if allowed:
        value, _ = MODEL.checked("CreateJob", body)
        assert value["Operation"]["COSInitiateRestoreObject"] == {"ExpirationInDays": int(text), "JobTier": "Bulk"}
        return
    with pytest.raises(InvalidField) as refused:
        MODEL.checked("CreateJob", body)
    assert refused.value.path == "Operation.COSInitiateRestoreObject.ExpirationInDays"


@pytest.mark.parametrize(
    ("operation", "member", "name", "least", "most"),
    [
        ("ListJobs", "NextToken", "nextToken", 1, 64),
        ("UpdateJobStatus", "StatusUpdateReason", "statusUpdateReason", 0, 256),
    ],
)
def test_a_parameter_is_as_long_as_the_documents_allow(operation: str, member: str, name: str, least: int, most: int) -> None:
    for length in (0, 1, most, most + 1):
        text = "界" * (length // 3) + "x" * (length % 3)
        query = MODEL.parse_query(operation, [(name, text), ("requestedJobStatus", "Ready")])
        assert query[member] == text
        if least <= length <= most:
            MODEL.check(operation, query)
            continue
        with pytest.raises(InvalidField) as refused:
            MODEL.check(operation, query)
        assert refused.value.path == name


@pytest.mark.parametrize(
    ("operation", "name", "least", "most"),
    [("ListJobs", "maxResults", 1, 1000), ("UpdateJobPriority", "priority", 0, 2_147_483_647)],
)
def test_a_number_in_the_query_is_as_large_as_the_documents_allow(operation: str, name: str, least: int, most: int) -> None:
    for number in (least - 1, least, most, most + 1):
        if least <= number <= most:
            MODEL.check(operation, MODEL.parse_query(operation, [(name, f" {number} ")]))
            continue
        with pytest.raises(InvalidField, match=name):
            MODEL.check(operation, MODEL.parse_query(operation, [(name, str(number))]))


# -- nothing is forgotten


def fields(shape: Shape, path: str = "") -> Iterator[tuple[str, Shape]]:
    """Every text and number of a shape, by path."""
    if shape.kind == "structure":
        for name, member in shape.members.items():
            if member.location is None and name != "Options":
                yield from fields(member.shape, f"{path}.{name}" if path else name)
    elif shape.kind == "list":
        assert shape.item is not None
        yield from fields(shape.item.shape, f"{path}[0]")
    elif shape.kind in ("string", "integer", "long"):
        yield path, shape


def test_every_field_of_the_model_is_tried() -> None:
    tried = {field.path: (field.least, field.most) for field in TEXTS} | dict.fromkeys(BUCKETS, (1, 1024))
    tried |= {path: (least, most) for path, (_, least, most) in NUMBERS.items()}
    tried["Operation.COSInitiateRestoreObject.ExpirationInDays"] = (1, 365)
    found = {
        path: (shape.least, shape.most) for path, shape in fields(MODEL.operations["CreateJob"].input_shape) if not shape.enum
    }
    directives = {path for path in found if path.endswith("Directive")}  # one of a few words
    assert {path: limits for path, limits in found.items() if path not in directives} == tried
