import datetime as dt
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from haulier.core.clock import SystemClock
from haulier.core.effects import Answer, Request
from haulier.objectstore.transport import CurlDriver
from haulier.testing.faulty_s3 import FaultyS3
from haulier.testing.suites.driver import DriverSuite, MakeDriver, Running, ask


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "store")])
    today = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "certificate.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    return pem, private


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("tls"))


class TlsSuite(DriverSuite):
    """The same promises over TLS."""

    @pytest.fixture
    def server(self, pem: tuple[Path, Path]) -> Iterator[FaultyS3]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pem)
        self.ca_file = str(pem[0])
        with FaultyS3(tls=context) as server:
            yield server

    def request(self, server: FaultyS3, method: str, key: str = "key", body: Any = None, **options: Any) -> Request:
        return super().request(server, method, key, body, **({"ca_file": self.ca_file} | options))

    def test_a_certificate_that_nobody_vouches_for_is_a_failure_that_sent_nothing(
        self, server: FaultyS3, running: Running
    ) -> None:
        answer = running.do(ask(self.request(server, "PUT", ca_file=None)))
        assert (answer.status, answer.sent) == (0, False)
        assert "certificate" in str(answer.failure).lower()
        assert server.requests == []


class TestCurlDriver(DriverSuite):
    @pytest.fixture
    def make_driver(self) -> MakeDriver:
        return lambda in_flight_max: CurlDriver(clock=SystemClock(), in_flight_max=in_flight_max)

    def test_on_answer_sees_every_answer(self, server: FaultyS3) -> None:
        seen: list[tuple[str, int]] = []

        def on_answer(request: Request, answer: Answer) -> None:
            seen.append((request.method, answer.status))

        running = Running(CurlDriver(clock=SystemClock(), on_answer=on_answer))
        running.do(ask(self.request(server, "PUT", body=b"content")))
        running.do(ask(self.request(server, "HEAD")))
        running.stop()
        assert seen == [("PUT", 200), ("HEAD", 200)]


class TestCurlDriverOverTls(TlsSuite):
    @pytest.fixture
    def make_driver(self) -> MakeDriver:
        return lambda in_flight_max: CurlDriver(clock=SystemClock(), in_flight_max=in_flight_max)
