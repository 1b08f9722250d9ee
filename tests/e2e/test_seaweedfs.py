"""The embedded store itself: what every end-to-end test and the demo stand on."""

from pathlib import Path

import pytest

from haulier.testing.stores import SeaweedFS, StoreDidNotStart


def test_a_store_serves_objects_and_leaves_nothing_behind():
    with SeaweedFS() as store:
        folder, pid = store.folder, store.pid
        sockets = store.sockets
        assert [path for path in sockets if path.exists()] == sockets
        assert len(sockets) == 4
        client = store.client()
        client.create_bucket(Bucket="some-bucket")
        client.put_object(Bucket="some-bucket", Key="a b/ü+%", Body=b"text")
        assert client.get_object(Bucket="some-bucket", Key="a b/ü+%")["Body"].read() == b"text"
    assert not folder.exists()
    assert not Path(f"/proc/{pid}").exists()
    assert not [path for path in sockets if path.exists()]


def test_a_store_that_cannot_start_says_why(monkeypatch, tmp_path):
    program = tmp_path / "weed"
    program.write_text("#!/bin/sh\necho disk on fire >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr("haulier.testing.stores.weed_program", lambda: program)
    with pytest.raises(StoreDidNotStart, match="disk on fire"):
        SeaweedFS().start()
