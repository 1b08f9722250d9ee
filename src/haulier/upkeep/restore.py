"""Puts a backup in place as a data directory that a server can go on from (docs/decisions/0025).

Everything is put together beside the data directory and examined there; only a sound one gets its name.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from haulier.audit import AuditLog
from haulier.audit.files import verify
from haulier.core.errors import AuditBroken
from haulier.core.ports import Clock
from haulier.jobstore import copies, snapshot
from haulier.jobstore.copies import BroughtBack
from haulier.spool import FolderSpool, names
from haulier.upkeep import places
from haulier.upkeep.backup import ABOUT, AUDIT, DATABASE, FORMAT, MASTER_KEYS, SPOOL, About, UpkeepRefused
from haulier.upkeep.examine import examine

FINDINGS_SHOWN: Final = 5


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What was put in place."""

    about: About
    brought_back: BroughtBack


def restore(source: Path, data_dir: Path, clock: Clock) -> Restored:
    """Restore the backup in `source` as `data_dir`, which is not there yet or empty. Raises UpkeepRefused, SettingsError,
    AuditBroken; nothing has changed then."""
    about = _about(source)
    if data_dir.exists() and (not data_dir.is_dir() or any(data_dir.iterdir())):
        raise UpkeepRefused(f"{data_dir} is not empty: a backup is restored into an empty data directory only")
    try:
        places.make_folder(data_dir.parent)
        with places.unfinished(data_dir, "restoring") as folder:
            for path in _spooled(source):
                places.place(path, folder / SPOOL / path.relative_to(source / SPOOL))
            for path in sorted((source / AUDIT).glob("*.jsonl")):
                places.copy(path, folder / AUDIT / path.name)
            if about.master_keys:
                places.copy(source / MASTER_KEYS, folder / MASTER_KEYS)
            places.copy(source / DATABASE, folder / DATABASE)
            brought_back = copies.bring_back(folder / DATABASE, about.taken_ms, clock.now_ms())
            _examine(folder, about, clock)
            _record(folder, about, brought_back, clock)
    except OSError as error:
        raise UpkeepRefused(f"the backup could not be restored: {error.strerror}: {error.filename}") from error
    return Restored(about=about, brought_back=brought_back)


def _about(source: Path) -> About:
    try:
        about = msgspec.json.decode((source / ABOUT).read_bytes(), type=About)
    except (OSError, msgspec.DecodeError):
        raise UpkeepRefused(
            f"{source} is no backup, or one that was never finished: there is no readable {ABOUT} in it"
        ) from None
    if about.format != FORMAT:
        raise UpkeepRefused(
            f"{source} is a backup of format {about.format}, this version reads {FORMAT}: use Haulier {about.version}"
        )
    return about


def _spooled(source: Path) -> Iterator[Path]:
    return (path for path in (source / SPOOL).rglob("*") if path.is_file())


def _examine(folder: Path, about: About, clock: Clock) -> None:
    """All that `haulier doctor --job` checks, of every job. Raises UpkeepRefused, AuditBroken."""
    spool = FolderSpool(folder / SPOOL)
    if (there := len(spool.names(""))) != about.files:
        raise UpkeepRefused(f"the backup is not whole: it had {about.files} files in its spool, {there} are left")
    with snapshot.opened(folder / DATABASE) as connection:
        job_ids = snapshot.job_ids(connection)
    for job_id in job_ids:
        with snapshot.opened(folder / DATABASE) as connection:
            found = snapshot.read(connection, job_id)
        assert found is not None
        # Of a job that has ended the files may not be kept any longer: then there are none at all.
        days = math.inf if spool.names(names.job_folder(found.job.account, job_id)) else 0
        examined = examine(folder, job_id, now_ms=clock.now_ms(), spool_retention_days=days)
        if examined is not None and not examined.sound:
            problems = "; ".join(
                f"{each.check}: {each.file or each.chunk}: {each.problem}" for each in examined.findings[:FINDINGS_SHOWN]
            )
            raise UpkeepRefused(f"the backup is broken, job {job_id}: {problems}")
    verify(folder / AUDIT)


def _record(folder: Path, about: About, brought_back: BroughtBack, clock: Clock) -> None:
    """The audit log goes on with the restore. Raises AuditBroken."""
    audit = AuditLog(folder / AUDIT, clock)
    audit.start()
    try:
        entry = {"kind": "administration", "command": "restore", "uid": os.geteuid(), "pid": os.getpid()}
        if not audit.record({**entry, "taken": about.taken, "jobs": brought_back.jobs}, durable=True):
            raise AuditBroken(f"the restore could not be recorded: {audit.problem}")
    finally:
        audit.stop()
