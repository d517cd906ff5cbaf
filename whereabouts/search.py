"""Finding the lowest block of a range that may have room, and remembering those that have none.

The hints of a pool (see :class:`~whereabouts.pool.Pool`) spare a search the blocks that are exhausted.
They are kept right by order, not by locks: who calls a block exhausted writes the hint first and reads
the block's bitmap again after that; who frees an address writes the block first and reads the hints
after that. Whichever comes second sees the other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from whereabouts._bitmap import Bitmap
from whereabouts.block import BLOCK_SIZE, BlockKey
from whereabouts.deadline import Deadline
from whereabouts.errors import WhereaboutsError
from whereabouts.log import Log
from whereabouts.pool import Pool, PoolKey, view_of
from whereabouts.ranges import Range
from whereabouts.store import Conflict, Judge, Revision, Store, StoredPool

HINT_SECONDS = 2.0
"""How long a call may keep hints right."""
PROBES = 4
"""Blocks that are tried one by one before a search lists bitmaps."""
_ALIGNED = ~(BLOCK_SIZE - 1)


class Outdated(WhereaboutsError):
    """The hints that led to a block no longer hold: the search has to begin again."""


class Search:
    """One search for a block with room, in address order."""

    def __init__(
        self,
        store: Store,
        pool: Pool,
        configured: Range,
        deadline: Deadline,
        revision: Revision | None = None,
    ) -> None:
        """A search through ``configured``, whose hints and space ``pool`` has, as of ``revision``."""
        self._store = store
        self.pool = pool
        """The pool as it was read last."""
        self._revision = revision
        self._range = configured
        self._deadline = deadline
        self._start = configured.first & _ALIGNED
        self._tried: set[int] = set()
        self.view = view_of(configured)
        self.exhausted: set[int] = set()
        """The first addresses of blocks that were seen to have nothing left, not hinted before."""
        self.damaged: set[int] = set()
        """Those of blocks that could not be read, whatever a listing shows of them."""

    def candidates(self) -> Iterator[BlockKey]:
        """Blocks that may have room; lowest first, twice over: first with the hints, then without.

        The first few are tried as they come. A listing of bitmaps finds the next among many, and another
        one, without the hints, is what makes it true that a range is full: one that shows no room. Where it
        showed some that was gone when it was tried, an address may have been freed in front of it meanwhile,
        so it is made again. A range of one block needs neither: who found no room in a block has read it as
        it holds now.
        """
        if self.pool.blocks == 1:
            base = self._range.next_block(self._start)
            if base is not None:
                yield self._key(base)
            return
        probes = 0
        while probes < PROBES:
            base = self._hinted(self._start)
            if base is None:
                break
            self._tried.add(base)
            yield self._key(base)
            # As long as others note what they fill, their hints lead on.
            probes = 0 if self._read_hints_anew() else probes + 1
        else:
            yield from self._with_room(self._start, self._hinted)
        while True:
            tried = 0
            for key in self._with_room(self._start, self._range.next_block):
                yield key
                tried += key.base not in self.damaged
            if not tried:
                return
            self._deadline.remaining(f"the last addresses of range {self._range} are taken by others")

    def ensure_lowest(self) -> None:
        """Raise :class:`Outdated` if the hints of this search are known not to hold any more."""
        if self._revision is None:
            return
        if not self._store.hints_hold(StoredPool(self._revision, self.pool)):
            raise Outdated(f"the hints of pool {self.pool.key.name} have changed")

    def leads_on(self, pool: Pool, bases: Collection[int]) -> bool:
        """Whether anything is left to search if the blocks at ``bases`` are called exhausted as well.

        Otherwise that would spare no search anything, and cost whoever frees an address.
        """
        return self._first_left_by(pool.with_exhausted(self.view, bases), self._start) is not None

    def noted(self, pool: Pool, bases: Collection[int]) -> Pool:
        """The pool with the hint that the blocks at ``bases`` are exhausted for this search's range."""
        after = pool.with_exhausted(self.view, bases)
        return after.with_front(self.view, self._first_left_by(after, self._start))

    def has_nothing_left(self, key: BlockKey, used: Bitmap) -> bool:
        """Whether a block with these used offsets is exhausted for the range of this search."""
        return used.first_free_outside(self._range.barred(key.base)) is None

    def _read_hints_anew(self) -> bool:
        """A block had no room though no hint said so: others may have gone on. Whether hints are new."""
        memory, before = self._store.remembered_hints, self.pool
        if memory is not None:
            memory.forget(self.pool.key)
            stored = self._store.read_pool(self.pool.key, self._deadline)
            if stored is not None:
                self._revision, self.pool = stored
        return not self.pool.hints_as(before)

    def _key(self, base: int) -> BlockKey:
        return BlockKey(self.pool.space, self._range.version, base)

    def _hinted(self, base: int) -> int | None:
        """The first block at or after ``base`` that no hint calls exhausted and that was not tried yet."""
        at = self._first_left_by(self.pool, base)
        while at in self._tried:
            at = self._first_left_by(self.pool, at + BLOCK_SIZE)
        return at

    def _first_left_by(self, pool: Pool, base: int) -> int | None:
        """The first block from ``base`` on that the range uses and no hint of ``pool`` calls exhausted."""
        at: int | None = base
        while at is not None:
            used = self._range.next_block(at)
            if used is None:
                return None
            at = pool.first_unexhausted(self.view, used)
            if at == used:
                return used
        return None

    def _with_room(self, start: int, following: Callable[[int], int | None]) -> Iterator[BlockKey]:
        """Blocks from ``start`` on that are not stored yet or whose bitmap shows room."""
        last = self._range.last
        listed = self._store.bitmaps(self.pool.space, self._range.version, start, last, self._deadline)
        key, used = next(listed, (None, None))
        base = following(start)
        while base is not None:
            while key is not None and key.base < base:
                key, used = next(listed, (None, None))
            if key is None or key.base > base:
                yield self._key(base)
            elif used is not None and base not in self.damaged:
                if self.has_nothing_left(key, used):
                    self.exhausted.add(base)
                else:
                    yield key
            base = following(base + BLOCK_SIZE)


class Hints:
    """Keeps the pools' hints. Whatever fails here is logged: it costs order, never an address.

    A call has its address by then, or has given it back, so that nothing of this may fail it or hold it up.
    """

    def __init__(self, store: Store, log: Log) -> None:
        """Hints over ``store``."""
        self._store = store
        self._log = log

    def remember(self, configured: Range, search: Search, deadline: Deadline) -> None:
        """Write down the blocks that ``search`` saw exhausted, and take back what has changed since."""
        pool, deadline = search.pool, deadline.within(HINT_SECONDS)
        try:
            bases = {base for base in search.exhausted if pool.first_unexhausted(search.view, base) == base}
            if not bases or not search.leads_on(pool, bases):
                return
            self._update(pool.key, lambda now: search.noted(now, bases), deadline, search.has_nothing_left)
            if self._store.remembered_hints is None:
                self._take_back(pool, configured, bases, deadline)
        except Exception as error:
            self._log.error(f"pool {pool.key.name}: exhausted blocks were not noted: {_named(error)}")

    def _take_back(self, pool: Pool, configured: Range, bases: Collection[int], deadline: Deadline) -> None:
        version, first, last = configured.version, min(bases), max(bases)
        for key, used in self._store.bitmaps(pool.space, version, first, last, deadline):
            barred = configured.barred(key.base)
            if key.base in bases and used is not None and used.first_free_outside(barred) is not None:
                self._clear(pool.key, key.base, deadline)

    def correct(self, key: PoolKey, block: BlockKey, deadline: Deadline) -> None:
        """The pool called a block exhausted that has room."""
        if self._store.remembered_hints is None:
            self.forget(block, deadline)  # of other pools too, in passing
            return
        try:
            self._clear(key, block.base, deadline.within(HINT_SECONDS))
        except Exception as error:
            self._log.error(f"block {block.name}: it is still called exhausted: {_named(error)}")

    def forget(self, key: BlockKey, deadline: Deadline) -> None:
        """An address of this block was freed: no pool may call the block exhausted any more."""
        if self._store.remembered_hints is not None:
            return
        deadline = deadline.within(HINT_SECONDS)
        try:
            for stored in self._store.pools(deadline, key.space.network_name, hinted=True):
                if stored.pool.is_exhausted(key):
                    self._clear(stored.pool.key, key.base, deadline)
        except Exception as error:
            self._log.error(f"block {key.name}: it is still called exhausted: {_named(error)}")

    def _clear(self, key: PoolKey, base: int, deadline: Deadline) -> None:
        self._update(key, lambda now: now.without_exhausted(base), deadline)

    def _update(
        self,
        key: PoolKey,
        change: Callable[[Pool], Pool],
        deadline: Deadline,
        exhausted: Judge | None = None,
    ) -> None:
        pause = self._store.conflict_pause
        while True:
            stored = self._store.read_pool(key, deadline)
            if stored is None:
                return
            after = change(stored.pool)
            if after.hints_as(stored.pool):
                return  # somebody else has seen to it: of many calls that see a block full, one writes
            try:
                self._store.write_pool(stored, after, deadline, exhausted=exhausted)
                return
            except Conflict:
                deadline.pause(pause, f"pool {key.name} is written by others all the time")
                pause *= 2


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


def _named(error: Exception) -> str:
    """The error; with its type where it is none of ours, which nobody expected."""
    return str(error) if isinstance(error, WhereaboutsError) else f"{type(error).__name__}: {error}"


def _word(value: bool) -> str:
    return "true" if value else "false"
