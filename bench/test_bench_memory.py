"""The memory of a node agent against the number of allocations in its store, and against nodes; CPU at rest.

For every point an agent is started. It serves 20 ADDs, and as many DELs with the results of the ADDs (*in
use*); then a DEL without a result, of a container that nobody knows, for which all records have to be looked
through (*after a search*). On Kubernetes an agent keeps an index of what it saw there; where the host has a
configuration of its own, it makes that search when it starts. Nodes have 50 pods each, and a /24 of a range
that is cut into slices. Memory is PSS; the peak, in figures, VmHWM. What is timed is the search. CPU time at
rest is that of three seconds in which nobody calls.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.datastores import ETCD, KUBERNETES, SQLITE, Datastore, datastore
from bench.loading import load
from bench.pods import Contents, Filled, Sliced
from bench.process_memory import Memory, memory_of
from bench.server_metrics import cpu_seconds
from tests.cni_calls import NODE, Runtime
from tests.node_agent import Agent, agent_in_a_directory
from tests.store_contract import SOON, slices
from whereabouts.deadline import Deadline
from whereabouts.ranges import Range

RANGE = "10.0.0.0/12"
CALLS = 20
PODS_OF_A_NODE = 50
REST_SECONDS = 3.0
STARTED, IN_USE, SEARCHED = "started", "in use", "after a search"


Ipam = Mapping[str, Any]
Memories = Mapping[str, Memory]
"""By what the agent had done."""


@contextmanager
def running(where: Datastore, contents: Contents, ipam: Ipam) -> Iterator[tuple[Agent, Runtime]]:
    """An agent on a store that has these contents."""
    with agent_in_a_directory() as agent:
        place = where.place(agent.directory / "place")
        with place.store() as store:
            load(store, contents)
            if isinstance(contents, Sliced):
                others = (f"other-{number}" for number in range(1, contents.nodes))
                store.create_slices(slices("pods", contents.text, "/24", NODE, *others), Deadline(SOON))
        agent.start()
        yield agent, place.runtime(agent.plugin, contents.text, **ipam)


def memories(agent: Agent, runtime: Runtime, timed: Callable[[Callable[[], None]], None]) -> Memories:
    """Have the agent do something. ``timed`` calls the search that it is given."""
    started = memory_of(agent.pid)
    use(runtime)
    in_use = memory_of(agent.pid)
    timed(lambda: runtime.delete("unknown"))
    return {STARTED: started, IN_USE: in_use, SEARCHED: memory_of(agent.pid)}


def use(runtime: Runtime) -> None:
    """ADDs, and DELs with their results."""
    results = {pod: runtime.call("ADD", pod).result() for pod in (f"pod-{n}" for n in range(CALLS))}
    for pod, result in results.items():
        assert runtime.call("DEL", pod, runtime.config(prevResult=result)).result() == {}


def at_rest(agent: Agent) -> float:
    """CPU seconds of a second in which nobody calls."""
    before = cpu_seconds(agent.pid)
    time.sleep(REST_SECONDS)
    return (cpu_seconds(agent.pid) - before) / REST_SECONDS


def measure(
    benchmark: BenchmarkFixture,
    name: str,
    contents: Mapping[int, tuple[Contents, Ipam]],
    label: str,
) -> None:
    """An agent for each; the benchmark is of the search of the last."""
    pedantic: Any = benchmark.pedantic
    *others, (most, last) = contents.items()
    with datastore(name) as where:
        points = {}
        for at, one in others:
            with running(where, *one) as (agent, runtime):
                points[at] = memories(agent, runtime, lambda search: search())
        with running(where, *last) as (agent, runtime):
            points[most] = memories(agent, runtime, lambda search: pedantic(search, rounds=1))
            rest = at_rest(agent)
    figures = {f"PSS MiB {when}": memory.pss for when, memory in points[most].items()}
    figures["peak MiB"] = points[most][SEARCHED].peak
    figures["ms of CPU a minute at rest"] = rest * 60e3
    benchmark.extra_info |= {"figures": figures, "curve": curve(points, name, label)}


def curve(points: Mapping[int, Memories], name: str, label: str) -> dict[str, Any]:
    series = {
        f"{name}, {when}": [[at, memory[when].pss] for at, memory in points.items()]
        for when in (IN_USE, SEARCHED)
    }
    return {
        "title": f"memory of an agent against {label.partition(' ')[0]}",
        "x": {"label": label, "log": False},
        "y": {"label": "MiB", "log": False},
        "series": series,
    }


@pytest.mark.parametrize(
    ("name", "allocations"),
    [
        pytest.param(SQLITE, (0, 60_000), id=SQLITE),
        pytest.param(ETCD, (0, 10_000), id=ETCD),
        pytest.param(KUBERNETES, (0, 10_000, 60_000), id=KUBERNETES),
        pytest.param(KUBERNETES, (0, 1_000_000), id=f"{KUBERNETES}, a million", marks=pytest.mark.long),
    ],
)
def test_agent_against_allocations(
    benchmark: BenchmarkFixture, name: str, allocations: Sequence[int]
) -> None:
    range_ = Range.parse(RANGE)
    measure(benchmark, name, {used: (Filled(range_, used), {}) for used in allocations}, "allocations")


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param((100, 300), id="up to 300"),
        pytest.param((100, 300, 1_000), id="up to 1,000", marks=pytest.mark.long),
    ],
)
def test_agent_against_nodes(benchmark: BenchmarkFixture, nodes: Sequence[int]) -> None:
    ipam = {"node_slice_size": "/24"}
    contents = {number: (Sliced(number, PODS_OF_A_NODE), ipam) for number in nodes}
    measure(benchmark, KUBERNETES, contents, f"nodes with {PODS_OF_A_NODE} pods each")
