"""Carrying a change of one block into the store, whoever else writes there at the same time."""

from __future__ import annotations

from collections.abc import Callable

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

MAX_PAUSE = 10.0
"""The longest wait before a write is tried again, in seconds."""
SHARE_OF_WAITS = 1 / 8
"""The longest wait as a share of the time that a call has left: who has waited long tries more often."""


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

    def attempts(self, key: BlockKey) -> Attempts:
        """Begin to carry a change into a block."""
        return Attempts(self._store, key)


class Attempts:
    """The tries to write one block, until one of them is not conditional on what others have changed."""

    def __init__(self, store: Store, key: BlockKey) -> None:
        """None was made yet."""
        self._store = store
        self._key = key
        self._fresh = False
        self._pause = store.conflict_pause

    def once(self, change: Change[T], deadline: Deadline) -> tuple[T] | None:
        """Read, apply ``change``, write on condition: its outcome, once it is durable.

        None if somebody else wrote meanwhile. Then it is time to :meth:`wait`; the next try may be of
        another change. Raises what :meth:`Committer.commit` does.
        """
        key = self._key
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
            return took_effect(before, after, block_of(self._key, now))
        return True

    def wait(self, deadline: Deadline) -> None:
        """Wait before the next try, the longer the more of them there were."""
        what = f"block {self._key.name} is written by others all the time"
        longest = SHARE_OF_WAITS * deadline.remaining(what)
        deadline.pause(min(self._pause, longest), what)
        self._pause = min(2 * self._pause, MAX_PAUSE)


def block_of(key: BlockKey, stored: StoredBlock | None) -> Block:
    """The block that was read; an empty one where none was. Raises BlockDamaged."""
    return Block(key, {}) if stored is None else stored.trusted()


def took_effect(before: Block, after: Block, now: Block) -> bool:
    """Whether the step from ``before`` to ``after`` shows in ``now``, whatever else changed since."""
    return all(now.owner(offset) == owner for offset, _, owner in after.changes_since(before))
