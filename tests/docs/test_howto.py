"""The guides' commands do what the guides say."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from haulier.testing.server import HaulierServer

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "users-and-keys.md"
SETTINGS = """
[server]
listen = "127.0.0.1:0"
data_dir = "data"
[stores.main]
endpoint = "http://127.0.0.1:1"
default = true
access_key = "k"
secret_key = "s"
"""
DOCUMENT = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:ListJobs", "Resource": "*"}}'


@pytest.mark.skipif(shutil.which("sh") is None, reason="the guide is written for a shell")
def test_the_guide_to_users_and_keys_runs_from_top_to_bottom(tmp_path: Path) -> None:
    server = HaulierServer({}, folder=tmp_path)
    server.config_file.write_text(SETTINGS)
    (tmp_path / "policy.json").write_text(DOCUMENT)
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 6
    script = "set -eu\n" + "\n".join(blocks)
    key = "$(haulier key list --user bob -o name)"  # at that place of the guide there is one
    script = (
        re.sub(r"HLK…", key, script) + "\nhaulier user set-policy bob --file policy.json\nhaulier user list\nhaulier role list\n"
    )
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HAULIER_CONFIG": "haulier.toml"}
    environment |= {"ACCESS_KEY": "AK", "SECRET_KEY": "hush-hush"}
    server.start_process()  # commands wait for it, should they come first
    try:
        done = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    finally:
        server.stop()
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    for words in (
        "Access key",
        "Session token",
        "Bearer token  hlr_",
        "disabled",
        "deleted",
        "2 secrets sealed anew",
        "document",
    ):
        assert words in said
    assert "hush-hush" not in said + done.stderr
    assert "logs-*,traces-*" in said
