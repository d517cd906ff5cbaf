"""What an ADD and a DEL cost beside time: requests, bytes, CPU of the servers and of the clients.

The native plugin and one node agent, on an API server and on etcd, in a block that is a quarter to half full:
calls one after another, and bursts of 64 at once. Stretches of ADDs, of DELs with the results of the ADDs, of
bare conditional writes of an object as large as the block, and of calls of the Go plugin where it is present,
take turns. Requests are those that the servers count, without the API server's own; requests to the etcd
behind it include these. Bytes are those on the wire, TLS included, seen by a proxy which all clients have
between them and the server. Client CPU is that of the agent and of the plugins' processes; of the bare write,
that of the process that makes it. Server CPU is that of the API server and its etcd, or of etcd.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.calls import Calls
from bench.costs import Costs, Watched
from bench.counting_proxy import counting_proxy
from bench.floors import BarePut, BareTransaction
from bench.measured import turns
from bench.peers import on_api_server
from bench.pods import Filled
from bench.server_metrics import cpu_seconds, server_of, servers_of
from tests.api_server import ADMIN, api_server, kubeconfig
from tests.cni_calls import Runtime
from tests.etcd_server import cluster
from tests.node_agent import Agent, agent_in_a_directory
from tests.store_contract import SOON
from tests.suites import SUITES
from whereabouts.block import Block
from whereabouts.deadline import Deadline
from whereabouts.ranges import Range
from whereabouts.store import Store
from whereabouts.stores.etcd import EtcdStore
from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kubernetes import KubernetesStore

USED = 64
"""Addresses of the block that were given before."""
BURST = 64
STRETCHES = 3
PEER_CALLS = 4
"""Calls of a peer in a stretch: the Go plugin takes a twentieth of a second for each."""
_networks = count()


class World(NamedTuple):
    """A datastore with one agent."""

    watched: Watched
    agent: Agent
    ipam: dict[str, Any]
    open_store: Callable[[], Store]
    floor: tuple[str, Callable[[Any, Block], Callable[[], object]]]
    peers: dict[str, Calls]

    def network(self) -> Calls:
        """A network whose range has given ``USED`` addresses."""
        text = f"10.{next(_networks)}.0.0/16"
        store = self.open_store()
        for block in Filled(Range.parse(text), USED).blocks():
            store.write_block(block.key, None, block, Deadline(SOON))
        runtime = Runtime(self.agent.plugin, self.ipam | {"range": text, "log_level": "error"})
        calls = Calls([runtime], self.agent.directory / text.replace("/", "-"))
        store.close()
        calls.add()  # the first call of a range makes its pool, and the first DEL may look for it
        calls.delete()
        return calls

    def client_seconds(self) -> float:
        """CPU of the agent and of the processes that have ended."""
        return cpu_seconds(self.agent.pid) + _processes_seconds()


class Opened(Protocol):
    """Opens a world."""

    def __call__(self, stack: ExitStack, agent: Agent) -> World: ...


def on_kubernetes(stack: ExitStack, agent: Agent) -> World:
    server = api_server()
    proxy = stack.enter_context(counting_proxy(server.port))
    address = urlsplit(server.server)._replace(netloc=f"127.0.0.1:{proxy.port}").geturl()
    namespace = server.namespace()
    path = kubeconfig(agent.directory / "kubeconfig", address, namespace, ADMIN, server.authority)
    peers = {
        peer.name: Calls(
            [Runtime(Path(peer.program), peer.ipam("10.200.0.0/16", str(agent.directory), path))],
            agent.directory / peer.name,
        )
        for peer in on_api_server()
    }
    return World(
        Watched(servers_of(server), proxy.traffic),
        agent,
        {"datastore": "kubernetes", "kubernetes": {"kubeconfig": path}},
        lambda: KubernetesStore(from_kubeconfig(path)),
        ("bare PUT", BarePut),
        peers,
    )


def on_etcd(stack: ExitStack, agent: Agent) -> World:
    (server,) = stack.enter_context(cluster(on_disk=True))
    proxy = stack.enter_context(counting_proxy(int(server.host.rpartition(":")[2])))
    host = f"127.0.0.1:{proxy.port}"
    return World(
        Watched(server_of(server), proxy.traffic),
        agent,
        {"datastore": "etcd", "etcd_host": host},
        lambda: EtcdStore(host),
        ("bare transaction", BareTransaction),
        {},
    )


def _unless_missing(suite: str) -> pytest.MarkDecorator:
    missing = SUITES[suite].missing()
    return pytest.mark.skipif(missing is not None, reason=missing or "")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(on_kubernetes, id="Kubernetes", marks=_unless_missing("apiserver")),
        pytest.param(on_etcd, id="etcd", marks=_unless_missing("etcd")),
    ],
)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    opened: Opened = request.param
    with ExitStack() as stack:
        agent = stack.enter_context(agent_in_a_directory())
        world = opened(stack, agent)
        agent.start()
        yield world


class Stretches:
    """Takes turns between what is measured and all others, and keeps the accounts."""

    def __init__(self, world: World, at_once: int, rounds: int) -> None:
        self._calls = world.network()
        self._at_once = at_once
        self._rounds = rounds
        """Of a stretch; of each, ``at_once`` calls."""
        self._stack = ExitStack()
        costs = partial(Costs, world.watched)
        self.add, self.delete = costs(world.client_seconds), costs(world.client_seconds)
        self.floor, self.floor_seconds = costs(time.process_time), list[float]()
        self._bare_write = self._open_floor(world)
        self._peers = world.peers if at_once == 1 else {}
        self.peers = {name: (costs(_processes_seconds), costs(_processes_seconds)) for name in self._peers}
        self._done = 0

    def _open_floor(self, world: World) -> Callable[[], object]:
        store = world.open_store()
        self._stack.callback(store.close)
        used = USED + self._at_once * self._rounds // 2
        (block,) = Filled(Range.parse("10.0.0.0/16"), used, f"floor-{next(_networks)}").blocks()
        bare_write = world.floor[1](store, block)
        bare_write()
        return bare_write

    def __enter__(self) -> "Stretches":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self) -> None:
        """One round of what is measured."""
        if self._at_once == 1:
            self._calls.add()
        else:
            assert self._calls.add_at_once(self._at_once).failures == []

    def _take_back(self) -> None:
        if self._at_once == 1:
            self._calls.delete()
        else:
            assert self._calls.delete_at_once(self._at_once) == []

    def before(self) -> None:
        """Between rounds: where a stretch has ended, the others have theirs."""
        if self._done and self._done % self._rounds == 0:
            self.end_stretch()
        if self._done % self._rounds == 0:
            self.add.start()
        self._done += 1

    def end_stretch(self) -> None:
        self.add.stop(self._rounds * self._at_once)
        held = {address for one in self._calls.held for address in one.addresses()}
        assert len(held) == self._rounds * self._at_once
        self.floor.of(BURST, self._write_bare)
        self.delete.of(self._rounds * self._at_once, partial(_times, self._rounds, self._take_back))
        for name, calls in self._peers.items():
            add, delete = self.peers[name]
            calls.add()
            calls.delete()
            add.of(PEER_CALLS, partial(_times, PEER_CALLS, calls.add))
            delete.of(PEER_CALLS, partial(_times, PEER_CALLS, calls.delete))

    def _write_bare(self) -> None:
        for _ in range(BURST):
            begun = time.perf_counter()
            self._bare_write()
            self.floor_seconds.append(time.perf_counter() - begun)


def measure(benchmark: BenchmarkFixture, world: World, at_once: int, rounds: int) -> None:
    floor = world.floor[0]
    with Stretches(world, at_once, rounds) as stretches:
        pedantic: Any = benchmark.pedantic
        pedantic(stretches.run, setup=stretches.before, rounds=STRETCHES * rounds)
        stretches.end_stretch()
    own = stretches.add.server_seconds
    ratio = f"server CPU of an ADD, {floor} = 1"
    figures = stretches.add.figures("an ADD") | stretches.delete.figures("a DEL")
    figures |= stretches.floor.figures(f"a {floor}", kinds=False)
    figures[ratio] = own / stretches.floor.server_seconds
    for name, (add, delete) in stretches.peers.items():
        figures |= add.figures(f"an ADD of the {name}") | delete.figures(f"a DEL of the {name}")
        figures[f"server CPU of an ADD of the {name}, ours = 1"] = add.server_seconds / own
    benchmark.extra_info["figures"] = figures
    benchmark.extra_info["bar"] = [{"figure": "requests an ADD", "at_most": 1.05}]
    if at_once == 1:
        benchmark.extra_info["beside"] = {floor: turns(stretches.floor_seconds)}


def test_calls_one_after_another(benchmark: BenchmarkFixture, world: World) -> None:
    measure(benchmark, world, 1, 40)


def test_bursts_of_64_by_one_agent(benchmark: BenchmarkFixture, world: World) -> None:
    measure(benchmark, world, BURST, 1)


def _times(number: int, run: Callable[[], object]) -> None:
    for _ in range(number):
        run()


def _processes_seconds() -> float:
    """CPU of the plugins' processes, which have ended."""
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
