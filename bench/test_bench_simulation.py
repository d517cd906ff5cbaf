"""Simulated: up to 5,000 nodes that ask for addresses of one range at the same time

No machine plays 5,000 nodes, so a model of the agents does (``bench/simulation.py``): in simulated time, with
the product's own waits. What a request costs the API server and its etcd is measured in the same run: reads,
writes that are done and writes that come too late, of a block with 128 addresses, one after the other; the
model draws from those samples. Its server has 8 cores, and a request is 2 ms on its way.

The model is held against bursts that are measured, the medians of three: real agents, of 1 to 32 nodes, that
share the cores of this machine with the server. For that comparison alone what requests and calls cost the
agents is added, and the cores are those of this machine. At a ratio of 1 model and measurement agree; what
else runs on the machine makes it smaller.

``slices`` gives each node a range of its own, as node slices of whole blocks do. A call has 120 s; those that
get no address in that time have failed. Each cluster is played once. Bursts come at once, to agents that know
the range, and whose last look at its block is out of date. Steady ADDs come at random times over a minute,
six of each node.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from statistics import fmean, median
from typing import Any, NamedTuple

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.agents import Burst, fleet
from bench.datastores import KUBERNETES, datastore
from bench.floors import block_of
from bench.server_metrics import cpu_seconds
from bench.simulation import Costs, Outcome, Shape, simulate
from tests.api_server import ApiServer, api_server
from tests.store_contract import SOON
from whereabouts.commit import MAX_PAUSE
from whereabouts.deadline import Deadline
from whereabouts.store import Conflict
from whereabouts.stores import kube_objects as objects
from whereabouts.stores.kube_objects import BLOCKS
from whereabouts.stores.kubernetes import KubernetesStore

USED = 128
"""Addresses of the block that is measured: half of a full one."""
SAMPLES = 200
CORES, LATENCY = 8, 0.002
MEASURED = ((1, 8), (4, 8), (16, 8), (32, 8))
"""Nodes, and calls of each at once."""
ROUNDS = 3
"""How often each is measured."""
SEEDS = range(5)
AGREES = 2.0
"""How far apart, as a ratio, model and measurement may be."""
BURSTS = (1, 8, 40)
MOST = 40_000
"""ADDs at once that are played: of more each cluster takes minutes."""
STEADY_CALLS, STEADY_SECONDS = 6, 60.0
SHORT, LONG = (10, 50, 100, 300), (1_000, 2_000, 5_000)
NODES = pytest.mark.parametrize(
    "nodes",
    [
        pytest.param(SHORT, id="up to 300 nodes"),
        pytest.param(LONG, id="up to 5,000 nodes", marks=pytest.mark.long),
    ],
)


# ------------------------------------------------------------------- what it costs


class Timed(NamedTuple):
    """Requests of one kind, one after the other: seconds of each, and CPU seconds of one."""

    seconds: Sequence[float]
    server: float
    client: float

    def samples(self, cores: float) -> Sequence[float]:
        """As many seconds of a core on the average, spread as the requests' times were."""
        mean = fmean(self.seconds)
        return [cores * one / mean for one in self.seconds]


class Prices(NamedTuple):
    """What was measured on an idle server."""

    read: Timed
    write: Timed
    conflict: Timed

    def of_the_server(self) -> Costs:
        """Core seconds of the API server and its etcd."""
        return Costs(*(one.samples(one.server) for one in self))

    def of_the_machine(self) -> Costs:
        """Those of the client as well."""
        return Costs(*(one.samples(one.server + one.client) for one in self))

    def on_the_way(self) -> float:
        """Seconds of a write in which no core is busy."""
        return max(0.0, median(self.write.seconds) - self.write.server - self.write.client)


class Block:
    """A block that is read and written by one client."""

    def __init__(self, store: KubernetesStore) -> None:
        self._resources = store.resources
        block = block_of(USED)
        self._name = block.key.name
        self._first = self._resources.create(BLOCKS, objects.block_object(block, {}), Deadline(SOON))
        self._last = self._first
        self._content: Any = objects.block_object(block, {}, self._first)

    def read(self) -> None:
        self._resources.get(BLOCKS, self._name, Deadline(SOON))

    def write(self) -> None:
        self._last = self._replace(self._last["resourceVersion"])

    def conflict(self) -> None:
        try:
            self._replace(self._first["resourceVersion"])
        except Conflict:
            return
        raise AssertionError("a write on an old revision was done")

    def _replace(self, revision: str) -> Any:
        self._content["metadata"]["resourceVersion"] = revision
        self._content["spec"]["allocated"] = (self._content["spec"]["allocated"] + 1) % 256
        return self._resources.replace(BLOCKS, self._name, self._content, Deadline(SOON))


def timed(server: ApiServer, request: Callable[[], None]) -> Timed:
    for _ in range(SAMPLES // 10):
        request()
    seconds, used, own = [], sum(map(cpu_seconds, server.pids)), time.process_time()
    for _ in range(SAMPLES):
        begun = time.perf_counter()
        request()
        seconds.append(time.perf_counter() - begun)
    own = time.process_time() - own
    used = sum(map(cpu_seconds, server.pids)) - used
    return Timed(seconds, used / SAMPLES, own / SAMPLES)


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with datastore(KUBERNETES):  # it skips where there is no API server: nothing else has these costs
        yield api_server()


@pytest.fixture(scope="module")
def prices(server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Prices:
    with datastore(KUBERNETES) as running, ExitStack() as stack:
        place = running.place(tmp_path_factory.mktemp("simulation") / "place")
        store = stack.enter_context(place.store())
        assert isinstance(store, KubernetesStore)
        block = Block(store)
        block.write()
        return Prices(*(timed(server, request) for request in (block.read, block.write, block.conflict)))


@pytest.fixture(scope="module")
def played(prices: Prices) -> Callable[..., Outcome]:
    """What comes of a shape with these costs; each is played once."""
    costs = prices.of_the_server()

    @cache
    def play(agents: int, calls: int, *, sliced: bool = False, during: float = 0.0) -> Outcome:
        return simulate(Shape(agents, calls, costs, CORES, LATENCY, sliced=sliced, during=during))

    return play


# ---------------------------------------------------------------- beside measurement


class Beside(NamedTuple):
    """Bursts of one shape as they were measured, and as the model plays them: medians of both."""

    nodes: int
    measured: Sequence[Burst]
    modelled: Sequence[Outcome]

    def seconds(self) -> tuple[float, float]:
        """From the first call to the last answer: measured and modelled."""
        return median(one.seconds for one in self.measured), median(one.seconds for one in self.modelled)

    def ratios(self) -> dict[str, float]:
        measured, modelled = self.seconds()
        requests = median(one.requests / len(one.latencies) for one in self.measured)
        return {
            "seconds of all": modelled / measured,
            "p50": median(one.percentile(50) for one in self.modelled)
            / median(one.quantile(0.5) for one in self.measured),
            "requests an ADD": median(one.requests_an_add for one in self.modelled) / requests,
        }


def bursts(server: ApiServer, shapes: Sequence[tuple[int, int]]) -> list[list[Burst]]:
    """Some of each shape, of agents that know the range and have come to rest."""
    with ExitStack() as stack:
        fleets = [
            stack.enter_context(fleet(server, nodes, calls, ["10.0.0.0/18"])) for nodes, calls in shapes
        ]
        measured: list[list[Burst]] = [[] for _ in fleets]
        for number in range(1 + ROUNDS):  # the first shows the agents the range
            for agents, of_shape in zip(fleets, measured, strict=True):
                added, deleted = agents.add(), agents.delete()
                assert added.errors == deleted.errors == []
                assert len(set(added.addresses)) == len(added.latencies)
                if number:
                    of_shape.append(added)
            if number < ROUNDS:
                time.sleep(MAX_PAUSE)
    return measured


def test_model_beside_measured_bursts(benchmark: BenchmarkFixture, server: ApiServer, prices: Prices) -> None:
    measured: list[list[Burst]] = _once(benchmark, lambda: bursts(server, MEASURED))
    of_a_call = median(one.agent_seconds / len(one.latencies) for one in measured[0])
    of_a_call -= prices.write.client * median(one.requests / len(one.latencies) for one in measured[0])
    costs, cores, latency = prices.of_the_machine(), os.cpu_count() or 1, prices.on_the_way()
    pairs = [
        Beside(
            nodes,
            of_shape,
            [
                simulate(Shape(nodes, calls, costs, cores, latency, of_a_call=of_a_call), seed)
                for seed in SEEDS
            ],
        )
        for (nodes, calls), of_shape in zip(MEASURED, measured, strict=True)
    ]
    ratios = {
        f"model / measured, {name}, {pair.nodes} nodes": ratio
        for pair in pairs
        for name, ratio in pair.ratios().items()
    }
    core_ms = {
        f"core ms of the server, {kind}": 1e3 * timed.server
        for kind, timed in zip(Prices._fields, prices, strict=True)
    }
    benchmark.extra_info["figures"] = ratios | core_ms
    benchmark.extra_info["bar"] = [
        {"figure": name, **limit}
        for name in ratios
        for limit in ({"at_least": 1 / AGREES}, {"at_most": AGREES})
    ]
    benchmark.extra_info["curve"] = {
        "title": "A burst of 8 ADDs of each node, measured and modelled",
        "x": {"label": "nodes", "log": True},
        "y": {"label": "seconds until all are answered", "log": True},
        "series": {
            "measured": [[pair.nodes, pair.seconds()[0]] for pair in pairs],
            "modelled": [[pair.nodes, pair.seconds()[1]] for pair in pairs],
        },
    }


# ------------------------------------------------------------------------- clusters


Reading = Callable[[Outcome], float]


def sizes(nodes: Sequence[int]) -> list[int]:
    """ADDs of each node at once."""
    return [calls for calls in BURSTS if calls * max(nodes) <= MOST]


def curves(played: Callable[..., Outcome], nodes: Sequence[int], reading: Reading) -> dict[str, Any]:
    """What is read off bursts, against nodes, by the size of the burst."""
    series: dict[str, Any] = {
        f"{calls} at once on each": [[number, reading(played(number, calls))] for number in nodes]
        for calls in sizes(nodes)
    }
    sliced = [[number, reading(played(number, 8, sliced=True))] for number in nodes]
    return {**series, "8 at once on each, slices": sliced}


def plot(
    benchmark: BenchmarkFixture, title: str, y: str, series: dict[str, Any], *, log: bool = True
) -> None:
    benchmark.extra_info["curve"] = {
        "title": title,
        "x": {"label": "nodes", "log": True},
        "y": {"label": y, "log": log},
        "series": series,
    }


def told(played: Callable[..., Outcome], nodes: Sequence[int]) -> dict[str, float]:
    """The figures of the largest cluster of these."""
    most = max(nodes)
    figures = {}
    for calls in sizes(nodes):
        outcome = played(most, calls)
        for name, figure in (
            ("p50 s", outcome.percentile(50)),
            ("p99 s", outcome.percentile(99)),
            ("failed", outcome.failed),
            ("conflicts an ADD", outcome.conflicts_an_add),
            ("requests an ADD", outcome.requests_an_add),
            ("requests a second", outcome.requests_a_second),
        ):
            figures[f"{name}, {most:,} nodes, {calls} at once on each"] = figure
    return figures


@NODES
def test_latency_of_a_burst(
    benchmark: BenchmarkFixture, played: Callable[..., Outcome], nodes: Sequence[int]
) -> None:
    series = _once(benchmark, lambda: curves(played, nodes, lambda outcome: outcome.percentile(99)))
    plot(benchmark, "ADDs of a burst (model)", "seconds, p99", series)
    benchmark.extra_info["figures"] = told(played, nodes)
    for number in nodes:
        for calls in sizes(nodes):
            outcome = played(number, calls)
            assert len(set(outcome.given)) == len(outcome.given) == len(outcome.latencies)


@NODES
def test_conflicts_of_a_burst(
    benchmark: BenchmarkFixture, played: Callable[..., Outcome], nodes: Sequence[int]
) -> None:
    series = _once(benchmark, lambda: curves(played, nodes, lambda outcome: outcome.conflicts_an_add))
    plot(benchmark, "Conflicts of a burst (model)", "conflicts an ADD", series, log=False)


@NODES
def test_throughput_of_a_burst(
    benchmark: BenchmarkFixture, played: Callable[..., Outcome], nodes: Sequence[int]
) -> None:
    series = _once(benchmark, lambda: curves(played, nodes, lambda outcome: outcome.adds_a_second))
    plot(benchmark, "ADDs a second of a burst (model)", "ADDs a second", series)


@NODES
def test_steady_adds(
    benchmark: BenchmarkFixture, played: Callable[..., Outcome], nodes: Sequence[int]
) -> None:
    def play(number: int) -> Outcome:
        return played(number, STEADY_CALLS, during=STEADY_SECONDS)

    def steady() -> dict[str, Any]:
        return {
            f"p{percent}": [[number, 1e3 * play(number).percentile(percent)] for number in nodes]
            for percent in (50, 99)
        }

    plot(benchmark, "Six ADDs a minute on each node (model)", "ms of an ADD", _once(benchmark, steady))
    most = max(nodes)
    benchmark.extra_info["figures"] = {
        f"failed, {most:,} nodes, steady": play(most).failed,
        f"conflicts an ADD, {most:,} nodes, steady": play(most).conflicts_an_add,
        f"requests a second, {most:,} nodes, steady": play(most).requests_a_second,
    }


def _once(benchmark: BenchmarkFixture, call: Callable[[], Any]) -> Any:
    pedantic: Any = benchmark.pedantic
    return pedantic(call, rounds=1)
