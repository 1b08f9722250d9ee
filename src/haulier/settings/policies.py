"""The policy documents that users of the settings name by their path."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from haulier.core.errors import PolicyError, SettingsError
from haulier.core.policy import Policy, parse
from haulier.core.policy.reader import BYTES_MAX
from haulier.settings.tables import AccountSettings


def names_document(policy: str) -> bool:
    """Whether it is the path of a document; else it is the name of a built-in policy, or nothing."""
    return policy.endswith(".json")


def read_policies(accounts: Mapping[str, AccountSettings], folder: Path) -> Mapping[str, Policy]:
    """The documents by the paths as written, which begin at `folder`. Raises SettingsError naming the user, the file and the
    place in it."""
    found: dict[str, Policy] = {}
    for account, table in accounts.items():
        for index, user in enumerate(table.users):
            if names_document(user.policy) and user.policy not in found:
                found[user.policy] = _read(user.policy, folder, f"accounts.{account}.users[{index}].policy")
    return found


def _bytes(file: Path) -> bytes:
    """As much of it as a document may have, and one more byte. A pipe would keep a reload, and the end of the server, waiting."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a file")
        return opened.read(BYTES_MAX + 1)


def _read(name: str, folder: Path, path: str) -> Policy:
    file = folder / Path(name).expanduser()
    try:
        text = _bytes(file)
    except (OSError, ValueError) as error:
        raise SettingsError(path, f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from None
    try:
        return parse(text, name)
    except PolicyError as error:
        raise SettingsError(path, f"{file}: {error}") from None
