"""A request to the store, and what became of it; and what may be lying in wait for it."""

from collections.abc import Callable, Iterable
from typing import Final, Literal

import msgspec

from haulier.objectstore.xml import Document

Fate = Literal["under way", "dropped", "no answer", "withheld", "answered"]
"""`dropped`: the store never got it. `no answer`: the store got it and broke the connection. `withheld`: the store answered, and
who asked did not get the answer."""
Cut = Literal["before the store", "after the effect", "within the answer"]
CUTS: Final[tuple[Cut, ...]] = Cut.__args__  # type: ignore[attr-defined]


class Entry(msgspec.Struct, kw_only=True):
    """One request, and what became of it."""

    at: float
    """When it was there in full, in seconds of the monotonic clock."""
    pid: int
    """The process that sent it; 0 = not known."""
    method: str
    bucket: str
    key: bytes
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    fate: Fate = "under way"
    status: int = 0
    """The store's; 0 = it gave none."""
    answer: bytes = b""
    """The store's body, of requests that change something."""
    answered_at: float = 0.0

    @property
    def changes(self) -> bool:
        """Whether it is to change something."""
        return self.method in ("PUT", "DELETE", "POST")

    @property
    def version(self) -> str | None:
        """The version that it names."""
        return self.query.get("versionId")

    @property
    def ok(self) -> bool:
        """Whether the store says that it was done; of a batch each key may have failed by itself (`failed_keys`)."""
        return 200 <= self.status < 300 and (self._is_batch or b"<Error>" not in self.answer)

    @property
    def _is_batch(self) -> bool:
        return self.method == "POST" and "delete" in self.query

    def names(self) -> Iterable[tuple[bytes, str | None]]:
        """Key and version of each object that it is about."""
        if not self._is_batch:
            return ((self.key, self.version),)
        return tuple((item["Key"].encode(), item.get("VersionId")) for item in Document(self.body).each("Object"))

    def failed_keys(self) -> frozenset[bytes]:
        """Keys of a batch that the store refused by themselves."""
        if not self._is_batch or not self.ok:
            return frozenset()
        return frozenset(item["Key"].encode() for item in Document(self.answer).each("Error"))


class Trap(msgspec.Struct):
    """Springs once, at the n-th request that fits."""

    fits: Callable[[Entry], bool]
    passing: int
    stage: Literal["sent", "carried out"]
    spring: Callable[[Entry], None]
    """Called on the proxy's thread; the request is dropped (`sent`) or its answer withheld."""
