"""What clients that are in use send, although the documents say otherwise (cos-batch.md §7), and what they rely on in answers."""

import base64
import hashlib
import hmac
import http.client
import re
import time
import uuid
from urllib.parse import parse_qsl, quote, urlencode

import pytest

from haulier.core.lifecycle import JobEvent as E
from haulier.testing.cosclient import CosAnswer, CosClient, CosError, authorization
from wire.serving import COS_APPID, Serving
from wire.test_cos import CONFIRM, MANIFEST, OPERATION, REPORT, ROLE, a_body
from wire.xmls import read_twice

NOTHING_MD5 = base64.b64encode(hashlib.md5(b"").digest()).decode()


def raw(served: Serving, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> CosAnswer:
    """A request as it is, over http.client, which adds what it must and nothing else."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return CosAnswer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def signed(client: CosClient, method: str, path: str, headers: dict[str, str], query: str = "") -> dict[str, str]:
    """These headers and no other, with their signature; a parameter that is repeated is listed as often as it is sent."""
    now = int(time.time())
    value = authorization(
        client.secret_id, client.secret_key, method, path, dict(parse_qsl(query)), headers, starts=now - 60, ends=now + 3600
    )
    return {**headers, "authorization": value}


def php(token: str) -> str:
    """As qcloud-cos-client writes it: a root of its own, siblings beside the request, lists as items, CDATA."""
    manifest = MANIFEST.replace('"9b2cf535"', '<![CDATA["9b2cf535"]]>').replace(
        "<member>Bucket</member><member>Key</member>", "<member><item>Bucket</item><item>Key</item></member>"
    )
    request = f"<CreateJobRequest><ClientRequestToken>{token}</ClientRequestToken>{manifest}</CreateJobRequest>"
    return f"<xml>{request}{OPERATION}<Priority>10</Priority>{REPORT}{ROLE}</xml>"


def test_php_is_understood(served: Serving) -> None:
    """It sends no Content-Type, and adds Content-Length after it has signed."""
    body = php(str(uuid.uuid4())).encode()
    client = served.cos()
    digest = base64.b64encode(hashlib.md5(body).digest()).decode()
    headers = signed(client, "POST", "/jobs", {"host": client.address, "x-cos-appid": COS_APPID, "content-md5": digest})
    created = raw(served, "POST", "/jobs", {**headers, "content-length": str(len(body))}, body)
    assert created.status == 200, created.body
    job = served.jobstore.get("acme", created.text("JobId") or "")
    assert (job.manifest.fields, job.manifest.etag) == (("Bucket", "Key"), "9b2cf535")
    described = served.cos().describe_job(job.id)
    assert described.text("Job/Manifest/Location/ETag") == '"9b2cf535"'
    assert OPERATION in described.body.decode()


@pytest.mark.parametrize("item", ["COSTag", "Tag"])
def test_php_lists_of_tags_are_understood(served: Serving, item: str) -> None:
    tags = "".join(f"<item><Key>{key}</Key><Value>v</Value></item>" for key in "ab")
    operation = f"<COSPutObjectTagging><TagSet><{item}>{tags}</{item}></TagSet></COSPutObjectTagging>"
    job_id = served.cos().create_job(a_body(operation=f"<Operation>{operation}</Operation>"))
    assert served.jobstore.get("acme", job_id).operation.parameters["tags"] == {"a": "v", "b": "v"}


def test_elements_beside_the_request_that_nobody_knows_are_passed_over(served: Serving) -> None:
    wrapped = f"<xml><Encoding>x</Encoding>{a_body(extra='<Comment>c</Comment>')}</xml>"
    assert served.cos().create_job(wrapped)


@pytest.mark.parametrize("word", ["Replace", "Replaced", "REPLACED", " replace "])
def test_both_spellings_of_replace_are_understood(served: Serving, word: str) -> None:
    tags = "<NewObjectTagging><COSTag><Key>k</Key><Value>v</Value></COSTag></NewObjectTagging>"
    inside = f"<TaggingDirective>{word}</TaggingDirective>{tags}<TargetResource>"
    job_id = served.cos().create_job(a_body(operation=OPERATION.replace("<TargetResource>", inside)))
    assert served.jobstore.get("acme", job_id).operation.parameters["tags"] == {"k": "v"}
    assert f"<TaggingDirective>{word}</TaggingDirective>" in served.cos().describe_job(job_id).body.decode()


def test_one_metadata_directive_twice_is_one(served: Serving) -> None:
    """The request tree of the documents lists it twice."""
    twice = "<MetadataDirective>Copy</MetadataDirective>" * 2
    assert served.cos().create_job(a_body(operation=OPERATION.replace("<TargetResource>", f"{twice}<TargetResource>")))


def test_terraform_sends_an_empty_tag_set_with_every_copy_and_finds_what_it_sent(served: Serving) -> None:
    """It compares manifest, operation and report with its own, and makes the job anew where a byte differs."""
    operation = OPERATION.replace("<TargetResource>", "<NewObjectTagging></NewObjectTagging><TargetResource>")
    client = served.cos()
    job_id = client.create_job(a_body(operation=operation, extra="<ConfirmationRequired>false</ConfirmationRequired>"))
    assert client.confirm_job(job_id).text("Status") == "New"
    described = client.describe_job(job_id)
    assert described.text("Job/ConfirmationRequired") == "false"
    for name in ("Manifest/Location", "Manifest/Spec", "Operation", "ProgressSummary"):
        assert described.xml.find(f"Job/{name}") is not None
    assert MANIFEST in described.body.decode()
    assert REPORT in described.body.decode()
    cancelled = client.call("POST", f"/jobs/{job_id}/status", query={"requestedJobStatus": "Cancelled"})
    assert cancelled.text("Status") == "Cancelled"
    assert client.call("DELETE", f"/jobs/{job_id}").status == 204
    with pytest.raises(CosError, match="NoSuchJob"):
        client.describe_job(job_id)


def test_the_go_sdk_confirms_a_suspended_job_and_reads_ready(served: Serving) -> None:
    client = served.cos()
    job_id = client.create_job(a_body(extra=CONFIRM))
    served.move(job_id, E.PICKED_UP, E.CONFIRMATION_DUE, total=3)
    confirmed = client.confirm_job(job_id, "go")
    assert (confirmed.xml.tag, confirmed.text("Status"), confirmed.text("StatusUpdateReason")) == (
        "UpdateJobStatusResult",
        "Ready",
        "go",
    )


@pytest.mark.parametrize("space", ["+", "%20"])
def test_a_space_in_the_query_is_written_in_either_way(served: Serving, space: str) -> None:
    client = served.cos()
    job_id = client.create_job(a_body())
    reason = "go on + 100% 确认"
    query = {"requestedJobStatus": "Ready", "statusUpdateReason": reason}
    sent = urlencode(query) if space == "+" else "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    assert space in sent
    headers = client.signed_headers("POST", f"/jobs/{job_id}/status", b"", query)
    answer = raw(served, "POST", f"/jobs/{job_id}/status?{sent}", headers)
    assert answer.text("StatusUpdateReason") == reason


def test_a_host_may_be_signed_without_its_port(served: Serving) -> None:
    client = served.cos()
    client.address = "127.0.0.1"
    headers = client.signed_headers("GET", "/jobs", b"", {})
    assert raw(served, "GET", "/jobs", {**headers, "host": f"127.0.0.1:{served.port}"}).status == 200
    assert raw(served, "GET", "/jobs", {**headers, "host": f"localhost:{served.port}"}).status == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("100000000001.cos-control.ap-guangzhou.myqcloud.com", 200),
        ("100000000001.cos-control.ap-guangzhou.tencentcos.cn", 200),
        ("100000000002.cos-control.ap-guangzhou.myqcloud.com", 403),
        ("batch.example.com:9444", 200),
    ],
)
def test_the_host_names_the_account_and_the_region_where_it_has_the_form(served: Serving, host: str, status: int) -> None:
    client = served.cos()
    client.address = host
    body = a_body().encode()
    answer = raw(served, "POST", "/jobs", client.signed_headers("POST", "/jobs", body, {}), body)
    assert answer.status == status
    if status == 200 and "cos-control" in host:
        assert served.jobstore.get("acme", answer.text("JobId") or "").region == "ap-guangzhou"


def test_headers_that_do_not_belong_to_a_get_are_passed_over(served: Serving) -> None:
    more = {"content-type": "application/xml", "content-length": "0", "x-cos-sdk-retry": "true", "content-md5": NOTHING_MD5}
    assert served.cos().send("GET", "/jobs", headers=more).status == 200


@pytest.mark.parametrize("headers", [{}, {"x-cos-appid": ""}], ids=["missing", "empty"])
def test_a_request_without_its_tenant_is_an_invalid_argument(served: Serving, headers: dict[str, str]) -> None:
    client = served.cos()
    answer = raw(served, "GET", "/jobs", signed(client, "GET", "/jobs", {"host": client.address, **headers}))
    assert (answer.status, answer.text("Code")) == (400, "InvalidArgument")
    assert "x-cos-appid" in (answer.text("Message") or "")


@pytest.mark.parametrize("query", ["jobStatuses=New", "jobStatuses=Complete,New", "jobStatuses=Complete&jobStatuses=New"])
def test_statuses_are_asked_for_alone_with_commas_or_again(served: Serving, query: str) -> None:
    client = served.cos()
    job_id = client.create_job(a_body())
    base = {"host": client.address, "x-cos-appid": COS_APPID}
    headers = signed(client, "GET", "/jobs", base, query)
    if query.count("jobStatuses") == 2:
        headers = {**base, "authorization": twice_listed(client, base)}
    answer = raw(served, "GET", f"/jobs?{query}", headers)
    assert job_id in [one.text for one in read_twice(answer.body).iterfind("Jobs/member/JobId")]


def twice_listed(client: CosClient, headers: dict[str, str]) -> str:
    """A signature over a parameter with two values, by the rules of cos-batch.md §1.5."""
    now = int(time.time())
    times = f"{now - 60};{now + 3600}"
    lines = "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(headers.items()))
    http_string = f"get\n/jobs\njobstatuses=Complete&jobstatuses=New\n{lines}\n"
    sign_key = hmac.digest(client.secret_key.encode(), times.encode(), "sha1").hex()
    to_sign = f"sha1\n{times}\n{hashlib.sha1(http_string.encode()).hexdigest()}\n"
    signature = hmac.digest(sign_key.encode(), to_sign.encode(), "sha1").hex()
    return (
        f"q-sign-algorithm=sha1&q-ak={client.secret_id}&q-sign-time={times}&q-key-time={times}"
        f"&q-header-list={';'.join(sorted(headers))}&q-url-param-list=jobstatuses;jobstatuses&q-signature={signature}"
    )


def test_a_list_has_whole_seconds_and_operations_as_text(served: Serving) -> None:
    client = served.cos()
    job_id = client.create_job(a_body())
    listed = client.call("GET", "/jobs", query={"maxResults": " 1000 "})
    [member] = [one for one in listed.xml.iterfind("Jobs/member") if one.findtext("JobId") == job_id]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", member.findtext("CreationTime") or "")
    assert member.findtext("Operation") == "COSPutObjectCopy"
