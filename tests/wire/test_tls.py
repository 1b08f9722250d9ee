"""The server over TLS, with a certificate of a CA that clients are told of: both clouds' clients, tokens, the command line."""

import contextlib
import datetime as dt
import http.client
import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import SSLError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from qcloud_cos import CosConfig, CosS3Auth, CosS3Client

from haulier import boto3_client
from haulier.cli import main
from haulier.testing.server import ACCESS_KEY, AWS_ACCOUNT_ID, COS_APPID, SECRET_KEY, HaulierServer
from wire.test_cos import a_body

STORE = {"main": {"endpoint": "http://127.0.0.1:1", "default": True, "access_key": "k", "secret_key": "s"}}
PEM = serialization.Encoding.PEM


class Authority:
    """A CA of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a CA for a test")])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        made = self._builder(self._name, self._key).add_extension(constraints, critical=True).add_extension(usage, critical=True)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        self.file = folder / "ca.pem"
        self.file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
        )

    def issue(self) -> tuple[Path, Path]:
        """A certificate for this machine, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        made = (
            self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), key)
            .add_extension(names, critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(issuer, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        certificate, private = self.folder / "server.pem", self.folder / "server.key"
        certificate.write_bytes(made.public_bytes(PEM))
        private.touch(0o600)
        private.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return certificate, private


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server(ca: Authority) -> Iterator[HaulierServer]:
    certificate, key = ca.issue()
    # `never`: what COS clients change is taken over TLS only.
    made = HaulierServer(
        STORE, runners=1, extra={"server": {"tls_certificate": str(certificate), "tls_key": str(key), "cos_http": "never"}}
    )
    try:
        made.start_process()
        made.url = f"https://127.0.0.1:{made.port}"
        end = time.monotonic() + 30
        while '"event": "serving"' not in made.log_file.read_text():
            assert time.monotonic() < end
            assert made.running, made.log_tail()
            time.sleep(0.02)
        yield made
    finally:
        made.stop()


@contextlib.contextmanager
def connected(server: HaulierServer, ca: Authority) -> Iterator[http.client.HTTPSConnection]:
    context = ssl.create_default_context(cafile=str(ca.file))
    with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", server.port, timeout=30, context=context)) as connection:
        yield connection


def boto(server: HaulierServer, verify: Path | bool) -> Any:
    keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY, "region_name": "us-east-1"}
    return boto3_client(server.url, AWS_ACCOUNT_ID, verify=str(verify) if isinstance(verify, Path) else verify, **keys)


def test_boto3_is_served_and_knows_whom_it_talks_to(server: HaulierServer, ca: Authority) -> None:
    assert boto(server, ca.file).list_jobs()["Jobs"] == []
    with pytest.raises(SSLError):
        boto(server, True).list_jobs()


def test_tencents_sdk_may_change_things_over_tls(server: HaulierServer, ca: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ca.file))
    domain = server.url.removeprefix("https://")
    config = CosConfig(Region="ap-chengdu", SecretId=ACCESS_KEY, SecretKey=SECRET_KEY, Scheme="https", Domain=domain)
    created = CosS3Client(config, retry=0).send_request(
        "POST",
        f"{server.url}/jobs",
        bucket=None,
        auth=CosS3Auth(config, "/jobs", {}),
        data=a_body().encode(),
        headers={"x-cos-appid": COS_APPID},
        timeout=30,
    )
    assert created.status_code == 200
    assert "<JobId>" in created.text


def test_a_bearer_token_and_the_command_line_work_over_tls(
    server: HaulierServer, ca: Authority, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ["--config", str(server.config_file), "-o", "json"]
    assert main(["key", "create", "admin", "--bearer", *config]) == 0
    token = json.loads(capsys.readouterr().out)["token"]
    with connected(server, ca) as connection:
        connection.request("GET", "/api/v1/jobs", headers={"Authorization": f"Bearer {token}"})
        assert connection.getresponse().status == 200
        assert connection.sock.version() in ("TLSv1.2", "TLSv1.3")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(ca.file))
    assert main(["job", "list", *config]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), list)
    monkeypatch.delenv("AWS_CA_BUNDLE")
    assert main(["job", "list", *config]) == 6
    assert "cannot be reached" in capsys.readouterr().err


def test_plain_http_is_not_answered_on_the_port_of_tls(server: HaulierServer, ca: Authority) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert not connection.recv(4096).startswith(b"HTTP/")
    with connected(server, ca) as connection:  # and others are served on
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
    assert all(line.startswith("{") for line in server.log_file.read_text().splitlines())
