"""The server's own life: its lock, its signals, its health, its settings read again."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from e2e.workbench import Workbench
from haulier.testing.server import HaulierServer


@pytest.fixture
def own_server(store):
    """A server that the test may stop, kill and configure."""
    with HaulierServer(store.settings(scratch_bucket="haulier-scratch")) as server:
        yield server


def get(server, path):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def wait_until_ready(server):
    """The coordinator begins after the port is open."""
    end = time.monotonic() + 10
    while (answer := get(server, "/readyz"))[0] != 200:
        assert answer[0] == 503
        assert json.loads(answer[1])["reason"]
        assert time.monotonic() < end
    return answer[1]


def test_it_tells_that_it_is_healthy_and_ready(own_server):
    assert get(own_server, "/healthz")[0] == 200
    ready = wait_until_ready(own_server)
    assert json.loads(ready) == {"ready": True}


def test_a_second_server_on_the_same_folder_is_refused_with_a_clear_message(own_server):
    second = subprocess.run(
        [sys.executable, "-m", "haulier", "serve", "--config", own_server.config_file], capture_output=True, text=True, timeout=60
    )
    assert second.returncode != 0
    assert "in use by another haulier server" in second.stderr
    assert str(own_server.pid) in second.stderr
    assert "Traceback" not in second.stderr
    assert get(own_server, "/healthz")[0] == 200


def test_sigterm_ends_it_within_ten_seconds_in_the_middle_of_a_job_which_goes_on_after_a_restart(store, own_server):
    bench = Workbench(store, own_server)
    keys = [f"k/{n:05d}" for n in range(1_500)]
    bench.put(keys)
    etag = bench.manifest([(bench.source, key) for key in keys])
    job_id = bench.s3_job({"S3PutObjectTagging": {"TagSet": [{"Key": "a", "Value": "b"}]}}, etag)
    own_server.wait_for(job_id, ("Active",))
    began = time.monotonic()
    assert own_server.terminate() == 0
    assert time.monotonic() - began < 10
    own_server.restart()
    job = bench.wait(job_id)
    assert bench.counts(job) == (1_500, 1_500, 0)
    assert len(bench.report(job_id).by_key()) == 1_500


def test_no_runner_outlives_it(own_server):
    pids = own_server.runner_pids()
    assert len(pids) == 2
    own_server.terminate()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_requests_under_way_are_answered_while_it_stops(own_server):
    client = own_server.s3control()
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(client.list_jobs) for _ in range(20)]
        answers[0].result()
        os.kill(own_server.pid, signal.SIGTERM)
        done = [answer.result()["Jobs"] for answer in answers if not answer.exception()]
    assert done
    assert all(jobs == [] for jobs in done)


def test_sighup_reads_users_roles_stores_and_limits_again(own_server):
    client = own_server.s3control()
    client.list_jobs()
    text = own_server.config_file.read_text()
    own_server.config_file.write_text(re.sub(r'policy = "admin"', 'policy = "viewer"', text))
    os.kill(own_server.pid, signal.SIGHUP)
    for _ in range(100):
        if "settings reloaded" in own_server.log_file.read_text():
            break
        time.sleep(0.05)
    with pytest.raises(ClientError, match="AccessDenied"):
        client.update_job_priority(JobId="0" * 36, Priority=1)
    own_server.config_file.write_text(text.replace("[server]", "[server]\nnonsense = 1"))
    os.kill(own_server.pid, signal.SIGHUP)
    for _ in range(100):
        if "not reloaded" in own_server.log_file.read_text():
            break
        time.sleep(0.05)
    assert "server.nonsense" in own_server.log_file.read_text()
    assert client.list_jobs()["Jobs"] == []


def test_an_operation_that_stores_often_fake_is_refused_where_nothing_proves_it(store):
    with HaulierServer(store.settings()) as server:
        bench = Workbench(store, server)
        bench.put(["a"])
        etag = bench.manifest([(bench.source, "a")])
        job = bench.wait(bench.s3_job({"S3PutObjectTagging": {"TagSet": [{"Key": "a", "Value": "b"}]}}, etag))
        assert (job["Status"], job["FailureReasons"][0]["FailureCode"]) == ("Failed", "StoreUnproven")
        assert "scratch_bucket" in job["FailureReasons"][0]["FailureReason"]
        assert bench.wait(bench.s3_job({"S3DeleteObject": {}}, etag))["Status"] == "Complete"


def test_a_cancel_holds_although_the_store_is_paced_so_that_most_tasks_are_asleep(store):
    with HaulierServer(store.settings(scratch_bucket="haulier-scratch", requests_per_second=20)) as server:
        bench = Workbench(store, server)
        keys = [f"k/{n}" for n in range(200)]
        bench.put(keys)
        etag = bench.manifest([(bench.source, key) for key in keys])
        job_id = bench.s3_job(
            {"S3PutObjectCopy": {"TargetResource": f"arn:aws:s3:::{bench.target}"}}, etag, Report={"Enabled": False}
        )
        while not bench.keys(bench.target):
            time.sleep(0.05)
        began = time.monotonic()
        server.s3control().update_job_status(JobId=job_id, RequestedJobStatus="Cancelled")
        bench.wait(job_id, seconds=10)
        assert time.monotonic() - began < 5
        copied = bench.keys(bench.target)
        time.sleep(1)
        assert bench.keys(bench.target) == copied
        assert len(copied) < len(keys)
