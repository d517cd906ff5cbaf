"""Group commit: one write for many, each with its own outcome."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path

import pytest

from whereabouts.agent.group_commit import GroupCommitter, Groups
from whereabouts.block import Block, BlockKey, Space
from whereabouts.changes import Assigned, assign
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.store import Conflict, StoredBlock, Unavailable
from whereabouts.stores.sqlite import SqliteStore

from .store_contract import SOON, pod

KEY = BlockKey.of(Space(), ip_address("10.0.0.0"))


class GatedStore(SqliteStore):
    """A store whose writes wait for a gate and may be told to fail."""

    def __init__(self, path: str) -> None:
        super().__init__(path, Deadline(SOON))
        self.gate = threading.Event()
        self.writing = threading.Event()
        self.writes = 0
        self.failure: Exception | None = None

    def write_block(
        self, key: BlockKey, previous: StoredBlock | None, block: Block, deadline: Deadline
    ) -> StoredBlock:
        self.writing.set()
        if not self.gate.wait(deadline.remaining("the gate")):
            raise DeadlineExceeded("the gate stayed shut")
        self.writes += 1
        if self.failure is not None:
            raise self.failure
        return super().write_block(key, previous, block, deadline)


class Burst:
    """Calls in threads of their own, the first of which is held at the gate until all others wait."""

    def __init__(self, tmp_path: Path) -> None:
        self.store = GatedStore(str(tmp_path / "w.db"))
        self.sizes: list[int] = []
        self.groups = Groups(self.sizes.append)
        self.outcomes: dict[int, object] = {}
        self.threads: list[threading.Thread] = []

    def start(
        self, number: int, change: Callable[[Block], tuple[Block, object]], seconds: float = SOON
    ) -> None:
        def run() -> None:
            committer = GroupCommitter(self.groups, DirectCommitter(self.store))
            try:
                self.outcomes[number] = committer.commit(KEY, change, Deadline(seconds))
            except Exception as error:
                self.outcomes[number] = error

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()
        if number == 0:
            assert self.store.writing.wait(SOON)
        else:
            while self.waiting() < number and self.threads[-1].is_alive():
                pass

    def waiting(self) -> int:
        return len(self.groups._waiting.get(KEY, ()))

    def finish(self) -> dict[int, object]:
        self.store.gate.set()
        for thread in self.threads:
            thread.join(SOON)
        assert not any(thread.is_alive() for thread in self.threads)
        assert self.groups._waiting == {}
        return self.outcomes


@pytest.fixture
def burst(tmp_path: Path) -> Iterator[Burst]:
    burst = Burst(tmp_path)
    yield burst
    burst.store.close()


def test_changes_that_wait_are_stored_by_one_write_in_order_of_arrival(burst: Burst) -> None:
    for number in range(20):
        burst.start(number, assign(pod(number), [(0, 1)]))
    outcomes = burst.finish()
    given = [outcomes[number].address for number in range(20)]  # type: ignore[attr-defined]
    assert given == [ip_address(f"10.0.0.{number + 1}") for number in range(20)]
    assert burst.sizes == [1, 19]
    assert burst.store.writes == 2


def test_a_change_that_fails_does_not_fail_the_others(burst: Burst) -> None:
    def broken(block: Block) -> tuple[Block, object]:
        raise ValueError("this one is broken")

    burst.start(0, assign(pod(0), [(0, 1)]))
    burst.start(1, broken)
    burst.start(2, assign(pod(2), [(0, 1)]))
    outcomes = burst.finish()
    assert isinstance(outcomes[1], ValueError)
    assert isinstance(outcomes[2], Assigned)
    assert outcomes[2].address == ip_address("10.0.0.2")


def test_a_store_that_fails_fails_the_whole_group_and_keeps_nobody_waiting(burst: Burst) -> None:
    burst.store.failure = Unavailable("the disk is full")
    for number in range(5):
        burst.start(number, assign(pod(number), []))
    assert {type(outcome) for outcome in burst.finish().values()} == {Unavailable}


def test_a_leader_whose_time_is_over_hands_on_to_those_that_have_time(burst: Burst) -> None:
    burst.start(0, assign(pod(0), [(0, 1)]), seconds=1.0)
    for number in range(1, 4):
        burst.start(number, assign(pod(number), [(0, 1)]))
    burst.threads[0].join(SOON)
    outcomes = burst.finish()
    assert isinstance(outcomes[0], DeadlineExceeded)
    given = [outcomes[number].address for number in range(1, 4)]  # type: ignore[attr-defined]
    assert given == [ip_address(f"10.0.0.{number}") for number in range(1, 4)]


def test_one_who_waits_too_long_leaves_and_gets_no_address(burst: Burst) -> None:
    burst.start(0, assign(pod(0), [(0, 1)]))
    burst.start(1, assign(pod(1), [(0, 1)]), seconds=1.0)
    burst.start(2, assign(pod(2), [(0, 1)]))
    burst.threads[1].join(SOON)
    outcomes = burst.finish()
    assert isinstance(outcomes[1], DeadlineExceeded)
    assert outcomes[2].address == ip_address("10.0.0.2")  # type: ignore[attr-defined]
    stored = burst.store.read_block(KEY, Deadline(SOON))
    assert stored is not None
    assert len(stored.trusted()) == 2


class Contested(SqliteStore):
    """A store in which others write first, so many times; it says when that has happened."""

    def __init__(self, path: str, conflicts: int) -> None:
        super().__init__(path, Deadline(SOON))
        self.conflicts = conflicts
        self.sizes: list[int] = []
        self.met = threading.Semaphore(0)

    def write_block(
        self, key: BlockKey, previous: StoredBlock | None, block: Block, deadline: Deadline
    ) -> StoredBlock:
        self.sizes.append(len(block) - (0 if previous is None else len(previous.trusted())))
        if len(self.sizes) <= self.conflicts:
            self.met.release()
            raise Conflict("others were faster")
        return super().write_block(key, previous, block, deadline)


@pytest.fixture
def contested(tmp_path: Path) -> Iterator[Contested]:
    store = Contested(str(tmp_path / "w.db"), 3)
    store.conflict_pause = 0.2  # the first of the waits that get longer
    yield store
    store.close()


def commit(store: SqliteStore, groups: Groups, number: int, deadline: Deadline) -> object:
    return GroupCommitter(groups, DirectCommitter(store)).commit(KEY, assign(pod(number), [(0, 1)]), deadline)


def test_changes_that_come_while_a_write_waits_for_its_next_try_join_it(contested: Contested) -> None:
    groups = Groups(lambda _: None)
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(commit, contested, groups, 0, Deadline(SOON))
        assert contested.met.acquire(timeout=SOON)
        others = [threads.submit(commit, contested, groups, number, Deadline(SOON)) for number in range(1, 9)]
        given = [one.result(SOON).address for one in [first, *others]]  # type: ignore[attr-defined]
    assert sorted(given) == [ip_address(f"10.0.0.{number}") for number in range(1, 10)]
    assert given[0] == ip_address("10.0.0.1")
    assert contested.sizes[0] == 1
    assert sum(contested.sizes[3:]) == 9


def test_one_whose_time_is_over_leaves_a_write_that_waits_for_its_next_try(contested: Contested) -> None:
    contested.conflicts = 10**9
    groups = Groups(lambda _: None)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(commit, contested, groups, 0, Deadline(SOON))
        assert contested.met.acquire(timeout=SOON)
        with pytest.raises(DeadlineExceeded):
            commit(contested, groups, 1, Deadline(0.1))
        assert not first.done()
        contested.conflicts = 0
        assert first.result(SOON).address == ip_address("10.0.0.1")  # type: ignore[attr-defined]
    stored = contested.read_block(KEY, Deadline(SOON))
    assert stored is not None
    assert len(stored.trusted()) == 1


def test_a_leader_whose_time_is_over_while_it_waits_hands_on(contested: Contested) -> None:
    contested.conflicts = 10**9
    groups = Groups(lambda _: None)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(commit, contested, groups, 0, Deadline(0.3))
        assert contested.met.acquire(timeout=SOON)
        other = threads.submit(commit, contested, groups, 1, Deadline(SOON))
        with pytest.raises(DeadlineExceeded):
            first.result(SOON)
        contested.conflicts = 0
        assert other.result(SOON).address == ip_address("10.0.0.1")  # type: ignore[attr-defined]
    assert groups._waiting == {}
