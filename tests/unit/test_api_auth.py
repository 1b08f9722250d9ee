"""Signatures, accounts and policies: what lets a request in, and what keeps it out."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from haulier.api.auth import Authenticator, RawRequest, qsign
from haulier.core.accounts import Account, Key, KeyKind, User, hash_of
from haulier.core.directory import Directory
from haulier.core.errors import (
    AccessRefused,
    BadDigest,
    BadSignature,
    ClockSkewed,
    InvalidDigest,
    InvalidField,
    RequestExpired,
    SettingsError,
    TokenExpired,
    UnknownAccessKey,
)

KEY, SECRET = "AKIDEXAMPLEEXAMPLE01", "cosbatch-example-secret-key-0001"
KEY_TIME = "1700000000;1700003600"
NOW = 1_700_000_100
HOST = "127.0.0.1:9444"
APPID = "1250000000"
JOB = "/jobs/53dc6228-c50b-46f7-8ad7-65e7159f1aae/status"


class StoppedClock:
    def __init__(self, seconds: float = NOW) -> None:
        self.seconds = seconds

    def now_ms(self) -> int:
        return int(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds


def user(name: str = "admin", key: str = KEY, policy: str = "admin", account: str = "acme") -> User:
    return User(account=account, name=name, policy=policy, keys=(Key(id=key, secret_key=SECRET),))


def account(**changes: Any) -> Account:
    fields = {"name": "acme", "aws_account_id": "123456789012", "cos_uin": "100000000001", "cos_appid": APPID, "users": (user(),)}
    return Account(**{**fields, **changes})


TOKEN = "tok/en+1=="


def temporary(expires_ms: int = (NOW + 60) * 1000) -> Directory:
    """As `account`, but its user's key goes with TOKEN."""
    key = Key(id=KEY, kind=KeyKind.SESSION, secret_key=SECRET, token_hash=hash_of(TOKEN.encode()), expires_ms=expires_ms)
    return Directory([account(users=(msgspec.structs.replace(user(), keys=(key,)),))])


def authenticator(now: float = NOW, **settings: Any) -> Authenticator:
    return Authenticator(Directory([account()]), StoppedClock(now), **settings)


def request(
    method: str = "GET",
    path: str = "/jobs",
    query: str = "",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    **more: Any,
) -> RawRequest:
    wire = [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    return RawRequest(method, path.encode(), query.encode(), wire, body, **{"secure": False, "peer": "127.0.0.1", **more})


def authorization(headers: str, parameters: str, signature: str, *, time: str = KEY_TIME, key: str = KEY) -> str:
    return (
        f"q-sign-algorithm=sha1&q-ak={key}&q-sign-time={time}&q-key-time={time}"
        f"&q-header-list={headers}&q-url-param-list={parameters}&q-signature={signature}"
    )


def verify(asked: RawRequest, now: float = NOW, **more: Any) -> qsign.Verified:
    settings = {"max_seconds": 86_400, "http_policy": "loopback", **more}
    known = temporary() if asked.values(b"x-cos-security-token") else Directory([account()])
    return qsign.verify(asked, known.signer, now, **settings)


# -- q-sign: the published vectors (cos-batch.md §1.5)

BASE = {"host": HOST, "x-cos-appid": APPID}
VECTORS = {
    "1 get with query": request(
        query="jobStatuses=Active&maxResults=2",
        headers={
            **BASE,
            "authorization": authorization(
                "host;x-cos-appid", "jobstatuses;maxresults", "f905f9d3e1388f1b6e1febe08858f93dc31fb050"
            ),
        },
    ),
    "2 post with spaces and non-ASCII": request(
        "POST",
        JOB,
        "requestedJobStatus=Ready&statusUpdateReason=go%20on%2C%20%E7%A1%AE%E8%AE%A4",
        {
            **BASE,
            "content-length": "0",
            "authorization": authorization(
                "content-length;host;x-cos-appid",
                "requestedjobstatus;statusupdatereason",
                "80999b1e5bd1c331486d21b19992e4fa534ce20d",
            ),
        },
    ),
    "3 post with a body and its digest": request(
        "POST",
        headers={
            **BASE,
            "content-length": "37",
            "content-type": "application/xml",
            "content-md5": "jwlRQhy+aqjGnxn08+/Tig==",
            "authorization": authorization(
                "content-length;content-md5;content-type;host;x-cos-appid", "", "6e2a0451ea8fe6e485cedded1e49b49d66f2ff39"
            ),
        },
        body=b"<CreateJobRequest></CreateJobRequest>",
    ),
    "4 get with a session token": request(
        path="/jobs/x",
        headers={
            **BASE,
            "x-cos-security-token": TOKEN,
            "authorization": authorization(
                "host;x-cos-appid;x-cos-security-token", "", "1400fe973653a7acdd11941d836dbfd0b9ec54fb"
            ),
        },
    ),
}


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
def test_the_published_signature_is_accepted(vector: RawRequest) -> None:
    assert verify(vector).identity.key.id == KEY


def with_header(asked: RawRequest, name: bytes, value: bytes | None) -> RawRequest:
    rest = [pair for pair in asked.headers if pair[0] != name]
    return msgspec.structs.replace(asked, headers=rest if value is None else [*rest, (name, value)])


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
def test_no_changed_byte_of_what_is_signed_is_accepted(vector: RawRequest) -> None:
    for name, value in vector.headers:
        for position in range(len(value)):
            changed = value[:position] + bytes([value[position] ^ 1]) + value[position + 1 :]
            with pytest.raises(AccessRefused):
                verify(with_header(vector, name, changed))
    for changes in (
        {"method": "DELETE"},
        {"raw_path": vector.raw_path + b"/"},
        {"raw_path": vector.raw_path.replace(b"j", b"J")},
        {"raw_query": vector.raw_query + b"&x=1"},
        {"raw_query": vector.raw_query.replace(b"2", b"3") + b"&x"},
    ):
        with pytest.raises(AccessRefused):
            verify(msgspec.structs.replace(vector, **changes))


def test_spaces_may_come_as_plus_signs() -> None:
    vector = VECTORS["2 post with spaces and non-ASCII"]
    verify(msgspec.structs.replace(vector, raw_query=vector.raw_query.replace(b"%20", b"+")))


# -- q-sign: own signatures


def encoded(text: str) -> str:
    return quote(text, safe="-_.~")


def signed(
    asked: RawRequest, *, start: int = NOW - 60, end: int = NOW + 3600, leave_out: tuple[str, ...] = (), **how: Any
) -> RawRequest:
    """The request with a q-sign Authorization made by the rules for clients, independently of the verifier."""
    headers = sorted((name.decode(), value.decode("latin-1")) for name, value in asked.headers if name.decode() not in leave_out)
    if "host" in how:
        headers = [(name, how["host"] if name == "host" else value) for name, value in headers]
    pairs = [part.partition("=") for part in asked.query.split("&") if part]
    parameters = sorted((encoded(name).lower(), value) for name, _, value in pairs)
    time = f"{start};{end}"
    sign_key = hmac.new(how.get("secret", SECRET).encode(), time.encode(), "sha1").hexdigest()
    header_text = "&".join(f"{name}={encoded(value)}" for name, value in headers)
    parameter_text = "&".join(f"{name}={value}" for name, value in parameters)
    http = f"{asked.method.lower()}\n{asked.path}\n{parameter_text}\n{header_text}\n"
    text = f"sha1\n{time}\n{hashlib.sha1(http.encode()).hexdigest()}\n"
    signature = hmac.new(sign_key.encode(), text.encode(), "sha1").hexdigest()
    lists = ";".join(name for name, _ in headers), ";".join(sorted({name for name, _ in parameters}))
    value = authorization(*lists, signature, time=time, key=how.get("key", KEY))
    return with_header(asked, b"authorization", value.encode())


def test_the_independent_signer_of_these_tests_is_right() -> None:
    vector = with_header(VECTORS["1 get with query"], b"authorization", None)
    assert signed(vector, start=1_700_000_000, end=1_700_003_600).values(b"authorization") == VECTORS["1 get with query"].values(
        b"authorization"
    )


@pytest.mark.parametrize("host", [HOST, "127.0.0.1"])
def test_the_host_may_be_signed_with_and_without_its_port(host: str) -> None:
    verify(signed(request(headers=BASE), host=host))


def test_another_host_is_not_accepted() -> None:
    with pytest.raises(BadSignature):
        verify(signed(request(headers=BASE), host="127.0.0.2"))


@pytest.mark.parametrize(
    ("times", "refusal"),
    [
        ({"start": NOW - 7200, "end": NOW}, RequestExpired),
        ({"start": NOW - 10, "end": NOW - 20}, AccessRefused),
        ({"start": NOW, "end": NOW}, AccessRefused),
        ({"start": NOW + 901, "end": NOW + 2000}, ClockSkewed),
        ({"start": NOW - 10, "end": NOW + 86_400}, AccessRefused),
    ],
)
def test_a_time_range_that_does_not_fit_is_refused(times: dict[str, int], refusal: type[Exception]) -> None:
    with pytest.raises(AccessRefused) as refused:
        verify(signed(request(headers=BASE), **times))
    assert type(refused.value) is refusal


@pytest.mark.parametrize(
    ("date", "fits"),
    [
        ("Tue, 14 Nov 2023 22:15:00 GMT", True),
        ("Tue, 14 Nov 2023 22:45:00 GMT", False),
        ("yesterday", True),
        ("Tue, 99 Foo 0000 99:99:99 GMT", True),
        ("Mon, 25 Nov 2026 10:00:00 " + "9" * 400, True),
    ],
)
def test_a_date_header_must_be_near(date: str, fits: bool) -> None:
    asked = signed(request(headers={**BASE, "date": date}))
    if fits:
        verify(asked)
        return
    with pytest.raises(ClockSkewed):
        verify(asked)


def test_an_unknown_key_is_told_apart_but_only_after_the_same_work() -> None:
    with pytest.raises(UnknownAccessKey):
        verify(signed(request(headers=BASE), key="AKIDUNKNOWN"))


def test_a_wrong_secret_is_a_bad_signature() -> None:
    with pytest.raises(BadSignature):
        verify(signed(request(headers=BASE), secret="another"))


@pytest.mark.parametrize("left_out", ["host", "x-cos-appid"])
def test_what_matters_must_be_signed(left_out: str) -> None:
    with pytest.raises(AccessRefused, match=left_out):
        verify(signed(request(headers=BASE), leave_out=(left_out,)))


GOOD = signed(request(query="jobStatuses=New", headers=BASE)).values(b"authorization")[0].decode()


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "",
        lambda _: "Bearer abc",
        lambda _: "AWS4-HMAC-SHA256 Credential=a/20231114/r/s3/aws4_request, SignedHeaders=host, Signature=" + "0" * 64,
        lambda text: text.replace("sha1", "md5", 1),
        lambda text: text + "&q-ak=other",
        lambda text: text + "&q-extra=1",
        lambda text: text.replace(f"&q-ak={KEY}", ""),
        lambda text: text.replace("host;x-cos-appid", "x-cos-appid;host"),
        lambda text: text.replace("host;x-cos-appid", "host;host;x-cos-appid"),
        lambda text: text.replace("host;x-cos-appid", "Host;x-cos-appid"),
        lambda text: text.replace("host;x-cos-appid", "absent;host;x-cos-appid"),
        lambda text: text.replace("=jobstatuses", "="),
        lambda text: text.replace("=jobstatuses", "=jobstatuses;more"),
        lambda text: text.replace("q-key-time=1", "q-key-time=2"),
        lambda text: text.replace(f"{NOW - 60};", ";"),
        lambda text: text.replace(f"{NOW - 60};", f"+{NOW - 60};"),
        lambda text: text[:-1] + "é",
        lambda text: text[:-1],
        lambda text: text.upper(),
    ],
)
def test_a_malformed_authorization_is_refused(change: Callable[[str], str]) -> None:
    asked = request(query="jobStatuses=New", headers=BASE)
    verify(with_header(asked, b"authorization", GOOD.encode()))
    with pytest.raises(AccessRefused):
        verify(with_header(asked, b"authorization", change(GOOD).encode("latin-1")))


@pytest.mark.parametrize(
    ("names", "let_in"),
    [
        ("jobstatuses", True),
        ("jobstatuses;jobstatuses", True),
        ("jobstatuses;jobstatuses;jobstatuses", False),
        ("jobstatuses;maxresults", False),
        ("", False),
    ],
)
def test_a_repeated_parameter_is_listed_once_or_as_often_as_it_is_sent(names: str, let_in: bool) -> None:
    asked = signed(request(query="jobStatuses=New&jobStatuses=Active", headers=BASE))
    value = asked.needed(b"authorization").replace(b"q-url-param-list=jobstatuses&", f"q-url-param-list={names}&".encode())
    asked = with_header(asked, b"authorization", value)
    if let_in:
        assert verify(asked).identity.key.id == KEY
    else:
        with pytest.raises(AccessRefused, match="q-url-param-list"):
            verify(asked)


def test_a_parameter_that_is_sent_once_is_listed_once() -> None:
    asked = signed(request(query="jobStatuses=New", headers=BASE))
    value = asked.needed(b"authorization").replace(b"list=jobstatuses&", b"list=jobstatuses;jobstatuses&")
    with pytest.raises(AccessRefused, match="once, or as often as it is sent"):
        verify(with_header(asked, b"authorization", value))


def test_no_signature_at_all_is_refused() -> None:
    with pytest.raises(AccessRefused, match="Access Denied"):
        verify(request(headers=BASE))


@pytest.mark.parametrize("name", ["host", "authorization", "x-cos-appid"])
def test_a_repeated_header_is_refused(name: str) -> None:
    asked = signed(request(headers=BASE))
    twice = [*asked.headers, next(pair for pair in asked.headers if pair[0] == name.encode())]
    with pytest.raises(AccessRefused):
        verify(msgspec.structs.replace(asked, headers=twice))


def test_a_signature_in_the_query_can_read_but_not_change() -> None:
    plain = request(query="jobStatuses=New", headers=BASE)
    fields = signed(plain).values(b"authorization")[0].decode().split("&")
    query = "&".join(
        ["jobStatuses=New", *(f"{name}={quote(value, safe='')}" for name, _, value in (f.partition("=") for f in fields))]
    )
    in_query = msgspec.structs.replace(plain, raw_query=query.encode())
    verify(in_query)
    with pytest.raises(AccessRefused, match="only read"):
        verify(msgspec.structs.replace(in_query, method="POST"))
    with pytest.raises(AccessRefused, match="both"):
        verify(with_header(in_query, b"authorization", GOOD.encode()))


def digest(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body).digest()).decode()


@pytest.mark.parametrize(
    ("sent", "refusal"), [("", InvalidDigest), ("abc", InvalidDigest), ("YWJj", InvalidDigest), (digest(b"other"), BadDigest)]
)
def test_a_digest_that_is_sent_is_verified(sent: str, refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        verify(signed(request("POST", headers={**BASE, "content-md5": sent}, body=b"body")))


@pytest.mark.parametrize(
    ("policy", "loopback", "secure", "with_digest", "let_in"),
    [
        ("loopback", True, False, False, True),
        ("loopback", False, False, False, False),
        ("loopback", False, False, True, True),
        ("loopback", False, True, False, True),
        ("never", True, False, False, False),
        ("never", True, False, True, True),
        ("always", False, False, False, True),
    ],
)
def test_a_body_that_nothing_covers_needs_leave(
    policy: str, loopback: bool, secure: bool, with_digest: bool, let_in: bool
) -> None:
    headers = {**BASE, "content-md5": digest(b"body")} if with_digest else BASE
    asked = signed(request("POST", headers=headers, body=b"body", secure=secure, peer="127.0.0.1" if loopback else "192.0.2.7"))
    read = signed(request(headers=BASE, secure=secure, peer="127.0.0.1" if loopback else "192.0.2.7"))
    verify(read, http_policy=policy)
    if let_in:
        verify(asked, http_policy=policy)
        return
    with pytest.raises(AccessRefused, match="Content-MD5"):
        verify(asked, http_policy=policy)


def test_a_digest_that_is_not_signed_covers_nothing() -> None:
    asked = signed(request("POST", headers={**BASE, "content-md5": digest(b"b")}, body=b"b"), leave_out=("content-md5",))
    with pytest.raises(AccessRefused, match="signed Content-MD5"):
        verify(asked, http_policy="never")


# -- the caller


def test_the_caller_of_a_cos_request_is_its_keys_account() -> None:
    caller = authenticator(default_region="ap-guangzhou").authenticate_cos(signed(request(headers=BASE)))
    assert (caller.account.name, caller.user.name, caller.dialect, caller.region) == ("acme", "admin", "cos", "ap-guangzhou")


def test_the_control_host_names_region_and_uin() -> None:
    host = "{}.cos-control.ap-chengdu.myqcloud.com"
    asked = signed(request(headers={**BASE, "host": host.format("100000000001")}))
    assert authenticator().authenticate_cos(asked).region == "ap-chengdu"
    for other in (host, host.upper()):
        with pytest.raises(AccessRefused, match="UIN"):
            authenticator().authenticate_cos(signed(request(headers={**BASE, "host": other.format("100000000002")})))


@pytest.mark.parametrize("headers", [{"host": HOST}, {"host": HOST, "x-cos-appid": ""}])
def test_a_missing_or_empty_appid_is_an_invalid_field(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidField) as refused:
        authenticator().authenticate_cos(signed(request(headers=headers)))
    assert refused.value.path == "x-cos-appid"


def test_a_foreign_appid_is_refused() -> None:
    with pytest.raises(AccessRefused, match="x-cos-appid"):
        authenticator().authenticate_cos(signed(request(headers={**BASE, "x-cos-appid": "1250000001"})))


def test_an_account_without_an_identity_on_a_wire_is_refused_there() -> None:
    nobody = Authenticator(Directory([account(cos_appid=None, cos_uin=None)]), StoppedClock())
    with pytest.raises(AccessRefused):
        nobody.authenticate_cos(signed(request(headers=BASE)))


def test_a_reload_brings_another_default_region() -> None:
    found = authenticator(default_region="us-east-1")
    found.default_region = "ap-chengdu"
    assert found.authenticate_cos(signed(request(headers=BASE))).region == "ap-chengdu"


# -- temporary keys


def with_token(token: str | None, *, in_query: bool = False) -> RawRequest:
    """A read signed with KEY, and with the token where there is one."""
    if in_query:
        return signed_in_query(token)
    return signed(request(headers={**BASE, **({} if token is None else {"x-cos-security-token": token})}))


def signed_in_query(token: str | None) -> RawRequest:
    fields = dict(part.split("=", 1) for part in signed(request(headers=BASE)).one(b"authorization").decode().split("&"))
    pairs = {**fields, **({} if token is None else {"x-cos-security-token": token})}
    return request(query="&".join(f"{name}={quote(value, safe='')}" for name, value in pairs.items()), headers=BASE)


@pytest.mark.parametrize("in_query", [False, True], ids=["header", "query"])
def test_a_temporary_key_goes_with_its_token(in_query: bool) -> None:
    found = Authenticator(temporary(), StoppedClock())
    assert found.authenticate_cos(with_token(TOKEN, in_query=in_query)).user.name == "admin"
    for wrong in (None, "", "another", TOKEN + "x"):
        with pytest.raises(UnknownAccessKey):
            found.authenticate_cos(with_token(wrong, in_query=in_query))
    late = Authenticator(temporary(expires_ms=NOW * 1000), StoppedClock())
    with pytest.raises(TokenExpired):
        late.authenticate_cos(with_token(TOKEN, in_query=in_query))
    with pytest.raises(UnknownAccessKey):  # who does not know the token learns nothing of the key
        late.authenticate_cos(with_token("another", in_query=in_query))


@pytest.mark.parametrize("in_query", [False, True], ids=["header", "query"])
def test_a_lasting_key_with_a_token_is_refused(in_query: bool) -> None:
    with pytest.raises(UnknownAccessKey):
        authenticator().authenticate_cos(with_token(TOKEN, in_query=in_query))


def test_a_token_may_be_added_once_the_request_is_signed_but_no_other_header() -> None:
    found = Authenticator(temporary(), StoppedClock())
    plain = signed(request(headers=BASE))
    assert found.authenticate_cos(with_header(plain, b"x-cos-security-token", TOKEN.encode())).user.name == "admin"
    with pytest.raises(UnknownAccessKey):
        found.authenticate_cos(with_header(plain, b"x-cos-security-token", b"another"))
    with pytest.raises(AccessRefused, match="x-cos-security-tokens"):
        found.authenticate_cos(with_header(plain, b"x-cos-security-tokens", TOKEN.encode()))


def test_a_token_both_in_header_and_query_is_refused() -> None:
    twice = signed(
        request(query=f"x-cos-security-token={quote(TOKEN, safe='')}", headers={**BASE, "x-cos-security-token": TOKEN})
    )
    with pytest.raises(AccessRefused, match="more than once"):
        Authenticator(temporary(), StoppedClock()).authenticate_cos(twice)


def test_a_key_whose_time_is_over_is_as_unknown_as_any_other() -> None:
    key = Key(id=KEY, secret_key=SECRET, expires_ms=NOW * 1000)
    found = Authenticator(Directory([account(users=(msgspec.structs.replace(user(), keys=(key,)),))]), StoppedClock())
    with pytest.raises(UnknownAccessKey):
        found.authenticate_cos(signed(request(headers=BASE)))


def test_a_disabled_user_has_no_key_that_is_known() -> None:
    found = Authenticator(Directory([account(users=(msgspec.structs.replace(user(), disabled=True),))]), StoppedClock())
    with pytest.raises(UnknownAccessKey):
        found.authenticate_cos(signed(request(headers=BASE)))


def test_a_bearer_token_signs_nothing() -> None:
    bearer = Key(id=KEY, kind=KeyKind.BEARER, token_hash=hash_of(b"t"))
    known = Directory([account(users=(msgspec.structs.replace(user(), keys=(bearer,)),))])
    with pytest.raises(UnknownAccessKey):
        Authenticator(known, StoppedClock()).authenticate_cos(signed(request(headers=BASE), secret=""))


# -- the directory


def test_what_a_key_began_ends_with_it() -> None:
    clock = StoppedClock()
    known = temporary()
    found = Authenticator(known, clock).authenticate_cos(with_token(TOKEN))
    assert known.again(found, clock.now_ms())
    assert not known.again(found, clock.now_ms() + 60_000)
    assert known.take_uses() == {KEY: clock.now_ms()}
    assert known.take_uses() == {}
    known.reload([account()])  # the same name, but another key
    assert not known.again(found, clock.now_ms())
    known.reload([])
    assert not known.again(found, clock.now_ms())
    assert not known.again(msgspec.structs.replace(found, key=None), clock.now_ms())


@pytest.mark.parametrize(
    ("actions", "names", "good"),
    [
        (None, ("s3:CreateJob",), True),
        ((), ("s3:CreateJob",), False),
        (("s3:Describe*",), ("s3:DescribeJob", "cos:ListJobs"), True),
        (("cos:listjobs",), ("s3:DescribeJob", "cos:ListJobs"), True),
        (("s3:DescribeJob",), ("s3:UpdateJobStatus", "cos:UpdateJobStatus"), False),
    ],
)
def test_a_key_can_be_good_for_some_actions_only(actions: tuple[str, ...] | None, names: tuple[str, ...], good: bool) -> None:
    assert Key(id="t", kind=KeyKind.BEARER, actions=actions).covers(names) is good


def test_two_users_cannot_share_a_key() -> None:
    other = account(name="other", users=(user("b"),))
    with pytest.raises(SettingsError) as refused:
        Directory([account(), other])
    assert refused.value.path == "accounts.other.users[0].access_key"


def test_nothing_of_a_request_but_method_and_path_is_shown() -> None:
    assert repr(VECTORS["1 get with query"]) == "RawRequest(GET /jobs)"
