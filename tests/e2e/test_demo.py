"""`haulier demo`, as a user runs it, with fewer objects."""

import subprocess
import sys
import tempfile
from pathlib import Path


def leftovers() -> set[Path]:
    return {path for path in Path(tempfile.gettempdir()).iterdir() if path.name.startswith(("haulier-", "seaweedfs-"))}


def test_the_demo_proves_every_claim_in_the_store_and_leaves_nothing_behind(store):
    before = leftovers()
    command = [sys.executable, "-m", "haulier", "demo", "--objects", "300"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NO:" not in done.stdout
    assert done.stdout.count("  yes: ") == 16
    assert "<Status>Complete</Status>" in done.stdout
    assert "failures by code: 50 NoSuchKey" in done.stdout
    assert leftovers() == before


def test_the_demo_refuses_too_few_objects_by_name():
    done = subprocess.run([sys.executable, "-m", "haulier", "demo", "--objects", "5"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "--objects must be at least 100" in done.stderr
