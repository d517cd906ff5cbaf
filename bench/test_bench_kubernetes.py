"""ADDs on a real API server, each beside what it is to be compared with, in the same run, taking turns.

The bare PUT replaces an object of the same size on condition that nobody else did, with the same client.
*Answered by an agent* is an ADD from the plugin's bytes to the answer's, without the process that a runtime
starts for it; the others are the allocator alone. Throughput is of 16 agents with 16 calls each, on one pool.
"""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.agents import Node
from bench.floors import BarePut, block_of
from bench.pods import holder
from bench.turns import take_turns, warmed
from tests.api_server import ADMIN, ApiServer, api_server, kubeconfig
from tests.kube_requests import recorded
from tests.store_contract import SOON, attachment, demand
from tests.suites import SUITES
from whereabouts.addresses import Address
from whereabouts.agent.group_commit import GroupCommitter, Groups
from whereabouts.allocator import Allocator, Demand
from whereabouts.block import Block, BlockKey, Space
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline
from whereabouts.log import SILENT
from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kubernetes import KubernetesStore

MISSING = SUITES["apiserver"].missing()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")
ROUNDS = 100
HELD = 100
"""Addresses of the block in which an agent gives the next."""
AT_MOST = 2.0
"""What is promised of an ADD that an agent answers: not more than so many times the bare PUT."""


@pytest.fixture(scope="module")
def server() -> ApiServer:
    return api_server()


@pytest.fixture
def open_store(server: ApiServer, tmp_path: Path) -> Iterator[Callable[[], KubernetesStore]]:
    path = kubeconfig(tmp_path / "kubeconfig", server.server, server.namespace(), ADMIN, server.authority)
    opened: list[KubernetesStore] = []

    def store() -> KubernetesStore:
        opened.append(KubernetesStore(from_kubeconfig(path)))
        return opened[-1]

    yield store
    for one in opened:
        one.close()


def fill(store: KubernetesStore, base: str, used: int) -> None:
    key = BlockKey.of(Space(), ip_address(base))
    owners = {
        offset: holder(int(key.base) + offset)._replace(range="10.0.0.0/16") for offset in range(1, used + 1)
    }
    store.write_block(
        key, store.read_block(key, Deadline(SOON), fresh=True), Block(key, owners), Deadline(SOON)
    )


_pools = itertools.count(10)


class Pool:
    """ADDs to one range, each taken back before the next, so that the block keeps its size."""

    def __init__(self, store: KubernetesStore, wanted: Demand) -> None:
        self._allocator = Allocator(store, DirectCommitter(store), SILENT)
        self._wanted = wanted
        self._numbers = itertools.count(1_000_000 * next(_pools))
        self._owner = holder(next(self._numbers))
        self._given: list[Address] = []
        for _ in range(6):  # blocks that others filled are noted by the first few
            self.add()
            self.take_back()
        self.add()

    def take_back(self) -> None:
        self._allocator.delete(self._wanted, attachment(self._owner), self._given, Deadline(SOON))
        self._owner = holder(next(self._numbers))

    def add(self) -> None:
        self._given = self._allocator.add(self._wanted, self._owner, Deadline(SOON))

    def measured_add(self) -> float:
        """Take back what was given last, then ADD; seconds of the ADD."""
        self.take_back()
        begun = perf_counter()
        self.add()
        return perf_counter() - begun


def test_add_in_a_quarter_full_block_beside_the_bare_write(
    benchmark: BenchmarkFixture, open_store: Callable[[], KubernetesStore]
) -> None:
    store = open_store()
    fill(store, "10.0.0.0", 64)
    pool = Pool(store, demand("10.0.0.0/16"))
    key = BlockKey.of(Space("bare"), ip_address("10.9.0.0"))
    bare = BarePut(store, Block(key, {offset: holder(offset) for offset in range(1, 65)}))
    take_turns(benchmark, pool.add, {"bare PUT": bare}, rounds=ROUNDS, before=pool.take_back)


def test_add_answered_by_an_agent_beside_the_bare_write(
    benchmark: BenchmarkFixture, open_store: Callable[[], KubernetesStore], tmp_path: Path
) -> None:
    store = open_store()
    fill(store, "10.0.0.0", HELD)
    node, pods = Node(0, str(tmp_path / "kubeconfig"), ["10.0.0.0/16"]), itertools.count(1)
    last = 0

    def add() -> None:
        nonlocal last
        last = next(pods)
        (called,) = node.call("ADD", last)
        assert called.addresses == [f"10.0.0.{HELD + 1}"]

    def take_back() -> None:
        if last:
            node.call("DEL", last)

    bare = warmed(BarePut(store, block_of(HELD)), lambda: None)
    take_turns(benchmark, add, {"bare PUT": bare}, rounds=ROUNDS, before=take_back)
    node.close()
    benchmark.extra_info["bar"] = [{"figure": "bare PUT", "at_most": AT_MOST}]


@pytest.mark.parametrize("last", [64, 128, 240])
def test_add_in_a_nearly_full_range_beside_a_fresh_one(
    benchmark: BenchmarkFixture, open_store: Callable[[], KubernetesStore], last: int
) -> None:
    """A /16 whose blocks are full but for the last, which has ``last`` addresses in use."""
    store = open_store()
    for block in range(255):
        fill(store, f"10.0.{block}.0", 255)
    fill(store, "10.0.255.0", last)
    full = Pool(store, demand("10.0.0.0/16"))
    fill(store, "10.200.0.0", 64)
    fresh = Pool(store, demand("10.200.0.0/16"))
    beside = {"fresh, quarter full": fresh.measured_add}
    take_turns(benchmark, full.add, beside, rounds=ROUNDS, before=full.take_back)


def test_sixteen_agents_with_sixteen_calls_each(
    benchmark: BenchmarkFixture, open_store: Callable[[], KubernetesStore]
) -> None:
    stores = [open_store() for _ in range(16)]
    groups = [Groups(lambda _: None) for _ in stores]
    ranges = iter(range(250))
    requests: list[int] = []

    def add(wanted: Demand, agent: int, call: int) -> None:
        store = stores[agent]
        committer = GroupCommitter(groups[agent], DirectCommitter(store))
        Allocator(store, committer, SILENT).add(wanted, holder(100 * agent + call), Deadline(SOON))

    def burst() -> None:
        wanted = demand(f"10.{next(ranges)}.0.0/16")
        with ExitStack() as stack, ThreadPoolExecutor(256) as threads:
            logs = [stack.enter_context(recorded(store)) for store in stores]
            jobs = [threads.submit(add, wanted, agent, call) for agent in range(16) for call in range(16)]
            for job in jobs:
                job.result()
        requests.append(sum(map(len, logs)))

    benchmark.pedantic(burst, rounds=5)  # type: ignore[no-untyped-call]
    stats: Any = benchmark.stats
    benchmark.extra_info["figures"] = {
        "ADDs a second": 256 / stats["median"],
        "requests an ADD": median(requests) / 256,
    }
