"""A consistent copy of a data directory, while a server works on it: database, the spool's files that it names, audit log.

A file of the spool is durable before the database names it, and never changed; so every file that a copy of the database names is
there at the moment of the copy. Only a segment may go soon after, when its chunk is sealed. Segments are therefore taken before
the copy as well as after it, and should one slip through all the same, the copy is made anew: by then little is left to take.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from haulier import __version__
from haulier.core.clock import timestamp
from haulier.core.errors import HaulierError, SettingsError
from haulier.jobstore import copies
from haulier.jobstore.copies import NamedFile
from haulier.spool import names
from haulier.upkeep import places

ABOUT: Final = "backup.json"
"""Tells what a backup is; written last."""
DATABASE: Final = "haulier.db"
SPOOL: Final = "spool"
AUDIT: Final = "audit"
MASTER_KEYS: Final = "secrets.key"
FORMAT: Final = 1
TRIES: Final = 30


class UpkeepRefused(HaulierError):
    """A backup or a restore cannot be made; nothing was changed."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup tells of itself."""

    format: int = FORMAT
    version: str
    """Of Haulier."""
    taken_ms: int
    """No later change is in it."""
    taken: str
    files: int
    """Of the spool."""
    bytes: int
    """The same."""
    master_keys: bool
    """Whether the master keys are in it."""


def backup(data_dir: Path, target: Path, *, now_ms: Callable[[], int], master_keys: Path | None = None) -> About:
    """Back the data directory up into the new folder `target`; `master_keys` is their file, to be taken along. Either the whole
    backup is there in the end, durably, or nothing is.

    Raises UpkeepRefused, SettingsError where there is no database.
    """
    _check(data_dir, target)
    try:
        with places.unfinished(target, "unfinished") as folder:
            taken_ms, placed = _take_jobs(data_dir, folder, now_ms)
            for path in sorted((data_dir / AUDIT).glob("*.jsonl")):
                places.copy(path, folder / AUDIT / path.name, up_to=b"\n")
            if master_keys is not None:
                places.copy(master_keys, folder / MASTER_KEYS)
            about = About(
                version=__version__,
                taken_ms=taken_ms,
                taken=timestamp(taken_ms),
                files=len(placed),
                bytes=sum((folder / SPOOL / name).stat().st_size for name in placed),
                master_keys=master_keys is not None,
            )
            places.write(folder / ABOUT, msgspec.json.format(msgspec.json.encode(about)) + b"\n")
    except OSError as error:
        raise UpkeepRefused(f"the backup could not be made: {error.strerror}: {error.filename}") from error
    return about


def _check(data_dir: Path, target: Path) -> None:
    if not (data_dir / DATABASE).is_file():
        raise SettingsError("server.data_dir", f"there is no database {data_dir / DATABASE}")
    if target.exists():
        raise UpkeepRefused(f"{target} is there already: a backup is a new folder")
    if not target.parent.is_dir():
        raise UpkeepRefused(f"there is no folder {target.parent}")
    if target.resolve().is_relative_to(data_dir.resolve()):
        raise UpkeepRefused(f"{target} lies in the data directory: a backup belongs elsewhere, best on another disk")


def _take_jobs(data_dir: Path, folder: Path, now_ms: Callable[[], int]) -> tuple[int, set[str]]:
    """Database and spool; the moment of which they are, and the spool's files in it."""
    spool, copied = data_dir / SPOOL, folder / DATABASE
    placed: set[str] = set()
    for _ in range(TRIES):
        for name in _segments(spool):
            _place(spool, folder / SPOOL, name, placed)
        taken_ms = now_ms()
        copied.unlink(missing_ok=True)
        copies.copy(data_dir / DATABASE, copied)
        named = list(copies.named_files(copied))
        missing = [file for file in named if not _place(spool, folder / SPOOL, file.name, placed)]
        if all(file.ended for file in missing):
            _drop(folder / SPOOL, placed - _kept(named, missing))
            return taken_ms, placed & _kept(named, missing)
    raise UpkeepRefused(f"{missing[0].name} is missing from the spool: haulier doctor --job {missing[0].job} tells more")


def _segments(spool: Path) -> Iterator[str]:
    for path in spool.glob(f"*/*/{names.SEGMENTS}/[!.]*"):
        yield path.relative_to(spool).as_posix()


def _place(spool: Path, target: Path, name: str, placed: set[str]) -> bool:
    """Take a file, unless it is taken already; False where it has gone."""
    if name not in placed:
        try:
            places.place(spool / name, target / name)
        except FileNotFoundError:
            return False
        placed.add(name)
    return True


def _kept(named: list[NamedFile], missing: list[NamedFile]) -> set[str]:
    """The files that belong into the backup. Of a job whose files retention takes meanwhile none does."""
    over = {file.job for file in missing}
    return {file.name for file in named if file.job not in over}


def _drop(spool: Path, unneeded: set[str]) -> None:
    """Those that were taken early, and are not needed; with the folders that this empties."""
    for name in unneeded:
        path = spool / name
        path.unlink()
        for above in (path.parent, path.parent.parent, path.parent.parent.parent):
            if above == spool or any(above.iterdir()):
                break
            above.rmdir()
