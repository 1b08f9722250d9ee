"""Which store answers for a bucket, and whether a role may touch it there. Pure; decisions §1, "Resolution"."""

import fnmatch
import re
import string
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from haulier.core.accounts import Role
from haulier.core.errors import JobFailure, SettingsError
from haulier.core.job import Placement


class Store(msgspec.Struct, frozen=True, kw_only=True):
    """An S3-compatible service that Haulier acts on, as named in the settings; without its keys."""

    name: str
    endpoint: str
    """`http://host:port`, no path."""
    buckets: tuple[str, ...] = ()
    regions: tuple[str, ...] = ("us-east-1",)
    """The first is signed with; ARNs of these regions resolve here."""
    default: bool = False
    addressing: str = "path"
    """`path` or `virtual`."""
    ca_file: str | None = None
    scratch_bucket: str | None = None
    probe: str = "auto"
    """`auto` (scratch where a scratch bucket is set, else nothing is proven), `scratch`, `known` or `off`."""
    in_flight_max: int = 256
    """Requests in flight at most, over all runners together."""
    requests_per_second: float | None = None
    read_only: bool = False

    @property
    def region(self) -> str:
        """The region requests are signed for."""
        return self.regions[0]


class Resolver:
    """Finds the one store for a bucket: exact name, then glob, then the ARN's region, then the default store."""

    def __init__(self, stores: Sequence[Store]) -> None:
        """Raises SettingsError when two stores would answer in one rank and that can be known now."""
        self.stores = {store.name: store for store in stores}
        for number, store in enumerate(stores):
            for other in stores[:number]:
                _check_apart(store, other)
        regions: dict[str, str] = {}
        for store in stores:
            for region in store.regions:
                first = regions.setdefault(region, store.name)
                if first != store.name and not (store.buckets and self.stores[first].buckets):
                    raise SettingsError(f"stores.{store.name}.regions", f"{region!r} is claimed by store {first!r} too")
        defaults = [store.name for store in stores if store.default]
        if len(defaults) > 1:
            raise SettingsError(f"stores.{defaults[1]}.default", f"store {defaults[0]!r} is the default already")

    def _ranks(self, bucket: str, region: str | None) -> Iterator[Callable[[Store], bool]]:
        yield lambda store: bucket in store.buckets
        yield lambda store: any(_is_glob(p) and fnmatch.fnmatchcase(bucket, p) for p in store.buckets)
        yield lambda store: region is not None and region in store.regions
        yield lambda store: store.default

    def resolve(self, bucket: str, region: str | None = None) -> Store:
        """The store for the bucket; raises JobFailure `UnknownBucket` when none or more than one would answer."""
        for matches in self._ranks(bucket, region):
            found = [store for store in self.stores.values() if matches(store)]
            if len(found) == 1:
                return found[0]
            if found:
                names = " and ".join(repr(store.name) for store in found)
                raise JobFailure("UnknownBucket", f"bucket {bucket!r} matches the stores {names}; name it in one of them")
        raise JobFailure("UnknownBucket", f"no store in the settings answers for bucket {bucket!r}")

    def placed(self, role: Role, bucket: str, placements: Sequence[Placement], *, writes: bool) -> Store:
        """The store for the bucket, by the job's placements where they have it, else by the rules.

        Raises JobFailure: `UnknownBucket`; `RoleNotAllowed` where the role may not touch it, or where it is to be written and the
        store is read-only.
        """
        frozen = next((placement for placement in placements if placement.bucket == bucket), None)
        if frozen is None or not frozen.store:
            store = self.resolve(bucket, None if frozen is None else frozen.region)
        elif frozen.store in self.stores:
            store = self.stores[frozen.store]
        else:
            raise JobFailure(
                "UnknownBucket", f"store {frozen.store!r}, where bucket {bucket!r} was found, is no longer in the settings"
            )
        if not role.allows(store.name, bucket):
            raise JobFailure("RoleNotAllowed", f"role {role.name!r} may not touch bucket {bucket!r} on store {store.name!r}")
        if writes and store.read_only:
            raise JobFailure("RoleNotAllowed", f"store {store.name!r} is read-only in the settings")
        return store


def _check_apart(store: Store, other: Store) -> None:
    """No bucket may belong to both by patterns of one rank. Raises SettingsError."""
    for pattern in store.buckets:
        for theirs in other.buckets:
            if _is_glob(pattern) == _is_glob(theirs) and overlap(pattern, theirs):
                again = "" if pattern == theirs else f", by {theirs!r}; name the bucket itself in one of them"
                raise SettingsError(f"stores.{store.name}.buckets", f"{pattern!r} is claimed by store {other.name!r} too{again}")


def overlap(one: str, other: str) -> bool:
    """Whether one bucket name can match both patterns (names, or globs as of `fnmatch`)."""
    return _overlap(_characters(one), _characters(other))


_ANY: Final = frozenset(string.ascii_letters + string.digits + "._-")
"""The characters that names of buckets have."""


def _characters(pattern: str) -> tuple[frozenset[str] | None, ...]:
    """What each place of the pattern matches: some characters, or None for any number of any."""
    places: list[frozenset[str] | None] = []
    for piece in re.findall(r"\[!?\]?[^\]]*\]|.", pattern):
        if piece == "*":
            places.append(None)
        else:
            places.append(frozenset(character for character in _ANY if fnmatch.fnmatchcase(character, piece)))
    return tuple(places)


def _overlap(one: tuple[frozenset[str] | None, ...], other: tuple[frozenset[str] | None, ...]) -> bool:
    """By dynamic programming over how much of each pattern is used up."""
    reached = {(0, 0)}
    todo = [(0, 0)]
    while todo:
        here, there = todo.pop()
        mine = one[here] if here < len(one) else frozenset[str]()
        theirs = other[there] if there < len(other) else frozenset[str]()
        steps = []
        if mine is None:
            steps += [(here + 1, there), *([(here, there + 1)] if theirs is None or theirs else [])]
        if theirs is None:
            steps += [(here, there + 1), *([(here + 1, there)] if mine is None or mine else [])]
        if mine and theirs and mine & theirs:
            steps.append((here + 1, there + 1))
        for step in steps:
            if step not in reached:
                reached.add(step)
                todo.append(step)
    return (len(one), len(other)) in reached


def _is_glob(pattern: str) -> bool:
    return any(character in pattern for character in "*?[")
