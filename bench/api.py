"""`make bench-api`: what the API answers while a job runs: 1,000 connected clients, 300 signed requests a second; then more.

The database holds so many finished jobs first. Requests are signed once each, before the clock runs (a signature holds for 15
minutes), so that the clients cost little of the cores. Everything listens on 127.0.0.1; the load is bounded in count and time.
"""

import argparse
import asyncio
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from rich.console import Console
from rich.table import Table

from haulier.testing.jobs import put_manifest, s3_job
from haulier.testing.server import ACCESS_KEY, AWS_ACCOUNT_ID, SECRET_KEY, HaulierServer
from haulier.testing.stores import SeaweedFS
from run import LISTS, SOURCE, machine, object_key, stores, versions
from sides import TARGET
from sink import Sink

RESULTS = Path(__file__).parent / "results" / "api.json"
CLIENTS = 1_000
REQUESTS_PER_SECOND = 300
DAY_MS = 86_400_000
GOALS = {"paced_p95_ms": 250.0, "describe_ms": 5.0, "list_page_ms": 200.0}

console = Console(width=110)


class Answered(NamedTuple):
    """One request's fate."""

    status: int
    seconds: float


def signed(server: HaulierServer, method: str, target: str) -> bytes:
    """The request's bytes, signed now."""
    request = AWSRequest(method, server.url + target, data=b"")
    request.headers["x-amz-account-id"] = AWS_ACCOUNT_ID
    request.headers["host"] = urlsplit(server.url).netloc
    S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", "us-east-1").add_auth(request)
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
    if method == "POST":
        lines.append("Content-Length: 0")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> Answered:
    """Send it and read the whole answer."""
    begun = time.perf_counter()
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    await reader.readexactly(int(fields.get(b"content-length", b"0")))
    return Answered(int(head[9:12]), time.perf_counter() - begun)


async def paced(port: int, requests: list[bytes], seconds: float) -> list[Answered]:
    """1,000 clients that stay connected; each sends when its turn comes, so that all together send 300 a second."""
    found: list[Answered] = []
    begun = time.perf_counter() + 1.0
    every = CLIENTS / REQUESTS_PER_SECOND

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        turns = random.Random(number)
        due = begun + every * number / CLIENTS
        while due < begun + seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            found.append(await ask(reader, writer, turns.choice(requests)))
            due += every
        writer.close()

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return found


async def flood(port: int, request: bytes, clients: int, seconds: float) -> list[Answered]:
    """Clients that send again as soon as they are answered: more than can be served."""
    found: list[Answered] = []
    end = time.perf_counter() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            found.append(await ask(reader, writer, request))
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return found


def fill(database: Path, template: str, jobs: int) -> None:
    """So many finished jobs more, all like the template but for id, token and times."""
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    row = dict(connection.execute("SELECT * FROM job WHERE id = ?", [template]).fetchone())
    document = json.loads(row["document"])
    columns = list(row)
    now_ms = time.time_ns() // 1_000_000
    source = random.Random(7)

    def rows() -> Any:
        for _ in range(jobs):
            job_id = str(uuid.UUID(int=source.getrandbits(128), version=4))
            ended_ms = now_ms - source.randrange(60 * DAY_MS)
            changes = {"id": job_id, "token": job_id, "created_ms": ended_ms - 60_000, "ended_ms": ended_ms}
            text = json.dumps({**document, **{name: value for name, value in changes.items() if name in document}})
            yield [{**row, **changes, "document": text}[name] for name in columns]

    names = ", ".join(f'"{name}"' for name in columns)
    with connection:
        connection.executemany(f"INSERT INTO job ({names}) VALUES ({', '.join('?' * len(columns))})", rows())
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def milliseconds(answers: list[Answered], share: float) -> float:
    """That share of the answers took no longer."""
    return sorted(answer.seconds for answer in answers)[int(len(answers) * share)] * 1000


async def one_by_one(port: int, request: bytes, times: int) -> list[Answered]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = [await ask(reader, writer, request) for _ in range(times)]
    writer.close()
    return found


def measure(server: HaulierServer, arguments: argparse.Namespace, running: str) -> dict[str, Any]:
    """All numbers."""
    describe = signed(server, "GET", f"/v20180820/jobs/{running}")
    page = signed(server, "GET", "/v20180820/jobs?maxResults=1000")
    short = signed(server, "GET", "/v20180820/jobs?maxResults=20&jobStatuses=Active")
    priority = signed(server, "POST", f"/v20180820/jobs/{running}/priority?priority=10")
    alone = asyncio.run(one_by_one(server.port, describe, 500))
    pages = asyncio.run(one_by_one(server.port, page, 20))
    crowd = asyncio.run(paced(server.port, [describe] * 8 + [short, priority], arguments.seconds))
    beyond = asyncio.run(flood(server.port, describe, CLIENTS, arguments.seconds / 2))
    refused = [answer for answer in beyond if answer.status == 503]
    served = [answer for answer in beyond if answer.status == 200]
    return {
        "describe_ms": statistics.median(answer.seconds for answer in alone) * 1000,
        "list_page_ms": statistics.median(answer.seconds for answer in pages) * 1000,
        "list_page_p95_ms": milliseconds(pages, 0.95),
        "paced_requests": len(crowd),
        "paced_errors": sum(answer.status != 200 for answer in crowd),
        "paced_p50_ms": milliseconds(crowd, 0.5),
        "paced_p95_ms": milliseconds(crowd, 0.95),
        "paced_p99_ms": milliseconds(crowd, 0.99),
        "beyond_served_per_second": len(served) / (arguments.seconds / 2),
        "beyond_refused": len(refused),
        "beyond_other": len(beyond) - len(refused) - len(served),
        "beyond_refused_p95_ms": milliseconds(refused, 0.95) if refused else None,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000, help="finished jobs in the database (default 100,000)")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the paced load lasts (default 30)")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="haulier-bench-")))
        sink = stack.enter_context(Sink())
        store = stack.enter_context(SeaweedFS())
        store.client().create_bucket(Bucket=LISTS)
        server = HaulierServer(stores(sink, store), folder=folder / "server")
        stack.callback(server.stop)
        server.start()
        client = server.s3control()
        manifest = put_manifest(store.client(), LISTS, "one.csv", SOURCE, [object_key(1)])
        operation = {"S3PutObjectCopy": {"TargetResource": f"arn:aws:s3:::{TARGET}"}}
        template = client.create_job(**s3_job(operation, manifest, "reports"))["JobId"]
        server.wait_for(template)
        server.terminate()
        fill(server.data_dir / "haulier.db", template, arguments.jobs)
        server.restart()
        rows = 2_000_000
        manifest = put_manifest(store.client(), LISTS, "many.csv", SOURCE, map(object_key, range(rows)))
        running = client.create_job(**s3_job(operation, manifest, "reports"))["JobId"]
        server.wait_for(running, ["Active"])
        numbers = measure(server, arguments, running)
        counted = client.describe_job(JobId=running)["Job"]
        numbers["tasks_meanwhile"] = counted["ProgressSummary"]["NumberOfTasksSucceeded"]
        numbers["still_running"] = counted["Status"] == "Active"
        client.update_job_status(JobId=running, RequestedJobStatus="Cancelled")
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {name: version for name, version in versions().items() if name != "s5cmd"},
        "jobs": arguments.jobs,
        **numbers,
    }
    RESULTS.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    table = Table(title=f"The API while a job runs, {arguments.jobs:,} finished jobs in the database")
    for name in ("", "measured", "goal"):
        table.add_column(name)
    for name, value in numbers.items():
        shown = f"{value:,.1f}" if isinstance(value, float) else str(value)
        table.add_row(name, shown, f"< {GOALS[name]:,.0f}" if name in GOALS else "")
    console.print(table)
    missed = [name for name, most in GOALS.items() if numbers[name] >= most]
    return 1 if missed or numbers["paced_errors"] or numbers["beyond_other"] else 0


if __name__ == "__main__":
    sys.exit(main())
