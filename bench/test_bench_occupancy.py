"""ADD and DEL against the number of allocations in one range: with as many as there are, none takes longer.

Ranges are filled from their first address on, as ADDs leave them, but for half of the last block: that makes
the first step of a curve, from an empty range to one with some blocks; from there on it is to be flat. Calls
on all of them take turns. *ADD* and *DEL* are of the newest address; *DEL anywhere* frees a random one of a
full block, and *ADD into the gap* is the next one, which has to be given that address. Ours are calls of the
allocator on a store that is open, so that no start of a process hides what grows; those of other plugins are
processes, whose records were written to where they keep them. Curves are medians of ADDs as multiples of
those on an empty range of the same run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench import peers
from bench.calls import Calls
from bench.datastores import ETCD, KUBERNETES, SQLITE, Place, datastore
from bench.loading import load
from bench.peers import GO, HOST_LOCAL
from bench.pods import IN_A_BLOCK, Filled
from tests.store_contract import SOON, attachment, demand
from whereabouts.addresses import Address
from whereabouts.allocator import Allocator
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline
from whereabouts.log import SILENT
from whereabouts.owners import Owner
from whereabouts.ranges import Range
from whereabouts.store import Store
from whereabouts.stores.kube_objects import API_VERSION, POOLS
from whereabouts.stores.kube_upstream import allocation
from whereabouts.stores.kubernetes import KubernetesStore

RANGE = "10.0.0.0/12"
PEERS_RANGE, NETWORK = "10.0.0.0/16", "pods"
ADD, DEL, DEL_ANYWHERE, ADD_INTO_GAP = "ADD", "DEL", "DEL anywhere", "ADD into the gap"
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


class Stopwatch:
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


class Ours(Stopwatch):
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


class Theirs(Stopwatch):
    """A range of another plugin."""

    def __init__(self, calls: Calls) -> None:
        super().__init__()
        self._calls = calls
        self.add()
        self.rest()
        self.seconds.clear()

    def add(self) -> None:
        with self.timed(ADD):
            self._calls.add()

    def rest(self) -> None:
        self._calls.prepare_delete()
        with self.timed(DEL):
            self._calls.delete()


def measure(benchmark: BenchmarkFixture, subjects: Mapping[int, Subject], name: str, rounds: int) -> None:
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
    benchmark.extra_info |= told(subjects, name)


def told(subjects: Mapping[int, Subject], name: str) -> dict[str, Any]:
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
    curve = {
        "title": "ADD against occupancy",
        "x": {"label": "allocations in the range; 1: none", "log": True},
        "y": {"label": "median of an ADD, in an empty range = 1", "log": True},
        "series": {name: [[max(n, 1), calls[ADD] / empty[ADD]] for n, calls in medians.items()]},
    }
    return {"figures": figures, "curve": curve}


def _against_a_thousand(call: str, allocations: int) -> str:
    return f"{call} at {allocations:,} allocations, at {THOUSAND:,} = 1"


# ------------------------------------------------------------------------------------------------- ours


UP_TO_60000, UP_TO_A_MILLION = (0, THOUSAND, 5_000, 10_000, 60_000), (0, THOUSAND, MILLION)


@pytest.mark.parametrize(
    ("name", "occupancies"),
    [
        pytest.param(SQLITE, (*UP_TO_60000, MILLION), id=SQLITE),
        pytest.param(ETCD, UP_TO_60000, id=ETCD),
        pytest.param(KUBERNETES, UP_TO_60000, id=KUBERNETES),
        pytest.param(ETCD, UP_TO_A_MILLION, id=f"{ETCD}, a million", marks=pytest.mark.long),
        pytest.param(KUBERNETES, UP_TO_A_MILLION, id=f"{KUBERNETES}, a million", marks=pytest.mark.long),
    ],
)
def test_ours(benchmark: BenchmarkFixture, tmp_path: Path, name: str, occupancies: Sequence[int]) -> None:
    with ExitStack() as stack:
        where = stack.enter_context(datastore(name))
        subjects = {}
        for occupancy in occupancies:
            filled = Filled(Range.parse(RANGE), half_a_block_left(occupancy))
            store = stack.enter_context(where.place(tmp_path / str(occupancy)).store())
            load(store, filled)
            subjects[occupancy] = Ours(store, filled)
        measure(benchmark, subjects, name, ROUNDS)
    promise = _against_a_thousand(ADD, max(occupancies))
    benchmark.extra_info["bar"] = [{"figure": promise, "at_most": FLAT}]


# ----------------------------------------------------------------------------------------------- others


def host_local(filled: Filled, place: Place) -> None:
    """The reference plugin keeps a file for each address, and one with the last."""
    records = place.directory / "records" / NETWORK
    records.mkdir(parents=True)
    for number in range(filled.used):
        owner = filled.owner(number)
        (records / str(filled.address(number))).write_text(f"{owner.container_id}\r\n{owner.ifname}")
    if filled.used:
        (records / "last_reserved_ip.0").write_text(str(filled.address(filled.used - 1)))


def go(filled: Filled, place: Place) -> None:
    """The Go plugin keeps all allocations of a range in one object."""
    first = int(filled.range.network.network_address)
    allocations = {
        str(int(filled.address(number)) - first): allocation(filled.owner(number))
        for number in range(filled.used)
    }
    spec = {"range": PEERS_RANGE, "allocations": allocations}
    name = PEERS_RANGE.replace("/", "-")
    content = {"apiVersion": API_VERSION, "kind": "IPPool", "metadata": {"name": name}, "spec": spec}
    with place.store() as store:
        assert isinstance(store, KubernetesStore)
        store.resources.create(POOLS, content, Deadline(SOON))


class Kept(NamedTuple):
    """How another plugin keeps its records."""

    datastore: str
    fill: Callable[[Filled, Place], None]


KEPT = {HOST_LOCAL: Kept(SQLITE, host_local), GO: Kept(KUBERNETES, go)}


@pytest.mark.parametrize(
    ("name", "occupancies", "rounds"),
    [
        pytest.param(HOST_LOCAL, (0, THOUSAND, 5_000, 10_000), 10, id=HOST_LOCAL),
        pytest.param(GO, (0, THOUSAND), 10, id=GO),
        pytest.param(GO, (0, THOUSAND, 5_000), 10, id=f"{GO}, 5,000", marks=pytest.mark.long),
    ],
)
def test_others(
    benchmark: BenchmarkFixture, tmp_path: Path, name: str, occupancies: Sequence[int], rounds: int
) -> None:
    peer = next((one for one in peers.present() if one.name == name), None)
    if peer is None:
        pytest.skip(f"no {name}")
    with datastore(KEPT[name].datastore) as where:
        subjects = {}
        for occupancy in occupancies:
            place = where.place(tmp_path / str(occupancy))
            KEPT[name].fill(Filled(Range.parse(PEERS_RANGE), half_a_block_left(occupancy)), place)
            subjects[occupancy] = Theirs(Calls([place.runtime_of(peer, PEERS_RANGE)], place.directory))
        measure(benchmark, subjects, name, rounds)
