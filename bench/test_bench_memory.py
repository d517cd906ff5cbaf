"""The memory of a node agent against the number of allocations in its store, and against nodes; CPU at rest.

For every point an agent is started. It serves 50 ADDs, and as many DELs with the results of the ADDs (*in
use*); then a DEL without a result, of a container that nobody knows, for which all records have to be looked
through (*after a search*). On Kubernetes an agent keeps an index of what it saw there; where the host has a
configuration of its own, it makes that search when it starts. Nodes have 50 pods each, and a /24 of a range
that is cut into slices. Memory is PSS; the peak, in figures, VmHWM. What is timed is the search. CPU time at
rest is that of three seconds in which nobody calls.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.loading import load_etcd, load_kubernetes, load_sqlite
from bench.pods import Contents, Filled, Sliced
from bench.process_memory import Memory, memory_of
from bench.server_metrics import cpu_seconds
from tests.api_server import ADMIN, api_server, kubeconfig
from tests.cni_calls import NODE, Runtime
from tests.etcd_server import cluster
from tests.node_agent import Agent, agent_in_a_directory
from tests.store_contract import SOON, slices
from tests.suites import SUITES
from whereabouts.deadline import Deadline
from whereabouts.ranges import Range
from whereabouts.stores.etcd import EtcdStore
from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kubernetes import KubernetesStore
from whereabouts.stores.sqlite import SqliteStore

RANGE = "10.0.0.0/12"
CALLS = 50
PODS_OF_A_NODE = 50
REST_SECONDS = 3.0
STARTED, IN_USE, SEARCHED = "started", "in use", "after a search"


class Place(NamedTuple):
    """Where an agent's records are."""

    store: Any
    load: Callable[[Any, Contents], None]
    ipam: dict[str, Any]


Opener = Callable[[ExitStack, Path], Place]


def sqlite(stack: ExitStack, directory: Path) -> Place:
    path = str(directory / "w.db")
    return Place(SqliteStore(path, Deadline(SOON)), load_sqlite, {"local": {"path": path}})


def etcd(stack: ExitStack, directory: Path) -> Place:
    (server,) = stack.enter_context(cluster())
    return Place(EtcdStore(server.host), load_etcd, {"etcd_host": server.host})


def kubernetes(stack: ExitStack, directory: Path) -> Place:
    server = api_server()
    path = kubeconfig(directory / "kubeconfig", server.server, server.namespace(), ADMIN, server.authority)
    store = KubernetesStore(from_kubeconfig(path))
    return Place(store, load_kubernetes, {"datastore": "kubernetes", "kubernetes": {"kubeconfig": path}})


class Measured(NamedTuple):
    """One agent."""

    memory: Mapping[str, Memory]
    rest: float
    """CPU seconds of a second in which nobody calls."""


def measured(
    opener: Opener, contents: Contents, ipam: Mapping[str, Any], search: Callable[[Callable[[], None]], None]
) -> Measured:
    """Start an agent on a store that has these contents. ``search`` calls what it is given."""
    with ExitStack() as stack:
        agent = stack.enter_context(agent_in_a_directory())
        place = opener(stack, agent.directory)
        place.load(place.store, contents)
        if isinstance(contents, Sliced):
            others = (f"other-{number}" for number in range(1, contents.nodes))
            place.store.create_slices(slices("pods", contents.range, "/24", NODE, *others), Deadline(SOON))
        place.store.close()
        agent.start()
        runtime = Runtime(agent.plugin, {**place.ipam, **ipam, "log_level": "error"})
        memory = {STARTED: memory_of(agent.pid)}
        use(runtime)
        memory[IN_USE] = memory_of(agent.pid)
        search(lambda: runtime.delete("unknown"))
        memory[SEARCHED] = memory_of(agent.pid)
        return Measured(memory, rest(agent))


def use(runtime: Runtime) -> None:
    """ADDs, and DELs with their results."""
    results = {pod: runtime.call("ADD", pod).result() for pod in (f"pod-{n}" for n in range(CALLS))}
    for pod, result in results.items():
        assert runtime.call("DEL", pod, runtime.config(prevResult=result)).result() == {}


def rest(agent: Agent) -> float:
    before = cpu_seconds(agent.pid)
    time.sleep(REST_SECONDS)
    return (cpu_seconds(agent.pid) - before) / REST_SECONDS


def measure(
    benchmark: BenchmarkFixture, opener: Opener, contents: Mapping[int, tuple[Contents, dict[str, Any]]]
) -> dict[int, Measured]:
    """An agent for each; the benchmark is of the search of the last."""

    def timed(search: Callable[[], None]) -> None:
        pedantic: Any = benchmark.pedantic
        pedantic(search, rounds=1)

    *others, last = contents.items()
    points = {at: measured(opener, *one, lambda search: search()) for at, one in others}
    points[last[0]] = measured(opener, *last[1], timed)
    return points


def told(points: Mapping[int, Measured], title: str, label: str) -> dict[str, Any]:
    """Figures and curves."""
    largest = max(points)
    figures = {f"PSS MiB {when}": memory.pss for when, memory in points[largest].memory.items()}
    figures["peak MiB"] = points[largest].memory[SEARCHED].peak
    figures["ms of CPU a minute at rest"] = points[largest].rest * 60e3
    series = {
        when: [[at, measured.memory[when].pss] for at, measured in points.items()]
        for when in (STARTED, IN_USE, SEARCHED)
    }
    curve = {
        "title": title,
        "x": {"label": label, "log": False},
        "y": {"label": "MiB", "log": False},
        "series": series,
    }
    return {"figures": figures, "curve": curve}


def unless_missing(suite: str) -> pytest.MarkDecorator:
    missing = SUITES[suite].missing()
    return pytest.mark.skipif(missing is not None, reason=missing or "")


ETCD, KUBERNETES, LONG = unless_missing("etcd"), unless_missing("apiserver"), pytest.mark.long


@pytest.mark.parametrize(
    ("opener", "allocations"),
    [
        pytest.param(sqlite, (0, 60_000), id="SQLite"),
        pytest.param(etcd, (0, 10_000), id="etcd", marks=ETCD),
        pytest.param(kubernetes, (0, 10_000, 60_000), id="Kubernetes", marks=KUBERNETES),
        pytest.param(kubernetes, (0, 1_000_000), id="Kubernetes, a million", marks=[KUBERNETES, LONG]),
    ],
)
def test_agent_against_allocations(
    benchmark: BenchmarkFixture, request: pytest.FixtureRequest, opener: Opener, allocations: Sequence[int]
) -> None:
    contents: dict[int, tuple[Contents, dict[str, Any]]] = {
        number: (Filled(Range.parse(RANGE), number), {"range": RANGE}) for number in allocations
    }
    points = measure(benchmark, opener, contents)
    title = f"memory of an agent against allocations: {request.node.callspec.id}"
    benchmark.extra_info |= told(points, title, "allocations in the store")


@pytest.mark.parametrize("nodes", [(100, 300), pytest.param((100, 1_000), marks=LONG)], ids=str)
@KUBERNETES
def test_agent_against_nodes(benchmark: BenchmarkFixture, nodes: Sequence[int]) -> None:
    contents: dict[int, tuple[Contents, dict[str, Any]]] = {}
    for number in nodes:
        sliced = Sliced(number, PODS_OF_A_NODE)
        contents[number] = (sliced, {"range": sliced.range, "node_slice_size": "/24"})
    points = measure(benchmark, kubernetes, contents)
    title = f"memory of an agent against nodes, {PODS_OF_A_NODE} pods each"
    benchmark.extra_info |= told(points, title, "nodes")
