"""Group commit: changes that meet at one block are stored by one conditional write.

While one write is on its way, or waits because another process wrote the block, changes of other calls to
the same block gather behind it; the next write carries all of them, in the order of their arrival. No thread
is kept for it: the first call to come leads, and hands the lead on to the first of those that wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Event, Lock

from whereabouts.block import Block, BlockKey
from whereabouts.commit import Attempts, DirectCommitter, Pace
from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.store import Unavailable
from whereabouts.values import TYPE_CHECKING

if TYPE_CHECKING:
    from whereabouts.commit import Change, T

    _Outcome = tuple[object, Exception | None]
    """What came of a change, or why nothing did."""

MAX_GROUP = 256
"""Changes in one write; a block has no more addresses than that."""
BEING_STORED_SECONDS = 0.05
"""How often a call whose time is over looks whether it still is being stored."""


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
        self.pace = Pace()

    def join(self, key: BlockKey, mine: _Waiting) -> bool:
        """Wait behind the others of this block; True if there are none, so that the caller leads."""
        with self._lock:
            others = self._waiting.get(key)
            if others is None:
                self._waiting[key] = deque()
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

    def take(self, key: BlockKey, most: int) -> list[_Waiting]:
        """Take those that are stored next out of the queue, in the order of arrival."""
        with self._lock:
            queue = self._waiting[key]
            return [queue.popleft() for _ in range(min(len(queue), most))]

    def put_back(self, key: BlockKey, group: list[_Waiting]) -> None:
        """Let those wait on that could not be stored, before all others: they may leave again."""
        with self._lock:
            self._waiting[key].extendleft(reversed(group))

    def hand_on(self, key: BlockKey) -> None:
        """Let the first that waits lead."""
        with self._lock:
            if self._waiting[key]:
                self._waiting[key].popleft().turn.set()
            else:
                del self._waiting[key]


class GroupCommitter:
    """Stores changes in groups, through ``committer``; see :class:`whereabouts.commit.Committer`."""

    def __init__(self, groups: Groups, committer: DirectCommitter) -> None:
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
                mine.turn.wait(BEING_STORED_SECONDS)

    def _lead(self, key: BlockKey, mine: _Waiting, deadline: Deadline) -> None:
        attempts = self._committer.attempts(key, self._groups.pace)
        try:
            while not self._store_group(key, mine, attempts, deadline):
                attempts.wait(deadline)  # more may come meanwhile, and the next write carries them too
        except DeadlineExceeded as error:
            # Only this call's time is over; the others go on under the next one's deadline.
            mine.settle(None, error)
        finally:
            self._groups.hand_on(key)

    def _store_group(self, key: BlockKey, mine: _Waiting, attempts: Attempts, deadline: Deadline) -> bool:
        """One try to store the leader's change and those that wait; whether they are settled."""
        group = [mine]

        def change(block: Block) -> tuple[Block, list[_Outcome]]:
            group.extend(self._groups.take(key, MAX_GROUP - len(group)))
            return _together(group, block)

        try:
            ended = attempts.once(change, deadline)
        except DeadlineExceeded:
            self._groups.put_back(key, group[1:])
            raise
        except BaseException as error:
            # Nobody may be left waiting, whatever it was.
            failure = error if isinstance(error, Exception) else Unavailable("the call that led was ended")
            for waiting in group:
                waiting.settle(None, failure)
            if failure is not error:
                raise
            return True
        if ended is None:
            self._groups.put_back(key, group[1:])
            return False
        self._groups.observe(len(group))
        for waiting, (outcome, refusal) in zip(group, *ended, strict=True):
            waiting.settle(outcome, refusal)
        return True


def _together(group: list[_Waiting], block: Block) -> tuple[Block, list[_Outcome]]:
    """Make all changes of a group, in order; one that fails leaves the others alone."""
    outcomes: list[_Outcome] = []
    for waiting in group:
        try:
            block, outcome = waiting.change(block)
        except Exception as error:
            outcomes.append((None, error))
        else:
            outcomes.append((outcome, None))
    return block, outcomes
