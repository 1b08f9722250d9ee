"""Many objects at once in a real store, by the data plane itself: boto3 would need minutes where this needs seconds."""

import random
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from haulier.core.accounts import Credentials
from haulier.core.clock import SystemClock
from haulier.core.effects import Effect, Gather
from haulier.core.placement import Store
from haulier.core.ports import ObjectHead
from haulier.objectstore.s3 import S3ObjectStore
from haulier.objectstore.throttle import Throttle
from haulier.objectstore.transport import CurlDriver
from haulier.operations.replay import look
from haulier.testing.stores import SeaweedFS

T = TypeVar("T")
WIDTH = 32
"""Requests in flight."""


def put_objects(store: SeaweedFS, bucket: str, bodies: Mapping[str, bytes]) -> None:
    """Put an object per key. Raises StoreError."""
    objects = _objects(store)
    _run_all([objects.put_object(bucket, key.encode(), body) for key, body in bodies.items()])


def put_tags(store: SeaweedFS, bucket: str, tags: Mapping[str, Mapping[str, str]]) -> None:
    """Give each object these tags and no others, by key. Raises StoreError."""
    objects = _objects(store)
    _run_all([objects.put_tags(bucket, key.encode(), None, each) for key, each in tags.items()])


def heads_of(store: SeaweedFS, bucket: str, keys: Iterable[str]) -> dict[str, ObjectHead | None]:
    """What HEAD tells of every object, by key; None = there is none. Raises StoreError."""
    objects, names = _objects(store), list(keys)
    found = _run_all([look(objects, bucket, key.encode()) for key in names])
    return dict(zip(names, found, strict=True))


def tags_of(store: SeaweedFS, bucket: str, keys: Iterable[str]) -> dict[str, Mapping[str, str]]:
    """The tag set of every object, by key. Raises StoreError."""
    objects, names = _objects(store), list(keys)
    found = _run_all([objects.get_tags(bucket, key.encode()) for key in names])
    return dict(zip(names, found, strict=True))


def list_objects(s3: Any, bucket: str, prefix: str = "") -> dict[str, str]:
    """ETags (without quotes) by key, of the whole bucket or of what begins so. `s3` is a boto3 client."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {item["Key"]: item["ETag"].strip('"') for page in pages for item in page.get("Contents", ())}


class Version(NamedTuple):
    """One of an object's versions, or a delete marker."""

    id: str
    etag: str
    """Without quotes; empty for a marker."""
    marker: bool


def list_versions(s3: Any, bucket: str, prefix: str) -> dict[str, list[Version]]:
    """Versions and delete markers by key, the newest last, of what begins so. `s3` is a boto3 client."""
    found: dict[str, list[tuple[bool, Any, Version]]] = {}
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for kind in ("Versions", "DeleteMarkers"):
            for item in page.get(kind, ()):
                version = Version(item["VersionId"], item.get("ETag", "").strip('"'), kind == "DeleteMarkers")
                found.setdefault(item["Key"], []).append((item["IsLatest"], item["LastModified"], version))
    return {key: [each[2] for each in sorted(versions, key=lambda each: each[:2])] for key, versions in found.items()}


def _objects(store: SeaweedFS) -> S3ObjectStore:
    place = Store(name="test", endpoint=store.endpoint, regions=(store.region,))
    clock = SystemClock()
    throttle = Throttle(clock, WIDTH)
    return S3ObjectStore(
        place, Credentials(store.access_key, store.secret_key), throttle=throttle, clock=clock, random=random.random
    )


def _run_all(coroutines: Sequence[Effect[T]]) -> list[T]:
    async def gathered() -> list[T]:
        return await Gather(coroutines, WIDTH)

    driver = CurlDriver(clock=SystemClock())
    thread = threading.Thread(target=driver.run, args=(lambda: None,))
    thread.start()
    try:
        return driver.submit(gathered()).result()
    finally:
        driver.stop()
        thread.join()
