"""Finding the lowest block of a range that may have room, and remembering those that have none.

The hints of a pool (see :class:`~whereabouts.pool.Pool`) spare a search the blocks that are exhausted.
They are kept right by order, not by locks: who calls a block exhausted writes the hint first and reads
the block's bitmap again after that; who frees an address writes the block first and reads the hints
after that. Whichever comes second sees the other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from whereabouts.block import BLOCK_SIZE, BlockKey
from whereabouts.deadline import Deadline
from whereabouts.errors import WhereaboutsError
from whereabouts.log import Log
from whereabouts.pool import Pool, PoolKey, view_of
from whereabouts.ranges import Range
from whereabouts.store import Conflict, Store, StoredPool

_ALIGNED = ~(BLOCK_SIZE - 1)


class Search:
    """One search for a block with room, in address order."""

    def __init__(self, store: Store, pool: Pool, configured: Range, deadline: Deadline) -> None:
        """A search through ``configured``, whose hints and space ``pool`` has."""
        self._store = store
        self._pool = pool
        self._range = configured
        self._deadline = deadline
        self.view = view_of(configured)
        self.exhausted: set[int] = set()
        """The first addresses of blocks that were seen to have nothing left, not hinted before."""

    def candidates(self) -> Iterator[BlockKey]:
        """Blocks that may have room; lowest first, twice over: first with the hints, then without.

        The second round is what makes it true that a range is full. It takes one listing of bitmaps.
        """
        start = self._range.first & _ALIGNED
        base = self._hinted(start)
        if base is not None:
            yield self._key(base)
            yield from self._with_room(base + BLOCK_SIZE, self._hinted)
        yield from self._with_room(start, self._range.next_block)

    def _key(self, base: int) -> BlockKey:
        return BlockKey(self._pool.space, self._range.version, base)

    def _hinted(self, base: int) -> int | None:
        """The first block at or after ``base`` that the range uses and no hint calls exhausted."""
        at: int | None = base
        while at is not None:
            used = self._range.next_block(at)
            if used is None:
                return None
            at = self._pool.first_unexhausted(self.view, used)
            if at == used:
                return used
        return None

    def _with_room(self, start: int, following: Callable[[int], int | None]) -> Iterator[BlockKey]:
        """Blocks from ``start`` on that are not stored yet or whose bitmap shows room."""
        last = self._range.last
        listed = self._store.bitmaps(self._pool.space, self._range.version, start, last, self._deadline)
        key, used = next(listed, (None, None))
        base = following(start)
        while base is not None:
            while key is not None and key.base < base:
                key, used = next(listed, (None, None))
            if key is None or key.base > base:
                yield self._key(base)
            elif used is not None:
                if used.first_free_outside(self._range.barred(base)) is None:
                    self.exhausted.add(base)
                else:
                    yield key
            base = following(base + BLOCK_SIZE)


class Hints:
    """Keeps the pools' hints. A failure here is logged: it costs order, never an address."""

    def __init__(self, store: Store, log: Log) -> None:
        """Hints over ``store``."""
        self._store = store
        self._log = log

    def remember(self, pool: Pool, configured: Range, search: Search, deadline: Deadline) -> None:
        """Write down the blocks that ``search`` saw exhausted, and take back what has changed since."""
        bases = {base for base in search.exhausted if pool.first_unexhausted(search.view, base) == base}
        if not bases:
            return
        try:
            self._update(pool.key, lambda now: now.with_exhausted(search.view, bases), deadline)
            self._take_back(pool, configured, bases, deadline)
        except WhereaboutsError as error:
            self._log.error(f"pool {pool.key.name}: exhausted blocks were not noted: {error}")

    def _take_back(self, pool: Pool, configured: Range, bases: Collection[int], deadline: Deadline) -> None:
        version, first, last = configured.version, min(bases), max(bases)
        for key, used in self._store.bitmaps(pool.space, version, first, last, deadline):
            barred = configured.barred(key.base)
            if key.base in bases and used is not None and used.first_free_outside(barred) is not None:
                self._clear(pool.key, key.base, deadline)

    def forget(self, key: BlockKey, deadline: Deadline) -> None:
        """An address of this block was freed: no pool may call the block exhausted any more."""
        try:
            for stored in self._store.pools(deadline, key.space.network_name):
                if stored.pool.is_exhausted(key):
                    self._clear(stored.pool.key, key.base, deadline)
        except WhereaboutsError as error:
            self._log.error(f"block {key.name}: it is still called exhausted: {error}")

    def _clear(self, key: PoolKey, base: int, deadline: Deadline) -> None:
        self._update(key, lambda now: now.without_exhausted(base), deadline)

    def _update(self, key: PoolKey, change: Callable[[Pool], Pool], deadline: Deadline) -> None:
        while True:
            stored = self._store.read_pool(key, deadline)
            if stored is None:
                return
            try:
                self._store.write_pool(stored, change(stored.pool), deadline)
                return
            except Conflict:
                deadline.pause(
                    self._store.conflict_pause, f"pool {key.name} is written by others all the time"
                )


def pool_for(store: Store, key: PoolKey, shared: bool, deadline: Deadline, log: Log) -> StoredPool:
    """The pool of a range, created on its first use.

    The pool's own ``shared`` holds for everybody, so that one range never has two spaces.
    """
    stored = store.read_pool(key, deadline) or store.create_pool(Pool(key, shared), deadline)
    if stored.pool.shared != shared:
        log.error(
            f"pool {key.name} was created with enable_overlapping_ranges: {_word(stored.pool.shared)}, which "
            f"holds for all its configurations; {_word(shared)} is ignored until the pool is deleted"
        )
    return stored


def _word(value: bool) -> str:
    return "true" if value else "false"
