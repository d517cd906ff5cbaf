"""How long writes wait for one another: kept from one write of a process to the next."""

from ipaddress import ip_address

import pytest

from whereabouts.agent.group_commit import GroupCommitter, Groups
from whereabouts.block import Block, BlockKey, Space
from whereabouts.changes import assign
from whereabouts.commit import GROWTH, MAX_PAUSE, DirectCommitter, Pace
from whereabouts.deadline import Deadline
from whereabouts.store import Conflict, StoredBlock

from .memory_store import MemoryStore
from .store_contract import SOON, pod

FIRST = 0.02
KEY = BlockKey.of(Space(), ip_address("10.0.0.0"))
NEXT = KEY._replace(base=KEY.base + 256)


class ContendedStore(MemoryStore):
    """A store in which others write first, for so many times."""

    conflict_pause = FIRST

    def __init__(self) -> None:
        super().__init__()
        self.conflicts = 0

    def write_block(
        self, key: BlockKey, previous: StoredBlock | None, block: Block, deadline: Deadline
    ) -> StoredBlock:
        if self.conflicts:
            self.conflicts -= 1
            raise Conflict(key.name)
        return super().write_block(key, previous, block, deadline)


class Waits(Deadline):
    """Notes the longest waits that are asked for, and does not wait."""

    def __init__(self) -> None:
        super().__init__(SOON)
        self.noted: list[float] = []

    def pause(self, seconds: float, what: str, *, least: float = 0.0) -> None:
        self.noted.append(seconds)


def waits(store: ContendedStore, groups: Groups, key: BlockKey, number: int, conflicts: int) -> list[float]:
    deadline, store.conflicts = Waits(), conflicts
    committer = GroupCommitter(groups, DirectCommitter(store))
    assert committer.commit(key, assign(pod(number), ()), deadline) is not None
    return deadline.noted


def groups_at_rest() -> Groups:
    """Of a process for which no time passes."""
    groups = Groups(lambda _: None)
    groups.pace = Pace(clock=lambda: 100.0)
    return groups


def test_a_write_goes_on_with_half_the_wait_at_which_the_last_one_was_done() -> None:
    store, groups = ContendedStore(), groups_at_rest()
    first = waits(store, groups, KEY, 1, conflicts=3)
    assert first == pytest.approx([FIRST, GROWTH * FIRST, GROWTH**2 * FIRST])
    assert waits(store, groups, NEXT, 2, conflicts=1) == pytest.approx([GROWTH * first[-1] / 2])
    for number in range(3, 13):
        assert waits(store, groups, NEXT, number, conflicts=0) == []
    assert waits(store, groups, NEXT, 13, conflicts=1) == [FIRST]


def test_a_call_that_goes_on_to_the_next_block_goes_on_with_its_waits() -> None:
    """The block was full before it was its turn: those who contended for it are at the next one, too."""
    store, groups, deadline = ContendedStore(), groups_at_rest(), Waits()
    attempts = DirectCommitter(store).attempts(KEY, groups.pace)
    for _ in range(3):
        attempts.wait(deadline)
    assert waits(store, groups, NEXT, 1, conflicts=1) == pytest.approx([GROWTH * deadline.noted[-1]])


def test_processes_do_not_share_their_pace() -> None:
    store = ContendedStore()
    waits(store, groups_at_rest(), KEY, 1, conflicts=3)
    assert waits(store, groups_at_rest(), KEY, 2, conflicts=1) == [FIRST]


def test_a_pace_is_forgotten_when_nothing_was_written_for_as_long_as_the_longest_wait() -> None:
    store, groups, now = ContendedStore(), Groups(lambda _: None), [100.0]
    groups.pace = Pace(clock=lambda: now[0])
    (*_, last) = waits(store, groups, KEY, 1, conflicts=5)
    now[0] += MAX_PAUSE - 1
    assert waits(store, groups, KEY, 2, conflicts=1) == pytest.approx([GROWTH * last / 2])
    now[0] += MAX_PAUSE + 1
    assert waits(store, groups, KEY, 3, conflicts=1) == [FIRST]
