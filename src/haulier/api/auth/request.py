"""A request as it came over the wire, before anything was decoded: what a signature covers."""

import ipaddress
from urllib.parse import unquote_to_bytes

import msgspec

from haulier.core.accounts import Identity
from haulier.core.errors import AccessRefused

READS = frozenset({"GET", "HEAD"})


class RawRequest(msgspec.Struct, frozen=True):
    """One request, read in full."""

    method: str
    raw_path: bytes
    """As sent, still percent-encoded, without query, scheme and authority."""
    raw_query: bytes
    """As sent, without the question mark."""
    headers: list[tuple[bytes, bytes]]
    """In order, names in lower case."""
    body: bytes
    secure: bool
    """Whether it came over TLS."""
    peer: str
    """The address it came from; empty where there is none."""

    @property
    def peer_is_loopback(self) -> bool:
        """Whether it came from this machine."""
        try:
            address = ipaddress.ip_address(self.peer)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback

    @property
    def path(self) -> str:
        """The raw path as text, nothing decoded."""
        return self.raw_path.decode("latin-1")

    @property
    def query(self) -> str:
        """The raw query as text, nothing decoded."""
        return self.raw_query.decode("latin-1")

    def values(self, name: bytes) -> list[bytes]:
        """All values of a header (lower-case name), blanks around them removed."""
        return [value.strip(b" \t") for header, value in self.headers if header == name]

    def one(self, name: bytes) -> bytes | None:
        """The header's only value; None when it is absent. Raises AccessRefused when it is repeated."""
        found = self.values(name)
        if len(found) > 1:
            raise AccessRefused(f"The header {name.decode('latin-1')} stands more than once.")
        return found[0] if found else None

    def needed(self, name: bytes) -> bytes:
        """The header's only value. Raises AccessRefused when it is absent or repeated."""
        found = self.one(name)
        if found is None:
            raise AccessRefused(f"The header {name.decode('latin-1')} is missing.")
        return found

    def query_pairs(self) -> list[tuple[bytes, bytes]]:
        """Names and values of the query, decoded as a form: `+` is a space. Handlers understand it so too, hence a signature made
        for another reading of a plus sign does not match."""
        parts = [part.partition(b"=") for part in self.raw_query.split(b"&") if part]
        return [(_decoded(name), _decoded(value)) for name, _, value in parts]

    def __repr__(self) -> str:
        return f"RawRequest({self.method} {self.path})"


class Verified(msgspec.Struct, frozen=True):
    """Whose signature it was. `region` is the one signed for, or named by the host; empty when there is none."""

    identity: Identity
    region: str


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
