"""What a datastore holds, for people and programs: ranges with their use, and allocations.

The forms that :func:`ranges_as_json` and :func:`allocations_as_json` give are stable; fields may be added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from whereabouts.addresses import Address, text_of
from whereabouts.block import BlockKey, Space
from whereabouts.deadline import Deadline
from whereabouts.findings import Record
from whereabouts.owners import Owner
from whereabouts.store import Store, StoredBlock
from whereabouts.usage import RangeUse

VERSION = 1
LARGEST_NUMBER = 2**53
"""Beyond this a JSON number is not exact for everybody: such counts are written as text."""


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
