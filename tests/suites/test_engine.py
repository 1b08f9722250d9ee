import os
import subprocess
import sys
from pathlib import Path

import pytest

from haulier.core.errors import DataDirectoryBusy
from haulier.core.placement import Store
from haulier.engine.local import LocalEngine
from haulier.testing.suites.engine import EngineSuite, joined, wait_for

STORES = [Store(name="main", endpoint="http://127.0.0.1:1", buckets=("somewhere",))]


class TestLocalEngine(EngineSuite):
    @pytest.fixture
    def engine(self, tmp_path):
        engine = LocalEngine(tmp_path, STORES, 2)
        engine.start()
        yield engine
        engine.stop()

    def process_of(self, engine, runner):
        return engine.process_id(runner)


def test_no_child_outlives_stop(tmp_path):
    engine = LocalEngine(tmp_path, STORES, 2)
    engine.start()
    pids = [engine.process_id(name) for name in joined(wait_for(engine, lambda found: len(joined(found)) == 2))]
    engine.stop()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_runners_end_when_their_server_is_killed_and_a_new_one_waits_for_them(tmp_path):
    script = f"""
import time
from pathlib import Path
from haulier.core.placement import Store
from haulier.engine.local import LocalEngine
engine = LocalEngine(Path({str(tmp_path)!r}), [Store(name="main", endpoint="http://127.0.0.1:1", buckets=("x",))], 2)
engine.start()
seen = []
while len(seen) < 2:
    seen += [n.runner for n in engine.receive(1) if type(n).__name__ == "RunnerJoined"]
print(*[engine.process_id(name) for name in seen], flush=True)
time.sleep(60)
"""
    server = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        pids = [int(pid) for pid in server.stdout.readline().split()]
        assert len(pids) == 2
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    engine = LocalEngine(tmp_path, STORES, 1)
    engine.start()
    try:
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text()]
    finally:
        engine.stop()


def test_a_runner_that_stays_keeps_a_second_server_out(tmp_path, monkeypatch):
    monkeypatch.setattr("haulier.engine.local.LEASE_SECONDS", 0.1)
    monkeypatch.setattr("haulier.engine.local.GRACE_SECONDS", 0.1)
    first, second = LocalEngine(tmp_path, STORES, 1), LocalEngine(tmp_path, STORES, 1)
    first.start()
    try:
        with pytest.raises(DataDirectoryBusy, match=r"runners\.lock"):
            second.start()
    finally:
        first.stop()
        second.stop()
