"""One call to a store: sign, send, read the answer in full, and decide whether to try again. The one retry layer."""

from base64 import b64encode
from collections.abc import Callable, Sequence
from hashlib import md5, sha256
from typing import Final, TypeVar
from urllib.parse import urlsplit

from haulier.core.accounts import Credentials
from haulier.core.effects import Answer, FileBody, Request, Sleep
from haulier.core.errors import StoreError
from haulier.core.placement import Store
from haulier.core.ports import Clock
from haulier.objectstore.answers import Refused, bad_success, refusal, time_ms
from haulier.objectstore.gate import FULL_SECONDS, LOOK_SECONDS
from haulier.objectstore.keys import check_key
from haulier.objectstore.retry import Tries, Verdict
from haulier.objectstore.sigv4 import EMPTY_SHA256, Form, Signer, encode_key, encode_value
from haulier.objectstore.throttle import Throttle
from haulier.objectstore.xml import Refusal, Unreadable

T = TypeVar("T")
Headers = Sequence[tuple[str, str]]
SECONDS: Final = 60.0
CREDENTIALS_SECONDS: Final = 5.0
"""How long an expired token waits for its successor."""
OVER_MS: Final = 500
"""Credentials are not used any more so long before their end: a request needs time, too."""
CLOCK_SAMPLE_SECONDS: Final = 10
FORMS_MAX: Final = 1000
NO_QUERY: Final = ("", "")
XML_HEADERS: Final = (("content-type", "application/xml"),)
_FROM_A_GATEWAY: Final = (502, 504)
"""What a proxy answers that cannot reach the store: no word of the store itself."""
_BODY: Final = ("content-md5", "x-amz-content-sha256")


class Exchange:
    """Calls to one store under one set of credentials; the verbs are in `s3.S3ObjectStore`."""

    def __init__(
        self, store: Store, credentials: Credentials, *, throttle: Throttle, clock: Clock, random: Callable[[], float]
    ) -> None:
        self.throttle = throttle
        self.clock = clock
        self.random = random
        self.signer = Signer(credentials, store.region, clock)
        parts = urlsplit(store.endpoint)
        port = "" if parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme)) else f":{parts.port}"
        name = parts.hostname or ""
        self._host = f"[{name}]{port}" if ":" in name else f"{name}{port}"
        self._scheme = parts.scheme
        self._region = store.region
        self._virtual = store.addressing == "virtual"
        self._ca_file = store.ca_file
        self._forms: dict[tuple[str, str, Headers, tuple[str, ...]], Form] = {}
        self._sampled_at = self._sample_at = 0
        self._rejected: Credentials | None = None
        self.when_rejected: Callable[[Credentials], None] = lambda _: None
        self.ahead_ms = 0
        """The store's clock minus ours, as its last sampled Date said."""

    @property
    def signed_ms(self) -> int:
        """The second in which the last request was signed, by our clock."""
        return self.signer.second * 1000 - self.signer.skew_ms

    def replace_credentials(self, credentials: Credentials) -> None:
        """Sign with these from now on."""
        self.signer.replace(credentials)
        self._forms.clear()

    # -- requests -------------------------------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        bucket: str,
        key: bytes | None,
        query: tuple[str, str],
        headers: Headers,
        varying: tuple[str, ...] = (),
        values: tuple[str, ...] = (),
        *,
        payload: str = EMPTY_SHA256,
        body: bytes | FileBody | None = None,
        seconds: float = SECONDS,
        once: bool = False,
    ) -> Request:
        """A request signed for now; `query` is its canonical and its sent form. Without a key it is about the bucket, which an
        empty key never means. Raises StoreError for a key that is none."""
        if key is not None:
            check_key(key)
        below = "" if key is None else "/" + encode_key(key)
        if self._virtual:
            host = f"{bucket}.{self._host}"
            path = below or "/"
        else:
            host = self._host
            path = f"/{bucket}{below}"
        form = self._forms.get((method, host, headers, varying))
        if form is None:
            if len(self._forms) >= FORMS_MAX:
                self._forms.clear()
            form = self._forms[method, host, headers, varying] = Form(self.signer, method, host, headers, varying)
        canonical, sent = query
        return Request(
            method,
            f"{self._scheme}://{host}{path}{sent}",
            form.sign(path, canonical, values, payload),
            body,
            ca_file=self._ca_file,
            timeout_seconds=seconds,
            once=once,
        )

    def plain(
        self,
        method: str,
        bucket: str,
        key: bytes | None,
        version: bytes | None,
        headers: Headers = (),
        *,
        sub_resource: str = "",
        seconds: float = SECONDS,
        once: bool = False,
    ) -> Callable[[], Request]:
        """Makes requests without a body."""
        query = query_of(sub_resource, version)
        headers = tuple(headers)
        return lambda: self.request(method, bucket, key, query, headers, seconds=seconds, once=once)

    def with_xml(
        self,
        method: str,
        bucket: str,
        key: bytes | None,
        query: tuple[str, str],
        body: bytes,
        headers: Headers = XML_HEADERS,
        *,
        seconds: float = SECONDS,
        once: bool = False,
    ) -> Callable[[], Request]:
        """Makes requests with a document, its MD5 and its SHA-256."""
        payload = sha256(body).hexdigest()
        values = (b64encode(md5(body, usedforsecurity=False).digest()).decode(), payload)
        return lambda: self.request(
            method, bucket, key, query, headers, _BODY, values, payload=payload, body=body, seconds=seconds, once=once
        )

    # -- the one retry layer --------------------------------------------------------------------------------------------------

    async def run(
        self,
        make: Callable[[], Request],
        read: Callable[[Answer], T],
        *,
        of_version: bool = False,
        once: bool = False,
    ) -> T:
        """Send what `make` signs until `read` understands a success or the refusal is final; raises StoreError.

        `once`: a try that may have been carried out is the last.
        """
        throttle = self.throttle
        gate = throttle.gate
        signer = self.signer
        tries: Tries | None = None
        while True:
            if signer.credentials.expires_ms is not None:
                await self._wait_for_credentials()
            if throttle.breaker.reason is not None or gate.pace is not None or gate.in_flight >= gate.grant.in_flight:
                await self._wait_for_leave()
            request = make()
            second, credentials = signer.second, signer.credentials
            gate.begun += 1
            gate.in_flight += 1
            gate.most = max(gate.most, gate.in_flight)
            try:
                answer = await request
            finally:
                gate.in_flight -= 1
            if second >= self._sample_at or second < self._sampled_at:  # the latter when our clock was put back
                self._sample_clock(answer, second)
            if 200 <= answer.status < 300:
                try:
                    result = read(answer)
                except (Refusal, Unreadable) as problem:
                    refused = bad_success(answer, problem)
                else:
                    throttle.succeeded(tries.spent or 1 if tries else 1)
                    return result
            else:
                refused = refusal(answer, self._region, of_version=of_version)
            if tries is None:
                tries = Tries(self.clock.monotonic(), self.random)
            await Sleep(self._judge(refused, answer, tries, (second, credentials), once=once))

    def _judge(self, refused: Refused, answer: Answer, tries: Tries, signed: tuple[int, Credentials], *, once: bool) -> float:
        """Seconds until the next try; raises the StoreError when there is none."""
        second, credentials = signed
        throttle = self.throttle
        error, verdict = refused.error, refused.verdict
        if not answer.status or answer.status in _FROM_A_GATEWAY:
            throttle.failed(error.message if not answer.status else f"a gateway answered {answer.status}")
        elif verdict is Verdict.THROTTLED:
            throttle.throttled()
        elif verdict is Verdict.FINAL:
            throttle.succeeded(tries.spent or 1)  # a key that is not there is a healthy store's answer like any other
        else:
            throttle.answered()
        if once and error.status == 500:
            verdict = Verdict.UNCERTAIN  # some stores fail after the fact
        begun_ms = second * 1000 - self.signer.skew_ms
        if once and verdict is Verdict.UNCERTAIN:
            # No retry, so nothing is taken from the quota: the operation looks first, and waits by itself.
            raise StoreError(
                error.status, error.code, error.message, unknown=True, since_ms=begun_ms, request_id=error.request_id
            )
        now = self.clock.monotonic()
        delay = tries.refused(
            verdict,
            now=now,
            quota=throttle.quota,
            begun_ms=begun_ms,
            retry_after=refused.retry_after,
            away=throttle.held is not None,
        )
        if delay is None:
            raise tries.final(error)
        if verdict is Verdict.SKEWED:
            self.signer.skew_ms = self.ahead_ms = self._skew_ms(answer)
        elif verdict is Verdict.EXPIRED and credentials is self.signer.credentials:
            if credentials.expires_ms is None:
                return CREDENTIALS_SECONDS
            self._rejected = credentials
            self.when_rejected(credentials)
        return delay

    async def _wait_for_credentials(self) -> None:
        """While those at hand are over, until others come: nothing fails because an STS is away."""
        while True:
            credentials = self.signer.credentials
            over_ms = credentials.expires_ms
            if credentials is not self._rejected and (over_ms is None or self.clock.now_ms() < over_ms - OVER_MS):
                return
            await Sleep(LOOK_SECONDS)

    async def _wait_for_leave(self) -> None:
        """While the breaker is open: until this call may be the probe, or the store is back. Then as the store's gate says."""
        breaker = self.throttle.breaker
        probes = False
        while breaker.reason is not None and not probes:
            now = self.clock.monotonic()
            probes = breaker.may_probe(now)
            if not probes:
                await Sleep(breaker.wait_seconds(now))
        try:
            await self._wait_at_gate()
        except GeneratorExit:
            if probes:
                breaker.not_probed()
            raise

    async def _wait_at_gate(self) -> None:
        gate = self.throttle.gate
        ticket = gate.ticket()
        if ticket is not None:
            while wait := gate.wait_seconds(ticket):
                await Sleep(wait)
        while gate.full():
            await Sleep(FULL_SECONDS)

    def _sample_clock(self, answer: Answer, second: int) -> None:
        if not answer.status:
            return  # the next answer is the sample: until there is one nobody can tell who has written an object when
        self._sampled_at, self._sample_at = second, second + CLOCK_SAMPLE_SECONDS
        if time_ms(answer.headers.get("date")) is not None:
            self.ahead_ms = self._skew_ms(answer)
        self.throttle.gate.server = answer.headers.get("server", "")

    def _skew_ms(self, answer: Answer) -> int:
        theirs = time_ms(answer.headers.get("date"))
        # A Date is cut to the second: half a second is its middle.
        return 0 if theirs is None else theirs + 500 - self.clock.now_ms()


def query_of(sub_resource: str, version: bytes | None) -> tuple[str, str]:
    """The query in canonical form, and as it is sent."""
    if version is None:
        return (f"{sub_resource}=", f"?{sub_resource}") if sub_resource else ("", "")
    named = f"versionId={encode_value(version)}"
    return (f"{sub_resource}=&{named}", f"?{sub_resource}&{named}") if sub_resource else (named, f"?{named}")
