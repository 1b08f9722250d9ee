"""The native API on a running server: jobs in every dialect's words, lists, changes, and what is refused."""

import contextlib
import http.client
import json
import uuid
from typing import Any

import pytest

from haulier.core.job import Failure
from haulier.core.lifecycle import JobEvent as E
from wire import serving
from wire.native import A_JOB, Answered, NativeClient
from wire.serving import AWS_ACCOUNT_ID, COS_APPID, COS_UIN, WAYS, Serving

ROLE_ARN = f"arn:aws:iam::{AWS_ACCOUNT_ID}:role/batch"
A_COS_JOB: dict[str, Any] = {
    "dialect": "cos",
    "Manifest": {
        "Spec": {"Format": "COSBatchOperations_CSV_V1", "Fields": ["Bucket", "Key"]},
        "Location": {"ObjectArn": f"qcs::cos:ap-chengdu:uid/{COS_APPID}:lists-{COS_APPID}/m.csv", "ETag": '"60e4"'},
    },
    "Operation": {"COSDeleteObject": {}},
    "Priority": 10,
    "Report": {"Enabled": False},
    "RoleArn": f"qcs::cam::uin/{COS_UIN}:roleName/batch",
}
A_COPY: dict[str, Any] = {"name": "copy", "parameters": {"target_bucket": "target", "folder": "2026", "tags": {}}}


def refused(answer: Answered, status: int, code: str, path: str | None = None) -> str:
    """What a refusal says, once it has been seen to be one."""
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json
    assert (answer.status, told["status"], told["code"], told["path"]) == (status, status, code, path), told
    assert told["type"] == f"urn:haulier:problem:{code}"
    assert told["request_id"] == answer.headers["x-request-id"]
    return str(told["detail"])


# -- creating --------------------------------------------------------------------------------------------------------------------


def test_a_job_is_created_and_shown_in_the_apis_own_words(served: Serving) -> None:
    client = served.native()
    asked = {
        **A_JOB,
        "operation": A_COPY,
        "report": {"bucket": "reports", "prefix": "p", "scope": "FailedTasksOnly"},
        "description": "Käse & <mehr>",
        "tags": {"team": "data"},
        "priority": 7,
    }
    answer = client.post("jobs", asked)
    assert answer.status == 201
    job = answer.json
    assert answer.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert answer.etag == f'"{job["version"]}"'
    assert job["operation"] == A_COPY
    assert job["manifest"] == {
        **A_JOB["manifest"], "version": None, "format": "S3BatchOperations_CSV_20180820", "fields": ["Bucket", "Key"]
    }  # fmt: skip
    assert job["report"] == {**asked["report"], "format": "Report_CSV_20180820"}
    for name in ("description", "tags", "priority", "role"):
        assert job[name] == asked[name]
    assert (job["status"], job["confirm"], job["confirmed"], job["dialect"]) == ("New", True, False, "native")
    assert (job["created_by"], job["role_arn"]) == ("admin", ROLE_ARN)
    assert job["progress"] == {"total": None, "succeeded": 0, "failed": 0, "failures": {}}
    assert {placed["bucket"] for placed in job["placements"]} == {"lists", "reports", "target"}
    assert client.get(f"jobs/{job['id']}").json == job


@pytest.mark.parametrize(
    ("operation", "confirm", "waits"),
    [
        (A_COPY, None, True),
        ({"name": "delete"}, None, True),
        (A_JOB["operation"], None, False),
        (A_JOB["operation"], True, True),
        ({"name": "delete"}, False, False),
    ],
)
def test_a_job_that_can_destroy_waits_for_its_confirmation(
    served: Serving, operation: dict[str, Any], confirm: bool | None, waits: bool
) -> None:
    assert served.native().post("jobs", {**A_JOB, "operation": operation, "confirm": confirm}).json["confirm"] is waits


def test_the_arguments_of_boto3_are_a_job_of_the_s3_wire(served: Serving) -> None:
    token = str(uuid.uuid4())
    sent = {**serving.A_JOB, "ClientRequestToken": token, "AccountId": AWS_ACCOUNT_ID}
    job = served.native().post("jobs", {"dialect": "s3control", **sent}).json
    assert (job["dialect"], job["confirm"], job["operation"]["name"]) == ("s3control", True, "put_tagging")
    described = served.s3().describe_job(JobId=job["id"])["Job"]
    for name in ("Manifest", "Operation", "Report", "RoleArn"):
        assert described[name] == serving.A_JOB[name]
    again = served.s3().create_job(**serving.A_JOB, ClientRequestToken=token)
    assert again["JobId"] == job["id"], "the same request on the wire is the same job"


def test_the_words_of_cos_are_a_job_of_the_cos_wire(served: Serving) -> None:
    job = served.native().post("jobs", A_COS_JOB).json
    assert (job["dialect"], job["confirm"], job["operation"]["name"]) == ("cos", False, "delete")
    assert job["role_arn"] == A_COS_JOB["RoleArn"]


def test_extensions_of_the_s3_wire_are_known(served: Serving) -> None:
    delete = {"S3DeleteObject": {"BypassGovernanceRetention": True}}
    job = served.native().post("jobs", {"dialect": "s3control", **serving.A_JOB, "Operation": delete}).json
    assert job["operation"] == {"name": "delete", "parameters": {"bypass_governance": True}}


@pytest.mark.parametrize("body", [A_JOB, {"dialect": "s3control", **serving.A_JOB}, A_COS_JOB], ids=["native", "s3", "cos"])
def test_one_key_is_one_job_and_another_request_under_it_is_refused(served: Serving, body: dict[str, Any]) -> None:
    client = served.native()
    headers = {"Idempotency-Key": f"k-{uuid.uuid4()}"}
    first, again = (client.post("jobs", body, headers=headers) for _ in range(2))
    assert (first.status, again.status) == (201, 201)
    assert first.json["id"] == again.json["id"]
    quoted = client.post("jobs", body, headers={"Idempotency-Key": f'"{headers["Idempotency-Key"]}"'})
    assert quoted.json["id"] == first.json["id"], "quotes around the key do not count"
    name = "Priority" if "Priority" in body else "priority"
    refused(client.post("jobs", {**body, name: 99}, headers=headers), 409, "IdempotencyKeyReused")
    client.call("DELETE", f"jobs/{first.json['id']}")
    assert "deleted" in refused(client.post("jobs", body, headers=headers), 409, "IdempotencyKeyReused")
    assert client.post("jobs", body).json["id"] != first.json["id"], "without a key it is another job"


def sent_as_is(served: Serving, method: str, target: str, body: bytes, headers: dict[str, str]) -> Answered:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        return Answered(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


@pytest.mark.parametrize("asked", [A_JOB, {"dialect": "s3control", **serving.A_JOB}], ids=["native", "s3control"])
def test_a_signed_request_that_is_sent_again_is_the_same_job(served: Serving, asked: dict[str, Any]) -> None:
    """Row 33 of the acceptance table: a captured creation, replayed, makes no second job."""
    body = json.dumps(asked).encode()
    headers = served.native().signed("POST", "/api/v1/jobs", body, {}, f"127.0.0.1:{served.port}")
    first, again = (sent_as_is(served, "POST", "/api/v1/jobs", body, headers) for _ in range(2))
    assert (first.status, again.status) == (201, 201), first.body
    assert first.json["id"] == again.json["id"]
    authorization = headers["Authorization"]
    for other in (authorization.replace(", ", ",   "), authorization.replace(" Cred", "   Cred"), authorization + "  "):
        written_otherwise = sent_as_is(served, "POST", "/api/v1/jobs", body, {**headers, "Authorization": other})
        assert (written_otherwise.status, written_otherwise.json.get("id")) in [(201, first.json["id"]), (401, None)]


@pytest.mark.parametrize("name", ["Idempotency-Key", "If-Match", "If-None-Match"])
def test_headers_that_change_what_a_request_does_must_be_signed(served: Serving, name: str) -> None:
    body = json.dumps(A_JOB).encode()
    headers = served.native().signed("POST", "/api/v1/jobs", body, {}, f"127.0.0.1:{served.port}")
    answer = sent_as_is(served, "POST", "/api/v1/jobs", body, {**headers, name: '"other"'})
    assert name.lower() in refused(answer, 401, "NotAuthenticated")


def tagging(tags: dict[str, str]) -> dict[str, Any]:
    return {"operation": {"name": "put_tagging", "parameters": {"tags": tags}}}


def copying(**parameters: Any) -> dict[str, Any]:
    return {"operation": {"name": "copy", "parameters": {"target_bucket": "copies", **parameters}}}


def granted(grantee: str) -> dict[str, str]:
    return {"kind": "id", "grantee": grantee, "permission": "READ"}


USER_METADATA = "operation.parameters.metadata.user"


@pytest.mark.parametrize(
    ("changes", "code", "path"),
    [
        ({"priority": "7"}, "InvalidField", "priority"),
        ({"priority": -1}, "InvalidField", "priority"),
        ({"priority": 2**31}, "InvalidField", "priority"),
        ({"priority": 1.5}, "InvalidField", "priority"),
        ({"prority": 7}, "MalformedDocument", "prority"),
        ({"role": None}, "InvalidField", "role"),
        ({"role": "arn:aws:iam::12:user/batch"}, "InvalidField", "role"),
        ({"tags": {"a": "b", "n": 1}}, "InvalidField", "tags['n']"),
        ({"tags": {"": "b"}}, "InvalidField", "tags"),
        ({"description": "ä" * 200}, "InvalidField", "description"),
        ({"description": "a\u0001"}, "InvalidField", "description"),
        ({"dialect": "S3"}, "InvalidField", "dialect"),
        ({"manifest": {"bucket": "lists", "key": "m"}}, "MalformedDocument", "manifest.etag"),
        ({"manifest": {**A_JOB["manifest"], "etag": "60\ne4"}}, "InvalidField", "manifest.etag"),
        ({"manifest": {**A_JOB["manifest"], "etag": "60\x7fe4"}}, "InvalidField", "manifest.etag"),
        ({"manifest": {**A_JOB["manifest"], "bucket": "a/b"}}, "InvalidField", "manifest.bucket"),
        ({"manifest": {**A_JOB["manifest"], "bucket": "lists\n"}}, "InvalidField", "manifest.bucket"),
        ({"manifest": {**A_JOB["manifest"], "format": "xls"}}, "NotImplemented", "manifest.format"),
        ({"manifest": {**A_JOB["manifest"], "fields": ["Key", "Bucket", "Size"]}}, "InvalidField", "manifest.fields[2]"),
        ({"manifest": {**A_JOB["manifest"], "fields": ["Key", "Key"]}}, "InvalidField", "manifest.fields"),
        ({"report": {"bucket": "reports", "format": "pdf"}}, "NotImplemented", "report.format"),
        ({"report": {"bucket": "reports", "scope": "Some"}}, "InvalidField", "report.scope"),
        ({"operation": "delete"}, "InvalidField", "operation"),
        ({"operation": {"name": "explode"}}, "NotImplemented", "operation.name"),
        ({"operation": {"name": "delete", "parameters": {"x": 1}}}, "MalformedDocument", "operation.parameters.x"),
        ({"operation": {"name": "copy"}}, "MalformedDocument", "operation.parameters.target_bucket"),
        (
            {"operation": {"name": "copy", "parameters": {"target_bucket": "t", "dialect": "cos"}}},
            "MalformedDocument",
            "operation.parameters.dialect",
        ),
        (
            {"operation": {"name": "copy", "parameters": {"target_bucket": 5}}},
            "InvalidField",
            "operation.parameters.target_bucket",
        ),
        (
            {"operation": {"name": "put_tagging", "parameters": {"tags": {str(n): "" for n in range(11)}}}},
            "InvalidField",
            "operation.parameters.tags",
        ),
        (tagging({"k" * 129: ""}), "InvalidField", "operation.parameters.tags"),
        (tagging({"": "v"}), "InvalidField", "operation.parameters.tags"),
        (tagging({"a": "v" * 257}), "InvalidField", "operation.parameters.tags.a"),
        (tagging({"a": "50%"}), "InvalidField", "operation.parameters.tags.a"),
        (copying(canned_acl="public"), "InvalidField", "operation.parameters.canned_acl"),
        (copying(storage_class="A B"), "InvalidField", "operation.parameters.storage_class"),
        (copying(sse="KMS"), "InvalidField", "operation.parameters.sse"),
        (copying(sse="AES256", sse_kms_key="k"), "InvalidField", "operation.parameters"),
        (copying(bucket_key=True), "InvalidField", "operation.parameters"),
        (copying(metadata={"content_type": ""}), "InvalidField", "operation.parameters"),
        (copying(metadata={"content_type": " "}), "InvalidField", "operation.parameters"),
        (copying(checksum="CRC"), "InvalidField", "operation.parameters.checksum"),
        (copying(redirect=""), "InvalidField", "operation.parameters.redirect"),
        (copying(modified_since_ms=10**21), "InvalidField", "operation.parameters.modified_since_ms"),
        (copying(metadata={"expires_ms": 10**18}), "InvalidField", "operation.parameters.metadata.expires_ms"),
        (copying(metadata={"cache_control": "y" * 1025}), "InvalidField", "operation.parameters.metadata.cache_control"),
        (copying(metadata={"content_type": "\u6f22" * 342}), "InvalidField", "operation.parameters.metadata.content_type"),
        (copying(metadata={"user": {"x": "y" * 1025}}), "InvalidField", f"{USER_METADATA}['x']"),
        (copying(metadata={"user": {"x" * 1025: ""}}), "InvalidField", USER_METADATA),
        (copying(metadata={"user": {f"{n:06}": "y" * 1018 for n in range(33)}}), "InvalidField", USER_METADATA),
        (copying(metadata={"user": {f"a{n}": "" for n in range(5000)}}), "InvalidField", USER_METADATA),
        (copying(grants=[granted(""), granted("a")]), "InvalidField", "operation.parameters.grants[0].grantee"),
        (copying(grants=[granted("a"), granted("qcs::bogus")]), "InvalidField", "operation.parameters.grants[1].grantee"),
        (copying(grants=[granted("\u6f22" * 342)]), "InvalidField", "operation.parameters.grants[0].grantee"),
        (copying(grants=[granted(str(n)) for n in range(101)]), "InvalidField", "operation.parameters.grants"),
        (copying(folder=""), "InvalidField", "operation.parameters.folder"),
        (copying(folder="\u6f22" * 342), "InvalidField", "operation.parameters.folder"),
        (copying(replace_prefix=["", "\u6f22" * 342]), "InvalidField", "operation.parameters.replace_prefix"),
        ({"manifest": {**A_JOB["manifest"], "key": "\u6f22" * 342}}, "InvalidField", "manifest.key"),
        ({"report": {"bucket": "reports", "prefix": "\u6f22" * 171}}, "InvalidField", "report.prefix"),
        ({"tags": {"k" * 129: ""}}, "InvalidField", "tags"),
        ({"tags": {"a": "50%"}}, "InvalidField", "tags.a"),
    ],
)
def test_a_refusal_names_the_offending_member(served: Serving, changes: dict[str, Any], code: str, path: str) -> None:
    before = len(served.jobs())
    refused(served.native().post("jobs", {**A_JOB, **changes}), 400, code, path)
    assert len(served.jobs()) == before


def test_a_copy_has_as_much_metadata_and_as_many_grants_as_the_wires_allow(served: Serving) -> None:
    user = {f"{n:06}": "y" * 1018 for n in range(30)} | {"x" * 1024: ""}
    users = ["\u6f22" * 341, "qcs::cam::uin/100000000001:uin/100000000011", *map(str, range(98))]
    sent = copying(metadata={"cache_control": "y" * 1024, "user": user}, grants=[granted(name) for name in users])
    job_id = served.native().create(**sent)
    assert served.native().get(f"jobs/{job_id}").json["operation"]["parameters"] == sent["operation"]["parameters"]


@pytest.mark.parametrize(
    ("changes", "code", "path"),
    [
        ({"Priority": "7"}, "InvalidField", "Priority"),
        ({"Nonsense": 1}, "MalformedDocument", "Nonsense"),
        ({"Operation": {"S3PutObjectTagging": {"TagSets": []}}}, "MalformedDocument", "Operation.S3PutObjectTagging.TagSets"),
        (
            {"Operation": {"S3PutObjectTagging": {"TagSet": [{"Key": 5, "Value": ""}]}}},
            "InvalidField",
            "Operation.S3PutObjectTagging.TagSet[0].Key",
        ),
        ({"Operation": {}}, "MalformedDocument", "Operation"),
        ({"Report": {"Enabled": "false"}}, "InvalidField", "Report.Enabled"),
        ({"AccountId": "1"}, "InvalidField", "AccountId"),
        ({"Manifest": []}, "InvalidField", "Manifest"),
    ],
)
def test_a_refusal_names_the_member_in_the_words_of_the_dialect(
    served: Serving, changes: dict[str, Any], code: str, path: str
) -> None:
    refused(served.native().post("jobs", {"dialect": "s3control", **serving.A_JOB, **changes}), 400, code, path)


@pytest.mark.parametrize(
    ("body", "status", "code", "path"),
    [
        (b"", 400, "MalformedDocument", None),
        (b"[]", 400, "MalformedDocument", None),
        (b'{"a": NaN}', 400, "MalformedDocument", None),
        (b'{"tags": {"a": "b", "a": "c"}}', 400, "MalformedDocument", "tags.a"),
        (b'{"priority": 1e999}', 400, "MalformedDocument", None),
        (b'{"description": "\\ud800"}', 400, "InvalidField", "description"),
        (b'{"a": "\xff"}', 400, "MalformedDocument", None),
        (b"[" * 40 + b"]" * 40, 413, "DocumentTooLarge", None),
        (b" " * (1 << 20) + b"{}", 413, "DocumentTooLarge", None),
    ],
)
def test_what_is_no_good_json_is_refused(served: Serving, body: bytes, status: int, code: str, path: str | None) -> None:
    refused(served.native().post("jobs", body), status, code, path)


# -- who may ---------------------------------------------------------------------------------------------------------------------


def test_nobody_comes_in_without_a_good_signature(served: Serving) -> None:
    stranger, forged = served.native("ghost"), served.native()
    forged.credentials.secret_key = "guessed"
    for client in (stranger, forged):
        answer = client.get("jobs")
        assert answer.headers["www-authenticate"]
        refused(answer, 401, "NotAuthenticated")


def test_a_presigned_request_reads_and_does_nothing_else(served: Serving) -> None:
    import urllib.request

    job_id = served.native().create()
    with urllib.request.urlopen(served.url + served.native().presigned(f"/api/v1/jobs/{job_id}")) as answer:
        assert job_id in answer.read().decode()


def test_who_may_only_look_is_told_so(served: Serving) -> None:
    job_id = served.native().create()
    viewer = served.native("viewer")
    assert viewer.get(f"jobs/{job_id}").status == 200
    refused(viewer.post("jobs", A_JOB), 403, "AccessDenied")
    refused(viewer.post(f"jobs/{job_id}/cancel"), 403, "AccessDenied")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("GET", "/events", None),
        ("GET", "/events?wait=20", None),
        ("GET", "/progress", None),
        ("GET", "/tags", None),
        ("POST", "/confirm", None),
        ("POST", "/pause", None),
        ("POST", "/resume", None),
        ("POST", "/cancel", None),
        ("PUT", "/priority", {"priority": 1}),
        ("PUT", "/tags", {"tags": {}}),
        ("DELETE", "/tags", None),
        ("DELETE", "", None),
    ],
)
def test_a_job_of_another_account_is_as_if_it_did_not_exist(served: Serving, method: str, path: str, body: Any) -> None:
    job_id, other = served.native().create(), str(uuid.uuid4())
    path, _, wait = path.partition("?")
    query = {"wait": 20} if wait else None
    answers = [served.native("stranger").call(method, f"jobs/{name}{path}", body, query=query) for name in (job_id, other)]
    told = [
        refused(answer, 404, "JobNotFound").replace(name, "ID") for answer, name in zip(answers, (job_id, other), strict=True)
    ]
    assert told[0] == told[1]
    assert served.native().get(f"jobs/{job_id}").json["status"] == "New"


def test_only_listed_hosts_are_answered(served: Serving) -> None:
    client = served.native()
    for host in (f"localhost:{served.port}", "BATCH.example", "[::1]:9444"):
        assert client.get("jobs", host=host).status == 200
    refused(client.get("jobs", host="evil.example"), 421, "WrongHost")


# -- looking ---------------------------------------------------------------------------------------------------------------------


def test_pages_of_a_list_hold_every_job_once_newest_first(fresh: Serving) -> None:
    client = fresh.native()
    made = [client.create(description=f"number {number}") for number in range(25)]
    found: list[str] = []
    cursor: str | None = None
    pages = 0
    while pages == 0 or cursor:
        page = client.get("jobs", query={"limit": 10, **({"cursor": cursor} if cursor else {})}).json
        found += [job["id"] for job in page["jobs"]]
        cursor = page["next"]
        pages += 1
    assert (sorted(found), pages) == (sorted(made), 3)
    times = [client.get(f"jobs/{job_id}").json["created_at"] for job_id in found]
    assert times == sorted(times, reverse=True)


def test_a_list_is_narrowed_by_status_operation_tags_and_text(fresh: Serving) -> None:
    client = fresh.native()
    plain = client.create(description="Nightly")
    copy = client.create(operation=A_COPY, tags={"team": "data", "env": "live"})
    delete = client.create(operation={"name": "delete"}, tags={"team": "web"}, description="nightly clean-up")
    fresh.native("stranger").create(description="nightly")
    client.post(f"jobs/{plain}/cancel")
    assert client.get(f"jobs/{plain}").json["status"] == "Cancelling"

    def found(*query: tuple[str, str]) -> set[str]:
        return {job["id"] for job in client.get("jobs", query=query).json["jobs"]}

    assert found(("status", "New")) == {copy, delete}
    assert found(("status", "New"), ("status", "Cancelling")) == {plain, copy, delete}
    assert found(("operation", "copy"), ("operation", "delete")) == {copy, delete}
    assert found(("tag", "team")) == {copy, delete}
    assert found(("tag", "team=data"), ("tag", "env")) == {copy}
    assert found(("tag", "team=data"), ("tag", "env=test")) == set()
    assert found(("text", "NIGHT")) == {plain, delete}
    assert found(("text", copy[:13])) == {copy}
    assert found(("text", "night"), ("operation", "delete"), ("status", "New")) == {delete}


@pytest.mark.parametrize(
    ("query", "code", "path"),
    [
        ({"limit": "0"}, "InvalidField", "limit"),
        ({"limit": "1001"}, "InvalidField", "limit"),
        ({"limit": "1_0"}, "InvalidField", "limit"),
        ({"status": "Done"}, "InvalidField", "status[0]"),
        ({"cursor": "forged"}, "InvalidCursor", None),
        ({"stauts": "New"}, "MalformedDocument", "stauts"),
        ((("limit", "1"), ("limit", "2")), "InvalidField", "limit"),
    ],
)
def test_a_query_that_says_nothing_clear_is_refused(served: Serving, query: Any, code: str, path: str | None) -> None:
    refused(served.native().get("jobs", query=query), 400, code, path)


def test_an_etag_saves_reading_what_is_known(served: Serving) -> None:
    client = served.native()
    job_id = client.create()
    first = client.get(f"jobs/{job_id}")
    again = client.get(f"jobs/{job_id}", headers={"If-None-Match": first.etag})
    assert (again.status, again.body, again.etag) == (304, b"", first.etag)
    served.move(job_id, E.PICKED_UP)
    assert client.get(f"jobs/{job_id}", headers={"If-None-Match": "*"}).status == 304
    changed = client.get(f"jobs/{job_id}", headers={"If-None-Match": f'"x", {first.etag}'})
    assert (changed.status, changed.json["status"]) == (200, "Preparing")
    assert changed.etag != first.etag


def test_a_failed_job_tells_why_in_full(served: Serving) -> None:
    reason = "because " * 100
    job_id = served.native().create()
    served.move(job_id, *WAYS["Failing"], E.REPORTED, failure=Failure("ManifestNotFound", reason))
    job = served.native().get(f"jobs/{job_id}").json
    assert job["failure"] is None or job["failure"] == {"code": "ManifestNotFound", "reason": reason}


# -- changing --------------------------------------------------------------------------------------------------------------------


def test_a_job_is_confirmed_paused_resumed_and_cancelled(served: Serving) -> None:
    client = served.native()
    job_id = client.create(confirm=True)
    served.move(job_id, E.PICKED_UP, E.CONFIRMATION_DUE, total=0)
    refused(client.post(f"jobs/{job_id}/resume"), 409, "IllegalTransition")
    confirmed = client.post(f"jobs/{job_id}/confirm", {"reason": "looked at it"}).json
    assert (confirmed["status"], confirmed["confirmed"], confirmed["status_reason"]) == ("Ready", True, "looked at it")
    served.move(job_id, E.STARTED)
    paused = client.post(f"jobs/{job_id}/pause", {"reason": "lunch"}).json
    assert (paused["status"], paused["paused_by"]) == ("Pausing", "user")
    refused(client.post(f"jobs/{job_id}/confirm"), 409, "IllegalTransition")
    served.move(job_id, E.DRAINED)
    assert client.post(f"jobs/{job_id}/resume").json["status"] == "Active"
    assert client.post(f"jobs/{job_id}/cancel", {"reason": "enough"}).json["status"] == "Cancelling"
    told = client.get(f"jobs/{job_id}/events").json["events"]
    assert [(event["facts"]["status"], event["by"], event["facts"].get("reason")) for event in told] == [
        ("New", "admin", None),
        ("Preparing", None, None),
        ("Suspended", None, None),
        ("Ready", "admin", "looked at it"),
        ("Active", None, None),
        ("Pausing", "admin", "lunch"),
        ("Paused", None, None),
        ("Active", "admin", None),
        ("Cancelling", "admin", "enough"),
    ]
    assert [event["sequence"] for event in told] == list(range(1, 10))
    later = client.get(f"jobs/{job_id}/events", query={"after": 7, "limit": 1}).json
    assert ([event["sequence"] for event in later["events"]], later["last"]) == ([8], 8)


def test_a_change_that_expects_another_version_changes_nothing(served: Serving) -> None:
    client = served.native()
    job_id = client.create(confirm=True)
    seen = client.get(f"jobs/{job_id}").etag
    served.move(job_id, E.PICKED_UP, E.CONFIRMATION_DUE, total=0)
    for method, path, body in (
        ("POST", "confirm", None),
        ("POST", "cancel", None),
        ("PUT", "priority", {"priority": 1}),
        ("DELETE", "", None),
    ):
        answer = client.call(method, f"jobs/{job_id}/{path}".rstrip("/"), body, headers={"If-Match": seen})
        refused(answer, 412, "VersionMismatch")
    now = client.get(f"jobs/{job_id}")
    assert now.json["status"] == "Suspended"
    assert client.post(f"jobs/{job_id}/confirm", headers={"If-Match": f'"other", {now.etag}'}).json["status"] == "Ready"
    refused(client.post(f"jobs/{job_id}/cancel", headers={"If-Match": "bare"}), 400, "InvalidField", "If-Match")


def test_priority_and_tags_are_changed_and_removed(served: Serving) -> None:
    client = served.native()
    job_id = client.create(tags={"a": "1"})
    assert client.call("PUT", f"jobs/{job_id}/priority", {"priority": 99}).json["priority"] == 99
    before = client.get(f"jobs/{job_id}/tags")
    assert before.json == {"tags": {"a": "1"}}
    served.move(job_id, E.PICKED_UP)
    put = client.call("PUT", f"jobs/{job_id}/tags", {"tags": {"b": "", "ä": "ö"}}, headers={"If-Match": before.etag})
    assert put.json == client.get(f"jobs/{job_id}/tags").json == {"tags": {"b": "", "ä": "ö"}}
    stale = client.call("PUT", f"jobs/{job_id}/tags", {"tags": {}}, headers={"If-Match": before.etag})
    refused(stale, 412, "VersionMismatch")
    assert client.call("DELETE", f"jobs/{job_id}/tags").status == 204
    assert client.get(f"jobs/{job_id}/tags").json == {"tags": {}}
    many = {"tags": {str(number): "" for number in range(51)}}
    refused(client.call("PUT", f"jobs/{job_id}/tags", many), 400, "InvalidField", "tags")


def test_a_deleted_job_is_gone(served: Serving) -> None:
    client = served.native()
    job_id = client.create()
    assert client.call("DELETE", f"jobs/{job_id}").status == 204
    refused(client.get(f"jobs/{job_id}"), 404, "JobNotFound")
    assert job_id not in {job["id"] for job in client.get("jobs").json["jobs"]}


def test_pausing_needs_no_extensions(served: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served.service, "extensions", False)
    client = served.native()
    job_id = client.create()
    served.move(job_id, E.PICKED_UP, E.PREPARED, total=0)
    assert client.post(f"jobs/{job_id}/pause").json["status"] == "Paused"
    assert client.post(f"jobs/{job_id}/resume").json["status"] == "Active"


# -- the rest --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "job", 404, "UnknownPath"),
        ("GET", "jobs/x/y", 404, "UnknownPath"),
        ("GET", "jobs/x/y/z", 404, "UnknownPath"),
        ("GET", "jobs/", 400, "InvalidRequest"),
        ("PATCH", "jobs", 405, "MethodNotAllowed"),
        ("POST", "jobs/x", 405, "MethodNotAllowed"),
        ("GET", "jobs/..%2Fjobs", 404, "JobNotFound"),
    ],
)
def test_what_is_not_served_is_said_so(served: Serving, method: str, path: str, status: int, code: str) -> None:
    answer = served.native().call(method, path)
    refused(answer, status, code)
    assert ("allow" in answer.headers) == (status == 405)


def test_answers_are_kept_by_nobody_and_audited(fresh: Serving) -> None:
    answer = fresh.native().post("jobs", A_JOB)
    assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("no-store", "nosniff")
    fresh.native().post(f"jobs/{answer.json['id']}/cancel", {"reason": "enough"})
    entry, cancelled = fresh.audited()
    assert (cancelled["requested"], cancelled["became"], cancelled["why"]) == ("Cancelled", "Cancelling", "enough")
    assert (entry["dialect"], entry["operation"], entry["user"], entry["status"]) == ("native", "create", "admin", 201)
    assert (entry["request_id"], entry["job"]) == (answer.headers["x-request-id"], answer.json["id"])


def test_jobs_of_each_dialect_are_seen_on_all_wires(served: Serving) -> None:
    job_id = served.native().create(operation=A_COPY, report={"bucket": "reports"})
    seen = served.s3().describe_job(JobId=job_id)["Job"]
    assert seen["Operation"]["S3PutObjectCopy"]["TargetResource"] == "arn:aws:s3:::target"
    assert seen["RoleArn"] == ROLE_ARN
    assert job_id in {job["JobId"] for job in served.s3().list_jobs()["Jobs"]}
    shown = served.cos().describe_job(job_id)
    target = shown.text("Job/Operation/COSPutObjectCopy/TargetResource")
    assert target == f"qcs::cos:us-east-1:uid/{COS_APPID}:target"
    assert shown.text("Job/RoleArn") == f"qcs::cam::uin/{COS_UIN}:roleName/batch"
    wire_id = served.s3().create_job(**serving.A_JOB, ClientRequestToken=str(uuid.uuid4()))["JobId"]
    assert served.native().get(f"jobs/{wire_id}").json["dialect"] == "s3control"


def test_whether_a_key_is_unknown_or_its_secret_wrong_is_not_told(served: Serving) -> None:
    right = served.native().credentials
    answers = []
    for key, secret in ((right.access_key, "wrong"), ("AKIDNOBODY", right.secret_key)):
        document = NativeClient(served.port, key, secret).get("jobs").json
        document.pop("request_id")
        answers.append(document)
    assert answers[0] == answers[1]
    assert answers[0]["code"] == "NotAuthenticated"
