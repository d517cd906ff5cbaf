"""How much of each range is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_network

from whereabouts._bitmap import Bitmap
from whereabouts.addresses import Network
from whereabouts.block import BLOCK_SIZE, BlockKey, Space
from whereabouts.deadline import Deadline
from whereabouts.pool import Pool
from whereabouts.ranges import Range
from whereabouts.store import Store, StoredBlock
from whereabouts.values import NamedTuple


class RangeUse(NamedTuple):
    """A pool and how much of it is used, whatever single configurations of its range exclude."""

    pool: Pool
    capacity: int
    used: int
    """Used addresses of the range, also by other ranges of its space; all those of damaged blocks."""
    blocks: int
    """Blocks of the range in which something is used."""
    damaged: int
    nodes: Mapping[str, int] | None
    """Addresses of the range by node; None where nobody asked."""

    @property
    def free(self) -> int:
        """Addresses that are left."""
        return self.capacity - self.used

    @property
    def percent(self) -> int:
        """The used part in per cent, rounded down."""
        return 100 * self.used // self.capacity if self.capacity else 100


def range_uses(
    store: Store, deadline: Deadline, network_name: str | None = None, *, nodes: bool = False
) -> list[RangeUse]:
    """The use of every range, or of those of one network name, in their order.

    The slices of a range are parts of it, and not counted beside it.
    """
    pools = [stored.pool for stored in store.pools(deadline, network_name)]
    return uses_of(pools, store, deadline, nodes=nodes)


def uses_of(
    pools: Iterable[Pool],
    store: Store,
    deadline: Deadline,
    *,
    nodes: bool = False,
    seen: Callable[[StoredBlock], None] = lambda _: None,
) -> list[RangeUse]:
    """The use of these pools, also of slices, in their order.

    The bitmaps of each space are gone through once. With ``nodes`` all blocks are instead, and ``seen`` is
    called with each of them, in the order of the store.
    """
    parts = [_Part(pool, nodes) for pool in pools]
    together: dict[tuple[Space, int], list[_Part]] = {}
    for part in parts:
        together.setdefault((part.pool.space, part.version), []).append(part)
    if nodes:
        for stored in store.blocks(deadline):
            seen(stored)
            for one in together.get(stored.key[:2], ()):
                one.take(stored)
    else:
        for (space, version), members in together.items():
            for key, bitmap in _bitmaps(store, space, version, members, deadline):
                for one in members:
                    one.count(key.base, bitmap)
    return [part.use() for part in parts]


def _bitmaps(
    store: Store, space: Space, version: int, members: Sequence[_Part], deadline: Deadline
) -> Iterator[tuple[BlockKey, Bitmap | None]]:
    first, last = min(one.first for one in members), max(one.last for one in members)
    return store.bitmaps(space, version, first // BLOCK_SIZE * BLOCK_SIZE, last, deadline)


class _Part:
    """A range whose use is being counted."""

    def __init__(self, pool: Pool, nodes: bool) -> None:
        network = ip_network(pool.key.range)
        self.pool = pool
        self.version = network.version
        self.first, self.last = int(network.network_address), int(network.broadcast_address)
        self._used = self._blocks = self._damaged = 0
        self._nodes: Counter[str] | None = Counter() if nodes else None

    def count(self, base: int, bitmap: Bitmap | None) -> None:
        """Add what a block has, if it has anything of the range."""
        start, stop = self._within(base)
        if start < stop:
            self._add(stop - start if bitmap is None else bitmap.count(start, stop), bitmap is None)

    def take(self, stored: StoredBlock) -> None:
        """The same of a block with its owners, and on which nodes they are."""
        start, stop = self._within(stored.key.base)
        if start < stop:
            owners = [owner for offset, owner in stored.block or () if start <= offset < stop]
            self._add(stop - start if stored.block is None else len(owners), stored.block is None)
            if self._nodes is not None:
                text = self.pool.key.range
                self._nodes.update(owner.node for owner in owners if owner.range == text)

    def _within(self, base: int) -> tuple[int, int]:
        """The offsets of a block that are of the range, half-open; none where the second is not above."""
        return max(0, self.first - base), min(BLOCK_SIZE, self.last - base + 1)

    def _add(self, used: int, damaged: bool) -> None:
        self._used += used
        self._blocks += bool(used)
        self._damaged += damaged

    def use(self) -> RangeUse:
        """What was counted."""
        capacity = Range.parse(self.pool.key.range, lenient=True).capacity()
        used = min(self._used, capacity)
        return RangeUse(self.pool, capacity, used, self._blocks, self._damaged, self._nodes)


def in_use(store: Store, space: Space, network: Network, deadline: Deadline) -> bool:
    """Whether an address of ``network`` is used in a space; those of a damaged block are."""
    first, last = int(network.network_address), int(network.broadcast_address)
    lowest = BlockKey.of(space, network.network_address)
    for key, bitmap in store.bitmaps(space, lowest.version, lowest.base, last, deadline):
        start, stop = max(0, first - key.base), min(BLOCK_SIZE, last - key.base + 1)
        if bitmap is None or bitmap.count(start, stop):
            return True
    return False
