"""botocore judges our signatures: for the same request it must arrive at the same one."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from haulier.core.accounts import Credentials
from haulier.objectstore.sigv4 import EMPTY_SHA256, Form, Signer, encode_key, encode_value
from haulier.testing.effects import VirtualClock

HOST = "store.example.com:8333"
KEYS = [b"plain/key.txt", b"a b", b"%", b"100%25 x", "Grüße/你好".encode(), b"a//b/../c", b"~-_.!*'()&=+$,;:@?#[]", b"\x00\xff"]


def judge(
    monkeypatch: pytest.MonkeyPatch,
    clock: VirtualClock,
    method: str,
    url: str,
    headers: dict[str, str],
    token: str | None,
    body: bytes,
) -> str:
    moment = dt.datetime.fromtimestamp(clock.now_ms() // 1000, dt.UTC)

    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda **_: moment.replace(tzinfo=None))
    request = AWSRequest(method=method, url=url, headers=headers, data=body)
    request.context["payload_signing_enabled"] = True
    botocore.auth.S3SigV4Auth(BotoCredentials("AKID", "secret/+", token), "s3", "ap-chengdu").add_auth(request)
    return str(request.headers["Authorization"])


def ours(lines: Sequence[str]) -> dict[str, str]:
    pairs = (line.split(": ", 1) for line in lines)
    return {line[0]: line[1] for line in pairs}


@pytest.mark.parametrize("token", [None, "session/token=="])
@pytest.mark.parametrize("key", KEYS)
def test_a_copy_is_signed_as_botocore_signs_it(monkeypatch: pytest.MonkeyPatch, key: bytes, token: str | None) -> None:
    clock = VirtualClock()
    headers = (
        ("x-amz-metadata-directive", "REPLACE"),
        ("content-type", "text/plain"),
        ("x-amz-meta-note", "two  spaces 100% Grüße"),
        ("x-amz-meta-50%", "全角\u3000空白 \u00a0x"),
        ("x-amz-meta-%s", "%%"),
        ("x-amz-meta-%%d!", "v"),
        ("x-amz-tagging", "a=b%20c"),
    )
    signer = Signer(Credentials("AKID", "secret/+", token), "ap-chengdu", clock)
    form = Form(signer, "PUT", HOST, headers, ("x-amz-copy-source",))
    for _ in range(2):
        path, source = f"/bucket/{encode_key(key)}", f"/src/{encode_key(key)}"
        lines = ours(form.sign(path, "", (source,)))
        sent: dict[str, Any] = {**dict(headers), "x-amz-copy-source": source}
        expected = judge(monkeypatch, clock, "PUT", f"http://{HOST}{path}", sent, token, b"")
        assert lines["authorization"] == expected
        assert lines["x-amz-content-sha256"] == EMPTY_SHA256
        clock.advance(86_400 * 2 + 1)


def test_a_body_and_a_query_are_signed_as_botocore_signs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    body = b"<Tagging/>"
    from hashlib import sha256

    payload = sha256(body).hexdigest()
    signer = Signer(Credentials("AKID", "secret/+"), "ap-chengdu", clock)
    form = Form(signer, "PUT", HOST, (("content-type", "application/xml"),), ("content-md5", "x-amz-content-sha256"))
    version = encode_value(b"a/b+c==")
    lines = ours(form.sign("/bucket/key", f"tagging=&versionId={version}", ("bWQ1", payload), payload))
    sent = {"content-type": "application/xml", "content-md5": "bWQ1"}
    url = f"http://{HOST}/bucket/key?tagging&versionId={version}"
    assert lines["authorization"] == judge(monkeypatch, clock, "PUT", url, sent, None, body)


def test_other_credentials_and_another_clock_are_used_at_once() -> None:
    clock = VirtualClock()
    signer = Signer(Credentials("AKID", "secret"), "us-east-1", clock)
    first = signer.tick()
    signer.skew_ms = 3_600_000
    assert signer.tick() > first
    before = Form(signer, "GET", HOST).sign("/b/k", "")[0]
    signer.replace(Credentials("OTHER", "secret"))
    after = Form(signer, "GET", HOST).sign("/b/k", "")[0]
    assert "Credential=AKID/" in before
    assert "Credential=OTHER/" in after


def test_what_would_end_a_header_line_is_refused() -> None:
    signer = Signer(Credentials("AKID", "secret"), "us-east-1", VirtualClock())
    with pytest.raises(ValueError, match="x-amz-meta-a holds the control character U\\+000D"):
        Form(signer, "PUT", HOST, (("x-amz-meta-a", "b\r\nx-amz-acl: public-read"),))
