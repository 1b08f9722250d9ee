"""Requests of both wires become jobs, and jobs become what the other wire can say of them."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from haulier.api import rules, translation
from haulier.api.cos import mapping as cos
from haulier.api.cos.errors import ERRORS as COS_ERRORS
from haulier.api.restxml import Model, Sent
from haulier.api.s3control import mapping as s3
from haulier.api.s3control.errors import ERRORS as S3_ERRORS
from haulier.api.wire import ErrorTable
from haulier.core.accounts import Account, Caller, Key, User
from haulier.core.errors import InvalidField, InvalidRequest, MalformedDocument, NotImplementedHere, RequestError
from haulier.core.job import Failure, Job, OperationSpec, Report
from haulier.service import CreateJob
from unit.values import a_job

ACCOUNT = Account(name="acme", aws_account_id="123456789012", cos_uin="100000000001", cos_appid="1250000000")
USER = User(account="acme", name="admin", policy="admin", keys=(Key(id="a", secret_key="s"),))


def s3_request(operation: str, **changes: str) -> str:
    parts = {
        "ClientRequestToken": "t",
        "Manifest": "<Location><ETag>&quot;e&quot;</ETag><ObjectArn>arn:aws:s3:::lists/a/m.csv</ObjectArn></Location>"
        "<Spec><Fields><member>Bucket</member><member>Key</member></Fields><Format>S3BatchOperations_CSV_20180820</Format></Spec>",
        "Operation": operation,
        "Priority": "1",
        "Report": "<Enabled>false</Enabled>",
        "RoleArn": "arn:aws:iam::123456789012:role/batch",
        **changes,
    }
    return _document(parts)


def cos_request(operation: str, **changes: str) -> str:
    parts = {
        "ClientRequestToken": "t",
        "Manifest": '<Location><ETag>"e"</ETag><ObjectArn>qcs::cos:ap-chengdu:uid/1250000000:lists-1250000000/m.csv</ObjectArn>'
        "</Location><Spec><Fields><member>Bucket</member><member>Key</member></Fields><Format>COSBatchOperations_CSV_V1</Format></Spec>",
        "Operation": operation,
        "Priority": "1",
        "Report": "<Bucket/><Enabled>false</Enabled><Format/><ReportScope/>",
        "RoleArn": "qcs::cam::uin/100000000001:roleName/batch",
        **changes,
    }
    return _document(parts)


def _document(parts: dict[str, str]) -> str:
    inside = "".join(f"<{name}>{content}</{name}>" for name, content in parts.items() if content != "-")
    return f"<CreateJobRequest>{inside}</CreateJobRequest>"


def from_s3(body: str, *, extensions: bool = True) -> CreateJob:
    model = Model.s3control(extensions=extensions)
    request, echo = model.parse_with_echo("CreateJob", body.encode())
    model.check("CreateJob", request)
    return s3.create_job(request, dict(echo), Caller(ACCOUNT, USER, "s3control", "us-west-2"), extensions=extensions)


def from_cos(body: str) -> CreateJob:
    model = Model.cos()
    request, echo = model.parse_with_echo("CreateJob", body.encode())
    model.check("CreateJob", request)
    return cos.create_job(request, cos.kept(request, echo), Caller(ACCOUNT, USER, "cos", "ap-chengdu"))


def given(asked: CreateJob) -> dict[str, Any]:
    """The operation's parameters that differ from those of the plainest copy."""
    plain = {"metadata": "copy", "tags": "copy"}
    return {
        name: value
        for name, value in asked.operation.parameters.items()
        if value is not None and plain.get(name) != value and name not in ("dialect", "key_bytes_max", "target_bucket")
    }


# -- S3

COPY_PATH = "Operation.S3PutObjectCopy"
S3_TARGET = "<TargetResource>arn:aws:s3:::target</TargetResource>"
DELETE = "<S3DeleteObject/>"


def test_an_s3_request_becomes_a_job() -> None:
    asked = from_s3(
        s3_request(
            DELETE,
            Report="<Bucket>arn:aws:s3:::reports</Bucket><Enabled>true</Enabled><Format>Report_CSV_20180820</Format>"
            "<Prefix>p</Prefix><ReportScope>FailedTasksOnly</ReportScope>",
            Description="why",
            Tags="<member><Key>k</Key><Value>v</Value></member>",
        )
    )
    assert (asked.dialect, asked.region, asked.token, asked.priority, asked.description) == (
        "s3control",
        "us-west-2",
        "t",
        1,
        "why",
    )
    assert (asked.manifest.location.bucket, asked.manifest.location.key, asked.manifest.etag) == ("lists", "a/m.csv", "e")
    assert asked.manifest.fields == ("Bucket", "Key")
    assert asked.report == Report(
        enabled=True, bucket="reports", prefix="p", format="Report_CSV_20180820", scope="FailedTasksOnly"
    )
    assert asked.operation == OperationSpec(name="delete", parameters={"bypass_governance": False})
    assert asked.tags == {"k": "v"}
    assert asked.buckets == {"lists": None, "reports": None}
    assert set(asked.as_sent) == {"Manifest", "Operation", "Report"}


@pytest.mark.parametrize(("sent", "confirmed"), [("-", True), ("true", True), ("false", False)])
def test_confirmation_is_required_on_s3_unless_it_is_refused(sent: str, confirmed: bool) -> None:
    assert from_s3(s3_request(DELETE, ConfirmationRequired=sent)).confirmation_required is confirmed


@pytest.mark.parametrize(("sent", "confirmed"), [("-", False), ("true", True), ("false", False)])
def test_confirmation_is_required_on_cos_only_if_asked_for(sent: str, confirmed: bool) -> None:
    asked = from_cos(cos_request("<COSDeleteObject/>", ConfirmationRequired=sent))
    assert asked.confirmation_required is confirmed


@pytest.mark.parametrize(
    ("inside", "parameters"),
    [
        ("", {}),
        ("<TargetKeyPrefix>Folder1</TargetKeyPrefix>", {"folder": "Folder1"}),
        ("<NewObjectTagging/>", {"tags": {}}),
        ("<NewObjectTagging><member><Key>k</Key><Value/></member></NewObjectTagging>", {"tags": {"k": ""}}),
        ("<MetadataDirective>REPLACE</MetadataDirective>", {"metadata": {"user": {}}}),
        ("<MetadataDirective>COPY</MetadataDirective><NewObjectMetadata/>", {}),
        (
            (
                "<NewObjectMetadata><ContentType>a/b</ContentType><HttpExpiresDate>2030-01-02T03:04:05Z</HttpExpiresDate>"
                "<ContentLength>5</ContentLength><UserMetadata><entry><key>k</key><value>v</value></entry></UserMetadata>"
                "</NewObjectMetadata>"
            ),
            {"metadata": {"content_type": "a/b", "expires_ms": 1_893_553_445_000, "user": {"k": "v"}}},
        ),
        ("<NewObjectMetadata><SSEAlgorithm>AES256</SSEAlgorithm></NewObjectMetadata>", {"sse": "AES256"}),
        (
            (
                "<NewObjectMetadata><SSEAlgorithm>KMS</SSEAlgorithm></NewObjectMetadata><SSEAwsKmsKeyId>k</SSEAwsKmsKeyId>"
                "<BucketKeyEnabled>true</BucketKeyEnabled>"
            ),
            {"sse": "aws:kms", "sse_kms_key": "k", "bucket_key": True},
        ),
        ("<BucketKeyEnabled>true</BucketKeyEnabled>", {}),
        ("<CannedAccessControlList>bucket-owner-read</CannedAccessControlList>", {"canned_acl": "bucket-owner-read"}),
        ("<StorageClass>GLACIER_IR</StorageClass>", {"storage_class": "GLACIER_IR"}),
        ("<ChecksumAlgorithm>CRC32C</ChecksumAlgorithm>", {"checksum": "CRC32C"}),
        ("<RedirectLocation>/x</RedirectLocation>", {"redirect": "/x"}),
        ("<RequesterPays>false</RequesterPays>", {}),
        (
            (
                "<ModifiedSinceConstraint>2023-11-14T22:13:20.5Z</ModifiedSinceConstraint>"
                "<UnModifiedSinceConstraint>2023-11-14T22:13:21Z</UnModifiedSinceConstraint>"
            ),
            {"modified_since_ms": 1_700_000_000_500, "unmodified_since_ms": 1_700_000_001_000},
        ),
    ],
)
def test_an_s3_copy_is_read(inside: str, parameters: dict[str, Any]) -> None:
    asked = from_s3(s3_request(f"<S3PutObjectCopy>{S3_TARGET}{inside}</S3PutObjectCopy>"))
    assert asked.operation.name == "copy"
    assert asked.operation.parameters["target_bucket"] == "target"
    assert (asked.operation.parameters["dialect"], asked.operation.parameters["key_bytes_max"]) == ("s3control", 1024)
    assert given(asked) == parameters
    assert "target" in asked.buckets


def test_an_s3_tagging_is_read() -> None:
    tag = "<member><Key>k</Key><Value>v</Value></member>"
    asked = from_s3(s3_request(f"<S3PutObjectTagging><TagSet>{tag}</TagSet></S3PutObjectTagging>"))
    assert asked.operation == OperationSpec(name="put_tagging", parameters={"mode": "replace", "tags": {"k": "v"}})


def s3_copy(inside: str) -> str:
    return s3_request(f"<S3PutObjectCopy>{S3_TARGET}{inside}</S3PutObjectCopy>")


HOSTILE = "k&#13;&#10;x-amz-acl: public-read"


@pytest.mark.parametrize(
    ("refused", "path"),
    [
        (
            lambda: from_s3(
                s3_copy(
                    "<NewObjectMetadata><UserMetadata><entry><key>" + HOSTILE + "</key><value>v</value></entry></UserMetadata>"
                    "</NewObjectMetadata>"
                )
            ),
            f"{COPY_PATH}.NewObjectMetadata.UserMetadata",
        ),
        (
            lambda: from_s3(s3_copy(f"<NewObjectMetadata><CacheControl>{HOSTILE}</CacheControl></NewObjectMetadata>")),
            COPY_PATH,
        ),
        (lambda: from_s3(s3_copy(f"<RedirectLocation>{HOSTILE}</RedirectLocation>")), COPY_PATH),
        (
            lambda: from_cos(
                cos_copy(
                    "<MetadataDirective>Replaced</MetadataDirective><NewObjectMetadata><UserMetadata><member><Key>"
                    + HOSTILE
                    + "</Key><Value>v</Value></member></UserMetadata></NewObjectMetadata>"
                )
            ),
            "Operation.COSPutObjectCopy.NewObjectMetadata.UserMetadata",
        ),
    ],
    ids=["s3 name", "s3 value", "s3 redirect", "cos name"],
)
def test_what_would_smuggle_a_header_into_the_stores_request_is_refused(refused: Callable[[], object], path: str) -> None:
    with pytest.raises(InvalidField) as error:
        refused()
    assert error.value.path == path


@pytest.mark.parametrize("text", ["全角\u3000空白", "a\u00a0b", "a\u200db", "co\u00adop", "a\tb", "50%"])
def test_text_that_is_no_control_character_may_stand_in_metadata(text: str) -> None:
    disposition = f"<ContentDisposition>{text}</ContentDisposition>"
    found = given(
        from_s3(s3_copy(f"<NewObjectMetadata>{disposition}<UserMetadata>{entry('50%', text)}</UserMetadata></NewObjectMetadata>"))
    )
    assert found == {"metadata": {"content_disposition": text, "user": {"50%": text}}}
    member = f"<member><Key>50%</Key><Value>{text}</Value></member>"
    new = f"<NewObjectMetadata>{disposition}<UserMetadata>{member}</UserMetadata></NewObjectMetadata>"
    assert given(from_cos(cos_copy(f"<MetadataDirective>Replaced</MetadataDirective>{new}"))) == found


def s3_with(user: dict[str, str]) -> CreateJob:
    entries = "".join(entry(*pair) for pair in user.items())
    return from_s3(s3_copy(f"<NewObjectMetadata><UserMetadata>{entries}</UserMetadata></NewObjectMetadata>"))


def cos_with(user: dict[str, str]) -> CreateJob:
    members = "".join(f"<member><Key>{name}</Key><Value>{value}</Value></member>" for name, value in user.items())
    new = f"<NewObjectMetadata><UserMetadata>{members}</UserMetadata></NewObjectMetadata>"
    return from_cos(cos_copy(f"<MetadataDirective>Replaced</MetadataDirective>{new}"))


@pytest.mark.parametrize("with_user", [s3_with, cos_with])
def test_user_metadata_is_refused_where_no_client_could_read_it_again(with_user: Callable[[dict[str, str]], CreateJob]) -> None:
    most = {**{f"{number:06}": "v" * 1018 for number in range(31)}, "k": "v" * 543}
    assert given(with_user(most))["metadata"]["user"] == most
    with pytest.raises(InvalidField, match="UserMetadata: takes 32784 bytes as headers; 32768 are allowed"):
        with_user({**most, "l": ""})


def entry(name: str, value: str) -> str:
    return f"<entry><key>{name}</key><value>{value}</value></entry>"


def test_deleting_on_the_s3_wire_is_an_extension() -> None:
    with pytest.raises(MalformedDocument, match=r"^Operation\.S3DeleteObject: the element is not known here"):
        from_s3(s3_request(DELETE), extensions=False)
    with pytest.raises(MalformedDocument, match=r"^Options: the element is not known here"):
        from_s3(s3_request("<S3PutObjectTagging><TagSet/></S3PutObjectTagging>", Options=""), extensions=False)
    asked = from_s3(s3_request("<S3DeleteObject><BypassGovernanceRetention>true</BypassGovernanceRetention></S3DeleteObject>"))
    assert asked.operation.parameters == {"bypass_governance": True}


@pytest.mark.parametrize(
    "fields", ["", "Key", "Bucket", "Bucket,Key,Key", "Bucket,Bucket,Key", "Bucket,Key,VersionId,VersionId", "Ignore"]
)
def test_a_csv_manifest_needs_bucket_and_key_once(fields: str) -> None:
    with pytest.raises(InvalidField, match=r"^Manifest\.Spec\.Fields: needs"):
        rules.csv_fields(fields.split(",") if fields else None, "Manifest.Spec.Fields")
    assert rules.csv_fields(["Ignore", "Key", "Ignore", "Bucket", "VersionId"], "f") == (
        "Ignore",
        "Key",
        "Ignore",
        "Bucket",
        "VersionId",
    )


def test_a_request_is_the_same_whatever_its_order_and_token() -> None:
    one = from_s3(s3_request(DELETE, Description="d"))
    parts = s3_request(DELETE, Description="d").replace("<Priority>1</Priority>", "")
    other = from_s3(parts.replace("<CreateJobRequest>", "<CreateJobRequest><Priority> 1 </Priority>").replace(">t<", ">u<"))
    assert one.digest == other.digest
    assert one.digest != from_s3(s3_request(DELETE, Description="e")).digest
    assert one.digest != from_s3(s3_request(DELETE)).digest


# -- COS

COS_TARGET = "<TargetResource>qcs::cos:ap-chengdu:uid/1250000000:cold-1250000000</TargetResource>"


def cos_copy(inside: str) -> str:
    return cos_request(f"<COSPutObjectCopy>{COS_TARGET}{inside}</COSPutObjectCopy>")


@pytest.mark.parametrize(
    ("inside", "parameters"),
    [
        ("", {}),
        ("<PrefixReplace>true</PrefixReplace>", {"replace_prefix": ["", ""]}),
        (
            "<PrefixReplace>true</PrefixReplace><ResourcesPrefix>a/</ResourcesPrefix><TargetKeyPrefix>b/</TargetKeyPrefix>",
            {"replace_prefix": ["a/", "b/"]},
        ),
        ("<PrefixReplace>false</PrefixReplace><ResourcesPrefix>a/</ResourcesPrefix>", {}),
        ("<TaggingDirective>Copy</TaggingDirective><NewObjectTagging></NewObjectTagging>", {}),
        ("<NewObjectTagging></NewObjectTagging>", {}),
        ("<TaggingDirective>REPLACE</TaggingDirective><NewObjectTagging/>", {"tags": {}}),
        (
            (
                "<TaggingDirective>Replaced</TaggingDirective>"
                "<NewObjectTagging><COSTag><Key>k</Key><Value>v</Value></COSTag></NewObjectTagging>"
            ),
            {"tags": {"k": "v"}},
        ),
        (
            (
                "<MetadataDirective>Replaced</MetadataDirective><NewObjectMetadata><CacheControl>no-store</CacheControl>"
                "<HttpExpiresDate>2030-01-02T03:04:05Z</HttpExpiresDate><SSEAlgorithm>AES256</SSEAlgorithm>"
                "<UserMetadata><member><Key>k</Key><Value>v</Value></member></UserMetadata></NewObjectMetadata>"
                "<MetadataDirective>Replaced</MetadataDirective>"
            ),
            {
                "metadata": {"cache_control": "no-store", "expires_ms": 1_893_553_445_000, "user": {"k": "v"}},
                "sse": "AES256",
            },
        ),
        ("<CannedAccessControlList>private</CannedAccessControlList>", {"canned_acl": "private"}),
        ("<StorageClass>MAZ_STANDARD</StorageClass>", {"storage_class": "MAZ_STANDARD"}),
        (
            (
                "<ModifiedSinceConstraint>1700000000</ModifiedSinceConstraint>"
                "<UnModifiedSinceConstraint>2023-11-14T22:13:21Z</UnModifiedSinceConstraint>"
            ),
            {"modified_since_ms": 1_700_000_000_000, "unmodified_since_ms": 1_700_000_001_000},
        ),
        ("<ModifiedSinceConstraint>0</ModifiedSinceConstraint>", {}),
    ],
)
def test_a_cos_copy_is_read(inside: str, parameters: dict[str, Any]) -> None:
    asked = from_cos(cos_copy(inside))
    assert asked.operation.name == "copy"
    assert asked.operation.parameters["target_bucket"] == "cold-1250000000"
    assert (asked.operation.parameters["dialect"], asked.operation.parameters["key_bytes_max"]) == ("cos", 850)
    assert given(asked) == parameters
    assert asked.buckets == {"lists-1250000000": "ap-chengdu", "cold-1250000000": "ap-chengdu"}


@pytest.mark.parametrize(
    ("directive", "mode"),
    [("", "replace"), ("<TaggingDirective/>", "replace"), ("<TaggingDirective>Add</TaggingDirective>", "add")],
)
@pytest.mark.parametrize("tag", ["COSTag", "Tag"])
def test_a_cos_tagging_is_read(directive: str, mode: str, tag: str) -> None:
    inside = f"{directive}<TagSet><{tag}><Key>k</Key><Value>v</Value></{tag}></TagSet>"
    asked = from_cos(cos_request(f"<COSPutObjectTagging>{inside}</COSPutObjectTagging>"))
    assert asked.operation == OperationSpec(name="put_tagging", parameters={"mode": mode, "tags": {"k": "v"}})


def cos_report(bucket: str) -> str:
    return f"<Bucket>{bucket}</Bucket><Enabled>true</Enabled><Format>Report_CSV_V1</Format><ReportScope>AllTasks</ReportScope>"


COS_COPY_PATH = "Operation.COSPutObjectCopy"


@pytest.mark.parametrize(
    ("body", "error", "path"),
    [
        (cos_request("<COSDeleteObject/><COSPutObjectCopy/>"), MalformedDocument, "Operation"),
        (cos_request(""), MalformedDocument, "Operation"),
        (cos_request("<COSPutObjectCopy/>"), MalformedDocument, f"{COS_COPY_PATH}.TargetResource"),
        (
            cos_request(
                "<COSInitiateRestoreObject><ExpirationInDays>1</ExpirationInDays><JobTier>Bulk</JobTier></COSInitiateRestoreObject>"
            ),
            NotImplementedHere,
            "Operation.COSInitiateRestoreObject",
        ),
        (cos_copy("<MetadataDirective>Sometimes</MetadataDirective>"), InvalidField, f"{COS_COPY_PATH}.MetadataDirective"),
        (cos_copy("<TaggingDirective>Replaced</TaggingDirective>"), MalformedDocument, f"{COS_COPY_PATH}.NewObjectTagging"),
        (
            cos_copy("<NewObjectTagging><COSTag><Key>k</Key><Value>v</Value></COSTag></NewObjectTagging>"),
            InvalidField,
            f"{COS_COPY_PATH}.NewObjectTagging",
        ),
        (
            cos_copy("<NewObjectMetadata><CacheControl>x</CacheControl></NewObjectMetadata>"),
            InvalidField,
            f"{COS_COPY_PATH}.NewObjectMetadata",
        ),
        (
            cos_copy(
                "<MetadataDirective>Replaced</MetadataDirective>"
                "<NewObjectMetadata><HttpExpiresDate>soon</HttpExpiresDate></NewObjectMetadata>"
            ),
            InvalidField,
            f"{COS_COPY_PATH}.NewObjectMetadata.HttpExpiresDate",
        ),
        (
            cos_request("<COSDeleteObject/>", Report=cos_report("qcs::cos:ap-chengdu:uid/1259999999:r-1259999999")),
            InvalidField,
            "Report.Bucket",
        ),
        (
            cos_request("<COSDeleteObject/>", Report=cos_report("qcs::cos:ap-chengdu::r-1259999999")),
            InvalidField,
            "Report.Bucket",
        ),
        (
            cos_request("<COSDeleteObject/>", Report=cos_report("qcs::cos:ap-chengdu::r-1250000000/key")),
            InvalidField,
            "Report.Bucket",
        ),
        (cos_request("<COSDeleteObject/>", Report=cos_report("")), InvalidField, "Report.Bucket"),
        (
            cos_request(
                "<COSDeleteObject/>",
                Manifest="<Location><ETag>e</ETag><ObjectArn>qcs::cos:r:uid/1259999999:l-1259999999/m</ObjectArn></Location>"
                "<Spec><Fields><member>Bucket</member><member>Key</member></Fields><Format>COSBatchOperations_CSV_V1</Format></Spec>",
            ),
            InvalidField,
            "Manifest.Location.ObjectArn",
        ),
        (
            cos_request(
                "<COSDeleteObject/>",
                Manifest="<Location><ETag>e</ETag><ObjectArn>qcs::cos:r:uid/1250000000:l-1250000000/m</ObjectArn></Location>"
                "<Spec><Fields><member>Bucket</member></Fields><Format>COSBatchOperations_CSV_V1</Format></Spec>",
            ),
            MalformedDocument,
            "Manifest.Spec.Fields",
        ),
        (
            cos_request(
                "<COSDeleteObject/>",
                Manifest="<Location><ETag>e</ETag><ObjectArn>qcs::cos:r:uid/1250000000:l-1250000000/manifest.json</ObjectArn></Location>"
                "<Spec><Format>COSInventoryReport_CSV_V1</Format></Spec>",
            ),
            NotImplementedHere,
            "Manifest.Spec.Format",
        ),
    ],
)
def test_a_cos_request_that_makes_no_sense_or_cannot_be_done_is_refused_by_path(
    body: str, error: type[RequestError], path: str
) -> None:
    with pytest.raises(error) as refused:
        from_cos(body)
    assert refused.value.path == path  # type: ignore[attr-defined]


def test_cos_echo_is_exact_but_for_what_the_go_sdk_must_decode() -> None:
    inside = (
        "<PrefixReplace>TRUE</PrefixReplace><ModifiedSinceConstraint>2023-11-14T22:13:20Z</ModifiedSinceConstraint>"
        "<TargetKeyPrefix> a </TargetKeyPrefix>"
    )
    asked = from_cos(cos_copy(inside))
    described = Model.cos().serialize("DescribeJob", {"Job": {name: Sent(node) for name, node in asked.as_sent.items()}}).decode()
    wanted = inside.replace("TRUE", "true").replace("2023-11-14T22:13:20Z", "1700000000")
    assert f"<COSPutObjectCopy>{COS_TARGET}{wanted}</COSPutObjectCopy>" in described
    assert '<ETag>"e"</ETag>' in described
    assert json.loads(json.dumps(asked.as_sent)) == asked.as_sent  # it is stored as JSON


# -- the other wire


def stored(asked: CreateJob, **changes: Any) -> Job:
    job = a_job(
        dialect=asked.dialect,
        manifest=asked.manifest,
        operation=asked.operation,
        report=asked.report,
        role_arn=asked.role_arn,
        as_sent=asked.as_sent,
        region=asked.region,
    )
    return msgspec.structs.replace(job, **changes)


@pytest.mark.parametrize(
    "body",
    [
        s3_request(DELETE),
        s3_request("<S3PutObjectTagging><TagSet><member><Key>k</Key><Value>v</Value></member></TagSet></S3PutObjectTagging>"),
        s3_copy(""),
        s3_copy("<TargetKeyPrefix>a/b</TargetKeyPrefix><StorageClass>STANDARD_IA</StorageClass>"),
        s3_copy(
            "<MetadataDirective>REPLACE</MetadataDirective><NewObjectMetadata><ContentType>a/b</ContentType>"
            "<UserMetadata><entry><key>k</key><value>v</value></entry></UserMetadata><SSEAlgorithm>AES256</SSEAlgorithm>"
            "</NewObjectMetadata><NewObjectTagging><member><Key>k</Key><Value>v</Value></member></NewObjectTagging>"
            "<ModifiedSinceConstraint>2023-11-14T22:13:20Z</ModifiedSinceConstraint>"
        ),
    ],
)
def test_what_an_s3_job_says_on_cos_means_the_same_there(body: str) -> None:
    job = stored(from_s3(body))
    shown = Model.cos().serialize("DescribeJob", {"Job": cos.describe(job, ACCOUNT)}).decode()
    operation = shown.split("<Operation>")[1].split("</Operation>")[0]
    again = from_cos(cos_request(operation))
    same_effect = {**again.operation.parameters, "dialect": "s3control", "key_bytes_max": 1024}
    folder = job.operation.parameters.get("folder")
    assert same_effect.pop("replace_prefix", None) == (None if folder is None else ["", f"{folder}/"])
    ours = {name: value for name, value in job.operation.parameters.items() if value is not None and name != "folder"}
    theirs = {name: value for name, value in same_effect.items() if value is not None}
    if job.operation.name == "copy":
        assert theirs == ours
    else:
        assert again.operation == job.operation
    assert "<ObjectArn>qcs::cos:us-west-2:uid/1250000000:lists/a/m.csv</ObjectArn>" in shown
    assert "<RoleArn>qcs::cam::uin/100000000001:roleName/batch</RoleArn>" in shown
    assert "<ETag>e</ETag>" in shown


@pytest.mark.parametrize(
    ("body", "inside"),
    [
        (cos_request("<COSDeleteObject/>"), "<S3DeleteObject></S3DeleteObject>"),
        (
            cos_copy("<PrefixReplace>true</PrefixReplace><TargetKeyPrefix>a/b/</TargetKeyPrefix>"),
            "<TargetKeyPrefix>a/b</TargetKeyPrefix>",
        ),
        (cos_copy("<StorageClass>STANDARD_IA</StorageClass>"), "<StorageClass>STANDARD_IA</StorageClass>"),
    ],
)
def test_what_a_cos_job_says_on_s3_means_the_same_there(body: str, inside: str) -> None:
    job = stored(from_cos(body))
    described = s3.describe(job, ACCOUNT, 0)
    shown = Model.s3control().serialize("DescribeJob", {"Job": described}).decode()
    assert inside in shown
    operation = shown.split("<Operation>")[1].split("</Operation>")[0]
    assert from_s3(s3_request(operation)).operation.name == job.operation.name
    assert described["RoleArn"] == "arn:aws:iam::123456789012:role/batch"
    assert described["Manifest"]["Location"]["ObjectArn"] == "arn:aws:s3:::lists-1250000000/m.csv"
    assert described["Manifest"]["Spec"]["Format"] == "S3BatchOperations_CSV_20180820"
    assert described["Report"] == {"Enabled": False}


@pytest.mark.parametrize(
    "body",
    [
        cos_copy("<PrefixReplace>true</PrefixReplace><ResourcesPrefix>a</ResourcesPrefix>"),
        cos_copy("<PrefixReplace>true</PrefixReplace><TargetKeyPrefix>abc</TargetKeyPrefix>"),
        cos_copy("<StorageClass>MAZ_STANDARD</StorageClass>"),
    ],
)
def test_a_cos_copy_that_s3_cannot_say_is_left_out_there_and_named_in_lists(body: str) -> None:
    job = stored(from_cos(body))
    assert "Operation" not in s3.describe(job, ACCOUNT, 0)
    assert s3.listed(job)["Operation"] == "COSPutObjectCopy"
    assert cos.listed(job)["Operation"] == "COSPutObjectCopy"


@pytest.mark.parametrize(
    "inside",
    [
        "<RedirectLocation>/x</RedirectLocation>",
        "<SSEAwsKmsKeyId>k</SSEAwsKmsKeyId>",
        "<ChecksumAlgorithm>SHA256</ChecksumAlgorithm>",
        "<StorageClass>GLACIER</StorageClass>",
        "<CannedAccessControlList>bucket-owner-read</CannedAccessControlList>",
        "<NewObjectMetadata><ContentLanguage>de</ContentLanguage></NewObjectMetadata>",
    ],
)
def test_an_s3_copy_that_cos_cannot_say_is_left_out_there_and_named_in_lists(inside: str) -> None:
    job = stored(from_s3(s3_copy(inside)))
    assert "Operation" not in cos.describe(job, ACCOUNT)
    assert cos.listed(job)["Operation"] == "S3PutObjectCopy"


@pytest.mark.parametrize("name", ["ModifiedSinceConstraint", "UnModifiedSinceConstraint"])
@pytest.mark.parametrize(
    ("moment", "shown"),
    [("1969-12-31T23:59:59Z", None), ("1970-01-01T00:00:00.500Z", None), ("1970-01-01T00:00:01.5Z", 1)],
)
def test_a_constraint_that_would_be_none_on_cos_is_not_shown_there_as_one(name: str, moment: str, shown: int | None) -> None:
    described = cos.describe(stored(from_s3(s3_copy(f"<{name}>{moment}</{name}>"))), ACCOUNT)
    found = described.get("Operation")
    assert (None if found is None else found["COSPutObjectCopy"][name]) == shown


@pytest.mark.parametrize("bucket", ["photos-2024", "lists-1250000000", "lists"])
def test_a_job_of_the_s3_wire_is_shown_on_cos_as_cos_takes_it(bucket: str) -> None:
    copy = f"<S3PutObjectCopy><TargetResource>arn:aws:s3:::{bucket}</TargetResource></S3PutObjectCopy>"
    location = f"<Location><ETag>e</ETag><ObjectArn>arn:aws:s3:::{bucket}/m.csv</ObjectArn></Location>"
    spec = "<Fields><member>Bucket</member><member>Key</member></Fields><Format>S3BatchOperations_CSV_20180820</Format>"
    job = stored(from_s3(s3_request(copy, Manifest=f"{location}<Spec>{spec}</Spec>")))
    described = cos.describe(job, ACCOUNT)
    again = from_cos(
        cos_request(
            cos_copy_of(described["Operation"]["COSPutObjectCopy"]["TargetResource"]),
            Manifest=f"<Location><ETag>e</ETag><ObjectArn>{described['Manifest']['Location']['ObjectArn']}</ObjectArn></Location>"
            "<Spec><Fields><member>Bucket</member><member>Key</member></Fields><Format>COSBatchOperations_CSV_V1</Format></Spec>",
        )
    )
    assert (again.manifest.location, again.buckets.keys()) == (job.manifest.location, {bucket})


def cos_copy_of(target: str) -> str:
    return f"<COSPutObjectCopy><TargetResource>{target}</TargetResource></COSPutObjectCopy>"


def test_a_bucket_whose_owner_is_named_must_be_ours_whatever_its_own_name_ends_with() -> None:
    report = "<Bucket>qcs::cos:r:uid/1259999999:photos-2024</Bucket><Enabled>true</Enabled><Format>Report_CSV_V1</Format>"
    with pytest.raises(InvalidField, match=r"^Report\.Bucket: belongs to APPID 1259999999"):
        from_cos(cos_request("<COSDeleteObject/>", Report=f"{report}<ReportScope>AllTasks</ReportScope>"))


def test_a_delete_has_no_words_on_the_s3_wire_where_extensions_are_off() -> None:
    job = msgspec.structs.replace(stored(from_cos(cos_request("<COSDeleteObject/>"))), failures={"NoSuchKey": 1})
    described = s3.describe(job, ACCOUNT, 0, extensions=False)
    assert "Operation" not in described
    assert "FailuresByCode" not in described["ProgressSummary"]
    assert s3.listed(job, extensions=False)["Operation"] == "COSDeleteObject"
    assert Model.s3control(extensions=False).serialize("DescribeJob", {"Job": described})


def test_adding_tags_is_an_extension_on_s3_and_bypassing_governance_has_no_words_on_cos() -> None:
    adding = a_job(dialect="cos", operation=OperationSpec(name="put_tagging", parameters={"mode": "add", "tags": {"k": "v"}}))
    assert translation.operation(adding, "s3control") == {"S3MergeObjectTagging": {"TagSet": [{"Key": "k", "Value": "v"}]}}
    assert translation.operation(adding, "s3control", extensions=False) is None
    bypassing = OperationSpec(name="delete", parameters={"bypass_governance": True})
    assert translation.operation(a_job(operation=bypassing), "cos") is None


# -- a job as it is shown


def test_failure_reasons_are_cut_between_characters() -> None:
    assert rules.shown_reason("x" * 255 + "é") == "x" * 255
    assert rules.shown_reason("x" * 254 + "é") == "x" * 254 + "é"
    assert len(rules.shown_reason("界" * 300).encode()) == 255
    operation = OperationSpec(name="delete", parameters={})
    job = a_job(dialect="cos", operation=operation, failure=Failure("InvalidManifest", "é" * 200), status="Failed")
    assert cos.describe(job, ACCOUNT)["FailureReasons"]["JobFailure"] == {
        "FailureCode": "InvalidManifest",
        "FailureReason": "é" * 128,
    }
    assert s3.describe(job, ACCOUNT, 0)["FailureReasons"][0]["FailureReason"] == "é" * 128


def test_active_time_counts_the_stretch_that_is_running() -> None:
    assert rules.active_seconds(a_job(status="Active", active_ms=1500, status_since_ms=10_000), 12_600) == 4
    assert rules.active_seconds(a_job(status="Paused", active_ms=1500, status_since_ms=10_000), 99_000) == 1


def test_a_completed_cos_job_says_so_unless_its_user_said_something() -> None:
    assert cos.describe(a_job(dialect="cos", status="Complete"), ACCOUNT)["StatusUpdateReason"] == "Job complete"
    spoken = a_job(dialect="cos", status="Complete", status_reason="mine")
    assert cos.describe(spoken, ACCOUNT)["StatusUpdateReason"] == "mine"
    assert "StatusUpdateReason" not in cos.describe(a_job(dialect="cos"), ACCOUNT)


# -- errors


def all_request_errors() -> list[type[RequestError]]:
    found: list[type[RequestError]] = [RequestError]
    for kind in found:
        found += [below for below in kind.__subclasses__() if below not in found]
    return [kind for kind in found if kind.__module__ in ("haulier.core.errors", "haulier.api.wire")]


@pytest.mark.parametrize("table", [S3_ERRORS, COS_ERRORS], ids=["s3control", "cos"])
def test_every_request_error_has_its_own_line_in_the_table(table: ErrorTable) -> None:
    assert set(all_request_errors()) == set(table.answers)
    for answer in table.answers.values():
        assert 400 <= answer.status <= 599


def test_an_unexpected_exception_is_the_dialects_internal_error() -> None:
    assert (S3_ERRORS.find("CreateJob", ValueError()).code, S3_ERRORS.find(None, ValueError()).status) == (
        "InternalServiceException",
        500,
    )
    assert COS_ERRORS.find("CreateJob", ValueError()).code == "InternalError"
    assert S3_ERRORS.find("ListJobs", InvalidRequest("x")).code == "InvalidRequestException"
