"""What a process remembers of etcd, so that an ADD needs no reads.

Nothing here is trusted: a write is conditional on everything that it rests on still being so. What is
wrong here costs that write, and is put right by its answer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

from whereabouts.block import BlockKey
from whereabouts.pool import PoolKey
from whereabouts.store import StoredBlock, StoredPool
from whereabouts.values import NamedTuple

MAX_BLOCKS = 64
"""Remembered blocks; a full one takes about 200 KB."""
MAX_POOLS = 256
MAX_PODS = 4096

PodKey = tuple[str, str]
"""Pod reference and interface name."""


class PodBlocks(NamedTuple):
    """In which blocks a pod's interface has records, as of a revision of the store."""

    revision: int
    blocks: frozenset[BlockKey]


UNKNOWN_POD = PodBlocks(0, frozenset())
"""What is assumed of a pod that nothing is known of: that it has no record anywhere."""


class Memory:
    """The blocks, pools and pods that were seen last. For any number of threads."""

    def __init__(self) -> None:
        """An empty memory."""
        self._lock = Lock()
        self._blocks: OrderedDict[BlockKey, StoredBlock] = OrderedDict()
        self._pools: OrderedDict[PoolKey, StoredPool] = OrderedDict()
        self._slices: dict[tuple[PoolKey, str], PoolKey] = {}
        self._pods: OrderedDict[PodKey, PodBlocks] = OrderedDict()

    def block(self, key: BlockKey) -> StoredBlock | None:
        """The block, if it is remembered."""
        with self._lock:
            return self._blocks.get(key)

    def remember_block(self, key: BlockKey, stored: StoredBlock | None) -> None:
        """Remember a block as it was read; one that is missing or damaged is read each time."""
        with self._lock:
            self._blocks.pop(key, None)
            if stored is not None and stored.block is not None:
                self._blocks[key] = stored
                if len(self._blocks) > MAX_BLOCKS:
                    self._blocks.popitem(last=False)

    def pool(self, key: PoolKey) -> StoredPool | None:
        """The pool, if it is remembered."""
        with self._lock:
            return self._pools.get(key)

    def remember_pool(self, key: PoolKey, stored: StoredPool | None) -> None:
        """Remember a pool as it was read."""
        with self._lock:
            self._pools.pop(key, None)
            if stored is not None:
                self._pools[key] = stored
                if key.node:
                    self._slices[key.of_whole, key.node] = key
                if len(self._pools) > MAX_POOLS:
                    self._pools.popitem(last=False)

    def notice_pool(self, stored: StoredPool) -> None:
        """Remember a pool out of a listing, which drives out no pool that is in use."""
        with self._lock:
            there = stored.pool.key in self._pools or len(self._pools) < MAX_POOLS
        if there:
            self.remember_pool(stored.pool.key, stored)

    def pools_of(self, whole: PoolKey, node: str) -> Sequence[StoredPool]:
        """Those of a range and of the node's slice of it that are remembered."""
        keys = (whole, self._slices.get((whole, node)))
        return [stored for key in keys if key is not None and (stored := self.pool(key)) is not None]

    def pod(self, key: PodKey) -> PodBlocks:
        """What is known of a pod's interface, or assumed."""
        with self._lock:
            return self._pods.get(key, UNKNOWN_POD)

    def forget_block_of_pod(self, key: PodKey, block: BlockKey) -> None:
        """A pod's interface has no record in this block any more."""
        with self._lock:
            known = self._pods.get(key)
            if known is not None:
                self._pods[key] = known._replace(blocks=known.blocks - {block})

    def remember_pod(self, key: PodKey, known: PodBlocks) -> None:
        """Remember in which blocks a pod's interface has records."""
        with self._lock:
            self._pods.pop(key, None)
            self._pods[key] = known
            if len(self._pods) > MAX_PODS:
                self._pods.popitem(last=False)
