"""Carrying a change of one block into the store, whoever else writes there at the same time."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from whereabouts.block import Block, BlockKey
from whereabouts.deadline import Deadline
from whereabouts.store import Conflict, Store, StoredBlock, Unsettled
from whereabouts.values import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")
    Change = Callable[[Block], tuple[Block, T]]
    """A pure function from a block to its next value and an outcome; the same block: nothing to write.

    It may be called several times, on other values of the block each time, and only the outcome of the
    call whose block was stored counts.
    """

MAX_PAUSE = 12.0
"""The longest wait before a write is tried again, in seconds."""
SHARE_OF_WAITS = 1 / 8
"""The longest wait as a share of the time that a call has left: who has waited long tries more often."""
TRIES_APART = 3
"""The longest first wait, in times that a try took: that grows with the number of those who try at once."""
GROWTH = 2
"""By which the longest wait grows with each conflict."""
SLOW_TRY = 2.0
"""Seconds of a try beyond which its length says nothing about others who try: the store was away."""


class Committer(Protocol):
    """Something that carries changes into a store."""

    def commit(self, key: BlockKey, change: Change[T], deadline: Deadline) -> T:
        """Apply ``change`` to the block and store the result; the outcome, once it is durable.

        Raises what the change raises, :class:`~whereabouts.block.BlockDamaged` for a block that cannot
        be trusted, :class:`~whereabouts.store.StoreError` and
        :class:`~whereabouts.deadline.DeadlineExceeded`.
        """


class DirectCommitter:
    """Carries one change at a time: read, apply, write on condition, and again after a conflict."""

    def __init__(self, store: Store) -> None:
        """A committer over ``store``."""
        self._store = store

    def commit(self, key: BlockKey, change: Change[T], deadline: Deadline) -> T:
        """See :class:`Committer`."""
        attempts = self.attempts(key)
        while (ended := attempts.once(change, deadline)) is None:
            attempts.wait(deadline)
        return ended[0]

    def attempts(self, key: BlockKey, pace: Pace | None = None) -> Attempts:
        """Begin to carry a change into a block, at the pace of this process's other writes if it has one."""
        return Attempts(self._store, key, pace or Pace())


class Pace:
    """How long a process waits between its tries, kept from one write to the next.

    Who contends for one block does so for the next one, too. If each write began anew with short waits,
    hundreds of nodes would come together again at every block. A write that is done halves the waits; after
    :data:`MAX_PAUSE` without any they begin anew.
    """

    __slots__ = ("_pause", "_until", "clock")

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """Nobody else was met yet."""
        self.clock = clock
        self._pause = 0.0
        self._until = 0.0

    def first_pause(self, least: float) -> float:
        """The longest first wait of a write, in seconds; at least ``least``."""
        return max(least, self._pause) if self.clock() < self._until else least

    def keep(self, pause: float) -> None:
        """The next wait would be up to ``pause`` seconds."""
        self._pause = pause
        self._until = self.clock() + MAX_PAUSE


class Attempts:
    """The tries to write one block, until one of them is not conditional on what others have changed."""

    def __init__(self, store: Store, key: BlockKey, pace: Pace) -> None:
        """None was made yet."""
        self._store = store
        self._key = key
        self._pace = pace
        self._fresh = False
        self._pause = pace.first_pause(store.conflict_pause)
        self._begun = pace.clock()

    def once(self, change: Change[T], deadline: Deadline) -> tuple[T] | None:
        """Read, apply ``change``, write on condition: its outcome, once it is durable.

        None if somebody else wrote meanwhile. Then it is time to :meth:`wait`; the next try may be of
        another change. Raises what :meth:`Committer.commit` does.
        """
        key = self._key
        self._begun = self._pace.clock()
        while True:
            stored = self._store.read_block(key, deadline, fresh=self._fresh)
            before = block_of(key, stored)
            after, outcome = change(before)
            if after is not before:
                return (outcome,) if self._written(stored, before, after, deadline) else None
            if self._fresh or stored is None:
                return (outcome,)
            self._fresh = True  # what changes nothing rests on what was read, so that has to hold now

    def _written(self, stored: StoredBlock | None, before: Block, after: Block, deadline: Deadline) -> bool:
        self._fresh = True
        try:
            self._store.write_block(self._key, stored, after, deadline)
        except Conflict:
            return False
        except Unsettled:
            now = self._store.read_block(self._key, deadline, fresh=True)
            if not took_effect(before, after, block_of(self._key, now)):
                return False
        self._pace.keep(self._pause / 2)
        return True

    def wait(self, deadline: Deadline) -> None:
        """Wait before the next try, the longer the more of them there were, and the longer they took."""
        what = f"block {self._key.name} is written by others all the time"
        took = min(self._pace.clock() - self._begun, SLOW_TRY)
        self._pause = max(self._pause, TRIES_APART * took)
        longest = SHARE_OF_WAITS * deadline.remaining(what)
        pause, self._pause = self._pause, min(GROWTH * self._pause, MAX_PAUSE)
        self._pace.keep(self._pause)
        deadline.pause(min(pause, longest), what)


def block_of(key: BlockKey, stored: StoredBlock | None) -> Block:
    """The block that was read; an empty one where none was. Raises BlockDamaged."""
    return Block(key, {}) if stored is None else stored.trusted()


def took_effect(before: Block, after: Block, now: Block) -> bool:
    """Whether the step from ``before`` to ``after`` shows in ``now``, whatever else changed since.

    What was freed may have been given again by then.
    """
    return all(
        now.owner(offset) != was if owner is None else now.owner(offset) == owner
        for offset, was, owner in after.changes_since(before)
    )
