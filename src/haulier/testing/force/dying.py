"""Makes a real server or runner end by kill -9 at a named place (`simulation.crashpoints`), and gives it a round's small sizes.

The code that runs for users knows nothing of it. A round starts its server with a folder on PYTHONPATH that holds a
`sitecustomize.py` (`write_hook`), which calls `prepare` before anything of Haulier is imported; runners inherit it. Whoever
passes the place for the n-th time takes the file away that named it, and dies: so one process dies of one file, once.
"""

import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from haulier.testing.simulation.plan import Sizes

CRASH_FILE: Final = "FORCE_CRASH_FILE"
SIZES: Final = "FORCE_SIZES"
LISTS: Final = "force-lists"
"""Bucket of manifests and reports."""
SCRATCH: Final = "force-scratch"
_KINDS: Final = {"chunks": "chunk", "segments": "segment", "sealed": "sealed file"}
_kept: list[object] = []


class Place(msgspec.Struct, frozen=True):
    """Where to die."""

    name: str
    """One of `crashpoints.ALL`."""
    passing: int
    """At the n-th time that one process is there."""


def write_hook(folder: Path, sizes: Sizes, sabotage: str = "") -> Mapping[str, str]:
    """Write what makes child processes call `prepare`; the environment that they need. `sabotage` is code that servers and
    runners run, too: what breaks a promise has to be found."""
    hook = folder / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text("from haulier.testing.force import dying\n\ndying.prepare()\n")
    (hook / "sabotage.py").write_text(sabotage)
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(hook), os.environ.get("PYTHONPATH", "")))),
        CRASH_FILE: str(folder / "crash.json"),
        SIZES: msgspec.json.encode(sizes).decode(),
    }


def write_place(folder: Path, place: Place) -> None:
    """Let the next process that starts, and passes the place, die there."""
    (folder / "crash.json").write_bytes(msgspec.json.encode(place))


def place_left(folder: Path) -> bool:
    """Whether nobody has died there yet."""
    return (folder / "crash.json").exists()


def purpose(method: str, bucket: str, key: str, query: Mapping[str, str]) -> str:
    """What a request is for: one of `crashpoints.REQUESTS`."""
    changes = method in ("PUT", "POST", "DELETE")
    if bucket == LISTS:
        if key.startswith("manifest-"):
            return "manifest read" if method == "GET" else "other request"
        if not changes or "/job-" not in key:
            return "other request"
        return "report's manifest" if key.rpartition("/")[2].startswith("manifest.json") else "report part"
    if bucket == SCRATCH or (not key and "delete" not in query):
        return "other request"
    return "task" if changes else "look back"


# -- in the process that is to die


def prepare() -> None:
    """Called at the start of every Python process of a round; means servers and runners only."""
    arguments = sys.orig_argv
    runner = "haulier.engine.child" in arguments
    if not runner and not ("haulier" in arguments and "serve" in arguments):
        return
    from haulier.core import chunk  # noqa: F401, PLC0415 - its sizes are made small before anything else has read them
    from haulier.testing.simulation.sizes import small  # noqa: PLC0415 - as above

    made_small = small(msgspec.json.decode(os.environ[SIZES], type=Sizes))
    made_small.__enter__()
    _kept.append(made_small)
    import_module("sabotage")
    file = Path(os.environ[CRASH_FILE])
    try:
        place = msgspec.json.decode(file.read_bytes(), type=Place)
    except FileNotFoundError:
        return
    _Death(file, place).install(runner=runner)


class _Death:
    def __init__(self, file: Path, place: Place) -> None:
        self._file = file
        self._place = place
        self._left = place.passing
        self._lock = threading.Lock()
        self._local = threading.local()

    def reach(self, name: str) -> None:
        """A thread is at the place."""
        if name != self._place.name:
            return
        with self._lock:
            self._left -= 1
            if self._left != 0:
                return
            try:
                self._file.unlink()
            except FileNotFoundError:
                return  # another process has died of it
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)

    def install(self, *, runner: bool) -> None:
        """Wrap what passes the place."""
        if runner:
            self._wrap_requests()
            self._wrap_pipes()
        else:
            self._wrap_engine()
            self._wrap_database()
        self._wrap_spool(deletes=not runner)

    def _wrap(self, owner: Any, method: str, before: Callable[..., str | None], after: Callable[..., str | None]) -> None:
        original = getattr(owner, method)

        @functools.wraps(original)
        def wrapped(*arguments: Any, **options: Any) -> Any:
            name = before(*arguments)
            if name is not None:
                self.reach(name)
            result = original(*arguments, **options)
            name = after(result, *arguments)
            if name is not None:
                self.reach(name)
            return result

        setattr(owner, method, wrapped)

    def _wrap_requests(self) -> None:
        from haulier.objectstore.transport import CurlTransport  # noqa: PLC0415 - after the sizes

        def named(request: Any, stage: str) -> str:
            path, _, query = request.url.split("://", 1)[1].partition("/")[2].partition("?")
            bucket, _, key = path.partition("/")
            return f"{purpose(request.method, bucket, key, dict(parse_qsl(query, keep_blank_values=True)))}: {stage}"

        self._wrap(CurlTransport, "begin", lambda _, request, __: named(request, "before sending"), _nowhere)
        self._wrap(CurlTransport, "_end", lambda _, handle, __: named(handle.request, "answered"), _nowhere)

    def _wrap_pipes(self) -> None:
        from haulier.engine import frames  # noqa: PLC0415 - after the sizes

        def told(stage: str) -> Callable[..., str | None]:
            return lambda *arguments: f"events: {stage}" if arguments[-1].events else None

        self._wrap(frames, "write_frame", told("before telling"), told("told"))
        self._wrap(frames, "read_down", _nowhere, lambda frame, *_: None if frame is None else "frame: taken")

    def _wrap_engine(self) -> None:
        from haulier.engine.frames import Renew, Submit  # noqa: PLC0415 - after the sizes
        from haulier.engine.local import LocalEngine  # noqa: PLC0415
        from haulier.engine.port import FromRunner  # noqa: PLC0415

        def before(_: object, __: str, frame: object) -> str | None:
            if isinstance(frame, Submit):
                return "units: before sending"
            return "lease: before renewing" if isinstance(frame, Renew) else None

        def after(_: None, __: object, ___: str, frame: object) -> str | None:
            return "units: sent" if isinstance(frame, Submit) else None

        def taken(notices: Any, *_: object) -> str | None:
            told = any(isinstance(notice, FromRunner) and notice.events.events for notice in notices)
            return "events: taken" if told else None

        self._wrap(LocalEngine, "send", before, after)
        self._wrap(LocalEngine, "receive", _nowhere, taken)

    def _wrap_database(self) -> None:
        from haulier.jobstore.sql import SqlJobStore  # noqa: PLC0415 - after the sizes
        from haulier.jobstore.writer import Writer  # noqa: PLC0415

        local, reach, submit = self._local, self.reach, Writer.submit

        def submitted(writer: Any, work: Callable[[Any], Any], **options: Any) -> Any:
            kind = "commit" if getattr(local, "commits", False) else "call"

            def worked(connection: Any) -> Any:
                result = work(connection)
                reach(f"{kind}: in the transaction")
                return result

            return submit(writer, worked, **options)

        def begins(*_: object) -> str:
            local.commits = True
            return "commit: before"

        def ended(*_: object) -> str:
            local.commits = False
            return "commit: done"

        setattr(Writer, "submit", submitted)  # noqa: B010 - the type of a method is not ours to assign
        self._wrap(SqlJobStore, "begin_epoch", _nowhere, lambda *_: "epoch: begun")
        self._wrap(SqlJobStore, "commit", begins, ended)
        for call in ("create", "change"):
            self._wrap(SqlJobStore, call, _nowhere, lambda *_: "call: done")

    def _wrap_spool(self, *, deletes: bool) -> None:
        from haulier.spool import folder  # noqa: PLC0415 - after the sizes

        local, reach = self._local, self.reach

        def kind(name: str) -> str:
            return _KINDS[name.split("/")[2]]

        def before(_: object, name: str, __: object) -> str:
            local.writes = kind(name)
            return f"{local.writes}: before writing"

        class Os:
            """`os`, but for the moment before a sync."""

            def __getattr__(self, name: str) -> Any:
                return getattr(os, name)

            @staticmethod
            def fsync(descriptor: int) -> None:
                reach(f"{getattr(local, 'writes', '')}: not synced")
                os.fsync(descriptor)

        setattr(folder, "os", Os())  # noqa: B010 - as above
        self._wrap(folder.FolderSpool, "write", before, lambda _, __, name, ___: f"{kind(name)}: durable")
        if deletes:
            removing, removed = (lambda *_: "outdated files: before removing"), (lambda *_: "outdated files: removed")
            self._wrap(folder.FolderSpool, "delete", removing, removed)


def _nowhere(*_: object) -> None:
    return None
