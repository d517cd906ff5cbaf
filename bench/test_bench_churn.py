"""Pods that come and go: ADD and DEL mixed, by 8 callers at once, on a range that is in use

Each caller adds and deletes pods of its own without a pause, in an order that is random and the same in
every run. As many addresses of a /22 as the name says are in use by others all the time (of another
plugin's: as many as it gives in two seconds). Ours are called by the native plugin and its agent. Callers
make ten calls in a round, those of a plugin that asks an API server for all it does make five; rounds take
turns, behind one that is not timed, and all tell calls a second and p50 over their rounds. No two pods of
ours held one address at a time, no call failed, and in the end the lowest free address was the next, else
the run has failed.
"""

import random
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from threading import Lock
from time import perf_counter
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.calls import Calls, Held
from bench.datastores import Datastore
from bench.loading import load
from bench.peers import Peer
from bench.pods import Filled, lowest
from bench.turns import Failed, Rival
from tests.cni_calls import Runtime
from tests.node_agent import Agent
from whereabouts.addresses import Address
from whereabouts.ranges import Range

RANGE = "10.0.0.0/22"
CALLERS, MOST_HELD = 8, 6
"""And how many pods each has at most."""
CALLS, FEWER_CALLS = 10, 5
"""Of each caller in a round; the fewer ones are of plugins that ask an API server for all they do."""
ROUNDS = 8
PEER_SECONDS = 2.0
"""For the addresses of others."""
PATIENCE = 12.0
"""Seconds for the rounds of another plugin, though two that are timed are made in any case."""
USED, OTHERS_USED = 600, (0, 750, 960)
"""With 750 the last block in use becomes full and free again all the time, and hints have to follow."""


class Ledger:
    """Which addresses are held now, from the answer of an ADD to the beginning of a DEL."""

    def __init__(self) -> None:
        self.held: set[Address] = set()
        self.given_twice = 0
        self._lock = Lock()

    def take(self, held: Held) -> None:
        with self._lock:
            for address in held.addresses():
                self.given_twice += address in self.held
                self.held.add(address)

    def give_back(self, held: Held) -> None:
        with self._lock:
            self.held.difference_update(held.addresses())


class Caller:
    """Makes calls one after the other."""

    def __init__(self, calls: Calls, ledger: Ledger, seed: int) -> None:
        self.seconds: dict[str, list[float]] = {"ADD": [], "DEL": []}
        self.failures: list[str] = []
        self._calls = calls
        self._ledger = ledger
        self._random = random.Random(seed)

    def play(self, number: int) -> None:
        """So many calls; those that fail are noted."""
        for _ in range(number):
            held = len(self._calls.held)
            command = "ADD" if self._random.random() * MOST_HELD >= held else "DEL"
            begun = perf_counter()
            try:
                self._add() if command == "ADD" else self._delete()
            except Failed as error:
                self.failures.append(str(error))
            self.seconds[command].append(perf_counter() - begun)

    def _add(self) -> None:
        self._calls.add()
        self._ledger.take(self._calls.held[-1])

    def _delete(self) -> None:
        held = self._calls.held
        held.append(held.pop(self._random.randrange(len(held))))
        self._ledger.give_back(held[-1])
        self._calls.delete()


class Churn:
    """All callers of one network."""

    def __init__(self, runtime: Runtime, files: Path) -> None:
        self.ledger = Ledger()
        self.seconds = 0.0
        """Of all rounds that are timed."""
        self.callers = [
            Caller(Calls([runtime], files, f"caller-{seed}"), self.ledger, seed) for seed in range(CALLERS)
        ]

    def play(self, number: int = CALLS) -> None:
        """So many calls of each caller."""
        begun = perf_counter()
        with ThreadPoolExecutor(CALLERS) as threads:
            list(threads.map(lambda caller: caller.play(number), self.callers))
        self.seconds += perf_counter() - begun

    def forget_times(self) -> None:
        """Behind the round that is not timed."""
        self.seconds = 0.0
        for caller in self.callers:
            for taken in caller.seconds.values():
                taken.clear()

    @property
    def failures(self) -> list[str]:
        return [failure for caller in self.callers for failure in caller.failures]

    def figures(self, of: str = "") -> dict[str, float]:
        """Of all calls that are timed; ``of`` stands behind each name."""
        taken = {
            call: [one for caller in self.callers for one in caller.seconds[call]] for call in ("ADD", "DEL")
        }
        return {
            f"calls a second{of}": sum(map(len, taken.values())) / self.seconds,
            **{f"{call} p50 ms{of}": median(seconds) * 1e3 for call, seconds in taken.items()},
            **{f"{call}s timed{of}": len(seconds) for call, seconds in taken.items()},
        }


class PeerChurn:
    """The same by another plugin."""

    def __init__(self, peer: Peer, store: Datastore, directory: Path, used: int) -> None:
        self.peer = peer
        self.churn: Churn | None = None
        self._used = used
        self._place = partial(store.place, directory)
        self._calls = FEWER_CALLS if peer.asks_api_server else CALLS

    def take_turn(self) -> None:
        """A round; the first is not timed. Raises :class:`~bench.turns.Failed` where nothing works."""
        if self.churn is None:
            self.churn = self._on_filled_range()
            self.churn.play(self._calls)
            self.churn.forget_times()
        else:
            self.churn.play(self._calls)

    def _on_filled_range(self) -> Churn:
        place = self._place()
        runtime, files = place.runtime_of(self.peer, RANGE), place.directory / "calls"
        others, until = Calls([runtime], files), time.monotonic() + PEER_SECONDS
        while len(others.held) < self._used and time.monotonic() < until:
            others.add()
        return Churn(runtime, files)


def lowest_free(used: int, held: Collection[Address]) -> int:
    """The next address, where the first ``used`` ones and those ``held`` are in use."""
    taken = {int(address) for address in held}
    return next(address for address in islice(lowest(RANGE), used, None) if address not in taken)


def figures(ours: Churn, theirs: Sequence[PeerChurn]) -> dict[str, float]:
    told = ours.figures()
    for peer in theirs:
        if peer.churn:
            name = peer.peer.name
            told |= peer.churn.figures(f", {name}")
            told[f"{name}: addresses given twice"] = peer.churn.ledger.given_twice
            told[f"{name}: calls that failed"] = len(peer.churn.failures)
    return told


@pytest.mark.parametrize(
    "used", [USED, *(pytest.param(used, marks=pytest.mark.long) for used in OTHERS_USED)]
)
def test_churn(benchmark: BenchmarkFixture, store: Datastore, agent: Agent, used: int) -> None:
    directory = agent.directory / f"{store.name}-{used}"
    place = store.place(directory / "whereabouts")
    with place.store() as opened:
        load(opened, Filled(Range.parse(RANGE), used))
    ours = Churn(place.runtime(agent.plugin, RANGE), place.directory / "calls")
    theirs = [PeerChurn(peer, store, directory / peer.name, used) for peer in store.peers]
    rivals = [Rival(peer.take_turn, PATIENCE) for peer in theirs]
    rounds = 0

    def others() -> None:
        nonlocal rounds
        if rounds == 1:
            ours.forget_times()  # of the first round
        for rival in rivals:
            rival.take_turn(rounds / ROUNDS)
        rounds += 1

    pedantic: Any = benchmark.pedantic
    pedantic(ours.play, setup=others, rounds=ROUNDS, warmup_rounds=1)
    assert ours.failures == []
    assert ours.ledger.given_twice == 0
    last = Calls([place.runtime(agent.plugin, RANGE)], directory / "last", "last")
    last.add()
    assert list(map(int, last.held[0].addresses())) == [lowest_free(used, ours.ledger.held)]
    failed = {
        peer.peer.name: rival.failure for peer, rival in zip(theirs, rivals, strict=True) if rival.failure
    }
    benchmark.extra_info |= {"figures": figures(ours, theirs), "failed": failed}
