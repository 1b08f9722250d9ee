"""`haulier serve`: run the server in the foreground."""

import os
from pathlib import Path


def serve(*, config: Path) -> int:
    """Run the server in the foreground; it logs to standard error and stops at SIGTERM or Ctrl-C.

    Parameters
    ----------
    config
        The settings file (TOML).
    """
    from haulier.settings import load  # noqa: PLC0415

    settings = load(config, os.environ)
    from haulier.app import serve as run  # noqa: PLC0415  (imports everything: not before the settings are known to be good)

    return run(settings)
