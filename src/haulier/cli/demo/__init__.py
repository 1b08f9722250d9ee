"""`haulier demo`: three real jobs on a real store, over both wires, and then the proof in the store."""

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from haulier.cli.exits import CommandFailed, Exit

__all__ = ["demo"]

_MISSING = 50


def demo(*, keep: bool = False, objects: int = 5_000) -> int:
    """Start a throwaway store and server, run a copy, a tagging and a delete job over both wires, and verify them in the store.

    Exit code 0 only if every claim held. Nothing is left behind.

    Parameters
    ----------
    keep
        Leave store and server running at the end, and print how to talk to them.
    objects
        How many small objects to put first.
    """
    # Imported here: the AWS client is slow to load, and no other command needs the test kit.
    from haulier.cli.demo import play, stage, talk  # noqa: PLC0415
    from haulier.testing.server import ServerDidNotStart, WaitedTooLong  # noqa: PLC0415
    from haulier.testing.stores import StoreDidNotStart  # noqa: PLC0415

    if objects < 100:
        raise CommandFailed(Exit.USAGE, f"--objects must be at least 100, not {objects}")
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    began = time.monotonic()
    with _ended_as_interrupted(), ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="haulier-demo-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            console.print(f"A SeaweedFS and a Haulier server in {folder}, on loopback, on free ports …")
            store = stage.start_store(folder, stack)
            server = stage.start_server(folder, store, stack)
            console.print(f"store {store.endpoint}, Haulier {server.url}; now {objects:,} objects and three manifests …")
            set_up = stage.set_up(store, server, stage.demo_objects(objects, _MISSING))
            held = play.Play(console, set_up).run()
        except (StoreDidNotStart, ServerDidNotStart, WaitedTooLong) as error:
            raise CommandFailed(Exit.FAILED, str(error)) from None
        console.print(f"\n{'Every claim held' if held else 'NOT EVERY CLAIM HELD'}; {time.monotonic() - began:.0f} s in all.")
        if keep:
            stack.pop_all()  # so nothing is ended or removed
            console.print(talk.how_to(set_up, folder))
    return Exit.CLEAN if held else Exit.FAILED


@contextmanager
def _ended_as_interrupted() -> Iterator[None]:
    """SIGTERM tidies up just as Ctrl-C does."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
