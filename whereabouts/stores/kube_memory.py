"""What a process remembers of the API server, so that an ADD in the steady state is one request.

Nothing here is trusted for safety: every write is conditional on the block still being what is remembered.
The order in which addresses are given rests on one rule more: *a pool is remembered at least as late as
the blocks that its hints lead to*. Whoever takes a hint back numbers that, and leaves the number with the
blocks where others search now (see :class:`~whereabouts.stores.kube_objects.Marks`). A block that is read
with a higher number than the remembered pool knows of makes that pool forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from threading import Lock
from time import monotonic

from whereabouts.block import Block, BlockKey
from whereabouts.pool import PoolKey
from whereabouts.store import Revision, StoredBlock, StoredPool
from whereabouts.stores.kube_index import OwnerIndex, Seen, is_later
from whereabouts.stores.kube_objects import BlockMarks, pool_name
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any, TypeVar

    Name = TypeVar("Name")
    Known = TypeVar("Known")

MAX_BLOCKS = 64
"""Remembered blocks; a full one takes about 200 KB, and the garbage collector looks at all of them."""
MAX_POOLS = 4096
"""Remembered pools; an ADD asks for another once more."""
WRITING = 64
"""Pools that are written at the same time, at most: a lock is that of several."""
RELIST_SECONDS = 600.0
"""How old the index of attachments may be when something is not found in it."""


class KnownBlock(NamedTuple):
    """A block as it was read or written last, what pools have to do with it, and its object's metadata."""

    stored: StoredBlock
    marks: BlockMarks
    metadata: Any


class KnownPool:
    """A pool as it was read or written last.

    ``withdrawn`` is the highest number of a taking-back that it is known to reflect. ``announced`` are the
    blocks that were flagged for this pool after it was read in this state.
    """

    __slots__ = ("announced", "stored", "withdrawn")

    def __init__(self, stored: StoredPool, withdrawn: int) -> None:
        """A pool for which no block was flagged yet."""
        self.stored = stored
        self.withdrawn = withdrawn
        self.announced: set[int] = set()


class Asked(NamedTuple):
    """What was known when a pool was asked for: the answer is no later than that."""

    told: int
    """The highest number of a taking-back that blocks had told of."""
    at: float
    """When it was, on the monotonic clock."""


class Memory:
    """Blocks and pools by the names of their objects, and an index of owners. For any number of threads."""

    def __init__(self) -> None:
        """An empty memory."""
        self._lock = Lock()
        self._blocks: OrderedDict[str, KnownBlock] = OrderedDict()
        self._pools: OrderedDict[str, KnownPool] = OrderedDict()
        self._told: OrderedDict[str, int] = OrderedDict()
        self._writing = [Lock() for _ in range(WRITING)]
        self._forgotten: OrderedDict[str, float] = OrderedDict()
        self._all_forgotten = 0.0
        """For pools that are not in there any more."""
        self._slices: OrderedDict[tuple[PoolKey, str], str] = OrderedDict()
        self._owners = OwnerIndex()
        self._indexed_at: float | None = None

    # ------------------------------------------------------------------ blocks

    def block(self, name: str) -> KnownBlock | None:
        """The block, if it is remembered. Pools that it knows more of than they show are forgotten."""
        with self._lock:
            known = self._blocks.get(name)
            if known is not None and known.marks:
                self._compare(known.marks)
            return known

    def remember_block(self, known: KnownBlock) -> None:
        """Remember a block that was read or written, unless a later state of it is remembered.

        An answer may come after that to a request that was sent later. What it lacks is not gone: it was
        not there yet.
        """
        name, block = known.stored.key.name, known.stored.block
        with self._lock:
            before = self._blocks.get(name)
            if before is not None and is_later(before.stored.revision, known.stored.revision):
                return
            self._blocks.pop(name, None)
            if block is not None:
                self._blocks[name] = known
                if len(self._blocks) > MAX_BLOCKS:
                    self._blocks.popitem(last=False)
                self._owners.see(block, known.stored.revision, before.stored if before else None)
            self._compare(known.marks)

    def forget_block(self, name: str) -> None:
        """The block is not what it was remembered as."""
        with self._lock:
            self._blocks.pop(name, None)

    def _compare(self, marks: BlockMarks) -> None:
        for name, mark in marks.items():
            pool = self._pools.get(name)
            if pool is None or mark.withdrawn > pool.withdrawn:
                _keep(self._told, name, max(mark.withdrawn, self._told.get(name, 0)))
                self._pools.pop(name, None)

    # ------------------------------------------------------------------- pools

    def pool(self, name: str) -> KnownPool | None:
        """The pool, if it is remembered."""
        with self._lock:
            return self._pools.get(name)

    def writing(self, name: str) -> Lock:
        """What the one thread holds that is about to write the pool, and no other pool meanwhile."""
        return self._writing[hash(name) % WRITING]

    def told(self, name: str) -> int:
        """The highest number of a taking-back that blocks told of."""
        with self._lock:
            return self._told.get(name, 0)

    def asked(self, name: str) -> Asked:
        """For :meth:`remember_pool`, before the pool is read or written."""
        return Asked(self.told(name), monotonic())

    def forgotten(self, name: str) -> float:
        """When the pool was forgotten last, on the monotonic clock: what was asked before is too old."""
        with self._lock:
            return self._forgotten.get(name, self._all_forgotten)

    def remember_pool(self, name: str, pool: KnownPool, asked: Asked) -> None:
        """Remember a pool that was read or written, unless a later one is remembered, or is to be read."""
        with self._lock:
            if asked.at <= self._forgotten.get(name, self._all_forgotten):
                return
            before = self._pools.get(name)
            if before is not None and before.withdrawn > pool.withdrawn:
                return
            if pool.withdrawn < self._told.get(name, 0):
                return
            key = pool.stored.pool.key
            if key.node:
                _keep(self._slices, (key.of_whole, key.node), name)
            _keep(self._pools, name, pool)

    def pools_of(self, whole: PoolKey, node: str) -> dict[str, KnownPool]:
        """Those of a range and of the node's slice of it that are remembered, by their names."""
        with self._lock:
            names = pool_name(whole), self._slices.get((whole, node), "")
            return {name: self._pools[name] for name in names if name in self._pools}

    def forget_pool(self, name: str) -> None:
        """Have the pool read the next time."""
        with self._lock:
            self._pools.pop(name, None)
            self._all_forgotten = _keep(self._forgotten, name, monotonic()) or self._all_forgotten

    def hints_hold(self, pool: StoredPool) -> bool:
        """See :meth:`whereabouts.store.Store.hints_hold`."""
        known = self.pool(pool_name(pool.pool.key))
        return known is not None and known.stored.revision == pool.revision

    def forget(self, key: PoolKey) -> None:
        """See :class:`whereabouts.store.RememberedHints`."""
        self.forget_pool(pool_name(key))

    # ------------------------------------------------------------------- index

    def blocks_of_pod(self, pod_ref: str, ifname: str) -> Collection[BlockKey]:
        """Blocks in which this process knows records of the pod's interface."""
        with self._lock:
            return self._owners.blocks_of(pod_ref, ifname)

    def blocks_of_attachment(self, container_id: str, ifname: str) -> Collection[BlockKey] | None:
        """Blocks with records of the attachment; None if this has to be looked up in the store.

        Nobody but this node's processes makes records of its attachments, so what was listed once and kept
        up since is complete, but for what another process of the node (a plugin without the agent) did
        since: therefore what is not found is looked up again after some time.
        """
        with self._lock:
            if self._indexed_at is None:
                return None  # what blocks that were read by chance have may be a part only
            found = {
                key
                for name in {ifname, ""}  # a record taken over from the Go plugin may have no interface
                for key in self._owners.blocks_of(container_id, name)
            }
            if not found and monotonic() - self._indexed_at > RELIST_SECONDS:
                return None
            return sorted(found)

    def seen_blocks(self) -> dict[BlockKey, Seen]:
        """The blocks that the index has, for :meth:`indexed`."""
        with self._lock:
            return self._owners.seen()

    def remember_owners(self, block: Block, revision: Revision) -> None:
        """Take a block into the index."""
        with self._lock:
            self._owners.see(block, revision)

    def expect_owners(self, block: Block) -> None:
        """Take into the index what may have been written."""
        with self._lock:
            self._owners.expect(block)

    def indexed(self, since: float, gone: Mapping[BlockKey, Seen]) -> None:
        """Every block was taken into the index, from ``since`` on; ``gone`` were in it, and not listed."""
        with self._lock:
            self._owners.drop(gone)
            self._indexed_at = since


def _keep(known: OrderedDict[Name, Known], name: Name, value: Known) -> Known | None:
    """Remember it as the latest of :data:`MAX_POOLS`; gives what was known of the one that had to go."""
    known[name] = value
    known.move_to_end(name)
    return known.popitem(last=False)[1] if len(known) > MAX_POOLS else None
