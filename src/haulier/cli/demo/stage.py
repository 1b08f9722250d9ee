"""What the demo plays on: a real store, a real server, objects and manifests."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

from haulier.testing.jobs import PutManifest, put_manifest
from haulier.testing.objects import list_objects, put_objects
from haulier.testing.server import COS_APPID, HaulierServer
from haulier.testing.stores import SeaweedFS

SOURCE: Final = f"photos-{COS_APPID}"
TARGET: Final = f"archive-{COS_APPID}"
LISTS: Final = f"lists-{COS_APPID}"
SCRATCH: Final = "haulier-scratch"
"""Where an operation is tried out before its first job."""
SOURCE_PREFIX: Final = "albums/"
TARGET_PREFIX: Final = "archive/2026/"
REPORTS: Final = "reports"
TAGS: Final = {"project": "demo", "kept": "yes"}
_WORDS: Final = ("harbour", "naïve façade", "50% off", "a+b=c", "日出", "plain")


class Objects(NamedTuple):
    """Which objects are there, and which only manifests speak of."""

    bodies: Mapping[str, bytes]
    missing: tuple[str, ...]
    deleted: tuple[str, ...]
    """Keys of `bodies` that the third job deletes."""


class Manifests(NamedTuple):
    """One per job; each also names the missing objects."""

    copy: PutManifest
    tag: PutManifest
    delete: PutManifest


class Stage(NamedTuple):
    """Everything that runs, and what lies in it."""

    store: SeaweedFS
    server: HaulierServer
    objects: Objects
    manifests: Manifests
    etags_before: Mapping[str, str]

    @property
    def s3(self) -> Any:
        """A boto3 client of the store."""
        return self.store.client()


def start_store(folder: Path, stack: ExitStack) -> SeaweedFS:
    """The store, ended with the stack."""
    store = SeaweedFS(folder / "store")
    stack.callback(store.stop)
    return store.start()


def start_server(folder: Path, store: SeaweedFS, stack: ExitStack) -> HaulierServer:
    """The server with two runners, ended with the stack."""
    server = HaulierServer(store.settings(scratch_bucket=SCRATCH), folder=folder / "server", runners=2)
    stack.callback(server.stop)
    return server.start()


def demo_objects(count: int, missing: int) -> Objects:
    """Small objects under names that are hard on careless code, and names of objects that do not exist."""
    keys = [f"{SOURCE_PREFIX}{number // 100:03d}/{_WORDS[number % len(_WORDS)]} {number:05d}.jpg" for number in range(count)]
    bodies = {key: f"picture {key}\n".encode() * 4 for key in keys}
    return Objects(bodies, tuple(f"{SOURCE_PREFIX}missing/{number:03d}.jpg" for number in range(missing)), tuple(keys[::2]))


def copied_key(key: str) -> str:
    """Where the copy of an object goes."""
    return TARGET_PREFIX + key.removeprefix(SOURCE_PREFIX)


def set_up(store: SeaweedFS, server: HaulierServer, objects: Objects) -> Stage:
    """Buckets, objects and manifests."""
    s3 = store.client()
    for bucket in (SOURCE, TARGET, LISTS, SCRATCH):
        s3.create_bucket(Bucket=bucket)
    put_objects(store, SOURCE, objects.bodies)

    def manifest(name: str, bucket: str, keys: Iterable[str]) -> PutManifest:
        return put_manifest(s3, LISTS, f"{name}.csv", bucket, keys)

    manifests = Manifests(
        copy=manifest("copy", SOURCE, [*objects.bodies, *objects.missing]),
        tag=manifest("tag", TARGET, map(copied_key, [*objects.bodies, *objects.missing])),
        delete=manifest("delete", SOURCE, [*objects.deleted, *objects.missing]),
    )
    return Stage(store, server, objects, manifests, list_objects(s3, SOURCE))
