"""The thread that stores, once a minute and at the end, when keys were used last: requests only leave a number in memory."""

import threading
from typing import Final

import structlog

from haulier.admin.administration import Administration
from haulier.core.errors import HaulierError

INTERVAL_SECONDS: Final = 60.0

_log = structlog.get_logger(__name__)


class KeyUses:
    """See above."""

    def __init__(self, administration: Administration) -> None:
        self._administration = administration
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="haulier-key-uses", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Store what is left, and end."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(INTERVAL_SECONDS):
            self._store()
        self._store()

    def _store(self) -> None:
        try:
            self._administration.note_uses()
        except HaulierError as error:
            _log.warning("when keys were used last was not stored", error=str(error))
