"""ADD and DEL against the number of allocations in one range: with as many as there are, none takes longer.

Ranges are filled from their first address on, as ADDs leave them, but for half of the last block: that makes
the first step of a curve, from an empty range to one with some blocks; from there on it is to be flat. Calls
on all of them take turns. *ADD* and *DEL* are of the newest address; *DEL anywhere* frees a random one of a
full block, and *ADD into the gap* is the next one, which has to be given that address. Ours are calls of the
allocator on a store that is open, so that no start of a process hides what grows; those of other plugins are
processes, whose records were written to where they keep them. Curves are medians as multiples of those of the
same call on an empty range, which stands at 1 allocation; *DEL anywhere* and *ADD into the gap*, of those of
the newest address there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Protocol

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench import peers
from bench.loading import load_etcd, load_kubernetes, load_sqlite
from bench.peers import GO, HOST_LOCAL, Peer
from bench.plugin_calls import PluginCalls
from bench.pods import IN_A_BLOCK, Filled
from tests.api_server import ADMIN, api_server, kubeconfig, resources
from tests.cni_calls import Runtime
from tests.etcd_server import cluster
from tests.store_contract import SOON, attachment, demand
from tests.suites import SUITES
from whereabouts.addresses import Address
from whereabouts.allocator import Allocator
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline
from whereabouts.log import SILENT
from whereabouts.owners import Owner
from whereabouts.ranges import Range
from whereabouts.store import Store
from whereabouts.stores.etcd import EtcdStore
from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kube_objects import API_VERSION
from whereabouts.stores.kubernetes import KubernetesStore
from whereabouts.stores.sqlite import SqliteStore

RANGE = "10.0.0.0/12"
ADD, DEL, DEL_ANYWHERE, ADD_INTO_GAP = "ADD", "DEL", "DEL anywhere", "ADD into the gap"
COMPARED_WITH = {ADD: ADD, DEL: DEL, DEL_ANYWHERE: DEL, ADD_INTO_GAP: ADD}
ROUNDS = 40
THOUSAND, MILLION = 1_000, 1_000_000
FLAT = 1.5
"""How many times as long as among a thousand allocations an ADD may take among any number of them."""


class Subject(Protocol):
    """A range with some allocations."""

    seconds: dict[str, list[float]]

    def add(self) -> None:
        """ADD, timed."""

    def rest(self) -> None:
        """What takes it back, and the other calls; timed."""


class Timed:
    """Notes how long calls take."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def timed(self, call: str) -> Iterator[None]:
        begun = perf_counter()
        yield
        self.seconds.setdefault(call, []).append(perf_counter() - begun)


def half_a_block_left(allocations: int) -> int:
    """About as many, of which the last block has half."""
    return allocations // IN_A_BLOCK * IN_A_BLOCK + IN_A_BLOCK // 2 if allocations else 0


class Ours(Timed):
    """A range on one of our stores."""

    def __init__(self, store: Store, filled: Filled) -> None:
        super().__init__()
        self._allocator = Allocator(store, DirectCommitter(store), SILENT)
        self._filled = filled
        self._wanted = demand(RANGE)
        self._random = random.Random(1)
        self._changed: dict[int, Owner] = {}
        self._numbers = count(filled.used)
        for _ in range(3):  # what a first call has to read is no part of this
            self.add()
            self.rest()
        self.seconds.clear()

    def add(self) -> None:
        self._newest = self._filled.owner(next(self._numbers))
        with self.timed(ADD):
            given = self._add(self._newest)
        assert given == self._filled.address(self._filled.used)

    def rest(self) -> None:
        with self.timed(DEL):
            self._delete(self._newest, self._filled.address(self._filled.used))
        full = self._filled.used // IN_A_BLOCK * IN_A_BLOCK
        if full:
            self._move(self._random.randrange(full))

    def _move(self, number: int) -> None:
        """Free an address, which is given to another pod then."""
        owner = self._changed.get(number) or self._filled.owner(number)
        address = self._filled.address(number)
        with self.timed(DEL_ANYWHERE):
            self._delete(owner, address)
        self._changed[number] = self._filled.owner(next(self._numbers))
        with self.timed(ADD_INTO_GAP):
            given = self._add(self._changed[number])
        assert given == address

    def _add(self, owner: Owner) -> Address:
        (address,) = self._allocator.add(self._wanted, owner, Deadline(SOON))
        return address

    def _delete(self, owner: Owner, address: Address) -> None:
        freed = self._allocator.delete(self._wanted, attachment(owner), [address], Deadline(SOON))
        assert [one for one, _ in freed] == [address]


class Theirs(Timed):
    """A range of another plugin."""

    def __init__(self, calls: PluginCalls) -> None:
        super().__init__()
        self._calls = calls
        self.add()
        self.rest()
        self.seconds.clear()

    def add(self) -> None:
        with self.timed(ADD):
            self._calls.add()

    def rest(self) -> None:
        with self.timed(DEL):
            self._calls.delete()


def measure(benchmark: BenchmarkFixture, subjects: Mapping[int, Subject], title: str, rounds: int) -> None:
    """Let all take turns; the benchmark is of ADDs on the fullest range."""
    *others, fullest = subjects.values()
    added = False

    def before() -> None:
        nonlocal added
        if added:
            fullest.rest()
        added = True
        for other in others:
            other.add()
            other.rest()

    pedantic: Any = benchmark.pedantic
    pedantic(fullest.add, setup=before, rounds=rounds)
    fullest.rest()
    benchmark.extra_info |= told(subjects, title)


def told(subjects: Mapping[int, Subject], title: str) -> dict[str, Any]:
    """Figures and curves."""
    medians = {n: {call: median(taken) for call, taken in one.seconds.items()} for n, one in subjects.items()}
    empty, largest = medians[0], max(medians)
    figures = {
        f"{call} ms at {n:,} allocations": seconds * 1e3
        for n in (0, largest)
        for call, seconds in medians[n].items()
    }
    for call, seconds in medians[largest].items() if largest > THOUSAND else ():
        figures[_against_a_thousand(call, largest)] = seconds / medians[THOUSAND][call]
    series = {
        call: [
            [max(n, 1), calls[call] / empty[COMPARED_WITH[call]]]
            for n, calls in medians.items()
            if call in calls
        ]
        for call in medians[largest]
    }
    curve = {
        "title": title,
        "x": {"label": "allocations in the range", "log": True},
        "y": {"label": "median, of an empty range = 1", "log": False},
        "series": series,
    }
    return {"figures": figures, "curve": curve}


def _against_a_thousand(call: str, allocations: int) -> str:
    return f"{call} at {allocations:,} allocations, at {THOUSAND:,} = 1"


# ------------------------------------------------------------------------------------------------- ours


def sqlite(stack: ExitStack, directory: Path) -> Callable[[Filled], Store]:
    def open_one(filled: Filled) -> Store:
        store = SqliteStore(str(directory / f"{filled.used}.db"), Deadline(SOON))
        stack.callback(store.close)
        load_sqlite(store, filled)
        return store

    return open_one


def etcd(stack: ExitStack, directory: Path) -> Callable[[Filled], Store]:
    (server,) = stack.enter_context(cluster(1, "--quota-backend-bytes=8589934592", on_disk=True))

    def open_one(filled: Filled) -> Store:
        store = EtcdStore(server.host, prefix=f"/bench/{filled.used}/")
        stack.callback(store.close)
        load_etcd(store, filled)
        return store

    return open_one


def kubernetes(stack: ExitStack, directory: Path) -> Callable[[Filled], Store]:
    server = api_server()

    def open_one(filled: Filled) -> Store:
        path = directory / f"{filled.used}.kubeconfig"
        store = KubernetesStore(
            from_kubeconfig(kubeconfig(path, server.server, server.namespace(), ADMIN, server.authority))
        )
        stack.callback(store.close)
        load_kubernetes(store, filled)
        return store

    return open_one


def unless_missing(suite: str) -> pytest.MarkDecorator:
    missing = SUITES[suite].missing()
    return pytest.mark.skipif(missing is not None, reason=missing or "")


Opener = Callable[[ExitStack, Path], Callable[[Filled], Store]]
ETCD, KUBERNETES = unless_missing("etcd"), unless_missing("apiserver")
UP_TO_60000 = (0, THOUSAND, 5_000, 10_000, 60_000)
STORES = [
    pytest.param(sqlite, (*UP_TO_60000, MILLION), id="SQLite"),
    pytest.param(etcd, UP_TO_60000, id="etcd", marks=ETCD),
    pytest.param(etcd, (0, THOUSAND, MILLION), id="etcd, a million", marks=[ETCD, pytest.mark.long]),
    pytest.param(kubernetes, UP_TO_60000, id="Kubernetes", marks=KUBERNETES),
    pytest.param(
        kubernetes, (0, THOUSAND, MILLION), id="Kubernetes, a million", marks=[KUBERNETES, pytest.mark.long]
    ),
]


@pytest.mark.parametrize(("opener", "occupancies"), STORES)
def test_ours(
    benchmark: BenchmarkFixture,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    opener: Opener,
    occupancies: Sequence[int],
) -> None:
    with ExitStack() as stack:
        open_one = opener(stack, tmp_path)
        subjects = {}
        for occupancy in occupancies:
            filled = Filled(Range.parse(RANGE), half_a_block_left(occupancy))
            subjects[occupancy] = Ours(open_one(filled), filled)
        name = request.node.callspec.id
        measure(benchmark, subjects, f"ADD and DEL against occupancy: {name}", ROUNDS)
    promise = _against_a_thousand(ADD, max(occupancies))
    benchmark.extra_info["bar"] = [{"figure": promise, "at_most": FLAT}]


# ----------------------------------------------------------------------------------------------- others


def host_local(peer: Peer, filled: Filled, directory: Path) -> PluginCalls:
    """A range of the reference plugin, which keeps a file for each address and one with the last."""
    runtime = Runtime(Path(peer.program), peer.ipam("10.0.0.0/16", str(directory)), network="pods")
    records = directory / "pods"
    records.mkdir(parents=True)
    for number in range(filled.used):
        owner = filled.owner(number)
        (records / str(filled.address(number))).write_text(f"{owner.container_id}\r\n{owner.ifname}")
    if filled.used:
        (records / "last_reserved_ip.0").write_text(str(filled.address(filled.used - 1)))
    return PluginCalls(runtime, directory / "calls")


def go(peer: Peer, filled: Filled, directory: Path) -> PluginCalls:
    """A range of the Go plugin, which keeps all allocations in one object of the API server."""
    server, namespace = api_server(), api_server().namespace()
    path = kubeconfig(directory / "kubeconfig", server.server, namespace, ADMIN, server.authority)
    runtime = Runtime(Path(peer.program), peer.ipam("10.0.0.0/16", str(directory), path))
    first = int(filled.range.network.network_address)
    allocations = {
        str(int(filled.address(number)) - first): {
            "id": owner.container_id,
            "podref": owner.pod_ref,
            "ifname": "net1",
        }
        for number in range(filled.used)
        for owner in [filled.owner(number)]
    }
    pool = {
        "apiVersion": API_VERSION,
        "kind": "IPPool",
        "metadata": {"name": "10.0.0.0-16"},
        "spec": {"range": "10.0.0.0/16", "allocations": allocations},
    }
    assert server.call("POST", resources(namespace, "ippools"), pool).status == 201
    return PluginCalls(runtime, directory / "calls")


PEERS = [
    pytest.param(HOST_LOCAL, host_local, (0, THOUSAND, 5_000, 10_000), 10, id="host-local"),
    pytest.param(GO, go, (0, THOUSAND), 3, id="Go plugin", marks=KUBERNETES),
    pytest.param(GO, go, (0, THOUSAND, 5_000), 5, id="Go plugin, 5000", marks=[KUBERNETES, pytest.mark.long]),
]


@pytest.mark.parametrize(("name", "fill", "occupancies", "rounds"), PEERS)
def test_others(
    benchmark: BenchmarkFixture,
    tmp_path: Path,
    name: str,
    fill: Callable[[Peer, Filled, Path], PluginCalls],
    occupancies: Sequence[int],
    rounds: int,
) -> None:
    peer = next((one for one in peers.present() if one.name == name), None)
    if peer is None:
        pytest.skip(f"no {name}")
    subjects = {}
    for occupancy in occupancies:
        directory = tmp_path / str(occupancy)
        directory.mkdir()
        filled = Filled(Range.parse("10.0.0.0/16"), half_a_block_left(occupancy))
        subjects[occupancy] = Theirs(fill(peer, filled, directory))
    measure(benchmark, subjects, f"ADD and DEL against occupancy: {name}", rounds)
