"""nginx as a sink: what a client can send at most."""

import http.client
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from haulier.testing.stores import free_ports

HERE = Path(__file__).parent
START_SECONDS_MAX = 10.0


def nginx_program() -> str:
    """nginx, installed from the distribution where it is missing. Ends the program with advice where that is not possible."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    if found := shutil.which("nginx", path=path):
        return found
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SystemExit("bench: nginx is missing; install it (Debian: apt-get install nginx-light) and try again")
    print("bench: installing nginx-light")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment)
    subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "nginx-light"], check=True, env=environment)
    return nginx_program()


class Sink:
    """The sink on three free ports of 127.0.0.1: plain, logged, and its status page."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="haulier-sink-"))
        self.folder.chmod(0o755)  # started by root, nginx works as another user
        (self.folder / "tmp").mkdir()
        self._plain, self._logged, self._status = free_ports(3)
        self.endpoint = f"http://127.0.0.1:{self._plain}"
        self.logged_endpoint = f"http://127.0.0.1:{self._logged}"

    def __enter__(self) -> Self:
        names = {"FOLDER": self.folder, "PORT": self._plain, "LOGGED_PORT": self._logged, "STATUS_PORT": self._status}
        text = (HERE / "sink.conf").read_text()
        for name, value in names.items():
            text = text.replace(f"@{name}@", str(value))
        (self.folder / "nginx.conf").write_text(text)
        shutil.copy(HERE / "answers.conf", self.folder)
        command = [nginx_program(), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        end = time.monotonic() + START_SECONDS_MAX
        while self._process.poll() is None and time.monotonic() < end:
            try:
                self.requests()
            except OSError:
                time.sleep(0.05)
            else:
                return self
        self.__exit__()
        raise SystemExit("bench: nginx did not start")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def requests(self) -> int:
        """Requests served since the start, questions like this one included."""
        connection = http.client.HTTPConnection("127.0.0.1", self._status, timeout=5)
        try:
            connection.request("GET", "/status")
            found = re.search(rb"\n \d+ \d+ (\d+)", connection.getresponse().read())
        finally:
            connection.close()
        if not found:
            raise SystemExit("bench: this nginx has no stub_status page")
        return int(found[1])

    def first_logged_request(self) -> float:
        """Unix time at which the first request on the logged port began, to the millisecond."""
        ended, took, _ = (self.folder / "access.log").read_text().split("\n", 1)[0].split()
        return float(ended) - float(took)

    def forget_logged_requests(self) -> None:
        """Empty the log, so that the next request is the first."""
        os.truncate(self.folder / "access.log", 0)
