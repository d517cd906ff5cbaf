"""How much of each range is used."""

from __future__ import annotations

from whereabouts.deadline import Deadline
from whereabouts.pool import Pool
from whereabouts.ranges import Range
from whereabouts.store import Store
from whereabouts.values import NamedTuple


class Usage(NamedTuple):
    """Addresses of one pool, whatever single configurations of its range exclude."""

    network_name: str
    range: str
    capacity: int
    used: int

    @property
    def free(self) -> int:
        """Addresses that are left."""
        return self.capacity - self.used


def usage(store: Store, deadline: Deadline) -> list[Usage]:
    """The usage of every pool, by name, as the blocks' bitmaps have it.

    An address that another range of the same network gave is used in this one as well; all addresses of
    a damaged block are.
    """
    return [_usage_of(stored.pool, store, deadline) for stored in store.pools(deadline)]


def _usage_of(pool: Pool, store: Store, deadline: Deadline) -> Usage:
    whole = Range.parse(pool.key.range, enable_l3=True, allow_dot_zero=True)
    capacity = Range.parse(pool.key.range, lenient=True).capacity()
    used = 0
    for key, bitmap in store.bitmaps(pool.space, whole.version, whole.first & ~255, whole.last, deadline):
        start, stop = max(0, whole.first - key.base), min(256, whole.last - key.base + 1)
        used += stop - start if bitmap is None else bitmap.count(start, stop)
    return Usage(pool.key.network_name, pool.key.range, capacity, min(used, capacity))
