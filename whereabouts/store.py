"""The store interface: what the allocator asks of a datastore.

A store keeps blocks, pools and node slices under their names, each with a revision, and writes one only if
its revision still is the one that was read. Nothing else is asked for safety: no lock, no transaction over
several blocks, no clock. What a store derives from the blocks (indexes, caches) is its own affair.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from whereabouts._bitmap import Bitmap
from whereabouts.block import Block, BlockDamaged, BlockKey, Space
from whereabouts.deadline import Deadline
from whereabouts.errors import WhereaboutsError
from whereabouts.pool import Pool, PoolKey
from whereabouts.values import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from whereabouts.slices import SlicePool

Revision = int | str
Judge = Callable[[BlockKey, Bitmap], bool]
"""Whether a block with these used offsets has nothing left for somebody."""


class StoreError(WhereaboutsError):
    """The store did not do what it was asked; nothing was changed."""


class Unavailable(StoreError):
    """The store cannot be reached or cannot write just now: worth another try later."""


class StoreDamaged(StoreError):
    """The store can be reached, but not read: a person has to look at it."""


class NameTaken(StoreError):
    """A pool's name, where the Go plugin's spelling has to do as one, is that of another pool."""


class Conflict(StoreError):
    """Somebody else wrote since the revision that this write was conditional on."""


class Unsettled(WhereaboutsError):
    """The answer to a write was lost: it may have been done. Only reading again tells."""


class StoredBlock(NamedTuple):
    """A block as it was read. ``block`` is None and ``damage`` says why where it cannot be trusted."""

    key: BlockKey
    revision: Revision
    block: Block | None
    damage: str = ""
    raw: Sequence[tuple[str, bytes]] = ()
    """What stands in the store, by the names of its parts there, where the block is damaged."""

    @classmethod
    def judged(
        cls,
        key: BlockKey,
        revision: Revision,
        read: Callable[[], Block],
        raw: Callable[[], Sequence[tuple[str, bytes]]],
    ) -> StoredBlock:
        """The block that ``read`` gives, or the damage that it raises, with what ``raw`` gives then."""
        try:
            return cls(key, revision, read())
        except BlockDamaged as damage:
            return cls(key, revision, None, str(damage), raw())

    def trusted(self) -> Block:
        """The block; raises :class:`~whereabouts.block.BlockDamaged` where it cannot be trusted."""
        if self.block is None:
            raise BlockDamaged(self.damage)
        return self.block


class StoredPool(NamedTuple):
    """A pool as it was read."""

    revision: Revision
    pool: Pool


class StoredSlices(NamedTuple):
    """The slices of a range as they were read."""

    revision: Revision
    pool: SlicePool


class RememberedHints(Protocol):
    """The hints of pools in a store that answers :meth:`Store.read_pool` from memory.

    Such a store keeps the hints right itself: by the time a write that frees an address returns, no pool
    calls its block exhausted, and nobody's memory leads past it.
    """

    def forget(self, key: PoolKey) -> None:
        """Read the pool anew the next time it is asked for."""


class Store(Protocol):
    """A datastore. Every call may raise :class:`Unavailable`, :class:`StoreDamaged` or DeadlineExceeded."""

    conflict_pause: float
    """The longest wait before the first repetition of a write that met a conflict, in seconds."""
    concurrent: bool
    """Whether one instance serves several threads at once."""
    claims_slices: bool
    """Whether a node cuts and claims its slice itself, because no controller does it here."""

    @property
    def given_twice(self) -> Sequence[str]:
        """Sentences about addresses that this process found given by us and by a Go plugin."""

    @property
    def remembered_hints(self) -> RememberedHints | None:
        """What is known of pools' hints, in a store that keeps them right itself; None in others."""

    def read_block(self, key: BlockKey, deadline: Deadline, *, fresh: bool = False) -> StoredBlock | None:
        """The block, or None if it was never written.

        A store may answer from what it knows; with ``fresh`` it answers with what holds now.
        """

    def write_block(
        self, key: BlockKey, previous: StoredBlock | None, block: Block, deadline: Deadline
    ) -> StoredBlock:
        """Write the block if the stored one still is ``previous`` (None: if there is none).

        Durable when it returns. Raises :class:`Conflict`, or :class:`Unsettled` if the answer was lost.
        """

    def blocks(self, deadline: Deadline) -> Iterator[StoredBlock]:
        """Every block, by space, family and address."""

    def learn(self, deadline: Deadline) -> Iterator[StoredBlock]:
        """Every block, as :meth:`blocks`; a store with a memory keeps what later calls would have to list."""

    def bitmaps(
        self, space: Space, version: int, first: int, last: int, deadline: Deadline
    ) -> Iterator[tuple[BlockKey, Bitmap | None]]:
        """The used offsets of the blocks whose base lies in first..last, in order, as they hold now.

        None stands for a damaged block. Cheaper than :meth:`blocks`, since owners are left out.
        """

    def blocks_of_pod(self, pod_ref: str, ifname: str, deadline: Deadline) -> Collection[BlockKey]:
        """Blocks that may hold records of this pod's interface; some may be missing."""

    def blocks_of_attachment(
        self, container_id: str, ifname: str, deadline: Deadline
    ) -> Collection[BlockKey]:
        """Blocks that may hold records of this attachment; none is missing."""

    def read_pool(self, key: PoolKey, deadline: Deadline) -> StoredPool | None:
        """The pool, or None if there is none."""

    def hints_hold(self, pool: StoredPool) -> bool:
        """Whether nothing was learnt, since the pool was read, that makes its hints doubtful. Asks nobody."""

    def create_pool(self, pool: Pool, deadline: Deadline) -> StoredPool:
        """Create the pool; where somebody else was faster, theirs is returned."""

    def write_pool(
        self, previous: StoredPool, pool: Pool, deadline: Deadline, *, exhausted: Judge | None = None
    ) -> None:
        """Write the pool if the stored one still is ``previous``; raises :class:`Conflict`.

        A store that keeps hints right itself asks ``exhausted`` about each block that the pool newly calls
        so, as it is once nobody can free an address there unnoticed, and leaves out what is wrong.
        """

    def pools(
        self, deadline: Deadline, network_name: str | None = None, *, hinted: bool = False
    ) -> Collection[StoredPool]:
        """The pools of the ranges of one network name, or of all, in order.

        ``hinted``: only those with hints, and the pools of nodes' slices with hints as well.
        """

    def read_slices(self, name: str, deadline: Deadline, *, fresh: bool = False) -> StoredSlices | None:
        """The slices of the pool of this name, or None if there is none.

        A store may answer what held within the last minute; with ``fresh`` it answers with what holds now.
        """

    def slice_pools(self, deadline: Deadline) -> Iterator[StoredSlices]:
        """Every pool of slices, by name."""

    def create_slices(self, pool: SlicePool, deadline: Deadline) -> StoredSlices:
        """Create a pool of slices; raises :class:`Conflict` if there is one, :class:`Unsettled` as below."""

    def write_slices(self, previous: StoredSlices, pool: SlicePool, deadline: Deadline) -> StoredSlices:
        """Write a pool of slices if the stored one still is ``previous``.

        Raises :class:`Conflict`, or :class:`Unsettled` if the answer was lost.
        """

    def delete_slices(self, previous: StoredSlices, deadline: Deadline) -> None:
        """Delete a pool of slices if it still is ``previous``; where there is none, nothing is done.

        Raises :class:`Conflict`.
        """

    def close(self) -> None:
        """Let go of connections and files. Twice is once."""
