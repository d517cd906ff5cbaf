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

MAX_PAUSE = 1.0
"""The longest wait before a write is tried again, in seconds."""


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
        fresh = False
        pause = self._store.conflict_pause
        while True:
            stored = self._store.read_block(key, deadline, fresh=fresh)
            before = block_of(key, stored)
            after, outcome = change(before)
            if after is before:
                if fresh or stored is None:
                    return outcome
                fresh = True  # what changes nothing rests on what was read, so that has to hold now
                continue
            try:
                self._store.write_block(key, stored, after, deadline)
                return outcome
            except Conflict:
                deadline.pause(pause, f"block {key.name} is written by others all the time")
            except Unsettled:
                if self._took_effect(key, before, after, deadline):
                    return outcome
            fresh = True
            pause = min(2 * pause, MAX_PAUSE)

    def _took_effect(self, key: BlockKey, before: Block, after: Block, deadline: Deadline) -> bool:
        return took_effect(before, after, block_of(key, self._store.read_block(key, deadline, fresh=True)))


def block_of(key: BlockKey, stored: StoredBlock | None) -> Block:
    """The block that was read; an empty one where none was. Raises BlockDamaged."""
    return Block(key, {}) if stored is None else stored.trusted()


def took_effect(before: Block, after: Block, now: Block) -> bool:
    """Whether the step from ``before`` to ``after`` shows in ``now``, whatever else changed since."""
    return all(now.owner(offset) == owner for offset, _, owner in after.changes_since(before))
