"""The vendors' own signers as the judges of our verifiers: what they sign is let in, anything changed afterwards is not."""

import datetime as dt
import hashlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.session
import msgspec
import pytest
import requests
from qcloud_cos import CosConfig
from qcloud_cos.cos_auth import CosS3Auth

from haulier.api.auth import Authenticator, RawRequest, sigv4
from haulier.core.accounts import Account, Key, KeyKind, User, hash_of
from haulier.core.directory import Directory
from haulier.core.errors import (
    AccessRefused,
    BadDigest,
    BadSignature,
    ClockSkewed,
    InvalidDigest,
    RequestError,
    RequestExpired,
    TokenExpired,
    UnknownAccessKey,
)

KEY, SECRET = "HAULIEREXAMPLEKEY000", "example/secret+key=0001"
ACCOUNT_ID = "123456789012"
ADMIN = User(account="acme", name="admin", policy="admin", keys=(Key(id=KEY, secret_key=SECRET),))
ACCOUNT = Account(name="acme", aws_account_id=ACCOUNT_ID, cos_uin="100000000001", cos_appid="1250000000", users=(ADMIN,))


class SystemClock:
    """The vendors' signers look at the clock themselves."""

    def now_ms(self) -> int:
        return int(dt.datetime.now(dt.UTC).timestamp() * 1000)

    def monotonic(self) -> float:
        raise NotImplementedError


TOKEN = "tok/en+1=="


def temporary(expires_ms: int | None = None) -> Directory:
    """As ACCOUNT, but its user's key goes with TOKEN."""
    key = Key(id=KEY, kind=KeyKind.SESSION, secret_key=SECRET, token_hash=hash_of(TOKEN.encode()), expires_ms=expires_ms)
    return Directory([msgspec.structs.replace(ACCOUNT, users=(msgspec.structs.replace(ADMIN, keys=(key,)),))])


TEMPORARY = temporary()
AUTHENTICATOR = Authenticator(Directory([ACCOUNT]), SystemClock(), default_region="ap-chengdu")


def now() -> float:
    return SystemClock().now_ms() / 1000


def verify(asked: RawRequest, at: float | None = None) -> sigv4.Verified:
    return sigv4.verify(asked, Directory([ACCOUNT]).signer, now() if at is None else at)


def raw(method: str, url: str, headers: Any, body: bytes = b"") -> RawRequest:
    parts = urlsplit(url)
    wire = [
        (name.lower().encode(), (value if isinstance(value, bytes) else str(value).encode("utf-8")))
        for name, value in headers.items()
    ]
    if not any(name == b"host" for name, _ in wire):
        wire.insert(0, (b"host", parts.netloc.encode()))
    return RawRequest(method, parts.path.encode(), parts.query.encode(), wire, body, secure=False, peer="127.0.0.1")


def sent_by_boto(operation: str, **parameters: Any) -> RawRequest:
    """What a real client would put on the wire, caught before it is sent."""
    client = botocore.session.Session().create_client(
        "s3control",
        region_name="us-east-1",
        endpoint_url="http://localhost:9444",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )
    caught: list[botocore.awsrequest.AWSPreparedRequest] = []

    def catch(request: botocore.awsrequest.AWSPreparedRequest, **_: Any) -> botocore.awsrequest.AWSResponse:
        caught.append(request)
        return botocore.awsrequest.AWSResponse(request.url, 200, {}, _Empty())

    client.meta.events.register("before-send.s3-control", catch)
    getattr(client, operation)(AccountId=ACCOUNT_ID, **parameters)
    client.close()
    [request] = caught
    return raw(request.method, request.url, request.headers, request.body or b"")


class _Empty:
    def stream(self) -> Iterator[bytes]:
        return iter([b"<Result/>"])


def signed(asked: RawRequest, signer: type = botocore.auth.S3SigV4Auth, **how: Any) -> RawRequest:
    """The request signed by botocore, for whatever we put into it."""
    headers = {name.decode(): value.decode() for name, value in asked.headers}
    query = f"?{asked.query}" if asked.query else ""
    request = botocore.awsrequest.AWSRequest(
        asked.method, f"http://{headers['host']}{asked.path}{query}", headers, data=asked.body
    )
    credentials = botocore.credentials.Credentials(how.pop("key", KEY), how.pop("secret", SECRET), how.pop("token", None))
    signer(credentials, how.pop("service", "s3"), "us-east-1", **how).add_auth(request)
    return raw(asked.method, request.url, request.headers, asked.body)


def plain(method: str = "GET", path: str = "/v20180820/jobs", query: str = "", body: bytes = b"", **headers: str) -> RawRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return raw(method, f"http://localhost:9444{path}?{query}", {"x-amz-account-id": ACCOUNT_ID, **named}, body)


def changed(asked: RawRequest, name: str, value: str | None) -> RawRequest:
    rest = [pair for pair in asked.headers if pair[0] != name.encode()]
    return msgspec.structs.replace(asked, headers=rest if value is None else [*rest, (name.encode(), value.encode("latin-1"))])


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("describe_job", {"JobId": "53dc6228-c50b-46f7-8ad7-65e7159f1aae"}),
    ("list_jobs", {"JobStatuses": ["Active", "Complete"], "MaxResults": 5, "NextToken": "a+b/c= ~*'()é"}),
    ("update_job_priority", {"JobId": "job-1", "Priority": 98}),
    ("update_job_status", {"JobId": "job-1", "RequestedJobStatus": "Cancelled", "StatusUpdateReason": "No longer needed & x/y"}),
    ("put_job_tagging", {"JobId": "job-1", "Tags": [{"Key": "k", "Value": "ü"}]}),
    ("delete_job_tagging", {"JobId": "job-1"}),
]


@pytest.mark.parametrize(("operation", "parameters"), CALLS, ids=[call[0] for call in CALLS])
def test_what_boto_sends_is_let_in(operation: str, parameters: dict[str, Any]) -> None:
    asked = sent_by_boto(operation, **parameters)
    assert asked.values(b"host") == [f"{ACCOUNT_ID}.localhost:9444".encode()]
    caller = AUTHENTICATOR.authenticate_s3(asked)
    assert (caller.account, caller.user, caller.dialect, caller.region) == (ACCOUNT, ADMIN, "s3control", "us-east-1")


@pytest.mark.parametrize(("operation", "parameters"), [CALLS[1], CALLS[4]], ids=["list_jobs", "put_job_tagging"])
def test_no_changed_byte_of_a_signed_request_is_let_in(operation: str, parameters: dict[str, Any]) -> None:
    asked = sent_by_boto(operation, **parameters)
    covered = {b"host", b"authorization", b"x-amz-date", b"x-amz-content-sha256", b"x-amz-account-id"}
    for name, value in asked.headers:
        for position in range(len(value)) if name in covered else ():
            other = value[:position] + bytes([value[position] ^ 1]) + value[position + 1 :]
            with pytest.raises(RequestError):
                AUTHENTICATOR.authenticate_s3(changed(asked, name.decode(), other.decode("latin-1")))
    for part in ("raw_path", "raw_query", "body"):
        value = getattr(asked, part)
        for position in range(len(value)):
            other = value[:position] + bytes([value[position] ^ 2]) + value[position + 1 :]
            with pytest.raises(RequestError):
                AUTHENTICATOR.authenticate_s3(msgspec.structs.replace(asked, **{part: other}))
    with pytest.raises(BadSignature):
        verify(msgspec.structs.replace(asked, method="DELETE"))


def test_header_values_are_signed_squeezed_and_repetitions_joined() -> None:
    asked = signed(plain(x_amz_meta_a="one   two  "))
    verify(asked)
    verify(changed(asked, "x-amz-meta-a", "  one two"))
    with pytest.raises(BadSignature):
        verify(changed(asked, "x-amz-meta-a", "one,two"))


def test_a_session_token_is_part_of_what_is_signed() -> None:
    asked = signed(plain(), token=TOKEN)
    assert sigv4.verify(asked, TEMPORARY.signer, now()).identity.user.name == "admin"
    with pytest.raises(BadSignature):
        sigv4.verify(changed(asked, "x-amz-security-token", "another"), TEMPORARY.signer, now())


@pytest.mark.parametrize("signer", [botocore.auth.S3SigV4Auth, botocore.auth.S3SigV4QueryAuth], ids=["header", "query"])
def test_a_temporary_key_goes_with_its_token(signer: type) -> None:
    for asked, known, error in (
        (signed(plain(), signer), TEMPORARY, UnknownAccessKey),
        (signed(plain(), signer, token="another"), TEMPORARY, UnknownAccessKey),
        (signed(plain(), signer, token=TOKEN), Directory([ACCOUNT]), UnknownAccessKey),
    ):
        with pytest.raises(error):
            sigv4.verify(asked, known.signer, now())
    asked = signed(plain(), signer, token=TOKEN)
    assert sigv4.verify(asked, TEMPORARY.signer, now()).identity.key.id == KEY
    with pytest.raises(TokenExpired):
        sigv4.verify(asked, temporary(expires_ms=int(now() * 1000)).signer, now())


def test_a_plus_sign_in_the_query_is_a_space_to_the_signature_too() -> None:
    asked = signed(plain(query="statusUpdateReason=a%20b"))
    verify(msgspec.structs.replace(asked, raw_query=b"statusUpdateReason=a+b"))
    plus = signed(plain(query="statusUpdateReason=a%2Bb"))
    with pytest.raises(BadSignature):
        verify(msgspec.structs.replace(plus, raw_query=b"statusUpdateReason=a+b"))


def test_an_unknown_key_and_a_wrong_secret_are_refused() -> None:
    with pytest.raises(UnknownAccessKey):
        verify(signed(plain(), key="UNKNOWNKEY"))
    with pytest.raises(BadSignature):
        verify(signed(plain(), secret="another"))


@pytest.mark.parametrize("offset", [-901, 901])
def test_a_skewed_clock_is_refused(offset: int) -> None:
    asked = signed(plain())
    verify(asked, now() + offset // 901 * 890)
    with pytest.raises(ClockSkewed):
        verify(asked, now() + offset * 1.01)


@pytest.mark.parametrize("name", ["host", "x-amz-date", "x-amz-content-sha256", "authorization"])
def test_what_a_signature_needs_is_there_exactly_once(name: str) -> None:
    asked = signed(plain())
    verify(asked)
    with pytest.raises(AccessRefused):
        verify(changed(asked, name, None))
    twice = [*asked.headers, (name.encode(), asked.values(name.encode())[0])]
    with pytest.raises(AccessRefused):
        verify(msgspec.structs.replace(asked, headers=twice))


def test_an_amz_header_added_afterwards_is_refused() -> None:
    with pytest.raises(AccessRefused, match="x-amz-meta-later"):
        verify(changed(signed(plain()), "x-amz-meta-later", "1"))


def test_another_service_is_refused() -> None:
    with pytest.raises(AccessRefused, match="scope"):
        verify(signed(plain(), service="sts"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        ("AWS4-HMAC-SHA256", "AWS"),
        ("Credential=", "credential="),
        (f"Credential={KEY}/2", f"Credential={KEY}/3"),
        ("aws4_request", "aws5_request"),
        ("SignedHeaders=host;", "SignedHeaders="),
        ("SignedHeaders=host;x-amz-account-id", "SignedHeaders=x-amz-account-id;host"),
        ("SignedHeaders=host;", "SignedHeaders=host;host;"),
        ("SignedHeaders=", "SignedHeaders=absent;"),
        (", Signature=", ", Signature=0"),
        (", Signature=", ", Signature=é"),
        (", SignedHeaders", ", SignedHeaders=host, SignedHeaders"),
    ],
)
def test_another_form_of_authorization_is_refused(old: str, new: str) -> None:
    asked = signed(plain())
    value = asked.values(b"authorization")[0].decode()
    assert old in value
    with pytest.raises(AccessRefused):
        verify(changed(asked, "authorization", value.replace(old, new, 1)))


@pytest.mark.parametrize(
    "body_hash", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "", "0"]
)
def test_only_the_real_hash_of_the_body_is_accepted(body_hash: str) -> None:
    asked = signed(plain("POST", body=b"<a/>"))
    with pytest.raises((InvalidDigest, AccessRefused)):
        verify(changed(asked, "x-amz-content-sha256", body_hash))


def test_a_body_under_the_hash_of_nothing_is_refused() -> None:
    asked = signed(plain("POST"))
    assert asked.values(b"x-amz-content-sha256") == [hashlib.sha256().hexdigest().encode()]
    with pytest.raises(BadDigest):
        verify(msgspec.structs.replace(asked, body=b"<a/>"))


def test_an_unsigned_request_is_refused() -> None:
    with pytest.raises(AccessRefused, match="not signed"):
        verify(plain())


# -- presigned


def presigned(method: str = "GET", expires: int = 60) -> RawRequest:
    asked = plain(method, "/v20180820/jobs/job-1", "maxResults=5")
    return signed(asked, botocore.auth.S3SigV4QueryAuth, expires=expires)


def test_a_presigned_read_is_let_in_until_it_expires() -> None:
    asked = presigned()
    verify(asked)
    verify(asked, now() + 50)
    with pytest.raises(RequestExpired):
        verify(asked, now() + 62)
    with pytest.raises(ClockSkewed):
        verify(asked, now() - 910)


def test_a_presigned_request_can_only_read() -> None:
    with pytest.raises(AccessRefused, match="only read"):
        verify(presigned("POST"))
    with pytest.raises(AccessRefused, match="only read"):
        verify(msgspec.structs.replace(presigned(), body=b"x"))


@pytest.mark.parametrize("expires", [0, -1, 604_801])
def test_a_presigned_request_lives_seven_days_at_most(expires: int) -> None:
    with pytest.raises(AccessRefused):
        verify(presigned(expires=expires))


def test_a_presigned_request_is_bound_to_its_query() -> None:
    asked = presigned()
    for query in (asked.raw_query.replace(b"maxResults=5", b"maxResults=6"), asked.raw_query + b"&a=b"):
        with pytest.raises(BadSignature):
            verify(msgspec.structs.replace(asked, raw_query=query))
    with pytest.raises(AccessRefused, match="more than once"):
        verify(msgspec.structs.replace(asked, raw_query=asked.raw_query + b"&X-Amz-Expires=60"))
    with pytest.raises(AccessRefused, match="both"):
        verify(changed(asked, "authorization", "AWS4-HMAC-SHA256 Credential=a"))
    with pytest.raises(AccessRefused, match="complete"):
        verify(msgspec.structs.replace(asked, raw_query=asked.raw_query.replace(b"X-Amz-Algorithm", b"x-amz-algorithm")))


# -- the caller


@pytest.mark.parametrize("account_id", ["123456789013", "", None])
def test_the_account_header_must_be_the_callers(account_id: str | None) -> None:
    asked = changed(plain(), "x-amz-account-id", account_id)
    with pytest.raises(AccessRefused, match="x-amz-account-id"):
        AUTHENTICATOR.authenticate_s3(signed(asked))


@pytest.mark.parametrize(
    ("host", "let_in"), [(f"{ACCOUNT_ID}.localhost", True), ("123456789013.localhost", False), ("127.0.0.1:1", True)]
)
def test_an_account_in_the_host_must_agree(host: str, let_in: bool) -> None:
    asked = signed(changed(plain(), "host", host))
    if let_in:
        assert AUTHENTICATOR.authenticate_s3(asked).user == ADMIN
        return
    with pytest.raises(AccessRefused, match="host"):
        AUTHENTICATOR.authenticate_s3(asked)


# -- COS: the Python SDK's signer


@pytest.mark.parametrize(
    ("method", "path", "parameters", "headers", "body"),
    [
        ("GET", "/jobs", {"jobStatuses": "Active", "maxResults": "2"}, {}, b""),
        ("POST", "/jobs/job-1/status", {"requestedJobStatus": "Ready", "statusUpdateReason": "go on, 确认 +"}, {}, b""),
        ("POST", "/jobs", {}, {"Content-MD5": "jwlRQhy+aqjGnxn08+/Tig=="}, b"<CreateJobRequest></CreateJobRequest>"),
        ("DELETE", "/jobs/job-1", {}, {"x-cos-security-token": TOKEN}, b""),
    ],
)
def test_what_the_cos_sdk_signs_is_let_in(method: str, path: str, parameters: dict, headers: dict, body: bytes) -> None:
    config = CosConfig(Region="ap-chengdu", SecretId=KEY, SecretKey=SECRET, Scheme="http", Endpoint="127.0.0.1:9444")
    request = requests.Request(
        method, f"http://127.0.0.1:9444{path}", {**headers, "x-cos-appid": "1250000000"}, params=parameters, data=body
    )
    prepared = CosS3Auth(config, path, params=parameters)(request.prepare())
    asked = raw(method, prepared.url, prepared.headers, body)
    known = TEMPORARY if "x-cos-security-token" in headers else Directory([ACCOUNT])
    authenticator = Authenticator(known, SystemClock())
    assert authenticator.authenticate_cos(asked).account.name == "acme"
    with pytest.raises(AccessRefused):
        authenticator.authenticate_cos(msgspec.structs.replace(asked, raw_path=asked.raw_path + b"x"))
