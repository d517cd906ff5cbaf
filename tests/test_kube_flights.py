"""Requests that are shared: one is made for all who want it, and nobody gets one that began too early."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic

import pytest

from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.stores.kube_flights import Flights

SOON = 30.0


class Asking:
    """Threads that share flights of one name; each ask waits for the gate and gives its own number."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self.flights = Flights()
        self.gate = threading.Event()
        self.began = threading.Semaphore(0)
        self.asked = 0
        self.failure: Exception | None = None
        self._threads = threads

    def ask(self) -> int:
        self.asked += 1
        number = self.asked
        failure, self.failure = self.failure, None
        self.began.release()
        assert self.gate.wait(SOON)
        if failure is not None:
            raise failure
        return number

    def start(self, after: float = 0.0, seconds: float = SOON) -> Future[int]:
        entered = threading.Event()

        def share() -> int:
            deadline = Deadline(seconds)
            entered.set()
            return self.flights.share("pool", self.ask, deadline, after=after)

        future = self._threads.submit(share)
        assert entered.wait(SOON)
        return future

    def wait_until_asked(self) -> None:
        assert self.began.acquire(timeout=SOON)


@pytest.fixture
def asking() -> Asking:
    return Asking(ThreadPoolExecutor(16))


def test_who_comes_while_it_is_asked_shares_the_answer(asking: Asking) -> None:
    first = asking.start()
    asking.wait_until_asked()
    others = [asking.start() for _ in range(8)]
    asking.gate.set()
    assert {one.result(SOON) for one in [first, *others]} <= {1, 2}
    assert asking.start().result(SOON) == asking.asked


def test_who_wants_a_later_one_waits_for_the_next_which_is_shared_too(asking: Asking) -> None:
    first = asking.start()
    asking.wait_until_asked()
    after = monotonic()
    others = [asking.start(after) for _ in range(8)]
    end = monotonic() + SOON
    while len(asking.flights._flights["pool"]) < 2:
        assert monotonic() < end
    asking.gate.set()
    assert first.result(SOON) == 1
    assert all(one.result(SOON) > 1 for one in others)


def test_an_error_is_for_the_one_who_asked_and_the_others_ask_themselves(asking: Asking) -> None:
    asking.failure = ValueError("only the first")
    first = asking.start()
    asking.wait_until_asked()
    other = asking.start()
    asking.gate.set()
    with pytest.raises(ValueError, match="only the first"):
        first.result(SOON)
    assert other.result(SOON) == 2


def test_who_waits_for_the_answer_of_another_waits_until_the_deadline(asking: Asking) -> None:
    first = asking.start()
    asking.wait_until_asked()
    with pytest.raises(DeadlineExceeded, match="is being read for another call"):
        asking.start(seconds=0.5).result(SOON)
    with pytest.raises(DeadlineExceeded, match="is being read for another call"):
        asking.start(after=monotonic(), seconds=0.5).result(SOON)
    asking.gate.set()
    assert first.result(SOON) == 1
    assert asking.flights._flights == {}


def test_a_thread_does_not_wait_for_itself() -> None:
    flights = Flights()

    def inner() -> str:
        return flights.share("pool", lambda: "inner", Deadline(SOON))

    assert flights.share("pool", inner, Deadline(SOON)) == "inner"
