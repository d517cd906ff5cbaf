"""How much of each range is used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from whereabouts.addresses import Network
from whereabouts.block import BLOCK_SIZE, BlockKey, Space
from whereabouts.deadline import Deadline
from whereabouts.pool import Pool, PoolKey
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
    """The usage of every range, by name, as the blocks' bitmaps have it.

    An address that another range of the same network gave is used in this one as well; all addresses of
    a damaged block are. The slices of a range are parts of it, and not counted beside it.
    """
    pools = [stored.pool for stored in store.pools(deadline)]
    return list(usage_of(store, pools, deadline).values())


def usage_of(store: Store, pools: Collection[Pool], deadline: Deadline) -> Mapping[PoolKey, Usage]:
    """The usage of these pools, also of slices, in their order; each space is gone through once."""
    wholes = {pool.key: Range.parse(pool.key.range, lenient=True) for pool in pools}
    used = dict.fromkeys(wholes, 0)
    groups: dict[tuple[Space, int], list[tuple[PoolKey, int, int]]] = defaultdict(list)
    for pool in pools:
        network = wholes[pool.key].network
        bounds = int(network.network_address), int(network.broadcast_address)
        groups[pool.space, network.version].append((pool.key, *bounds))
    for (space, version), members in groups.items():
        lowest = min(first for _, first, _ in members) // BLOCK_SIZE * BLOCK_SIZE
        highest = max(last for *_, last in members)
        for key, bitmap in store.bitmaps(space, version, lowest, highest, deadline):
            for member, first, last in members:
                start, stop = max(0, first - key.base), min(BLOCK_SIZE, last - key.base + 1)
                if start < stop:
                    used[member] += stop - start if bitmap is None else bitmap.count(start, stop)
    capacities = {key: whole.capacity() for key, whole in wholes.items()}
    return {
        key: Usage(key.network_name, key.range, capacity, min(used[key], capacity))
        for key, capacity in capacities.items()
    }


def in_use(store: Store, space: Space, network: Network, deadline: Deadline) -> bool:
    """Whether an address of ``network`` is used in a space; those of a damaged block are."""
    first, last = int(network.network_address), int(network.broadcast_address)
    lowest = BlockKey.of(space, network.network_address)
    for key, bitmap in store.bitmaps(space, lowest.version, lowest.base, last, deadline):
        start, stop = max(0, first - key.base), min(BLOCK_SIZE, last - key.base + 1)
        if bitmap is None or bitmap.count(start, stop):
            return True
    return False
