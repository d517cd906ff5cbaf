"""ADDs in parallel on one pool: N plugin processes at once

N processes are started one right after the other; the time is that until the last of them has ended. Each
way of ours gave exactly the lowest addresses in every burst, else the run has failed. ``one agent`` is the
native plugin on one node, ``4 agents`` the same with calls spread over agents that know nothing of each
other, as on four nodes (though on this one machine), ``one-shot`` is console scripts without an agent, and
``empty process`` as many processes that do nothing. What is slow stops at 16 at once, except in the long
run. All take turns; the table has 16 at once. All are medians: of nine bursts of 16 or 64, of six of 1 and
of three of 4, behind one that is not timed; of fewer where these take more than ten seconds, and of the
first one where that takes so long alone.
"""

import itertools
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.calls import Burst, Calls
from bench.datastores import KUBERNETES, Datastore
from bench.execution import Command, execute_at_once
from bench.measured import turns
from bench.pods import lowest
from bench.turns import Failed
from tests.cni_calls import CONSOLE, Runtime
from tests.node_agent import Agent, agent_in_a_directory
from whereabouts.addresses import Address

RANGE = "10.0.0.0/16"
AGENTS = 4
MOST, COMPARED = 64, 16
BURSTS = {1: 6, 4: 3, COMPARED: 9, MOST: 9}
"""How often so many at once, behind a first time that does not count."""
PATIENCE = 10.0
"""Seconds that one contender may take for one number at once before it is not asked again."""
AT_LEAST = {KUBERNETES: {f"ADDs a second, {MOST} at once, one agent": 500.0}}


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """One that all agents trust."""
    with tempfile.TemporaryDirectory(prefix="wb-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def agents(directory: Path) -> Iterator[Sequence[Agent]]:
    with ExitStack() as stack:
        started = [stack.enter_context(agent_in_a_directory()) for _ in range(AGENTS)]
        for agent in started:
            agent.start("--allow-directory", str(directory))
        yield started


class Contender:
    """One way to make N ADDs at once, on a pool of its own."""

    def __init__(self, name: str, burst: Callable[[int], Burst], most: int = MOST) -> None:
        self.name = name
        self.given: list[Address] = []
        self.failures: list[str] = []
        self._bursts: dict[int, list[Burst]] = defaultdict(list)
        self._burst = burst
        self._most = most

    def take_turn(self, number: int) -> None:
        """So many at once, unless that takes too long."""
        if number <= self._most and sum(burst.seconds for burst in self._bursts[number]) < PATIENCE:
            self.burst(number)

    def burst(self, number: int) -> None:
        """So many at once."""
        burst = self._burst(number)
        self.given += burst.given
        self.failures += burst.failures
        self._bursts[number].append(burst)

    def counted(self, number: int) -> Sequence[Burst]:
        """Those of so many at once, but for the first, unless there was no time for more."""
        return self._bursts[number][1:] or self._bursts[number]

    def curve(self) -> list[list[float]]:
        """Numbers at once, and what came of them in a second."""
        return [
            [number, median((number - len(one.failures)) / one.seconds for one in self.counted(number))]
            for number in sorted(self._bursts)
        ]


def ours(name: str, runtimes: Sequence[Runtime], files: Path, most: int = MOST) -> Contender:
    """Bursts that have to give the lowest addresses, each time. Every agent has given one before."""
    calls = Calls(runtimes, files)
    expected = lowest(RANGE)

    def check(given: Sequence[Address]) -> None:
        assert sorted(map(int, given)) == list(itertools.islice(expected, len(given)))

    for _ in runtimes:
        calls.add()
        check(calls.held[-1].addresses())

    def burst(number: int) -> Burst:
        done = calls.add_at_once(number)
        assert done.failures == []
        check(done.given)
        return done

    return Contender(name, burst, most)


def theirs(name: str, runtime: Runtime, files: Path, most: int) -> Contender:
    """Bursts of another plugin, whatever it answers. Raises :class:`~bench.turns.Failed`."""
    calls = Calls([runtime], files)
    calls.add()
    return Contender(name, calls.add_at_once, most)


def empty_processes(number: int) -> Burst:
    begun = perf_counter()
    execute_at_once([Command("/bin/true")] * number)
    return Burst(perf_counter() - begun, [], [])


class Field(NamedTuple):
    """All contenders, the first of which is what others are compared with."""

    contenders: Sequence[Contender]
    peers: Sequence[Contender]
    failed: Mapping[str, str]

    def take_turns(self, number: int) -> None:
        for one in self.contenders:
            one.take_turn(number)

    def extra_info(self, title: str) -> dict[str, Any]:
        """What is left for the table and the page."""
        return {
            "beside": {
                one.name: turns([burst.seconds for burst in one.counted(COMPARED)])
                for one in self.contenders[1:]
            },
            "figures": self._figures(),
            "failed": dict(self.failed),
            "curve": {
                "title": title,
                "x": {"label": "ADDs at once", "log": True},
                "y": {"label": "ADDs a second", "log": True},
                "series": {one.name: one.curve() for one in self.contenders},
            },
        }

    def _figures(self) -> dict[str, float]:
        figures = {}
        for one in self.contenders:
            number, rate = one.curve()[-1]
            figures[f"ADDs a second, {number} at once, {one.name}"] = rate
            figures[f"bursts of that, {one.name}"] = len(one.counted(int(number)))
        for one in self.peers:
            figures[f"{one.name}: addresses given twice"] = len(one.given) - len(set(one.given))
            figures[f"{one.name}: ADDs that failed"] = len(one.failures)
        return figures


def field(store: Datastore, agents: Sequence[Agent], directory: Path, most: int) -> Field:
    """Ours and others, each with records of its own; what is slow makes up to ``most`` ADDs at once."""
    by_programs = {
        "one agent": ([agents[0].plugin], MOST),
        f"{AGENTS} agents": ([agent.plugin for agent in agents], MOST),
        "one-shot": ([CONSOLE], most),
    }
    contenders, peers, failed = [], [], {}
    for name, (programs, at_once) in by_programs.items():
        place = store.place(directory / f"{store.name}-{most}-{name}")
        runtimes = [place.runtime(program, RANGE) for program in programs]
        contenders.append(ours(name, runtimes, place.directory / "calls", at_once))
    for peer in store.peers:
        place = store.place(directory / f"{store.name}-{most}-{peer.name}")
        at_once = most if peer.asks_api_server else MOST
        try:
            peers.append(theirs(peer.name, place.runtime_of(peer, RANGE), place.directory / "calls", at_once))
        except Failed as error:
            failed[peer.name] = str(error)
    empty = Contender("empty process", empty_processes)
    return Field([*contenders, *peers, empty], peers, failed)


@pytest.mark.parametrize("most", [COMPARED, pytest.param(MOST, marks=pytest.mark.long)])
def test_parallel_adds(
    benchmark: BenchmarkFixture, store: Datastore, agents: Sequence[Agent], directory: Path, most: int
) -> None:
    taking_part = field(store, agents, directory, most)
    for number, times in BURSTS.items():
        for _ in range(1 + times if number != COMPARED else 0):
            taking_part.take_turns(number)

    def others() -> None:
        for one in taking_part.contenders[1:]:
            one.take_turn(COMPARED)

    pedantic: Any = benchmark.pedantic
    first = taking_part.contenders[0]
    pedantic(lambda: first.burst(COMPARED), setup=others, rounds=BURSTS[COMPARED], warmup_rounds=1)
    title = f"ADDs in parallel on one pool, {store.name}" + (", slow ones too" if most == MOST else "")
    benchmark.extra_info.update(taking_part.extra_info(title))
    bars = AT_LEAST.get(store.name, {})
    if bars:
        benchmark.extra_info["bar"] = [
            {"figure": figure, "at_least": least} for figure, least in bars.items()
        ]
