"""Group commit: changes that meet at one block are stored by one conditional write.

While one write is on its way, changes of other calls to the same block gather behind it; the next write
carries all of them, in the order of their arrival. No thread is kept for it: the first call to come
leads, and hands the lead on to the first of those that wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Event, Lock

from whereabouts.block import Block, BlockKey
from whereabouts.commit import Committer
from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.store import Unavailable
from whereabouts.values import TYPE_CHECKING

if TYPE_CHECKING:
    from whereabouts.commit import Change, T

MAX_GROUP = 256
"""Changes in one write; a block has no more addresses than that."""


class _Waiting:
    """A change on its way: how it ended, or that it is its caller's turn to lead."""

    __slots__ = ("change", "error", "outcome", "settled", "turn")

    def __init__(self, change: Change[object]) -> None:
        self.change = change
        self.turn = Event()
        self.settled = False
        self.outcome: object = None
        self.error: Exception | None = None

    def settle(self, outcome: object, error: Exception | None) -> None:
        self.outcome, self.error, self.settled = outcome, error, True
        self.turn.set()


class Groups:
    """The changes that wait, by block; shared by all threads that write to one store."""

    def __init__(self, observe: Callable[[int], None]) -> None:
        """Groups whose sizes are told to ``observe``."""
        self._lock = Lock()
        self._waiting: dict[BlockKey, deque[_Waiting]] = {}
        self.observe = observe

    def join(self, key: BlockKey, mine: _Waiting) -> bool:
        """Wait behind the others of this block; True if there are none, so that the caller leads."""
        with self._lock:
            others = self._waiting.get(key)
            if others is None:
                self._waiting[key] = deque([mine])
                return True
            others.append(mine)
            return False

    def leave(self, key: BlockKey, mine: _Waiting) -> bool:
        """Give up waiting. False if it is too late: the change is being stored, or its turn has come."""
        with self._lock:
            if mine.settled or mine.turn.is_set():
                return False
            try:
                self._waiting[key].remove(mine)
            except (KeyError, ValueError):
                return False
            return True

    def take(self, key: BlockKey) -> list[_Waiting]:
        """Take the group that is stored next out of the queue, in the order of arrival."""
        with self._lock:
            queue = self._waiting[key]
            return [queue.popleft() for _ in range(min(len(queue), MAX_GROUP))]

    def hand_on(self, key: BlockKey, again: list[_Waiting]) -> None:
        """Let the first that waits lead, those of ``again`` before all others."""
        with self._lock:
            queue = self._waiting[key]
            queue.extendleft(reversed(again))
            if queue:
                queue[0].turn.set()
            else:
                del self._waiting[key]


class GroupCommitter:
    """Stores changes in groups, through ``committer``; see :class:`whereabouts.commit.Committer`."""

    def __init__(self, groups: Groups, committer: Committer) -> None:
        """A committer for one thread at a time, sharing ``groups`` with those of other threads."""
        self._groups = groups
        self._committer = committer

    def commit(self, key: BlockKey, change: Change[T], deadline: Deadline) -> T:
        """See :class:`whereabouts.commit.Committer`. Each call gets the outcome of its own change."""
        mine = _Waiting(change)
        if not self._groups.join(key, mine):
            self._wait(key, mine, deadline)
        if not mine.settled:
            self._lead(key, mine, deadline)
        if mine.error is not None:
            raise mine.error
        return mine.outcome  # type: ignore[return-value]

    def _wait(self, key: BlockKey, mine: _Waiting, deadline: Deadline) -> None:
        what = f"other calls are writing block {key.name}"
        while not mine.turn.is_set():
            try:
                mine.turn.wait(deadline.remaining(what))
            except DeadlineExceeded:
                if self._groups.leave(key, mine):
                    raise
                # It is being stored by a call that has a deadline of its own: how it ends is worth knowing.
                mine.turn.wait()

    def _lead(self, key: BlockKey, mine: _Waiting, deadline: Deadline) -> None:
        group = self._groups.take(key)
        again: list[_Waiting] = []
        try:
            self._groups.observe(len(group))
            outcomes = self._committer.commit(key, _together(group), deadline)
            for waiting, (outcome, error) in zip(group, outcomes, strict=True):
                waiting.settle(outcome, error)
        except DeadlineExceeded as error:
            # Only this call's time is over; the others go on under the next one's deadline.
            mine.settle(None, error)
            again = [waiting for waiting in group if waiting is not mine]
        except BaseException as error:
            # Nobody may be left waiting, whatever it was.
            failure = error if isinstance(error, Exception) else Unavailable("the call that led was ended")
            for waiting in group:
                waiting.settle(None, failure)
            if failure is not error:
                raise
        finally:
            self._groups.hand_on(key, again)


def _together(group: list[_Waiting]) -> Change[list[tuple[object, Exception | None]]]:
    """One change that makes all changes of a group, in order; one that fails leaves the others alone."""

    def change(block: Block) -> tuple[Block, list[tuple[object, Exception | None]]]:
        outcomes: list[tuple[object, Exception | None]] = []
        for waiting in group:
            try:
                block, outcome = waiting.change(block)
            except Exception as error:
                outcomes.append((None, error))
            else:
                outcomes.append((outcome, None))
        return block, outcomes

    return change
