"""Bursts: the pods of many nodes at once on one API server

Simulated nodes call their agents all at the same moment: the real agent behind its socket, one for each
node, each with connections and a memory of its own, spread over a few processes of this one machine, on
which the API server and its etcd run as well. Nobody has asked before: agents, connections, pools and
blocks are new. A pod's interfaces are added one after the other, the pods of a node at the same time.
Requests and conflicts are those that the API server counted. Every run gave exactly the lowest addresses of
the range, each once, no call failed, and the DELs left nothing.

``five ranges`` gives each pod an address of each of five ranges, ``one range`` five addresses of one.
"""

import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from ipaddress import ip_address
from statistics import median
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.agents import Burst, Fleet, fleet, ranges_for
from bench.pods import lowest
from tests.api_server import ApiServer, api_server
from tests.suites import SUITES

MISSING = SUITES["apiserver"].missing()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")

EXACT = "10.0.0.0-10.0.3.235/22"
"""A range of exactly 1,000 usable addresses: those that end in ``.0`` are not given."""
PODS, INTERFACES = 8, 5
FEW, ALL = 30, 300
"""Nodes."""
CURVE = (1, 4, 16, 64)
APART = pytest.mark.parametrize("apart", [True, False], ids=["five ranges", "one range"])


@pytest.fixture(scope="module")
def server() -> ApiServer:
    return api_server()


class Bursts:
    """Fleets, one after the other, each of which adds everything at once and deletes it again."""

    def __init__(self, server: ApiServer, agents: int, pods: int, ranges: Sequence[str]) -> None:
        self.adds: list[Burst] = []
        self.dels: list[Burst] = []
        self._server = server
        self._agents = agents
        self._pods = pods
        self._ranges = ranges

    def measure(self, benchmark: BenchmarkFixture, rounds: int, within: float) -> None:
        """Use so many fleets; it is promised that their ADDs take no longer than ``within`` seconds."""
        with ExitStack() as stack:

            def begin() -> tuple[tuple[Fleet], dict[str, object]]:
                started = stack.enter_context(fleet(self._server, self._agents, self._pods, self._ranges))
                started.begin()
                return (started,), {}

            def end(started: Fleet) -> None:
                self._finish(started, told.pop())
                stack.close()

            told: list[Sequence[Any]] = []
            pedantic: Any = benchmark.pedantic
            pedantic(lambda fleet: told.append(fleet.call("ADD")), setup=begin, teardown=end, rounds=rounds)
        benchmark.extra_info["figures"] = self.figures()
        benchmark.extra_info["bar"] = [{"figure": "seconds for all ADDs", "at_most": within}]

    def _finish(self, started: Fleet, told: Sequence[Any]) -> None:
        added = started.end(told)
        assert added.errors == []
        assert sorted(map(int, map(ip_address, added.addresses))) == self._expected()
        deleted = started.delete()
        assert deleted.errors == []
        assert started.recorded() == 0
        self.adds.append(added)
        self.dels.append(deleted)

    def _expected(self) -> list[int]:
        """The lowest addresses, as many of each range as there are interfaces in it."""
        each = self._agents * self._pods
        return sorted(
            address
            for one in sorted(set(self._ranges))
            for address in itertools.islice(lowest(one), each * self._ranges.count(one))
        )

    def figures(self) -> dict[str, float]:
        """The medians of all runs."""
        return _medians([one.figures("ADD") for one in self.adds]) | _medians(
            [one.figures("DEL") for one in self.dels]
        )


def _medians(of: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: median(one[name] for one in of) for name in of[0]}


def test_a_thousand_adds_for_exactly_a_thousand_addresses_on_ten_nodes(
    benchmark: BenchmarkFixture, server: ApiServer
) -> None:
    Bursts(server, 10, 100, [EXACT]).measure(benchmark, 3, 10.0)


@APART
def test_a_burst_of_thirty_nodes(benchmark: BenchmarkFixture, server: ApiServer, apart: bool) -> None:
    Bursts(server, FEW, PODS, ranges_for(INTERFACES, apart=apart)).measure(benchmark, 3, 10.0)


@pytest.mark.long
@APART
def test_a_burst_of_three_hundred_nodes(benchmark: BenchmarkFixture, server: ApiServer, apart: bool) -> None:
    Bursts(server, ALL, PODS, ranges_for(INTERFACES, apart=apart)).measure(benchmark, 1, 60.0)
