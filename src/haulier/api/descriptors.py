"""How many files the process may have open, and how many of them may be clients' connections."""

import resource
from typing import Final

ENOUGH: Final = 65_536
"""Not asked for more unless more connections are allowed."""
RESERVE: Final = 256
"""For the job store, the spool, the audit log and calls of an STS: a server that cannot open these is of no use to anybody."""
RESERVE_PER_RUNNER: Final = 8


def raise_limit(connections: int, runners: int) -> int:
    """Raise the soft limit, which is 1,024 in most places, to what is needed or as far as the hard one lets it; what it is now.
    Runners inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(ENOUGH, connections + _reserve(runners))
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return wanted if soft == resource.RLIM_INFINITY else soft


def connections_within(limit: int, connections: int, per_peer: int, runners: int) -> tuple[int, int]:
    """How many connections there can be, in all and from one address, where `limit` files can be open: as many as the settings
    allow, or fewer in the same proportion."""
    most = max(1, limit - min(_reserve(runners), limit // 2))
    if most >= connections:
        return connections, per_peer
    return most, max(1, min(per_peer, connections) * most // connections)


def _reserve(runners: int) -> int:
    return RESERVE + RESERVE_PER_RUNNER * runners
