"""The native API as commands use it: signed as botocore signs, answers as they stand, refusals in plain words."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote, urlencode

from haulier.cli.client import Connection, Place, check_job_id, find, in_plain_words
from haulier.cli.exits import CommandFailed, Exit

_ROOT: Final = "/api/v1/"
_SECONDS: Final = 90
"""A little longer than the longest wait that can be asked for."""
_EXITS: Final = {401: Exit.DENIED, 403: Exit.DENIED, 404: Exit.NOT_FOUND}


class Native:
    """The native API of one server, for one user. Every method raises CommandFailed."""

    def __init__(self, place: Place) -> None:
        # Slow to import: only commands that talk to a server pay for it.
        from botocore.httpsession import URLLib3Session  # noqa: PLC0415
        from botocore.session import Session  # noqa: PLC0415
        from botocore.utils import get_environ_proxies  # noqa: PLC0415

        from haulier.boto import is_loopback  # noqa: PLC0415

        self._endpoint = place.endpoint
        with in_plain_words(place.endpoint):
            session = Session()
            if place.keys:
                session.set_credentials(place.keys["aws_access_key_id"], place.keys["aws_secret_access_key"])
            self._credentials = session.get_credentials()
            proxies = None if is_loopback(place.endpoint) else get_environ_proxies(place.endpoint)
            trusted = session.get_config_variable("ca_bundle") or True
            self._http = URLLib3Session(verify=trusted, proxies=proxies, timeout=_SECONDS)
        if self._credentials is None:
            raise CommandFailed(Exit.DENIED, "no keys to sign with: set HAULIER_ACCESS_KEY and HAULIER_SECRET_KEY")

    def of_job(
        self, method: str, job_id: str, call: str, body: Any = None, *, query: Mapping[str, Any] | None = None, key: str = ""
    ) -> Any:
        """Make a call on a job: its answer's document. `key` is an Idempotency-Key."""
        check_job_id(job_id)
        path = "/".join(filter(None, (f"{_ROOT}jobs/{quote(job_id, safe='')}", call)))
        target = f"{path}?{urlencode(query, quote_via=quote)}" if query else path
        content = b"" if body is None else json.dumps(body).encode()
        status, answer = self._send(method, target, content, {"Idempotency-Key": key} if key else {})
        if status >= 400:
            raise _refused(status, answer, self._endpoint)
        try:
            return json.loads(answer) if answer else None
        except ValueError:
            raise CommandFailed(Exit.UNREACHABLE, f"{self._endpoint} answers, but not in JSON: is it a Haulier server?") from None

    def _send(self, method: str, target: str, content: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        from botocore.auth import S3SigV4Auth  # noqa: PLC0415
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415

        request = AWSRequest(method, self._endpoint.rstrip("/") + target, data=content, headers=dict(headers))
        with in_plain_words(self._endpoint):
            S3SigV4Auth(self._credentials, "s3", "us-east-1").add_auth(request)
            answer = self._http.send(request.prepare())
            return answer.status_code, answer.content

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _refused(status: int, answer: bytes, endpoint: str) -> CommandFailed:
    try:
        problem = json.loads(answer)
        text = f"{problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        text = f"{endpoint} answers {status}, without an explanation"
    if status >= 500:
        return CommandFailed(Exit.UNREACHABLE, f"{endpoint} cannot serve the request now: {text}")
    return CommandFailed(_EXITS.get(status, Exit.FAILED), text)


@contextmanager
def native(connection: Connection) -> Iterator[Native]:
    """The native API of the server that flags, settings file or environment name, in this order. Raises CommandFailed."""
    opened = Native(find(connection))
    try:
        yield opened
    finally:
        opened.close()
