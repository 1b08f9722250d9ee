"""A runner process of the local engine: frames in by standard input, out by standard output, logs to standard error.

It never outlives its server: when the pipe closes it ends in the same moment, when the lease runs out it ends, and the
kernel kills it when the server dies. So no request leaves this machine that no coordinator knows of.
"""

import contextlib
import ctypes
import os
import random
import signal
import sys
import threading
from pathlib import Path
from typing import BinaryIO, Final, cast

import pyarrow as pa

from haulier import logs
from haulier.core.clock import SystemClock
from haulier.engine.frames import Access, Configure, Control, Renew, Submit, read_down, write_frame
from haulier.engine.runner import IN_FLIGHT_MAX, Runner
from haulier.engine.threads import SystemThreads
from haulier.objectstore.transport import CurlDriver
from haulier.spool import FolderSpool

SIGN_OF_LIFE_SECONDS: Final = 1.0
NICENESS: Final = 5
"""The server answers its callers first."""
EXIT_SERVER_GONE: Final = 3
EXIT_FENCED: Final = 4
_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Run until told to shut down, or until the server is gone."""
    up = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server decides when its runners end, also on Ctrl-C and systemd's stop
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(NICENESS)
    pa.set_memory_pool(pa.system_memory_pool())  # the default pool keeps some 60 MB more for itself, and is no faster here
    logs.configure()
    down = cast("BinaryIO", sys.stdin.buffer)
    configure = read_down(down)
    if isinstance(configure, Configure):
        _serve(configure, down, up)
    # Threads of units may wait for answers that will not come: nothing of theirs is worth waiting for.
    os._exit(0)


def _serve(configure: Configure, down: BinaryIO, up: BinaryIO) -> None:
    clock = SystemClock()
    driver = CurlDriver(clock=clock, in_flight_max=IN_FLIGHT_MAX)
    spool = FolderSpool(Path(configure.spool))
    runner = Runner(
        configure,
        clock=clock,
        driver=driver,
        spool=spool,
        threads=SystemThreads(),
        random=random.random,
        fenced=lambda: os._exit(EXIT_FENCED),
    )
    ended = threading.Event()
    pusher = threading.Thread(target=_push, args=(runner, up, ended), name="pusher", daemon=True)
    pusher.start()
    threading.Thread(target=_obey, args=(runner, down), name="reader", daemon=True).start()
    runner.run()
    ended.set()
    pusher.join(5)


def _push(runner: Runner, up: BinaryIO, ended: threading.Event) -> None:
    with contextlib.suppress(OSError):
        write_frame(up, runner.collect(0))  # says that this runner is ready
        while True:
            last = ended.is_set()
            events = runner.collect(0 if last else SIGN_OF_LIFE_SECONDS)
            write_frame(up, events)
            if last and not events.events:
                return
    os._exit(EXIT_SERVER_GONE)


def _obey(runner: Runner, down: BinaryIO) -> None:
    while True:
        try:
            frame = read_down(down)
        except (OSError, ValueError):
            frame = None
        if frame is None:
            os._exit(EXIT_SERVER_GONE)
        if isinstance(frame, Renew):
            runner.renew(frame)
        elif isinstance(frame, Submit):
            runner.submit(frame)
        elif isinstance(frame, Control):
            runner.control(frame)
        elif isinstance(frame, Access):
            runner.replace_credentials(frame)
        else:
            runner.configure(frame)


if __name__ == "__main__":
    main()
