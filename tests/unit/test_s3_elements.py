"""The elements of the S3 wire's Operation: each that the model has is read, and written again as it was."""

import re
from typing import Any

import pytest

from haulier import operations
from haulier.api.elements import Element
from haulier.api.restxml import Model, Sent
from haulier.api.s3control.elements import ELEMENTS
from haulier.api.s3control.elements.copy import STORAGE_CLASSES
from haulier.core.errors import NotImplementedHere

MODEL = Model.s3control()
OPERATION = MODEL.operations["CreateJob"].input_shape.members["Operation"].shape
BY_NAME = {element.name: element for element in ELEMENTS}

DATE = "2040-01-02T03:04:05.678Z"
TAGS = "<TagSet><member><Key>k</Key><Value>v</Value></member><member><Key>l</Key><Value></Value></member></TagSet>"
GRANT = (
    "<member><Grantee><TypeIdentifier>{}</TypeIdentifier><Identifier>who</Identifier></Grantee>"
    "<Permission>READ_ACP</Permission></member>"
)
LISTED = (
    "<AccessControlPolicy><AccessControlList><Owner><ID>o</ID></Owner><Grants>"
    f"{GRANT.format('id')}{GRANT.format('uri')}{GRANT.format('emailAddress')}"
    "</Grants></AccessControlList></AccessControlPolicy>"
)
FUNCTION = "<FunctionArn>arn:aws:lambda:us-east-1:123456789012:function:f:alias</FunctionArn>"
ARGUMENTS = "<UserArguments><entry><key>k</key><value>v</value></entry></UserArguments>"
KEY = "<KMSKeyArn>arn:aws:kms:us-east-1:123456789012:key/k-1</KMSKeyArn>"
METADATA = (
    "<NewObjectMetadata><CacheControl>c</CacheControl><UserMetadata><entry><key>k</key><value>v</value></entry></UserMetadata>"
    f"<ContentType>a/b</ContentType><HttpExpiresDate>{DATE}</HttpExpiresDate><SSEAlgorithm>KMS</SSEAlgorithm></NewObjectMetadata>"
)

COPY = (
    "<TargetResource>arn:aws:s3:::target</TargetResource><CannedAccessControlList>private</CannedAccessControlList>"
    f"<MetadataDirective>REPLACE</MetadataDirective><ModifiedSinceConstraint>{DATE}</ModifiedSinceConstraint>{METADATA}"
    "<NewObjectTagging></NewObjectTagging><RedirectLocation>/x</RedirectLocation><StorageClass>GLACIER_IR</StorageClass>"
    f"<UnModifiedSinceConstraint>{DATE}</UnModifiedSinceConstraint><SSEAwsKmsKeyId>k</SSEAwsKmsKeyId>"
    "<TargetKeyPrefix>folder</TargetKeyPrefix><BucketKeyEnabled>true</BucketKeyEnabled>"
    "<ChecksumAlgorithm>XXHASH128</ChecksumAlgorithm>"
)
COPY_WITH_GRANTS = (
    "<TargetResource>arn:aws:s3:::target</TargetResource><AccessControlGrants>"
    f"{GRANT.format('id')}{GRANT.format('uri')}</AccessControlGrants><MetadataDirective>COPY</MetadataDirective>"
)
RETENTION = (
    "<BypassGovernanceRetention>true</BypassGovernanceRetention><Retention>"
    f"<RetainUntilDate>{DATE}</RetainUntilDate><Mode>COMPLIANCE</Mode><EventHold>ON</EventHold>"
    "<EventHoldDuration><Years>100</Years></EventHoldDuration></Retention>"
)
PROPERTIES = (
    f"<StorageClass>STANDARD_IA</StorageClass><MetadataDirective>REPLACE</MetadataDirective>{METADATA}"
    "<SSEAwsKmsKeyId>k</SSEAwsKmsKeyId><BucketKeyEnabled>true</BucketKeyEnabled><ChecksumAlgorithm>MD5</ChecksumAlgorithm>"
    "<RedirectLocation>/x</RedirectLocation>"
)

WHOLE = [
    ("LambdaInvoke", f"{FUNCTION}<InvocationSchemaVersion>1.0</InvocationSchemaVersion>"),
    ("LambdaInvoke", f"{FUNCTION}<InvocationSchemaVersion>2.0</InvocationSchemaVersion>{ARGUMENTS}"),
    ("S3PutObjectCopy", COPY),
    (
        "S3PutObjectCopy",
        COPY_WITH_GRANTS,
    ),
    ("S3PutObjectAcl", LISTED),
    ("S3PutObjectAcl", "<AccessControlPolicy><CannedAccessControlList>private</CannedAccessControlList></AccessControlPolicy>"),
    ("S3PutObjectTagging", TAGS),
    ("S3DeleteObjectTagging", ""),
    ("S3InitiateRestoreObject", "<ExpirationInDays>7</ExpirationInDays><GlacierJobTier>STANDARD</GlacierJobTier>"),
    ("S3InitiateRestoreObject", ""),
    ("S3PutObjectLegalHold", "<LegalHold><Status>OFF</Status></LegalHold>"),
    ("S3PutObjectRetention", RETENTION),
    ("S3PutObjectRetention", "<Retention></Retention>"),
    ("S3PutObjectRetention", "<Retention><EventHold>OFF</EventHold></Retention>"),
    ("S3ReplicateObject", ""),
    ("S3ComputeObjectChecksum", "<ChecksumAlgorithm>SHA256</ChecksumAlgorithm><ChecksumType>COMPOSITE</ChecksumType>"),
    ("S3ComputeObjectChecksum", "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"),
    (
        "S3UpdateObjectEncryption",
        f"<ObjectEncryption><SSE-KMS>{KEY}<BucketKeyEnabled>false</BucketKeyEnabled></SSE-KMS></ObjectEncryption>",
    ),
    ("S3DeleteObject", "<BypassGovernanceRetention>true</BypassGovernanceRetention>"),
    ("S3UndeleteObject", ""),
    ("S3MergeObjectTagging", TAGS),
    ("S3UpdateObjectProperties", PROPERTIES),
    ("S3VerifyObject", "<Against>arn:aws:s3:::other</Against><Check><member>size</member><member>etag</member></Check>"),
    ("S3VerifyObject", ""),
]
"""Elements with everything that can be written back, members in the model's order."""


def parsed(operation: str) -> dict[str, Any]:
    request = MODEL.parse("CreateJob", f"<CreateJobRequest><Operation>{operation}</Operation></CreateJobRequest>".encode())
    found: dict[str, Any] = request["Operation"]
    return found


def short(text: str) -> str:
    """Empty elements in the short form."""
    return re.sub(r"<([\w-]+)></\1>", r"<\1/>", text)


def written(operation: dict[str, Any] | Sent) -> str:
    text = MODEL.serialize("DescribeJob", {"Job": {"Operation": operation}}).decode()
    return short(text.partition("<Operation>")[2].partition("</Operation>")[0])


def test_every_operation_of_the_installed_model_has_its_entry() -> None:
    assert set(BY_NAME) == set(OPERATION.members)
    stock = Model.s3control(extensions=False).operations["CreateJob"].input_shape.members["Operation"].shape
    assert {element.name for element in ELEMENTS if not element.extension} == set(stock.members)


def test_an_example_of_every_element_is_here() -> None:
    assert {name for name, _ in WHOLE} == set(BY_NAME)


@pytest.mark.parametrize(("name", "inside"), WHOLE)
def test_what_is_read_is_written_back_as_it_was(name: str, inside: str) -> None:
    element = BY_NAME[name]
    sent = f"<{name}>{inside}</{name}>"
    parameters = element.read(parsed(sent)[name], f"Operation.{name}", {})
    content = element.write(parameters, lambda bucket: f"arn:aws:s3:::{bucket}")
    assert content is not None
    assert written({name: content}) == short(sent)


@pytest.mark.parametrize(("name", "inside"), WHOLE)
def test_what_is_sent_is_echoed_to_the_letter(name: str, inside: str) -> None:
    sent = f"<{name}>{inside}</{name}>"
    body = f"<CreateJobRequest><Operation>{sent}</Operation></CreateJobRequest>"
    _, echo = MODEL.parse_with_echo("CreateJob", body.encode())
    assert written(Sent(echo["Operation"])) == short(sent)


@pytest.mark.parametrize(("name", "inside"), WHOLE)
def test_an_element_can_be_asked_for_exactly_if_its_operation_exists(name: str, inside: str) -> None:
    element: Element = BY_NAME[name]
    asked = parsed(f"<{name}>{inside}</{name}>")
    if element.operation in operations.BY_NAME:
        assert ELEMENTS.read(asked, {}).name == element.operation
    else:
        with pytest.raises(NotImplementedHere, match=rf"^Operation\.{name}: is part of the protocol, but this version"):
            ELEMENTS.read(asked, {})


def test_copies_know_the_storage_classes_of_the_model() -> None:
    assert set(OPERATION.members["S3PutObjectCopy"].shape.members["StorageClass"].shape.enum) == STORAGE_CLASSES
