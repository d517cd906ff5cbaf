"""What a datastore holds, for people and programs: ranges with their use, and allocations.

The forms that :func:`ranges_as_json` and :func:`allocations_as_json` give are stable; fields may be added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import NamedTuple

from whereabouts._bitmap import Bitmap
from whereabouts.addresses import Address, text_of
from whereabouts.block import BLOCK_SIZE, BlockKey, Space
from whereabouts.deadline import Deadline
from whereabouts.findings import Record
from whereabouts.owners import Owner
from whereabouts.pool import Pool
from whereabouts.ranges import Range
from whereabouts.store import Store, StoredBlock

VERSION = 1
LARGEST_NUMBER = 2**53
"""Beyond this a JSON number is not exact for everybody: such counts are written as text."""


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
    """The use of every pool, or of those of one network name.

    The owners of addresses are read only for ``nodes``; without, the blocks' bitmaps tell all.
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
    """The use of these pools, in their order.

    With ``nodes`` all blocks are read, and ``seen`` is called with each of them, in the order of the store.
    """
    parts = [_Part(pool) for pool in pools]
    together: dict[tuple[Space, int], list[_Part]] = {}
    for part in parts:
        together.setdefault((part.pool.space, part.version), []).append(part)
    for (space, version), members in together.items():  # each space is gone through once
        first, last = min(one.first for one in members), max(one.last for one in members)
        base = first // BLOCK_SIZE * BLOCK_SIZE
        for key, bitmap in store.bitmaps(space, version, base, last, deadline):
            for one in members:
                one.count(key.base, bitmap)
    by_node = _by_node(store.blocks(deadline), seen) if nodes else None
    return [part.use(by_node) for part in parts]


class _Part:
    """A range whose use is being counted."""

    def __init__(self, pool: Pool) -> None:
        network = ip_network(pool.key.range)
        self.pool = pool
        self.version = network.version
        self.first, self.last = int(network.network_address), int(network.broadcast_address)
        self._used = self._blocks = self._damaged = 0

    def count(self, base: int, bitmap: Bitmap | None) -> None:
        """Add what a block has, if it has anything of the range."""
        start, stop = max(0, self.first - base), min(BLOCK_SIZE, self.last - base + 1)
        if start < stop:
            here = stop - start if bitmap is None else bitmap.count(start, stop)
            self._used += here
            self._blocks += bool(here)
            self._damaged += bitmap is None

    def use(self, by_node: Mapping[tuple[Space, str], Mapping[str, int]] | None) -> RangeUse:
        """What was counted."""
        capacity = Range.parse(self.pool.key.range, lenient=True).capacity()
        mine = (self.pool.space, self.pool.key.range)
        nodes = None if by_node is None else by_node.get(mine, {})
        used = min(self._used, capacity)
        return RangeUse(self.pool, capacity, used, self._blocks, self._damaged, nodes)


def _by_node(
    blocks: Iterable[StoredBlock], seen: Callable[[StoredBlock], None]
) -> dict[tuple[Space, str], Counter[str]]:
    found: dict[tuple[Space, str], Counter[str]] = {}
    for stored in blocks:
        seen(stored)
        for _, owner in stored.block or ():
            found.setdefault((stored.key.space, owner.range), Counter())[owner.node] += 1
    return found


def ranges_as_json(uses: Sequence[RangeUse]) -> dict[str, object]:
    """The ranges in their stable form."""
    return {"version": VERSION, "ranges": [_range_as_json(use) for use in uses]}


def _range_as_json(use: RangeUse) -> dict[str, object]:
    pool = use.pool
    return {
        "pool": pool.key.name,
        "network_name": pool.key.network_name,
        "range": pool.key.range,
        "overlapping": pool.shared,
        "capacity": exact(use.capacity),
        "used": exact(use.used),
        "free": exact(use.free),
        "percent": use.percent,
        "blocks": use.blocks,
        "damaged_blocks": use.damaged,
        "hinted_blocks": {view: exact(bits.count()) for view, bits in sorted(pool.exhausted.items())},
        "nodes": dict(sorted((use.nodes or {}).items())),
    }


def exact(number: int) -> int | str:
    """The number, as text where JSON could not carry it to everybody."""
    return number if number < LARGEST_NUMBER else str(number)


# ----------------------------------------------------------------- allocations


class Content(NamedTuple):
    """Blocks, and the allocations in them that were asked for."""

    blocks: Sequence[StoredBlock]
    records: Sequence[Record]


def at_address(
    store: Store, address: Address, deadline: Deadline, network_name: str | None = None
) -> Content:
    """The blocks that have an address, one a space, and who holds it there.

    They are looked for where ranges live and where they could have lived before; where nobody is found,
    everywhere.
    """
    pools = [stored.pool.key for stored in store.pools(deadline, network_name)]
    spaces = {Space(key.network_name, own) for key in pools for own in ("", key.range)}
    read = (store.read_block(BlockKey.of(space, address), deadline, fresh=True) for space in sorted(spaces))
    blocks = [stored for stored in read if stored is not None]
    records = [record for record in records_in(blocks) if record.address == address]
    if not records:
        base = BlockKey.of(Space(), address)[1:]
        blocks = [stored for stored in _blocks(store, deadline, network_name) if stored.key[1:] == base]
        records = [record for record in records_in(blocks) if record.address == address]
    return Content(blocks, records)


def in_blocks(
    store: Store, wanted: Callable[[BlockKey], bool], deadline: Deadline, network_name: str | None = None
) -> Content:
    """The blocks for whose key ``wanted`` is true, with all their allocations."""
    blocks = [stored for stored in _blocks(store, deadline, network_name) if wanted(stored.key)]
    return Content(blocks, list(records_in(blocks)))


def held(
    store: Store, wanted: Callable[[Owner], bool], deadline: Deadline, network_name: str | None = None
) -> Content:
    """The allocations for whose owner ``wanted`` is true, and all blocks that cannot be read."""
    blocks = []
    records: list[Record] = []
    for stored in _blocks(store, deadline, network_name):
        here = [record for record in records_in([stored]) if wanted(record.owner)]
        if here or stored.block is None:
            blocks.append(stored)
        records += here
    return Content(blocks, records)


def _blocks(store: Store, deadline: Deadline, network_name: str | None) -> Iterator[StoredBlock]:
    for stored in store.blocks(deadline):
        if network_name in (None, stored.key.space.network_name):
            yield stored


def records_in(blocks: Iterable[StoredBlock]) -> Iterator[Record]:
    """The allocations of blocks that can be read, in their order."""
    for stored in blocks:
        for offset, owner in stored.block or ():
            yield Record(stored.key.space, stored.key.address(offset), owner)


def allocations_as_json(content: Content) -> dict[str, object]:
    """Blocks and allocations in their stable form."""
    return {
        "version": VERSION,
        "blocks": [_block_as_json(stored) for stored in content.blocks],
        "allocations": [_allocation_as_json(record) for record in content.records],
    }


def _block_as_json(stored: StoredBlock) -> dict[str, object]:
    key = stored.key
    return {
        "block": key.name,
        "cidr": str(key.cidr),
        "network_name": key.space.network_name,
        "own_range": key.space.own_range,
        "allocated": None if stored.block is None else len(stored.block),
        "damage": stored.damage,
    }


def _allocation_as_json(record: Record) -> dict[str, object]:
    owner = record.owner
    return {
        "address": text_of(record.address),
        "network_name": record.space.network_name,
        "range": owner.range,
        "block": record.block.name,
        "pod": owner.pod_ref,
        "pod_uid": owner.pod_uid,
        "container_id": owner.container_id,
        "interface": owner.ifname,
        "node": owner.node,
        "cni_network": owner.network,
        "created": owner.created,
    }
