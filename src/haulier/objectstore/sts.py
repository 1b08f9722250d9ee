"""AssumeRole of an STS, signed and sent by ourselves: how a role gets keys for a store that last an hour or less.

Source: AWS, "AssumeRole" and "Common errors" of the Security Token Service API, version 2011-06-15; MinIO, Ceph and SeaweedFS
answer the same. Error bodies may be empty, so the HTTP status counts too.
"""

import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from hashlib import sha256
from typing import Final
from urllib.parse import urlencode, urlsplit

from haulier.core.accounts import AssumedRole, Credentials
from haulier.core.effects import Answer, Request
from haulier.core.errors import HaulierError
from haulier.core.ports import Clock, Driver
from haulier.objectstore.answers import time_ms
from haulier.objectstore.sigv4 import Form, Signer
from haulier.objectstore.xml import Document, Unreadable

STS_SECONDS: Final = 15.0
_FORM: Final = (("content-type", "application/x-www-form-urlencoded"),)
_NOT_OF_A_SESSION_NAME: Final = re.compile(r"[^\w+=,.@-]", re.ASCII)
_PASSING: Final = frozenset({408, 429})


class StsRefused(HaulierError):
    """STS has understood and said no; `code` as it says it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code


class StsUnavailable(HaulierError):
    """STS did not answer, or not in a way that says anything; the next try may succeed."""


def session_name(account: str, role: str) -> str:
    """By this the store's log tells who acts: 2 to 64 of the characters that AWS allows."""
    return _NOT_OF_A_SESSION_NAME.sub("-", f"haulier-{account}-{role}")[:64]


async def assume_role(how: AssumedRole, session: str, clock: Clock) -> Credentials:
    """New credentials, with the moment (our clock) at which they are over. Raises StsRefused or StsUnavailable."""
    fields = {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": how.arn,
        "RoleSessionName": session,
        "DurationSeconds": str(how.duration_seconds),
    }
    if how.external_id is not None:
        fields["ExternalId"] = how.external_id
    body = urlencode(fields).encode()
    digest = sha256(body).hexdigest()
    endpoint = how.endpoint.rstrip("/")
    form = Form(
        Signer(how.caller, how.region, clock, service="sts"), "POST", urlsplit(endpoint).netloc, _FORM, ("x-amz-content-sha256",)
    )
    headers = form.sign("/", "", (digest,), digest)
    answer = await Request("POST", f"{endpoint}/", headers, body, ca_file=how.ca_file, timeout_seconds=STS_SECONDS)
    return _credentials(answer, how, clock)


def _credentials(answer: Answer, how: AssumedRole, clock: Clock) -> Credentials:
    if not answer.status:
        raise StsUnavailable(f"STS at {how.endpoint} does not answer: {answer.failure}")
    try:
        document = Document(answer.body)
    except Unreadable:
        document = None
    if answer.status != 200:
        raise _refusal(answer.status, document, how)
    found = (
        {} if document is None else {path.rpartition("/")[2]: text for path, text in document.found if "/Credentials/" in path}
    )
    if not found.get("AccessKeyId") or not found.get("SecretAccessKey"):
        raise StsUnavailable(f"STS at {how.endpoint} answered 200 without credentials")
    return Credentials(
        found["AccessKeyId"],
        found["SecretAccessKey"],
        found.get("SessionToken") or None,
        expires_ms=_expires_ms(found.get("Expiration"), answer, how, clock),
    )


def _refusal(status: int, document: Document | None, how: AssumedRole) -> HaulierError:
    code = message = ""
    if document is not None:
        code = document.get("Error/Code") or document.get("Code") or ""
        message = document.get("Error/Message") or document.get("Message") or ""
    if status >= 500 or status in _PASSING or code.startswith(("Throttl", "TooManyRequests", "SlowDown", "RequestLimit")):
        return StsUnavailable(f"STS at {how.endpoint} answered {status} {code}".rstrip())
    return StsRefused(code or ("AccessDenied" if status in (401, 403) else f"HTTP {status}"), message)


def _expires_ms(told: str | None, answer: Answer, how: AssumedRole, clock: Clock) -> int:
    """By our clock: the two clocks may differ, so what counts is how long it is from the answer's Date."""
    life_ms = how.duration_seconds * 1000
    try:
        until_ms = int(datetime.fromisoformat(told or "").timestamp() * 1000)
    except ValueError:
        return clock.now_ms() + life_ms
    date_ms = time_ms(answer.headers.get("date"))
    return clock.now_ms() + max(0, until_ms - (clock.now_ms() if date_ms is None else date_ms))


class StsClient:
    """Asks STS from a thread of its own, between `start` and `stop`. One per server: runners never do."""

    def __init__(self, driver: Callable[[], Driver], clock: Clock) -> None:
        self._driver = driver()
        self._clock = clock
        self._thread = threading.Thread(target=self._driver.run, args=(lambda: None,), name="sts", daemon=True)

    def start(self) -> None:
        """Be ready to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Give up what is asked; its futures are cancelled."""
        self._driver.stop()
        if self._thread.ident is not None:
            self._thread.join()

    def assume(self, how: AssumedRole, session: str) -> Future[Credentials]:
        """Ask; the future takes the credentials, or StsRefused or StsUnavailable. From any thread."""
        return self._driver.submit(assume_role(how, session, self._clock))
