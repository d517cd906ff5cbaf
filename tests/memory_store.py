"""A store in memory, as small as it can be, whose stored halves a test may damage."""

from collections.abc import Collection, Iterator

from whereabouts._bitmap import Bitmap
from whereabouts.block import Block, BlockKey, Space, read_bitmap
from whereabouts.deadline import Deadline
from whereabouts.pool import Pool, PoolKey
from whereabouts.slices import SlicePool
from whereabouts.store import Conflict, Judge, StoredBlock, StoredPool, StoredSlices


class MemoryStore:
    """See :class:`whereabouts.store.Store`. Looks everything up by walking through it."""

    conflict_pause = 0.0
    concurrent = False
    claims_slices = True
    remembered_hints = None
    given_twice = ()

    def __init__(self) -> None:
        self.halves: dict[BlockKey, tuple[int, bytes, bytes]] = {}
        """Revision, bitmap and owners."""
        self.stored_pools: dict[PoolKey, StoredPool] = {}
        self.stored_slices: dict[str, StoredSlices] = {}
        self._read: dict[BlockKey, tuple[tuple[int, bytes, bytes], StoredBlock]] = {}

    def read_block(self, key: BlockKey, deadline: Deadline, *, fresh: bool = False) -> StoredBlock | None:
        if key not in self.halves:
            return None
        halves = revision, bitmap, owners = self.halves[key]
        before, stored = self._read.get(key, (None, None))
        if stored is None or before is not halves:
            stored = StoredBlock.judged(
                key,
                revision,
                lambda: Block.from_halves(key, bitmap, owners),
                lambda: (("bitmap", bitmap), ("owners", owners)),
            )
            self._read[key] = halves, stored
        return stored

    def write_block(
        self, key: BlockKey, previous: StoredBlock | None, block: Block, deadline: Deadline
    ) -> StoredBlock:
        revision = self.halves[key][0] if key in self.halves else None
        if revision != (previous and previous.revision):
            raise Conflict(key.name)
        self.halves[key] = ((revision or 0) + 1, block.bitmap(), block.owners())
        return StoredBlock(key, (revision or 0) + 1, block)

    def blocks(self, deadline: Deadline) -> Iterator[StoredBlock]:
        for key in sorted(self.halves):
            stored = self.read_block(key, deadline)
            if stored is not None:
                yield stored

    def learn(self, deadline: Deadline) -> Iterator[StoredBlock]:
        return self.blocks(deadline)

    def bitmaps(
        self, space: Space, version: int, first: int, last: int, deadline: Deadline
    ) -> Iterator[tuple[BlockKey, Bitmap | None]]:
        for key in sorted(self.halves):
            if (key.space, key.version) == (space, version) and first <= key.base <= last:
                yield key, read_bitmap(self.halves[key][1])

    def blocks_of_pod(self, pod_ref: str, ifname: str, deadline: Deadline) -> Collection[BlockKey]:
        return [
            stored.key
            for stored in self.blocks(deadline)
            if any((one.pod_ref, one.ifname) == (pod_ref, ifname) for _, one in stored.block or ())
        ]

    def blocks_of_attachment(
        self, container_id: str, ifname: str, deadline: Deadline
    ) -> Collection[BlockKey]:
        return [
            stored.key
            for stored in self.blocks(deadline)
            if any(one.belongs_to(container_id, ifname) for _, one in stored.block or ())
        ]

    def read_pool(self, key: PoolKey, deadline: Deadline) -> StoredPool | None:
        return self.stored_pools.get(key)

    def create_pool(self, pool: Pool, deadline: Deadline) -> StoredPool:
        return self.stored_pools.setdefault(pool.key, StoredPool(1, pool))

    def write_pool(
        self, previous: StoredPool, pool: Pool, deadline: Deadline, *, exhausted: Judge | None = None
    ) -> None:
        if self.stored_pools[pool.key].revision != previous.revision:
            raise Conflict(pool.key.name)
        self.stored_pools[pool.key] = StoredPool(int(previous.revision) + 1, pool)

    def hints_hold(self, pool: StoredPool) -> bool:
        return True

    def pools(
        self, deadline: Deadline, network_name: str | None = None, *, hinted: bool = False
    ) -> Collection[StoredPool]:
        return [
            stored
            for key, stored in sorted(self.stored_pools.items())
            if network_name in (None, key.network_name)
            and (stored.pool.exhausted if hinted else not key.node)
        ]

    def read_slices(self, name: str, deadline: Deadline, *, fresh: bool = False) -> StoredSlices | None:
        return self.stored_slices.get(name)

    def slice_pools(self, deadline: Deadline) -> Iterator[StoredSlices]:
        yield from (stored for _, stored in sorted(self.stored_slices.items()))

    def create_slices(self, pool: SlicePool, deadline: Deadline) -> StoredSlices:
        return self._put_slices(None, pool)

    def write_slices(self, previous: StoredSlices, pool: SlicePool, deadline: Deadline) -> StoredSlices:
        return self._put_slices(previous, pool)

    def _put_slices(self, previous: StoredSlices | None, pool: SlicePool) -> StoredSlices:
        if self.stored_slices.get(pool.name) is not previous:
            raise Conflict(pool.name)
        self.stored_slices[pool.name] = StoredSlices(int(previous.revision) + 1 if previous else 1, pool)
        return self.stored_slices[pool.name]

    def delete_slices(self, previous: StoredSlices, deadline: Deadline) -> None:
        if self.stored_slices.get(previous.pool.name, previous) is not previous:
            raise Conflict(previous.pool.name)
        self.stored_slices.pop(previous.pool.name, None)

    def close(self) -> None:
        """There is nothing to let go of."""
