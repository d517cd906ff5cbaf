"""Single calls, whole: from the start of the plugin's process to its end

Programs are executed as a container runtime does: by posix_spawn, with the network's configuration as stdin
and the result read from stdout. Each call is beside what it cannot be faster than, and beside other plugins
where they are present; all take turns. ADD gives the next address of a range that has given 100 (another
plugin's: as many as it gives in two seconds), and DEL takes it back, so that the range stays as full as it
is; a floor runs once untimed before each of its turns, and then an empty process, as the opposite call does
before each of these, and the start of their own process. ``agent`` is the native plugin with the agent of the
node, ``one-shot`` the console script, a process that does it all.
"""

import time
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.calls import Calls
from bench.datastores import Datastore, Place
from bench.execution import execute
from bench.floors import empty_interpreter, empty_process
from bench.peers import Peer, present
from bench.pods import holder
from bench.turns import Run, take_turns, warmed
from tests.cni_calls import CONSOLE, NODE
from tests.node_agent import Agent
from tests.slices_contract import give_slices, sliced
from tests.store_contract import add, demand
from whereabouts.allocator import Demand

ALLOCATED = 100
"""Addresses of the block that were given before."""
PEER_SECONDS = 2.0
"""For which other plugins may take to give as many."""
RANGE, SECOND_RANGE, SLICE = "10.0.0.0/16", "fd00::/64", "/20"
ROUNDS = {"agent": 60, "one-shot": 20}
PATIENCE = {"agent": 5.0, "one-shot": 2.0}


class Scene(NamedTuple):
    """What the networks of one test have in common."""

    store: Datastore
    programs: Mapping[str, Path]
    directory: Path
    """One that the agent trusts."""

    def place(self, name: str) -> Place:
        return self.store.place(self.directory / name)

    def network(self, way: str, place: Place, wanted: Demand, **ipam: object) -> Calls:
        """A network of ours, whose ranges have given ``ALLOCATED`` addresses each."""
        with place.store() as store:
            for number in range(ALLOCATED):
                add(store, wanted, holder(number)._replace(node=NODE))
        ranges = [str(configured.network) for configured in wanted.ranges]
        further = {"ipRanges": [{"range": range_} for range_ in ranges[1:]]} if ranges[1:] else {}
        runtime = place.runtime(self.programs[way], ranges[0], **further, **ipam)
        return Calls([runtime], place.directory / "calls")

    def rivals(self, call: str) -> dict[str, Run]:
        """The same call of each peer."""
        return {peer.name: self._peer(peer, call) for peer in self.store.peers}

    def _peer(self, peer: Peer, call: str) -> Run:
        made: list[Calls] = []

        def run() -> float:
            if not made:  # not before its turn: what fails then is told in the table
                made.append(self._filled(peer))
            return made[0].measured_add() if call == "ADD" else made[0].measured_delete()

        return run

    def _filled(self, peer: Peer) -> Calls:
        place = self.place(peer.name.replace(" ", "-"))
        calls = Calls([place.runtime_of(peer, RANGE)], place.directory / "calls")
        until = time.monotonic() + PEER_SECONDS
        while len(calls.held) < ALLOCATED and time.monotonic() < until:
            calls.add()
        return calls


@pytest.fixture
def scene(agent: Agent, store: Datastore, request: pytest.FixtureRequest) -> Scene:
    directory = agent.directory / "".join(filter(str.isalnum, request.node.name))
    return Scene(store, {"agent": agent.plugin, "one-shot": CONSOLE}, directory)


def measure(
    benchmark: BenchmarkFixture, calls: Calls, call: str, beside: Mapping[str, Run], way: str = "agent"
) -> None:
    """Measure ADD or DEL of a network, whose calls alternate."""

    def add_and_prepare() -> None:
        calls.add()
        calls.prepare_delete()

    calls.add()
    run, before = (calls.add, calls.delete) if call == "ADD" else (calls.delete, add_and_prepare)
    take_turns(benchmark, run, beside, rounds=ROUNDS[way], before=before, patience=PATIENCE[way])
    assert calls.held[0].addresses()[0].packed[-1] == ALLOCATED + 1


# ------------------------------------------------------------------------ process start


def versions(names: Mapping[str, Run]) -> dict[str, Run]:
    """VERSION of each peer, behind others."""
    environment = {"CNI_COMMAND": "VERSION"}

    def run(program: str) -> Run:
        return lambda: execute(program, environment=environment)

    return {**names, **{peer.name: run(peer.program) for peer in present()}}


def test_version_of_the_native_plugin(benchmark: BenchmarkFixture, agent: Agent) -> None:
    environment = {"CNI_COMMAND": "VERSION"}
    beside = versions({"empty process": empty_process})
    take_turns(benchmark, lambda: execute(agent.plugin, environment=environment), beside)


def test_version_of_the_console_script(benchmark: BenchmarkFixture) -> None:
    environment = {"CNI_COMMAND": "VERSION"}
    beside = versions({"empty process": empty_process, "python3 -c pass": empty_interpreter})
    take_turns(benchmark, lambda: execute(CONSOLE, environment=environment), beside, rounds=30)


# -------------------------------------------------------------------------- ADD and DEL


@pytest.mark.parametrize("call", ["ADD", "DEL"])
@pytest.mark.parametrize("way", ["agent", "one-shot"])
def test_call(benchmark: BenchmarkFixture, scene: Scene, way: str, call: str) -> None:
    place = scene.place("whereabouts")
    calls = scene.network(way, place, demand(RANGE))
    process = {"empty process": empty_process} if way == "agent" else {"python3 -c pass": empty_interpreter}
    with place.floors(ALLOCATED) as floors:
        least = {name: warmed(floor, empty_process) for name, floor in {**process, **floors}.items()}
        measure(benchmark, calls, call, {**least, **scene.rivals(call)}, way)


def test_add_of_two_ranges(benchmark: BenchmarkFixture, scene: Scene) -> None:
    """An address of each family, in one ADD."""
    one = scene.network("agent", scene.place("one"), demand(RANGE))
    two = scene.network("agent", scene.place("two"), demand(RANGE, SECOND_RANGE))
    measure(benchmark, two, "ADD", {"one range": one.measured_add})
    assert [address.version for address in two.held[-1].addresses()] == [4, 6]


def test_add_with_node_slices(benchmark: BenchmarkFixture, scene: Scene) -> None:
    """In a range that is cut into slices, of which the node has the second."""
    whole = scene.network("agent", scene.place("whole"), demand(RANGE))
    place, wanted = scene.place("slices"), sliced(RANGE, SLICE, network_name="blue")
    with place.store() as store:
        give_slices(store, wanted, "node-0", "node-1")
    cut = scene.network("agent", place, wanted, network_name="blue", node_slice_size=SLICE)
    measure(benchmark, cut, "ADD", {"the whole range": whole.measured_add})
    assert cut.held[-1].addresses() == [ip_address(f"10.0.16.{ALLOCATED + 1}")]
