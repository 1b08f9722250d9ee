"""`haulier doctor`: which ways of reaching the server work from here, found out by going them. (With `--job`: `examine`.)

boto3 and the AWS command line put the account id before every endpoint's host. On loopback, and wherever no wildcard name leads
to the server, that name resolves nowhere; the ways around it depend on this machine's resolver and on its proxy settings. So
each is tried with a real, signed ListJobs.
"""

import http.client
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from haulier.cli import output as out
from haulier.cli.client import Connection, Place, find, in_plain_words
from haulier.cli.examine import examine
from haulier.cli.exits import CommandFailed, Exit
from haulier.cli.jobargs import OutputOption

NEUTRAL_ENDPOINT: Final = "http://s3control.haulier"
"""Resolves nowhere, and no NO_PROXY is likely to name it: only the proxy setting leads to the server."""
REGION: Final = "us-east-1"
_SECONDS: Final = 10
_CLI_SECONDS: Final = 60
_SKEW_SECONDS_MAX: Final = 300
"""From here on it is worth a word; at 900 SigV4 refuses."""
_HERE: Final = Connection()

Client = Literal["boto3", "aws-cli"]
Outcome = Literal["works", "refused", "fails", "not tried"]


class Way(NamedTuple):
    """A way of reaching the server, and what came of going it."""

    client: Client
    name: str
    recipe: str
    outcome: Outcome
    detail: str = ""


def doctor(
    *, job: str | None = None, report: Path | None = None, output: OutputOption = "table", connection: Connection = _HERE
) -> int:
    """Find out how boto3 and the AWS command line reach the server from here, and print the recipe; or check one job.

    Nothing is changed: every way is tried by listing one job. With --job and --config, the server's settings, all that the data
    directory holds of that job is checked, whether the server runs or not; the exit code is 1 where something is broken.

    Parameters
    ----------
    job
        The id of a job to check, whichever account it is of.
    report
        With --job: a folder with a copy of the job's delivered report (manifest.json and results/), to be checked as well.
    output
        With --job: how to print what was found: for people, as JSON, or the names of broken checks only.
    """
    if job is not None:
        return examine(job, report, output, connection.config)
    if report is not None or output != "table":
        raise CommandFailed(Exit.USAGE, "--report and --output go with --job")
    place = find(connection)
    out.fields({"server": _server(place.endpoint), "account": place.account_id, "keys": _keys(place)})
    ways = list(_ways(place))
    out.line("")
    out.table(("CLIENT", "WAY", "RESULT"), [(way.client, way.name, _result(way)) for way in ways])
    for client in ("boto3", "aws-cli"):
        out.line("")
        _print_recipes(client, [way for way in ways if way.client == client], place)
    if any(way.outcome == "works" for way in ways):
        return Exit.CLEAN
    return Exit.DENIED if any(way.outcome == "refused" for way in ways) else Exit.UNREACHABLE


def _result(way: Way) -> str:
    return f"{way.outcome}: {way.detail}" if way.detail else way.outcome


def _print_recipes(client: str, ways: list[Way], place: Place) -> None:
    """Those of the ways that work, else of those that at least lead to the server; where none was tried, of the one that asks
    least of the machine; else what would help."""
    chosen = [way for way in ways if way.outcome == "works"] or [way for way in ways if way.outcome == "refused"]
    if not chosen and all(way.outcome == "not tried" for way in ways):
        chosen = ways[-1:]
    for way in chosen:
        out.line(f"{client}, {way.name}{'' if way.outcome == 'works' else f' ({way.outcome})'}:")
        for text in way.recipe.splitlines():
            out.line(f"  {text}")
    if not chosen:
        endpoint = _by_name(place.endpoint)
        out.line(f"{client}: no way works from here. This line in the hosts file would make {endpoint} work as it is:")
        out.line(f"  {_address(place.endpoint)} {place.account_id}.{urlsplit(endpoint).hostname}")


# -- the server --------------------------------------------------------------------------------------------------------------


def _server(endpoint: str) -> str:
    """Whether it answers, asked without any proxy. Raises CommandFailed when it does not."""
    try:
        trusted = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE"))  # as boto3 and the AWS command line do
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted))
        with direct.open(f"{_origin(endpoint)}/healthz", timeout=_SECONDS) as answer:
            ahead = round(parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time())
    except (OSError, urllib.error.URLError, http.client.HTTPException, TypeError, ValueError) as error:
        raise CommandFailed(
            Exit.UNREACHABLE, f"{_origin(endpoint)}/healthz does not answer as a Haulier server does: {error}"
        ) from None
    if abs(ahead) > _SKEW_SECONDS_MAX:
        return f"{endpoint} answers; its clock differs from this one by {ahead} s, and at 900 s it refuses every signature"
    return f"{endpoint} answers"


def _keys(place: Place) -> str:
    """Whose keys will sign. Raises CommandFailed when there are none."""
    found = place.keys.get("aws_access_key_id")
    if found:
        return f"access key {found}"
    import boto3  # noqa: PLC0415  (slow to import, as all of botocore below)

    own = boto3.Session().get_credentials()
    if own is None:
        raise CommandFailed(Exit.DENIED, "no keys to sign with: set HAULIER_ACCESS_KEY and HAULIER_SECRET_KEY")
    return f"access key {own.access_key}, as boto3 finds it"


def _address(endpoint: str) -> str:
    host = urlsplit(endpoint).hostname or ""
    try:
        return str(socket.getaddrinfo(host, None)[0][4][0])
    except OSError:
        return "ADDRESS"


# -- the ways ----------------------------------------------------------------------------------------------------------------


def _ways(place: Place) -> Iterator[Way]:
    """Each way gone, those first that ask least of the program that is to use it."""
    aws = shutil.which("aws")
    endpoint = _by_name(place.endpoint)
    yield _boto3_as_is(place, endpoint)
    yield _aws(aws, place, "endpoint as it is", endpoint, {})
    if urlsplit(place.endpoint).scheme == "http":  # botocore does not verify the certificate of such a proxy
        yield _boto3_by_proxy(place)
        yield _aws(aws, place, "server as HTTP_PROXY", NEUTRAL_ENDPOINT, {"HTTP_PROXY": _origin(place.endpoint)})
    yield _boto3_by_helper(place)


def _by_name(endpoint: str) -> str:
    """The endpoint, with `localhost` for 127.0.0.1: some resolvers lead every name below it to loopback."""
    url = urlsplit(endpoint)
    if url.hostname != "127.0.0.1":
        return endpoint
    return urlunsplit(url._replace(netloc="localhost" if url.port is None else f"localhost:{url.port}"))


def _origin(endpoint: str) -> str:
    url = urlsplit(endpoint)
    return f"{url.scheme}://{url.netloc}"


def _boto3_as_is(place: Place, endpoint: str) -> Way:
    recipe = f'boto3.client("s3control", endpoint_url="{endpoint}", region_name="{REGION}")'
    unresolved = _unresolved(place.account_id, endpoint)
    if unresolved:
        return Way("boto3", "endpoint as it is", recipe, "fails", unresolved)
    return Way("boto3", "endpoint as it is", recipe, *_gone(place, lambda config: _stock(place, endpoint, config)))


def _boto3_by_proxy(place: Place) -> Way:
    proxy = _origin(place.endpoint)
    recipe = (
        f'boto3.client("s3control", endpoint_url="{NEUTRAL_ENDPOINT}", region_name="{REGION}",\n'
        f'             config=botocore.config.Config(proxies={{"http": "{proxy}"}}))'
    )

    def made(config: Any) -> Any:
        from botocore.config import Config  # noqa: PLC0415

        return _stock(place, NEUTRAL_ENDPOINT, config.merge(Config(proxies={"http": proxy})))

    return Way("boto3", "server as its proxy", recipe, *_gone(place, made))


def _boto3_by_helper(place: Place) -> Way:
    recipe = f'from haulier import boto3_client\nboto3_client("{place.endpoint}", "{place.account_id}", region_name="{REGION}")'

    def made(config: Any) -> Any:
        from haulier.boto import boto3_client  # noqa: PLC0415

        return boto3_client(place.endpoint, config=config, region_name=REGION, **place.keys)

    return Way("boto3", "haulier.boto3_client", recipe, *_gone(place, made))


def _stock(place: Place, endpoint: str, config: Any) -> Any:
    import boto3  # noqa: PLC0415

    return boto3.Session().client("s3control", endpoint_url=endpoint, region_name=REGION, config=config, **place.keys)


def _unresolved(account_id: str, endpoint: str) -> str:
    """Why a stock client cannot find the server; empty when it can, or when a proxy of the environment would have to."""
    from botocore.utils import get_environ_proxies  # noqa: PLC0415

    url = urlsplit(endpoint)
    name = f"{account_id}.{url.hostname}"
    if get_environ_proxies(urlunsplit(url._replace(netloc=name))):
        return ""
    try:
        socket.getaddrinfo(name, url.port)
    except OSError:
        return f"{name} does not resolve here"
    return ""


def _gone(place: Place, make: Any) -> tuple[Outcome, str]:
    """What became of one ListJobs by the client that `make` makes from a botocore config."""
    from botocore.config import Config  # noqa: PLC0415

    config = Config(connect_timeout=_SECONDS, read_timeout=_SECONDS, retries={"total_max_attempts": 1})
    try:
        with in_plain_words(place.endpoint):
            client = make(config)
            try:
                client.list_jobs(AccountId=place.account_id, MaxResults=1)
            finally:
                client.close()
    except CommandFailed as failed:
        reached = failed.exit_code in (Exit.DENIED, Exit.FAILED, Exit.NOT_FOUND)
        return ("refused" if reached else "fails"), str(failed)
    return "works", ""


def _aws(program: str | None, place: Place, name: str, endpoint: str, environ: Mapping[str, str]) -> Way:
    """`aws s3control list-jobs`, with the environment that the recipe sets."""
    arguments = ["s3control", "list-jobs", "--account-id", place.account_id, "--endpoint-url", endpoint, "--region", REGION]
    recipe = " ".join([*(f"{key}={value}" for key, value in environ.items()), "aws", *arguments])
    if program is None:
        return Way("aws-cli", name, recipe, "not tried", "aws is not on the PATH")
    unresolved = "" if environ else _unresolved(place.account_id, endpoint)
    if unresolved:
        return Way("aws-cli", name, recipe, "fails", unresolved)
    known = {key.upper(): value for key, value in place.keys.items()}
    attempt = {"AWS_MAX_ATTEMPTS": "1", "AWS_EC2_METADATA_DISABLED": "true"}
    try:
        done = subprocess.run(  # noqa: S603 - the user's own aws, without a shell
            [program, *arguments, "--max-results", "1", "--output", "json"],
            env={**os.environ, **known, **attempt, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_CLI_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Way("aws-cli", name, recipe, "fails", " ".join(str(error).split()))
    if done.returncode == 0:
        return Way("aws-cli", name, recipe, "works")
    said = " ".join(done.stderr.split())
    return Way("aws-cli", name, recipe, "refused" if "An error occurred (" in said else "fails", said)
