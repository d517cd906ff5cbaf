"""What etcd has beside the blocks that can be read: keys that name none, and what is derived from blocks.

Searches read the bitmaps that stand alone, and DEL reads the index of attachments: where these differ from
the blocks, addresses are left out or not found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from whereabouts._bitmap import Bitmap
from whereabouts.addresses import text_of
from whereabouts.block import Block, BlockDamaged, BlockKey, read_bitmap
from whereabouts.deadline import Deadline
from whereabouts.findings import Finding, Record
from whereabouts.inspection import Surroundings
from whereabouts.store import StoredBlock
from whereabouts.stores import etcd_messages as messages
from whereabouts.stores import etcd_values as values
from whereabouts.stores.etcd import KEYS_AT_ONCE, EtcdStore
from whereabouts.stores.etcd_keys import Keys, block_name


def surroundings(
    store: EtcdStore, prefix: str, blocks: Sequence[StoredBlock], deadline: Deadline
) -> Surroundings:
    """What is wrong around the blocks that were read from ``store``, whose keys begin with ``prefix``."""
    keys = Keys(prefix)
    return Surroundings(
        [
            *_misnamed(store, keys, deadline),
            *_stray_bitmaps(store, keys, blocks, deadline),
            *_not_in_index(store, keys, blocks, deadline),
        ]
    )


def _keys_from(store: EtcdStore, beginning: bytes, deadline: Deadline) -> Iterator[bytes]:
    start, end, more = beginning, messages.end_of(beginning), True
    while more:
        read = messages.read(start, end, limit=KEYS_AT_ONCE, keys_only=True)
        reply = store.connection.transact(messages.transaction((), [read]), deadline, writes=False)
        ((pairs, more),) = reply.outcome.found
        yield from (pair.key for pair in pairs)
        if more:
            start = pairs[-1].key + b"\0"


def _misnamed(store: EtcdStore, keys: Keys, deadline: Deadline) -> Iterator[Finding]:
    beginning = keys.blocks()
    for key in _keys_from(store, beginning, deadline):
        if keys.block_at(key, beginning) is None:
            name = key.decode(errors="replace")
            yield Finding("misnamed-block", f"the key {name} names no block", place=name)


def _stray_bitmaps(
    store: EtcdStore, keys: Keys, blocks: Sequence[StoredBlock], deadline: Deadline
) -> Iterator[Finding]:
    """Bitmaps that do not say what their blocks say."""
    spaces = {(stored.key.space, stored.key.version) for stored in blocks}
    alone = {
        key: used
        for space, version in sorted(spaces)
        for key, used in store.bitmaps(space, version, 0, 2 ** (32 if version == 4 else 128) - 1, deadline)
    }
    for stored in blocks:
        key = stored.key
        if stored.block is not None and not _agree(stored.block, alone.get(key)):
            why = _disagreement(store, keys, key, deadline)
            if why:
                message = f"the bitmap that searches read of block {key.name} ({key.cidr}) {why}"
                yield Finding("stray-bitmap", message, key.space.network_name, place=key.name)


def _agree(block: Block, used: Bitmap | None) -> bool:
    return used is not None and list(used) == [offset for offset, _ in block]


def _disagreement(store: EtcdStore, keys: Keys, key: BlockKey, deadline: Deadline) -> str:
    """How a block and its bitmap differ, of one revision of etcd; empty where they do not."""
    reads = [messages.read(keys.block(key)), messages.read(keys.bitmaps() + block_name(key))]
    request = messages.transaction((), reads)
    block, bitmap = store.connection.transact(request, deadline, writes=False).outcome.found
    if not block.pairs:
        return ""
    if not bitmap.pairs:
        return "is missing"
    try:
        stored = values.read_block(key, block.pairs[0].value)
    except BlockDamaged:
        return ""  # which is found elsewhere
    return "" if _agree(stored, read_bitmap(bitmap.pairs[0].value)) else "does not say what the block says"


def _not_in_index(
    store: EtcdStore, keys: Keys, blocks: Sequence[StoredBlock], deadline: Deadline
) -> Iterator[Finding]:
    beginning = keys.attachment("", "").removesuffix(b"-/-/")
    index = set(_keys_from(store, beginning, deadline))
    for stored in blocks:
        if stored.block is None:
            continue
        name = block_name(stored.key)
        for offset, owner in stored.block:
            if keys.attachment(owner.container_id, owner.ifname) + name not in index:
                address = stored.key.address(offset)
                yield Finding(
                    "index",
                    f"{text_of(address)} is held by {owner.pod_ref} {owner.ifname}, but the index of "
                    "attachments does not lead there",
                    stored.key.space.network_name,
                    place=stored.key.name,
                    record=Record(stored.key.space, address, owner),
                    pod=owner.pod_ref,
                )
