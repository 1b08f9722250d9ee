"""Many objects at once in a real store, by the data plane itself: boto3 would need minutes where this needs seconds."""

import random
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from haulier.core.accounts import Credentials
from haulier.core.clock import SystemClock
from haulier.core.effects import Effect, Gather
from haulier.core.placement import Store
from haulier.objectstore.s3 import S3ObjectStore
from haulier.objectstore.throttle import Throttle
from haulier.objectstore.transport import CurlDriver
from haulier.testing.stores import SeaweedFS

T = TypeVar("T")
WIDTH = 32
"""Requests in flight."""


def put_objects(store: SeaweedFS, bucket: str, bodies: Mapping[str, bytes]) -> None:
    """Put an object per key. Raises StoreError."""
    objects = _objects(store)
    _run_all([objects.put_object(bucket, key.encode(), body) for key, body in bodies.items()])


def tags_of(store: SeaweedFS, bucket: str, keys: Iterable[str]) -> dict[str, Mapping[str, str]]:
    """The tag set of every object, by key. Raises StoreError."""
    objects, names = _objects(store), list(keys)
    found = _run_all([objects.get_tags(bucket, key.encode()) for key in names])
    return dict(zip(names, found, strict=True))


def list_objects(s3: Any, bucket: str) -> dict[str, str]:
    """ETags (without quotes) by key, of the whole bucket. `s3` is a boto3 client."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {item["Key"]: item["ETag"].strip('"') for page in pages for item in page.get("Contents", ())}


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
