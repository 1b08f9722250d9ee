"""The shell blocks of the page on the JSON API run as they are printed, against a server."""

import re
import subprocess
from pathlib import Path

from generator import REFERENCE
from wire.serving import serving

BLOCKS = re.findall(r"<!-- run -->\n```sh\n(.*?)```", (REFERENCE / "native-api.md").read_text("utf-8"), re.DOTALL)


def test_the_examples_run_as_printed(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        script = "set -eu\n" + "echo\n".join(BLOCKS).replace("http://127.0.0.1:9444", served.url)
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        answers = [entry for entry in served.audited() if entry["dialect"] == "native"]
        assert {entry["status"] for entry in answers} == {200, 201, 204}
        assert {entry["operation"] for entry in answers} >= {"create", "get", "list", "events", "progress", "cancel", "delete"}
        assert len(served.every_job()) == 2, "one of the three is deleted"
    assert len(BLOCKS) == 5
    assert {"event: event", "event: progress"} <= set(done.stdout.splitlines())
