"""The way to a server: which endpoint, account and keys, and S3 Batch over botocore's client with errors in plain words."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import urlsplit

from cyclopts import Parameter

from haulier.cli.exits import CommandFailed, Exit

_DENIED: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
)
_NOT_FOUND: Final = frozenset({"NotFoundException", "NoSuchJob", "NoSuchJobException"})
_JOB_ID: Final = re.compile(r"[A-Za-z0-9_-]{5,36}")
_PAGE_JOBS: Final = 1_000
_CONNECT_SECONDS: Final = 5
_READ_SECONDS: Final = 30


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Connection:
    """Which server to ask, and as whom."""

    endpoint: str | None = None
    """The server's address (http://127.0.0.1:9444). Else HAULIER_ENDPOINT, AWS_ENDPOINT_URL_S3_CONTROL."""
    account_id: str | None = None
    """The AWS account id, 12 digits. Else HAULIER_ACCOUNT_ID."""
    config: Annotated[Path | None, Parameter(name="--config")] = None
    """The server's settings file, for use beside it: endpoint, account and the first admin's keys are taken from there. Else
    keys come from HAULIER_ACCESS_KEY and HAULIER_SECRET_KEY, or from wherever the AWS tools find theirs."""


class Jobs:
    """The jobs of one account on one server. Every method raises CommandFailed."""

    def __init__(self, endpoint: str, account_id: str, keys: Mapping[str, str]) -> None:
        from botocore.config import Config  # noqa: PLC0415  (slow to import: only commands that talk to a server pay for it)

        from haulier.boto import boto3_client  # noqa: PLC0415

        self.endpoint = endpoint
        config = Config(connect_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS, retries={"mode": "standard"})
        with in_plain_words(endpoint):
            self._client = boto3_client(endpoint, account_id, config=config, **keys)

    def list(self, statuses: list[str], limit: int) -> list[dict[str, Any]]:
        """At most `limit` jobs, as the server orders them (newest first)."""
        found: list[dict[str, Any]] = []
        query: dict[str, Any] = {"JobStatuses": statuses} if statuses else {}
        with in_plain_words(self.endpoint):
            while len(found) < limit:
                page = self._client.list_jobs(MaxResults=min(limit - len(found), _PAGE_JOBS), **query)
                found += page.get("Jobs", [])
                if not page.get("NextToken"):
                    break
                query["NextToken"] = page["NextToken"]
        return found[:limit]

    def get(self, job_id: str) -> dict[str, Any]:
        """The job's description."""
        check_job_id(job_id)
        with in_plain_words(self.endpoint):
            job: dict[str, Any] = self._client.describe_job(JobId=job_id)["Job"]
        return job

    def request(self, job_id: str, status: str, reason: str | None = None) -> dict[str, Any]:
        """Ask for `Ready` or `Cancelled`; the answer's JobId, Status and StatusUpdateReason."""
        check_job_id(job_id)
        more = {"StatusUpdateReason": reason} if reason else {}
        with in_plain_words(self.endpoint):
            answer: dict[str, Any] = self._client.update_job_status(JobId=job_id, RequestedJobStatus=status, **more)
        answer.pop("ResponseMetadata", None)
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class Place(NamedTuple):
    """A server, the account to ask for, and the keys to sign with as boto3 names them; none = boto3 finds its own."""

    endpoint: str
    account_id: str
    keys: Mapping[str, str]


@contextmanager
def jobs(connection: Connection) -> Iterator[Jobs]:
    """The jobs at the server that flags, settings file or environment name, in this order. Raises CommandFailed."""
    opened = Jobs(*find(connection))
    try:
        yield opened
    finally:
        opened.close()


def find(connection: Connection) -> Place:
    """The server that flags, settings file or environment name, in this order. Raises CommandFailed."""
    found = _settings(connection.config, connection.account_id) if connection.config else {}
    environ = os.environ
    endpoint = (
        connection.endpoint
        or found.get("endpoint")
        or environ.get("HAULIER_ENDPOINT")
        or environ.get("AWS_ENDPOINT_URL_S3_CONTROL")
    )
    if not endpoint:
        raise CommandFailed(Exit.USAGE, "which server? Give --endpoint or --config, or set HAULIER_ENDPOINT")
    _check_endpoint(endpoint)
    account_id = connection.account_id or found.get("account_id") or environ.get("HAULIER_ACCOUNT_ID")
    if not account_id:
        raise CommandFailed(Exit.USAGE, "which account? Give --account-id or --config, or set HAULIER_ACCOUNT_ID")
    if not (len(account_id) == 12 and account_id.isascii() and account_id.isdigit()):
        raise CommandFailed(Exit.USAGE, f"{account_id!r} is no AWS account id: it has 12 digits")
    return Place(endpoint, account_id, _keys(found, environ))


def _keys(found: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    access_key = found.get("access_key") or environ.get("HAULIER_ACCESS_KEY")
    secret_key = found.get("secret_key") or environ.get("HAULIER_SECRET_KEY")
    if not access_key and not secret_key:
        return {}
    if not access_key or not secret_key:
        raise CommandFailed(Exit.USAGE, "HAULIER_ACCESS_KEY and HAULIER_SECRET_KEY go together; one of them is not set")
    return {"aws_access_key_id": access_key, "aws_secret_access_key": secret_key}


def _settings(path: Path, account_id: str | None) -> dict[str, str]:
    """Endpoint, account and keys out of the server's settings."""
    from haulier.settings import load  # noqa: PLC0415

    settings = load(path, os.environ)
    for account in settings.account_list():
        if account.aws_account_id is None or account_id not in (None, account.aws_account_id):
            continue
        for user in account.users:
            if user.policy == "admin":
                (key,) = user.keys
                keys = {"access_key": key.id, "secret_key": key.secret_key, "account_id": account.aws_account_id}
                return keys if settings.server.port == 0 else {**keys, "endpoint": settings.server.url}
    which = "with an aws_account_id" if account_id is None else f"with aws_account_id {account_id!r}"
    raise CommandFailed(Exit.USAGE, f"{path} has no account {which} and an admin user")


def check_job_id(job_id: str) -> None:
    """Raises CommandFailed for what can be no job's id."""
    # Left to botocore and the server, this would be wrong usage for some ids and a refused request for others.
    if not _JOB_ID.fullmatch(job_id):
        raise CommandFailed(Exit.NOT_FOUND, f"there is no job {job_id!r}: an id has 5 to 36 letters, digits, - and _")


def _check_endpoint(endpoint: str) -> None:
    try:
        url = urlsplit(endpoint)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise CommandFailed(Exit.USAGE, f"the endpoint {endpoint!r} is no http or https URL (http://127.0.0.1:9444)")


@contextmanager
def in_plain_words(endpoint: str) -> Iterator[None]:
    """Translates what botocore raises into CommandFailed."""
    from botocore import exceptions  # noqa: PLC0415
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    try:
        yield
    except exceptions.ClientError as error:
        raise _refused(error.response, endpoint) from None
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
        raise CommandFailed(
            Exit.DENIED, f"no keys to sign with ({_one_line(error)}): set HAULIER_ACCESS_KEY and HAULIER_SECRET_KEY"
        ) from None
    except exceptions.ParamValidationError as error:
        raise CommandFailed(Exit.USAGE, _one_line(error)) from None
    except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
        raise CommandFailed(Exit.UNREACHABLE, f"{endpoint} cannot be reached: {_one_line(error)}") from None
    except ResponseParserError:
        raise CommandFailed(
            Exit.UNREACHABLE, f"{endpoint} answers, but not in the S3 Batch protocol: is it a Haulier server?"
        ) from None
    except exceptions.BotoCoreError as error:
        raise CommandFailed(Exit.USAGE, _one_line(error)) from None


def _refused(response: Mapping[str, Any], endpoint: str) -> CommandFailed:
    code = str(response.get("Error", {}).get("Code", ""))
    message = str(response.get("Error", {}).get("Message", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = f"{code}: {message}" if message else code
    if code in _NOT_FOUND:
        return CommandFailed(Exit.NOT_FOUND, text)
    if code in _DENIED or status in (401, 403):
        return CommandFailed(Exit.DENIED, text)
    if status >= 500:
        return CommandFailed(Exit.UNREACHABLE, f"{endpoint} cannot serve the request now: {text}")
    return CommandFailed(Exit.FAILED, text)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
