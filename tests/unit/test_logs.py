import logging
import subprocess
import sys
from pathlib import Path

import pytest

TALK = """
import logging, os, sys
from haulier import logs
import structlog
logs.configure()
for number in range(100):
    structlog.get_logger().error("told", number=number)
    logging.getLogger("uvicorn.error").error("told too %s", number)
os._exit(7)
"""


@pytest.mark.parametrize("place", ["full", "closed", "gone"])
def test_whoever_logs_goes_on_when_nobody_can_be_told(place: str) -> None:
    with Path("/dev/full" if place == "full" else "/dev/null").open("w") as device:
        command = [sys.executable, "-c", "import os; os.close(2)\n" + TALK if place == "closed" else TALK]
        process = subprocess.Popen(command, stderr=subprocess.PIPE if place == "gone" else device)
        if process.stderr is not None:
            process.stderr.close()
        assert process.wait(30) == 7


def test_a_line_is_one_json_object(capfd: pytest.CaptureFixture[str]) -> None:
    subprocess.run([sys.executable, "-c", TALK], check=False)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 200
    assert all(line.startswith("{") and line.endswith("}") for line in lines)
    assert logging.raiseExceptions
