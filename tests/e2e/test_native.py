"""Jobs by the JSON API, from creation to report, on a real store."""

import time

from e2e.workbench import Workbench, s3_key
from haulier.testing.server import ACCESS_KEY, SECRET_KEY, HaulierServer
from haulier.testing.stores import SeaweedFS
from wire.native import NativeClient, stream


def client_of(server: HaulierServer) -> NativeClient:
    return NativeClient(server.port, ACCESS_KEY, SECRET_KEY)


def test_a_job_is_followed_from_its_creation_to_its_report(bench):
    keys = [f"k/{n:03d}" for n in range(200)]
    bench.put(keys)
    etag = bench.manifest([(bench.source, s3_key(key)) for key in [*keys, "missing"]])
    client = client_of(bench.server)
    job_id = client.create(
        operation={"name": "copy", "parameters": {"target_bucket": bench.target, "folder": "copies", "tags": {"class": "cold"}}},
        manifest={"bucket": bench.lists, "key": "manifest.csv", "etag": etag},
        report={"bucket": bench.lists, "prefix": "reports"},
    )
    with stream(client, job_id) as (_, told):
        seen = []
        for message in told:
            seen.append(message)
            if message.kind == "event" and message.data["facts"].get("status") == "Suspended":
                assert message.data["facts"]["total"] == 201
                assert client.post(f"jobs/{job_id}/confirm", {"reason": "as it should be"}).status == 200
    statuses = [
        message.data["facts"]["status"] for message in seen if message.kind == "event" and "status" in message.data["facts"]
    ]
    assert statuses == ["New", "Preparing", "Suspended", "Ready", "Active", "Completing", "Complete"]
    assert seen[-1].data == {"status": "Complete"}
    job = client.get(f"jobs/{job_id}", query={"wait": 60}).json
    assert job["progress"] == {"total": 201, "succeeded": 200, "failed": 1, "failures": {"NoSuchKey": 1}}
    assert [message for message in seen if message.kind == "progress"][-1].data["progress"] == job["progress"]
    assert bench.keys(bench.target) == {f"copies/{key}" for key in keys}
    assert bench.tags("copies/k/000", bench.target) == {"class": "cold"}
    assert bench.report(job_id).by_key()["missing"][3:6] == ["failed", "404", "NoSuchKey"]


def test_a_stopped_server_lets_its_streams_go_and_the_next_one_goes_on_with_them(store: SeaweedFS) -> None:
    with HaulierServer(store.settings(scratch_bucket="haulier-scratch")) as server:
        bench, client = Workbench(store, server), client_of(server)
        bench.put(["a"])
        etag = bench.manifest([(bench.source, "a")])
        job_id = client.create(manifest={"bucket": bench.lists, "key": "manifest.csv", "etag": etag}, confirm=True)
        with stream(client, job_id) as (_, told):
            last = next(message for message in told if message.data.get("status") == "Suspended")
            began = time.monotonic()
            assert server.terminate() == 0
            assert list(told) == []
            assert time.monotonic() - began < 5
        server.restart()
        client.post(f"jobs/{job_id}/confirm")
        with stream(client, job_id, headers={"Last-Event-ID": str(last.id)}) as (_, told):
            events = [message for message in told if message.kind == "event"]
    assert [event.id for event in events] == list(range(last.id + 1, last.id + 1 + len(events)))
    statuses = [event.data["facts"]["status"] for event in events if "status" in event.data["facts"]]
    assert statuses == ["Ready", "Active", "Completing", "Complete"]
