"""Which store answers for a bucket, and whether a role may touch it there. Pure; decisions §1, "Resolution"."""

import fnmatch
from collections.abc import Callable, Iterator, Sequence

import msgspec

from haulier.core.accounts import Role
from haulier.core.errors import JobFailure, SettingsError


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
        named: dict[str, str] = {}
        for store in stores:
            for pattern in store.buckets:
                other = named.setdefault(pattern, store.name)
                if other != store.name:
                    raise SettingsError(f"stores.{store.name}.buckets", f"{pattern!r} is claimed by store {other!r} too")
        regions: dict[str, str] = {}
        for store in stores:
            for region in store.regions:
                other = regions.setdefault(region, store.name)
                if other != store.name and not (store.buckets and self.stores[other].buckets):
                    raise SettingsError(f"stores.{store.name}.regions", f"{region!r} is claimed by store {other!r} too")
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

    def permitted(self, role: Role, bucket: str, region: str | None = None) -> Store:
        """As `resolve`, and the role may touch it; raises JobFailure `RoleNotAllowed` otherwise."""
        store = self.resolve(bucket, region)
        if not role.allows(store.name, bucket):
            raise JobFailure("RoleNotAllowed", f"role {role.name!r} may not touch bucket {bucket!r} on store {store.name!r}")
        return store


def _is_glob(pattern: str) -> bool:
    return any(character in pattern for character in "*?[")
