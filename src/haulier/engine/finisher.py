"""Finishing: sealed outcome files (and segments of chunks that were stopped) → report files → the report's bucket.

Every step can be repeated and gives the same bytes under the same names; `manifest.json` comes last, so a report is either
there in full or not announced. Other bytes under one of our names are never overwritten.
"""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from haulier.core.effects import HashedFile
from haulier.core.errors import JobFailure, StoreError
from haulier.core.ports import ObjectHead, ObjectPart, ObjectStore, Spool
from haulier.engine.connections import Connections
from haulier.engine.frames import Delivered, Event, JobBrief, WriteReport
from haulier.engine.outcomes import by_chunk
from haulier.reports import ReportFiles, manifest_json, manifest_md5, report_keys
from haulier.spool import files

READ_BACK_BYTES: Final = 8 << 20
_CONTENT_TYPES: Final = {"csv": "text/csv", "json": "application/json"}
PUT_SECONDS: Final = 120.0
PUT_BYTES_PER_SECOND_MIN: Final = 1 << 19
Await = Callable[..., Any]
"""Waits for an effect, some time or as many seconds as a second argument says."""


def write_report(
    unit: WriteReport,
    brief: JobBrief,
    connections: Connections,
    spool: Spool,
    scratch: Path,
    wait: Await,
    put: Callable[[Event], None],
) -> None:
    """Write and deliver the report, then put Delivered. Raises JobFailure `ReportDeliveryFailed` (worth another try later)."""
    report = unit.report or brief.report
    brief = msgspec.structs.replace(brief, report=report)
    with tempfile.TemporaryDirectory(prefix="report-", dir=scratch) as folder:
        written = ReportFiles(brief, Path(folder))
        for chunk, outcomes in by_chunk(unit.chunks, unit.segments, spool):
            if outcomes.num_rows:
                written.add(files.decode_chunk(spool.read(chunk.name)), outcomes)
        parts = written.finish()
        try:
            store = connections.store(brief, report.bucket, writes=True)
            for part in parts:
                _deliver(store, report.bucket, part.key, part.path, part.md5, wait)
            keys = report_keys(brief)
            listing = manifest_json(brief, parts)
            digest = manifest_md5(brief, listing)
            _deliver(store, report.bucket, keys.manifest_md5, digest, _md5(digest), wait)
            _deliver(store, report.bucket, keys.manifest, listing, _md5(listing), wait)
        except StoreError as error:
            raise JobFailure("ReportDeliveryFailed", f"the report could not be written to {report.bucket!r}: {error}") from error
    put(Delivered(attempt=unit.attempt, job=unit.job))


def _deliver(store: ObjectStore, bucket: str, key: str, body: bytes | Path, md5: str, wait: Await) -> None:
    """Put the object, unless it is there already; raises JobFailure when other bytes are there."""
    name = key.encode()
    size = _size(body)
    try:
        head: ObjectHead = wait(store.head_object(bucket, name))
    except StoreError as error:
        if error.status == 403:
            # S3 tells a missing key only to those who may list the bucket; so be it, the store itself keeps what is there.
            _deliver_blindly(store, bucket, key, body, md5, wait)
            return
        if error.status != 404:
            raise
        wait(store.put_object(bucket, name, _hashed(body), content_type=_content_type(key)), _seconds(body))
        return
    _check_same(store, bucket, key, head, size, md5, wait)


def _deliver_blindly(store: ObjectStore, bucket: str, key: str, body: bytes | Path, md5: str, wait: Await) -> None:
    """Put the object where nobody tells whether it is there; what is there already may only be the same."""
    name = key.encode()
    try:
        wait(store.put_object(bucket, name, _hashed(body), content_type=_content_type(key), if_absent=True), _seconds(body))
    except StoreError as error:
        if error.status != 412:
            raise
        head = wait(store.head_object(bucket, name))
        _check_same(store, bucket, key, head, _size(body), md5, wait)


def _check_same(store: ObjectStore, bucket: str, key: str, head: ObjectHead, size: int, md5: str, wait: Await) -> None:
    name = key.encode()
    if head.size != size or (head.etag != md5 and _stored_md5(store, bucket, name, head.size, wait) != md5):
        raise JobFailure("ReportDeliveryFailed", f"{key!r} in bucket {bucket!r} exists with other content and is not overwritten")


def _size(body: bytes | Path) -> int:
    return body.stat().st_size if isinstance(body, Path) else len(body)


def _hashed(body: bytes | Path) -> bytes | HashedFile:
    """A file with its digests, read once. Made here, on the unit's thread: the driver's serves all other requests."""
    if isinstance(body, bytes):
        return body
    payload, etag, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with body.open("rb") as file:
        while block := file.read(1 << 20):
            payload.update(block)
            etag.update(block)
            size += len(block)
    return HashedFile(body, size, sha256=payload.hexdigest(), md5=etag.hexdigest())


def _seconds(body: bytes | Path) -> float:
    """How long a put may take, several tries included."""
    return PUT_SECONDS + _size(body) / PUT_BYTES_PER_SECOND_MIN


def _content_type(key: str) -> str:
    return _CONTENT_TYPES.get(key.rpartition(".")[2], "text/plain")


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _stored_md5(store: ObjectStore, bucket: str, key: bytes, size: int, wait: Await) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    position = 0
    while position < size:
        part: ObjectPart = wait(store.get_object(bucket, key, first=position, length=READ_BACK_BYTES))
        if not part.data:
            break
        digest.update(part.data)
        position += len(part.data)
    return digest.hexdigest()
