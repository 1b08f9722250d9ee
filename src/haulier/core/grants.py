"""Grants: leased shares of a store's limits, by which many runners together keep them (design §5). Pure values and sums."""

from collections.abc import Mapping

import msgspec


class Grant(msgspec.Struct, frozen=True):
    """What one runner may do to one store, over all its buckets and roles."""

    in_flight: int = 0
    """Requests in flight at most."""
    per_second: float | None = None
    """Requests begun in a second at most; None = as many as it can."""


class Usage(msgspec.Struct, frozen=True):
    """What a runner did to a store since it last told."""

    in_flight: int
    """Requests in flight at most."""
    holds: int
    """How many it may have in flight from now on: its grant, or what still is in flight of a larger one."""
    per_second: float
    """Requests begun in a second."""
    full: bool
    """It would have had more in flight, had it been granted."""
    paced: bool
    """It would have begun more in a second."""
    server: str | None = None
    """The Server header of the store's answers; None before the first."""


def divide(total: float, demands: Mapping[str, float]) -> dict[str, float]:
    """Shares of `total`: nobody gets less than an equal share unless it wants less, and what is left over when all have what they
    want is shared equally. The sum is `total` (nothing without demands)."""
    shares = dict.fromkeys(demands, 0.0)
    left = total
    waiting = sorted(demands, key=lambda name: (demands[name], name))
    while waiting:
        name = waiting[0]
        if demands[name] > left / len(waiting):
            break
        shares[name] = demands[name]
        left -= demands[name]
        waiting.pop(0)
    for name in waiting or demands:
        shares[name] += left / len(waiting or demands)
    return shares


def in_whole(shares: Mapping[str, float], turn: int = 0) -> dict[str, int]:
    """The shares as whole numbers with the same sum (rounded down). What the cutting leaves goes to the largest parts cut off;
    among equal ones `turn` chooses, so that where there are fewer than runners each has its turn."""
    whole = {name: int(share) for name, share in shares.items()}
    left = int(sum(shares.values()) + 1e-6) - sum(whole.values())
    names = sorted(shares)
    order = {name: (number - turn) % len(names) for number, name in enumerate(names)}
    for name in sorted(names, key=lambda name: (round(whole[name] - shares[name], 6), order[name]))[:left]:
        whole[name] += 1
    return whole
