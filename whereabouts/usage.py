"""How much of each range is used."""

from __future__ import annotations

from whereabouts.block import BLOCK_SIZE, BlockKey
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
    whole = Range.parse(pool.key.range, lenient=True)
    capacity, used = whole.capacity(), 0
    first, last = int(whole.network.network_address), int(whole.network.broadcast_address)
    lowest = BlockKey.of(pool.space, whole.network.network_address)
    for key, bitmap in store.bitmaps(pool.space, lowest.version, lowest.base, last, deadline):
        start, stop = max(0, first - key.base), min(BLOCK_SIZE, last - key.base + 1)
        used += stop - start if bitmap is None else bitmap.count(start, stop)
    return Usage(pool.key.network_name, pool.key.range, capacity, min(used, capacity))
