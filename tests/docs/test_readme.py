"""The README's blocks run, in their order, against a real store and a real server."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from haulier.testing.server import HaulierServer
from haulier.testing.stores import SeaweedFS

ROOT = Path(__file__).parents[2]
MARKED = re.compile(r"<!-- run: (\w+) -->\n```(\w+)\n(.*?)```", re.DOTALL)
README = (ROOT / "README.md").read_text()
BLOCKS = [match.groups() for match in MARKED.finditer(README)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(scope="module")
def here(folder):
    """The README's addresses → those of a store and a server that run on the README's own settings."""
    settings = next(text for kind, _, text in BLOCKS if kind == "settings")
    with SeaweedFS() as store:
        server = HaulierServer({}, folder=folder / "server")

        def put_in(text: str) -> str:
            return text.replace("http://127.0.0.1:18333", store.endpoint).replace("127.0.0.1:9444", f"127.0.0.1:{server.port}")

        server.config_file.write_text(put_in(settings))
        (folder / "haulier.toml").symlink_to(server.config_file)
        with server:
            yield put_in


def run(command, folder):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def block(kind, number, here):
    return here([text for each, _, text in BLOCKS if each == kind][number])


def test_the_readme_shows_settings_both_wires_and_the_command_line():
    assert [kind for kind, _, _ in BLOCKS] == ["settings", "python", "python", "sh"]


def test_the_boto3_block_tags_what_exists_and_reports_what_does_not(folder, here):
    printed = run([sys.executable, "-c", block("python", 0, here)], folder)
    assert printed.startswith("Complete ")
    assert "'NumberOfTasksSucceeded': 3, 'NumberOfTasksFailed': 1" in printed


def test_the_cos_block_copies_once_it_is_confirmed(folder, here):
    assert run([sys.executable, "-W", "ignore", "-c", block("python", 1, here)], folder) == "Complete 3\n"


def test_the_command_line_block_lists_the_jobs_of_both_wires(folder, here):
    command = block("sh", 0, here).replace(".venv/bin/haulier ", f"{sys.executable} -m haulier ", 1)
    printed = run(["sh", "-c", command], folder)
    assert "S3PutObjectTagging" in printed
    assert "Complete" in printed


def test_the_numbers_of_the_readme_are_those_of_the_last_benchmark():
    result = json.loads((ROOT / "bench/results/copies.json").read_text())
    said = " ".join(README.split())
    assert f"{result['rate_ratio']:.1f} times the objects per second" in said
    assert f"1/{1 / result['cpu_ratio']:.1f} of the CPU time per object" in said
    assert f"{result['first_request_seconds']:.2f} s from CreateJob" in said
    assert f"{result['memory_mib_large']:.0f} MiB for server and runners at {result['large']['objects']:,} rows" in said


def test_every_page_that_the_readme_and_the_decisions_link_to_exists():
    for page in (ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "docs" / "decisions" / "README.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
