"""Where the master keys come from: the settings or the environment, or a file of their own."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from haulier.core.errors import CommandRefused, SettingsError
from haulier.core.sealing import KEY_BYTES, MasterKeys

_BYTES_MAX: Final = 65_536
_HEAD: Final = (
    "# Haulier's master keys, one VERSION:KEY a line. The highest version seals. Without this file no stored secret opens:\n"
    "# keep a copy, away from the database.\n"
)


class KeyFile:
    """The master keys' source. `given` is the text of `server.secrets_key`; where it is None, they lie in the file."""

    def __init__(self, path: Path, given: str | None, *, made_when_needed: bool) -> None:
        """`made_when_needed`: whether the file may be made without being asked for, as that in the data directory is."""
        self._path = path
        self._given = given
        self._made_when_needed = made_when_needed

    def read(self) -> MasterKeys | None:
        """The master keys as they are now; None where there are none. Raises SettingsError."""
        if self._given is not None:
            return _parsed(self._given, "server.secrets_key", "the text")
        try:
            with self._path.open("rb") as file:
                text = file.read(_BYTES_MAX).decode("ascii", "replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SettingsError("server.secrets_key_file", f"cannot read {self._path}: {error.strerror}") from None
        return _parsed(text, "server.secrets_key_file", str(self._path))

    def make(self, random: Callable[[int], bytes]) -> MasterKeys:
        """The first master key. Raises CommandRefused where making it must be asked for, SettingsError where it fails."""
        if not self._made_when_needed:
            raise CommandRefused(
                f"there is no master key to seal the secret with: {self._path} does not exist. haulier key new-master makes it"
            )
        self._write(_HEAD + MasterKeys.line(1, random(KEY_BYTES)))
        return self._there()

    def add(self, random: Callable[[int], bytes]) -> MasterKeys:
        """A further master key, which seals from now on. Raises CommandRefused, SettingsError."""
        known = self.read()
        if self._given is not None:
            raise CommandRefused(
                "the master keys come from server.secrets_key (HAULIER_SERVER__SECRETS_KEY): add a line there, "
                f"{known.newest + 1 if known else 1}:KEY, with what `openssl rand -base64 {KEY_BYTES}` prints for KEY"
            )
        text = _HEAD if known is None else self._path.read_text("ascii")
        text += "" if text.endswith("\n") else "\n"
        self._write(text + MasterKeys.line(known.newest + 1 if known else 1, random(KEY_BYTES)))
        return self._there()

    def _there(self) -> MasterKeys:
        found = self.read()
        assert found is not None
        return found

    def _write(self, text: str) -> None:
        """Durably, whole or not at all, for this user's eyes alone."""
        path = self._path.resolve()
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, text.encode("ascii"))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            draft.replace(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise SettingsError("server.secrets_key_file", f"cannot write {path}: {error.strerror}") from None

    def __repr__(self) -> str:
        return f"KeyFile({str(self._path)!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("path", str(self._path))]


def _parsed(text: str, path: str, what: str) -> MasterKeys:
    try:
        return MasterKeys.parse(text)
    except ValueError as error:
        raise SettingsError(path, f"{what} holds no master keys: {error}") from None
