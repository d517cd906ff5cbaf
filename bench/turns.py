"""Taking turns: what is compared runs in one go, so that whatever else the machine does hits all alike."""

from collections import deque
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from pytest_benchmark.fixture import BenchmarkFixture

from bench.measured import turns

Run = Callable[[], object]
PATIENCE = 5.0
"""Seconds that each rival may take in all, spread evenly over the rounds: slow ones take fewer turns."""
FEWEST = 3
"""Turns that every rival takes, however slow it is."""


class Failed(Exception):
    """A rival that cannot do what is compared; the text says why. What is measured itself may not fail."""


def warmed(run: Run, between: Run) -> Callable[[], float]:
    """``run`` once, untimed, then ``between``, then ``run`` once more, timed in seconds.

    For a rival of what another call of its own goes ahead of: that finds programs, connections and the
    server's caches as that call has left them, and not as all the others did.
    """

    def timed() -> float:
        run()
        between()
        begun = perf_counter()
        run()
        return perf_counter() - begun

    return timed


class Rival:
    """One that takes turns with what is measured."""

    def __init__(self, run: Run, patience: float) -> None:
        self.seconds: list[float] = []
        self.failure: str | None = None
        self._run = run
        self._patience = patience
        self._spent = 0.0

    def take_turn(self, passed: float) -> None:
        """Run once, unless it failed before or is too slow for one more turn now.

        ``passed`` is the part of all rounds that will have passed with this one.
        """
        late = len(self.seconds) >= FEWEST and self._spent > self._patience * passed
        if self.failure is not None or late:
            return
        begun = perf_counter()
        try:
            seconds = self._run()
        except Failed as error:
            self.failure = str(error)
            return
        elapsed = perf_counter() - begun
        self._spent += elapsed
        self.seconds.append(seconds if isinstance(seconds, float) else elapsed)


def take_turns(
    benchmark: BenchmarkFixture,
    run: Run,
    beside: Mapping[str, Run],
    *,
    rounds: int = 60,
    before: Run | None = None,
    patience: float = PATIENCE,
) -> None:
    """Measure ``run`` with the fixture, and each of ``beside`` before each of its rounds.

    ``before`` runs ahead of ``run`` and is not measured. A rival that returns a float has measured itself, in
    seconds: one that has something to do before. All have run once before the first round.

    ``extra_info["beside"]`` gets the medians in seconds and of how many turns, ``extra_info["failed"]`` the
    reasons of rivals that raised :class:`Failed`.
    """
    rivals = {name: Rival(other, patience) for name, other in beside.items()}
    order, taken = deque(rivals.values()), 0

    def others() -> None:
        nonlocal taken
        taken += 1
        order.rotate(1)  # nobody comes always behind the same one
        for rival in order:
            rival.take_turn(taken / rounds)
        if before:
            before()

    _warm_up(rivals, run, before)
    pedantic: Any = benchmark.pedantic
    pedantic(run, setup=others, rounds=rounds)
    told = {name: turns(rival.seconds) for name, rival in rivals.items() if rival.seconds}
    benchmark.extra_info["beside"] = told
    failed = {name: rival.failure for name, rival in rivals.items() if rival.failure is not None}
    if failed:
        benchmark.extra_info["failed"] = failed


def _warm_up(rivals: Mapping[str, Rival], run: Run, before: Run | None) -> None:
    for rival in rivals.values():
        rival.take_turn(1.0)
        rival.seconds.clear()
    if before:
        before()
    run()
