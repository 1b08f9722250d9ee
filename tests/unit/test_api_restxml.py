"""The XML reader and writer: what is understood, what is refused, and with which path."""

import json
import tracemalloc

import pytest

from haulier.api.restxml import Model, Sent, UnwritableText, document
from haulier.api.xmltree import ATTRIBUTES_MAX, BODY_BYTES_MAX, ELEMENTS_MAX, read
from haulier.core.errors import DocumentTooLarge, InvalidField, MalformedDocument

S3 = Model.s3control()
COS = Model.cos()
NAMESPACE = "http://awss3control.amazonaws.com/doc/2018-08-20/"

ENTRY = "<entry><key>a</key><value>1</value></entry>"
COS_JOB = """<?xml version="1.0" encoding="UTF-8"?>
<CreateJobRequest>
  <Priority> 10 </Priority>
  <ClientRequestToken>6f0c9a52</ClientRequestToken>
  <ConfirmationRequired> TRUE </ConfirmationRequired>
  <Description></Description>
  <Manifest>
    <Location>
      <ETag><![CDATA["9b2c"]]></ETag>
      <ObjectArn>qcs::cos:ap-chengdu:uid/1250000000:lists-1250000000/a &amp; b.csv</ObjectArn>
    </Location>
    <Spec>
      <Fields><member> Bucket </member><member>Key</member></Fields>
      <Format>COSBatchOperations_CSV_V1</Format>
    </Spec>
  </Manifest>
  <Operation>%s</Operation>
  <Report>
    <Bucket>qcs::cos:ap-chengdu::lists-1250000000</Bucket><Enabled>true</Enabled>
    <Format>Report_CSV_V1</Format><Prefix/><ReportScope>AllTasks</ReportScope>
  </Report>
  <RoleArn>qcs::cam::uin/100000000001:roleName/batch</RoleArn>
</CreateJobRequest>"""


def cos_job(operation: str = "<COSDeleteObject/>") -> bytes:
    return (COS_JOB % operation).encode()


def s3_job(inside: str) -> bytes:
    return f'<CreateJobRequest xmlns="{NAMESPACE}">{inside}</CreateJobRequest>'.encode()


# -- what is understood


def test_a_cos_job_is_read_with_trimmed_enums_and_numbers_cdata_and_empty_elements() -> None:
    value = COS.parse("CreateJob", cos_job())
    COS.check("CreateJob", {**value, "AppId": "1250000000"})
    assert value == {
        "ClientRequestToken": "6f0c9a52",
        "ConfirmationRequired": True,
        "Description": "",
        "Manifest": {
            "Location": {"ETag": '"9b2c"', "ObjectArn": "qcs::cos:ap-chengdu:uid/1250000000:lists-1250000000/a & b.csv"},
            "Spec": {"Fields": ["Bucket", "Key"], "Format": "COSBatchOperations_CSV_V1"},
        },
        "Operation": {"COSDeleteObject": {}},
        "Priority": 10,
        "Report": {
            "Bucket": "qcs::cos:ap-chengdu::lists-1250000000",
            "Enabled": True,
            "Format": "Report_CSV_V1",
            "Prefix": "",
            "ReportScope": "AllTasks",
        },
        "RoleArn": "qcs::cam::uin/100000000001:roleName/batch",
    }


def test_every_cos_operation_of_the_reference_is_read_whole() -> None:
    copy = """<COSPutObjectCopy>
      <AccessControlDirective>Replaced</AccessControlDirective>
      <AccessControlGrants><COSGrant><Grantee><DisplayName>d</DisplayName><Identifier>qcs::cam::uin/1:uin/2</Identifier>
        <TypeIdentifier>ID</TypeIdentifier></Grantee><Permission>READ</Permission></COSGrant></AccessControlGrants>
      <CannedAccessControlList>private</CannedAccessControlList>
      <PrefixReplace>true</PrefixReplace><ResourcesPrefix/><TargetKeyPrefix>a/</TargetKeyPrefix>
      <MetadataDirective> Replaced </MetadataDirective>
      <NewObjectMetadata><CacheControl>no-cache</CacheControl><ContentDisposition>x</ContentDisposition>
        <ContentEncoding>gzip</ContentEncoding><ContentType>text/plain</ContentType>
        <HttpExpiresDate>2030-01-02T03:04:05Z</HttpExpiresDate><SSEAlgorithm>AES256</SSEAlgorithm>
        <UserMetadata><member><Key>k</Key><Value>v</Value></member></UserMetadata></NewObjectMetadata>
      <TaggingDirective>add</TaggingDirective>
      <NewObjectTagging><COSTag><Key>a</Key><Value>b</Value></COSTag><Tag><Key>c</Key><Value>d</Value></Tag></NewObjectTagging>
      <ModifiedSinceConstraint>2020-01-01T00:00:00Z</ModifiedSinceConstraint>
      <UnModifiedSinceConstraint>1600000000</UnModifiedSinceConstraint>
      <StorageClass>STANDARD_IA</StorageClass>
      <TargetResource>qcs::cos:ap-chengdu:uid/1250000000:cold-1250000000</TargetResource>
    </COSPutObjectCopy>"""
    value = COS.parse("CreateJob", cos_job(copy))
    COS.check("CreateJob", value)
    sent = value["Operation"]["COSPutObjectCopy"]
    assert sent["MetadataDirective"] == "Replaced"
    assert sent["NewObjectTagging"] == {"COSTag": [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": "d"}]}
    assert (sent["ModifiedSinceConstraint"], sent["UnModifiedSinceConstraint"]) == (1577836800, 1600000000)
    assert sent["NewObjectMetadata"]["UserMetadata"] == [{"Key": "k", "Value": "v"}]
    assert sent["AccessControlGrants"]["COSGrant"][0]["Permission"] == "READ"

    restore = "<COSInitiateRestoreObject><ExpirationInDays>3</ExpirationInDays><JobTier>Bulk</JobTier></COSInitiateRestoreObject>"
    tags = "<TagSet><COSTag><Key>a</Key><Value>b</Value></COSTag></TagSet>"
    tagging = f"<COSPutObjectTagging><TaggingDirective/>{tags}</COSPutObjectTagging>"
    for operation in (restore, tagging):
        COS.check("CreateJob", COS.parse("CreateJob", cos_job(operation)))


def test_an_empty_element_is_kept_apart_from_an_absent_one() -> None:
    copy = "<S3PutObjectCopy>{}</S3PutObjectCopy>"
    for inside, expected in (("<NewObjectTagging/>", {"NewObjectTagging": []}), ("", {})):
        body = s3_job(f"<Operation>{copy.format(inside)}</Operation>")
        assert S3.parse("CreateJob", body) == {"Operation": {"S3PutObjectCopy": expected}}


def test_our_own_operation_stands_in_the_s3_model() -> None:
    body = s3_job(
        "<Operation><S3DeleteObject><BypassGovernanceRetention>true</BypassGovernanceRetention></S3DeleteObject></Operation>"
    )
    assert S3.parse("CreateJob", body) == {"Operation": {"S3DeleteObject": {"BypassGovernanceRetention": True}}}


@pytest.mark.parametrize("attribute", [f' xmlns="{NAMESPACE}"', ""])
def test_the_right_namespace_and_none_are_both_accepted(attribute: str) -> None:
    assert S3.parse("CreateJob", f"<CreateJobRequest{attribute}><Priority>1</Priority></CreateJobRequest>".encode()) == {
        "Priority": 1
    }


def test_a_namespace_prefix_makes_no_difference() -> None:
    body = f'<a:CreateJobRequest xmlns:a="{NAMESPACE}"><a:Priority>1</a:Priority></a:CreateJobRequest>'
    assert S3.parse("CreateJob", body.encode()) == {"Priority": 1}


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2030-01-02T03:04:05.678000Z", 1893553445678),
        ("2030-01-02T03:04:05.6789Z", 1893553445678),
        ("2030-01-02T05:04:05+02:00", 1893553445000),
        ("2030-01-02T00:34:05-0230", 1893553445000),
        (" 1893553445 ", 1893553445000),
        ("1893553445.5", 1893553445500),
        ("Wed, 02 Jan 2030 03:04:05 GMT", 1893553445000),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    ],
)
def test_times_are_read_as_iso_8601_unix_seconds_or_http_dates(text: str, milliseconds: int) -> None:
    body = s3_job(
        f"<Operation><S3PutObjectCopy><ModifiedSinceConstraint>{text}</ModifiedSinceConstraint></S3PutObjectCopy></Operation>"
    )
    assert S3.parse("CreateJob", body)["Operation"]["S3PutObjectCopy"]["ModifiedSinceConstraint"] == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-01:00",
        "253402300800",
        "2030-02-30T00:00:00Z",
        "Thu, 02 Jan 2030 03:04:05 GMT",
        "Wed, 30 Feb 2030 03:04:05 GMT",
        "Wed, 02 Jan 2030 03:04:05 CET",
        "Wed, 02 Jan 2030 03:04:05 +0100",
        "Wed, 2 Jan 2030 03:04:05 GMT",
    ],
)
def test_times_that_no_header_can_tell_are_refused_with_their_path(text: str) -> None:
    body = s3_job(
        f"<Operation><S3PutObjectCopy><ModifiedSinceConstraint>{text}</ModifiedSinceConstraint></S3PutObjectCopy></Operation>"
    )
    with pytest.raises(InvalidField, match=r"^Operation\.S3PutObjectCopy\.ModifiedSinceConstraint: .* is not a time"):
        S3.parse("CreateJob", body)


def test_unknown_elements_elsewhere_are_ignored() -> None:
    assert S3.parse("CreateJob", s3_job("<Sparkle><Deep/></Sparkle><Priority>3</Priority>")) == {"Priority": 3}


# -- COS leniency (cos-batch.md §7)


def test_a_writer_that_wraps_the_request_in_xml_and_lists_in_item_is_understood() -> None:
    inner = cos_job().decode().partition("?>")[2].strip()
    inner = inner.replace("<member> Bucket </member><member>Key</member>", "<member><item>Bucket</item><item>Key</item></member>")
    wrapped = f"<xml>{inner}</xml>".encode()
    assert COS.parse("CreateJob", wrapped) == COS.parse("CreateJob", cos_job())


def test_siblings_beside_a_wrapped_request_are_merged_and_echoed() -> None:
    body = b"<xml><CreateJobRequest><Priority>1</Priority></CreateJobRequest><Operation><COSDeleteObject/></Operation></xml>"
    value, echo = COS.parse_with_echo("CreateJob", body)
    assert value == {"Priority": 1, "Operation": {"COSDeleteObject": {}}}
    assert echo == {"Operation": ["Operation", None, [["COSDeleteObject", None, []]]]}


def test_the_wrapper_is_not_understood_on_the_s3_wire() -> None:
    with pytest.raises(MalformedDocument, match="must be <CreateJobRequest>"):
        S3.parse("CreateJob", b"<xml><CreateJobRequest/></xml>")


def test_metadata_directive_may_stand_twice_with_one_value_only() -> None:
    twice = "<MetadataDirective>Copy</MetadataDirective><MetadataDirective>{}</MetadataDirective>"
    copy = f"<COSPutObjectCopy>{twice}</COSPutObjectCopy>"
    assert COS.parse("CreateJob", cos_job(copy.format("Copy")))["Operation"]["COSPutObjectCopy"] == {"MetadataDirective": "Copy"}
    with pytest.raises(MalformedDocument) as refused:
        COS.parse("CreateJob", cos_job(copy.format("Add")))
    assert refused.value.path == "Operation.COSPutObjectCopy.MetadataDirective"


# -- what is refused, with its path


@pytest.mark.parametrize(
    ("inside", "path"),
    [
        ("<Operation><S3PutObjectCopy><Foo/></S3PutObjectCopy></Operation>", "Operation.S3PutObjectCopy.Foo"),
        ("<Operation><Frobnicate/></Operation>", "Operation.Frobnicate"),
        ("<Report><Enabled>true</Enabled><Foo/></Report>", "Report.Foo"),
        ("<Manifest><Spec><Fields><Field>Key</Field></Fields></Spec></Manifest>", "Manifest.Spec.Fields.Field"),
        (
            "<ManifestGenerator><S3JobManifestGenerator><Filter><NewFilter/></Filter></S3JobManifestGenerator></ManifestGenerator>",
            "ManifestGenerator.S3JobManifestGenerator.Filter.NewFilter",
        ),
        (
            '<Operation><S3DeleteObjectTagging><x xmlns="urn:other"/></S3DeleteObjectTagging></Operation>',
            "Operation.S3DeleteObjectTagging.x",
        ),
        ("<Report><Enabled>true</Enabled><Enabled>true</Enabled></Report>", "Report.Enabled"),
        ("<Operation/><Operation/>", "Operation"),
        ("<Priority>1</Priority><Priority>1</Priority>", "Priority"),
        ("<Operation>copy<S3DeleteObjectTagging/></Operation>", "Operation"),
        ("<Priority><b>1</b></Priority>", "Priority.b"),
        ("<Tags><S3Tag><Key>a</Key><Value/></S3Tag></Tags>", "Tags.S3Tag"),
        ("<Tags><member>a</member></Tags>", "Tags[0]"),
        (
            "<Operation><LambdaInvoke><UserArguments><entry><key>a</key></entry></UserArguments></LambdaInvoke></Operation>",
            "Operation.LambdaInvoke.UserArguments.entry",
        ),
        (
            f"<Operation><LambdaInvoke><UserArguments>{ENTRY * 2}</UserArguments></LambdaInvoke></Operation>",
            "Operation.LambdaInvoke.UserArguments",
        ),
    ],
)
def test_what_has_no_place_is_refused_with_its_path(inside: str, path: str) -> None:
    with pytest.raises(MalformedDocument) as refused:
        S3.parse("CreateJob", s3_job(inside))
    assert refused.value.path == path


@pytest.mark.parametrize(
    "text", ["", "abc", "1_000", "+1", "-1", "\uff11\uff12", "0x10", "1.0", "12345678901", "2147483648", "1 2"]
)
def test_only_plain_digits_are_a_priority(text: str) -> None:
    with pytest.raises(InvalidField) as refused:
        S3.parse("CreateJob", s3_job(f"<Priority>{text}</Priority>"))
    assert refused.value.path == "Priority"


def test_a_sign_is_read_only_where_the_model_has_no_least_value() -> None:
    generator = "<ManifestGenerator><S3JobManifestGenerator><Filter>{}</Filter></S3JobManifestGenerator></ManifestGenerator>"
    body = s3_job(generator.format("<ObjectSizeLessThanBytes>-5</ObjectSizeLessThanBytes>"))
    assert S3.parse("CreateJob", body)["ManifestGenerator"]["S3JobManifestGenerator"]["Filter"] == {"ObjectSizeLessThanBytes": -5}


@pytest.mark.parametrize("text", ["", "yes", "1", "TRUE!", "\uff54\uff52\uff55\uff45"])
def test_only_true_and_false_are_booleans(text: str) -> None:
    with pytest.raises(InvalidField, match="neither true nor false"):
        S3.parse("CreateJob", s3_job(f"<ConfirmationRequired>{text}</ConfirmationRequired>"))


@pytest.mark.parametrize(
    "text", ["", "2030-13-01T00:00:00Z", "2030-01-01", "2030-01-01T00:00:00", "1e9", "-5", "2030-01-01T00:00:00+99:00"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    copy = f"<Operation><S3PutObjectCopy><ModifiedSinceConstraint>{text}</ModifiedSinceConstraint></S3PutObjectCopy></Operation>"
    with pytest.raises(InvalidField) as refused:
        S3.parse("CreateJob", s3_job(copy))
    assert refused.value.path == "Operation.S3PutObjectCopy.ModifiedSinceConstraint"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b"   ", "line 1, column 4"),
        (b"<CreateJobRequest>", "line 1, column 19"),
        (b"<CreateJobRequest>\n <a></b></CreateJobRequest>", "line 2, column 7"),
        (b"<CreateJobRequest/><CreateJobRequest/>", "line 1"),
        (b"<CreateJobRequest>&nope;</CreateJobRequest>", "undefined entity"),
        (b"<CreateJobRequest>\x00</CreateJobRequest>", "NUL"),
        (b"<a:CreateJobRequest/>", "not well-formed"),
        (b"{}", "not well-formed"),
        (b"<DeleteEverything/>", "must be <CreateJobRequest>"),
        (b'<CreateJobRequest xmlns="urn:other"/>', "namespace 'urn:other'"),
        (b"<!DOCTYPE CreateJobRequest><CreateJobRequest/>", "DOCTYPE"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><CreateJobRequest/>', "DOCTYPE"),
        (b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><CreateJobRequest>&a;</CreateJobRequest>', "DOCTYPE"),
        ("<CreateJobRequest/>".encode("utf-16"), "not UTF-8"),
        ("<?xml version='1.0' encoding='utf-16'?><CreateJobRequest/>".encode("utf-16-le"), "NUL"),
        ("<CreateJobRequest/>".encode("utf-16-be"), "NUL"),
        (b"<?xml version='1.0' encoding='ISO-8859-1'?><CreateJobRequest/>", "ISO-8859-1"),
        (b"<CreateJobRequest>\xe9</CreateJobRequest>", "not UTF-8"),
        (b"<CreateJobRequest>\xed\xa0\x80</CreateJobRequest>", "not UTF-8"),
    ],
)
def test_what_is_not_the_document_is_refused_and_says_where(body: bytes, says: str) -> None:
    with pytest.raises(MalformedDocument, match=says):
        S3.parse("CreateJob", body)


def test_entity_bombs_cost_nothing() -> None:
    lines = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY l0 "lol">{lines}]><CreateJobRequest>&l9;</CreateJobRequest>'
    tracemalloc.start()
    try:
        with pytest.raises(MalformedDocument, match="DOCTYPE"):
            S3.parse("CreateJob", bomb.encode())
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "body",
    [
        b"<a>" * 33 + b"</a>" * 33,
        b"<a>" * 200_000,
        b"<a>" + b"<b/>" * ELEMENTS_MAX + b"</a>",
        b"<a " + b"".join(b"a%d = ''" % number for number in range(ATTRIBUTES_MAX + 1)) + b"/>",
        b"<a>" + b"x" * BODY_BYTES_MAX + b"</a>",
        bytes(50_000_000),
    ],
    ids=["depth 33", "depth 200,000", "10,001 elements", "2,001 attributes", "over 1 MiB", "50 MB"],
)
def test_each_limit_is_kept(body: bytes) -> None:
    with pytest.raises(DocumentTooLarge):
        read(body)


def test_a_long_namespace_is_held_once() -> None:
    namespace = b"n" * 200_000
    prefixed = b" ".join(b"p:a%d=''" % number for number in range(1_900))
    body = b"<p:a xmlns:p='" + namespace + b"' " + prefixed + b">" + b"<p:b/>" * 9_000 + b"</p:a>"
    tracemalloc.start()
    try:
        tree = read(body)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert (tree.tag, tree.namespace, tree.children[-1].namespace) == ("a", namespace.decode(), namespace.decode())


@pytest.mark.parametrize(
    ("body", "namespaces"),
    [
        (b"<a xmlns='u'><b/><b xmlns=''/><b xmlns='v'/></a>", ["u", None, "v"]),
        (b"<p:a xmlns:p='u'><b/><p:b/><p:b xmlns:p='v'/><p:b/></p:a>", [None, "u", "v", "u"]),
        (b"<a><b xml:lang='de'/></a>", [None]),
    ],
)
def test_names_are_in_the_namespace_that_holds_where_they_stand(body: bytes, namespaces: list[str | None]) -> None:
    assert [child.namespace for child in read(body).children] == namespaces


@pytest.mark.parametrize("body", [b"<p:a/>", b"<a p:b=''/>", b"<a><p:b xmlns:p='u'/><p:b/></a>"])
def test_a_prefix_without_a_namespace_is_no_good_xml(body: bytes) -> None:
    with pytest.raises(MalformedDocument, match="no namespace is declared for the prefix"):
        read(body)


@pytest.mark.parametrize(
    "body",
    [
        b"<:a xmlns='u'/>",
        b"<a:/>",
        b"<a:b:c xmlns:a='u'/>",
        b"<a xmlns:p=''/>",
        b"<a xmlns:xml='u'/>",
        b"<a xmlns:xmlns='u'/>",
        b"<a xmlns:p='u' xmlns:q='u' p:b='' q:b=''/>",
    ],
)
def test_what_is_well_formed_only_without_namespaces_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedDocument, match="not well-formed XML"):
        read(body)


def test_documents_at_the_limits_are_read() -> None:
    assert read(b"<a>" * 32 + b"</a>" * 32).tag == "a"
    assert len(read(b"<a>" + b"<b/>" * (ELEMENTS_MAX - 1) + b"</a>").children) == ELEMENTS_MAX - 1
    assert read(b"<a " + b" ".join(b"a%d=''" % number for number in range(ATTRIBUTES_MAX)) + b"/>").tag == "a"
    assert len(read(b"<a>" + b"x" * (BODY_BYTES_MAX - 7) + b"</a>").text) == BODY_BYTES_MAX - 7


# -- check


def s3_value() -> dict:
    return {
        "ConfirmationRequired": False,
        "Operation": {"S3PutObjectTagging": {"TagSet": [{"Key": "k", "Value": "v"}]}},
        "Report": {
            "Bucket": "arn:aws:s3:::rep",
            "Prefix": "p",
            "Format": "Report_CSV_20180820",
            "Enabled": True,
            "ReportScope": "AllTasks",
        },
        "ClientRequestToken": "token",
        "Manifest": {
            "Spec": {"Format": "S3BatchOperations_CSV_20180820", "Fields": ["Bucket", "Key"]},
            "Location": {"ObjectArn": "arn:aws:s3:::m/manifest.csv", "ETag": "60e4"},
        },
        "Priority": 42,
        "RoleArn": "arn:aws:iam::123456789012:role/r",
    }


def changed(path: str, new: object) -> dict:
    value = json.loads(json.dumps(s3_value()))
    *above, last = path.split("/")
    place = value
    for step in above:
        place = place[int(step) if step.isdigit() else step]
    if new is None:
        del place[last]
    else:
        place[int(last) if last.isdigit() else last] = new
    return value


def test_a_right_job_passes_the_check() -> None:
    S3.check("CreateJob", s3_value())


@pytest.mark.parametrize(
    ("at", "path"),
    [
        ("Operation", "Operation"),
        ("Report/Enabled", "Report.Enabled"),
        ("Report/Bucket", "Report.Bucket"),
        ("Manifest/Location/ETag", "Manifest.Location.ETag"),
        ("Operation/S3PutObjectTagging/TagSet/0/Value", "Operation.S3PutObjectTagging.TagSet[0].Value"),
    ],
)
def test_a_missing_member_is_named(at: str, path: str) -> None:
    with pytest.raises(MalformedDocument, match="is missing") as refused:
        S3.check("CreateJob", changed(at, None))
    assert refused.value.path == path


def test_a_missing_parameter_is_named_once_the_document_is_whole() -> None:
    without_priority = changed("Priority", None)
    with pytest.raises(InvalidField, match="is missing") as refused:
        S3.check("CreateJob", without_priority)
    assert refused.value.path == "Priority"
    with pytest.raises(MalformedDocument) as malformed:
        S3.check("CreateJob", {name: value for name, value in without_priority.items() if name != "Report"})
    assert malformed.value.path == "Report"


@pytest.mark.parametrize("operation", [{}, {"S3DeleteObject": {}, "S3DeleteObjectTagging": {}}])
def test_a_job_has_exactly_one_operation(operation: dict) -> None:
    with pytest.raises(MalformedDocument, match="exactly one") as refused:
        S3.check("CreateJob", changed("Operation", operation))
    assert refused.value.path == "Operation"


@pytest.mark.parametrize(
    ("at", "new", "path"),
    [
        ("Priority", 2**31, "Priority"),
        ("Priority", -1, "Priority"),
        ("ClientRequestToken", "", "ClientRequestToken"),
        ("ClientRequestToken", "é" * 33, "ClientRequestToken"),
        ("Description", "x" * 257, "Description"),
        ("Description", "é" * 129, "Description"),
        ("RoleArn", "not an arn", "RoleArn"),
        ("RoleArn", "arn:aws:iam::\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19\uff10\uff11\uff12:role/r", "RoleArn"),
        ("RoleArn", "arn:aws:iam::123456789012:role/r\n", "RoleArn"),
        ("Report/Format", "Report_CSV_V1", "Report.Format"),
        ("Report/ReportScope", "All", "Report.ReportScope"),
        ("Manifest/Spec/Fields/1", "Size", "Manifest.Spec.Fields[1]"),
        ("Operation/S3PutObjectTagging/TagSet/0/Key", "a\u0301", "Operation.S3PutObjectTagging.TagSet[0].Key"),
        ("Operation/S3PutObjectTagging/TagSet/0/Key", "a,b", "Operation.S3PutObjectTagging.TagSet[0].Key"),
        ("Operation/S3PutObjectTagging/TagSet/0/Key", "", "Operation.S3PutObjectTagging.TagSet[0].Key"),
        ("Operation/S3PutObjectTagging/TagSet/0/Value", "x" * 257, "Operation.S3PutObjectTagging.TagSet[0].Value"),
    ],
)
def test_a_value_that_the_model_does_not_allow_is_named(at: str, new: object, path: str) -> None:
    with pytest.raises(InvalidField) as refused:
        S3.check("CreateJob", changed(at, new))
    assert refused.value.path == path


@pytest.mark.parametrize("key", ["Ünïcödé 標籤 ٣ Ⅻ", "a-b=c+d/e:f.g_h@i", "é" * 128])
def test_tag_keys_of_any_letters_and_numbers_are_allowed_and_counted_in_characters(key: str) -> None:
    S3.check("CreateJob", changed("Operation/S3PutObjectTagging/TagSet/0/Key", key))


def test_a_report_that_is_off_needs_nothing_and_is_not_checked() -> None:
    S3.check("CreateJob", changed("Report", {"Enabled": False}))
    S3.check("CreateJob", changed("Report", {"Enabled": False, "Bucket": "", "Prefix": ""}))


@pytest.mark.parametrize("text", ["\x00", "a\x1fb", "\ufffe", "\ud800"])
def test_text_that_no_answer_could_carry_is_refused_on_entry(text: str) -> None:
    with pytest.raises(InvalidField, match="statusUpdateReason"):
        S3.check("UpdateJobStatus", {"RequestedJobStatus": "Ready", "StatusUpdateReason": text})


def test_missing_headers_and_path_members_are_not_the_bodys_fault() -> None:
    S3.check("DescribeJob", {})
    with pytest.raises(InvalidField) as refused:
        S3.check("UpdateJobPriority", {"JobId": "12345"})
    assert refused.value.path == "priority"


# -- query


def test_the_query_is_read_by_the_model() -> None:
    pairs = [("jobStatuses", "Active"), ("jobStatuses", "Complete"), ("maxResults", "5"), ("other", "x")]
    assert S3.parse_query("ListJobs", pairs) == {"JobStatuses": ["Active", "Complete"], "MaxResults": 5}
    assert COS.parse_query("ListJobs", [("jobStatuses", "Active,New"), ("jobStatuses", "Failed")]) == {
        "JobStatuses": ["Active", "New", "Failed"]
    }


@pytest.mark.parametrize("pairs", [[("maxResults", "five")], [("maxResults", "5"), ("maxResults", "5")]])
def test_a_query_that_is_wrong_names_its_parameter(pairs: list) -> None:
    with pytest.raises(InvalidField) as refused:
        COS.parse_query("ListJobs", pairs)
    assert refused.value.path == "maxResults"


# -- writing


def test_what_was_sent_comes_back_exactly() -> None:
    _, echo = COS.parse_with_echo(
        "CreateJob", cos_job("<COSPutObjectCopy> <TargetResource> a&#13;&lt;é </TargetResource></COSPutObjectCopy>")
    )
    assert set(echo) == {"Manifest", "Operation", "Report"}
    stored = json.loads(json.dumps(echo))
    job = {"JobId": "j", "ConfirmationRequired": True, **{name: Sent(node) for name, node in stored.items()}}
    answer = COS.serialize("DescribeJob", {"Job": job})
    again = {child.tag: child for child in read(answer).children[0].children}
    assert {name: again[name].echo() for name in echo} == echo
    assert (
        "<Operation><COSPutObjectCopy><TargetResource> a&#13;&lt;é </TargetResource></COSPutObjectCopy></Operation>"
        in answer.decode()
    )


def test_a_cos_answer_is_written_as_the_reference_shows() -> None:
    answer = COS.serialize(
        "ListJobs",
        {
            "Jobs": [
                {
                    "CreationTime": 1772439300999,
                    "Description": None,
                    "JobId": "1f6d6b5e",
                    "Operation": "COSPutObjectCopy",
                    "Priority": 10,
                    "ProgressSummary": {"NumberOfTasksFailed": 0, "NumberOfTasksSucceeded": 0, "TotalNumberOfTasks": 42},
                    "Status": "Suspended",
                }
            ],
        },
    )
    assert answer.decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        "<ListJobsResult><Jobs><member><CreationTime>2026-03-02T08:15:00Z</CreationTime><JobId>1f6d6b5e</JobId>"
        "<Operation>COSPutObjectCopy</Operation><Priority>10</Priority><ProgressSummary><NumberOfTasksFailed>0</NumberOfTasksFailed>"
        "<NumberOfTasksSucceeded>0</NumberOfTasksSucceeded><TotalNumberOfTasks>42</TotalNumberOfTasks></ProgressSummary>"
        "<Status>Suspended</Status></member></Jobs></ListJobsResult>"
    )


def test_an_empty_list_is_still_written() -> None:
    assert b"<Jobs></Jobs>" in COS.serialize("ListJobs", {"Jobs": []})


def test_answers_without_members_have_no_body() -> None:
    assert S3.serialize("PutJobTagging", {}) == b""
    assert COS.serialize("DeleteJob", {}) == b""


@pytest.mark.parametrize("text", ["a\x00b", "\x0b", "\ufffe", "\ud800", "\x1b[31m"])
def test_text_that_xml_cannot_carry_is_not_written(text: str) -> None:
    with pytest.raises(UnwritableText, match=r"U\+"):
        COS.serialize("UpdateJobStatus", {"StatusUpdateReason": text})
    with pytest.raises(UnwritableText):
        document("Error", [("Message", text)])


def test_values_that_are_not_the_models_are_the_programs_fault() -> None:
    with pytest.raises(KeyError, match="Foo"):
        COS.serialize("CreateJob", {"Foo": "x"})
    with pytest.raises(TypeError, match="JobId"):
        COS.serialize("CreateJob", {"JobId": 5})


def test_a_document_written_by_hand_reads_back() -> None:
    body = document("ErrorResponse", [("Error", [("Code", "A<B"), ("Message", "x\ry")]), ("RequestId", "")], NAMESPACE)
    root = read(body)
    assert (root.tag, root.namespace) == ("ErrorResponse", NAMESPACE)
    assert root.echo() == [
        "ErrorResponse",
        None,
        [["Error", None, [["Code", "A<B", []], ["Message", "x\ry", []]]], ["RequestId", None, []]],
    ]


@pytest.mark.parametrize("name", ["JOBSTATUSES", "jobstatuses", "JobStatuses"])
def test_a_parameter_that_differs_by_case_alone_is_told_how_it_is_written(name: str) -> None:
    for model in (S3, COS):
        with pytest.raises(InvalidField, match=f"^{name}: is written jobStatuses"):
            model.parse_query("ListJobs", [(name, "Active")])
