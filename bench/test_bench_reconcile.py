"""An audit of a big cluster: how long it takes, and how much memory the process has with it.

1,000 nodes, 50,000 pods, as many allocations in a store of SQLite. The cluster makes its pods as they are
asked for, as a list that is read page by page does. Memory is that of a process of its own: the most that it
ever had (VmHWM), what it had before the reconciler did anything, and the most that Python had allocated
beyond that, by tracemalloc. The processor time is that of an audit there.
"""

import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.process_memory import memory_of
from whereabouts.allocator import Allocator
from whereabouts.audit import Audit
from whereabouts.block import Block, BlockKey, Space
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline
from whereabouts.liveness import Node, Pod
from whereabouts.log import SILENT
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.reconcile import Reconciler
from whereabouts.stores.sqlite import SqliteStore

NODES, PODS = 1_000, 50_000
RANGE = "10.0.0.0/14"
FIRST = ip_address("10.0.0.0")
SOON = 600.0
ROUNDS = 2


def ref(number: int) -> str:
    return f"tenant-{number % 40}/application-{number // 7}-5d8c7b9f4{number % 7:02x}-{number:05x}"


def uid(number: int) -> str:
    return f"{number:08x}-1d2e-4c7e-9a57-{number * 2654435761 % 2**48:012x}"


def node(number: int) -> str:
    return f"node-{number % NODES:04d}.cluster.example.org"


def offset(number: int) -> int:
    """Addresses without those that end in .0."""
    return number + number // 255 + 1


class Cluster:
    """As many pods as there are allocations; of every ``dead``-th nothing is known any more."""

    def __init__(self, dead: int) -> None:
        self._dead = dead
        self._nodes = {node(number): Node(node(number), True, False) for number in range(NODES)}

    def pods(self, deadline: Deadline) -> Iterator[Pod]:
        for number in range(PODS):
            if number % self._dead:
                own = frozenset({FIRST + offset(number), ip_address("10.244.0.0") + number})
                yield Pod(ref(number), (uid(number),), node(number), "Running", False, False, own)

    def pod(self, ref: str, deadline: Deadline) -> Pod | None:
        return None

    def nodes(self, deadline: Deadline) -> Mapping[str, Node]:
        return self._nodes

    def node(self, name: str, deadline: Deadline) -> Node | None:
        return self._nodes.get(name)


def fill(path: Path) -> None:
    """Write the store that is audited."""
    store = SqliteStore(str(path), Deadline(SOON))
    store._connection.execute("PRAGMA synchronous = OFF")
    store.create_pool(Pool(PoolKey("", RANGE), True), Deadline(SOON))
    for start in range(0, PODS, 255):
        key = BlockKey.of(Space(), FIRST + offset(start))
        owners = {
            offset(number) % 256: Owner(
                ref(number),
                uid(number),
                f"{number:064x}",
                "net1",
                node(number),
                "macvlan",
                RANGE,
                1_700_000_000,
            )
            for number in range(start, min(start + 255, PODS))
        }
        store.write_block(key, None, Block(key, owners), Deadline(SOON))
    store.close()


def reconciler_of(path: Path, dead: int, clock: Callable[[], float]) -> Reconciler:
    store = SqliteStore(str(path), Deadline(SOON))
    allocator = Allocator(store, DirectCommitter(store), SILENT)
    return Reconciler(store, Cluster(dead), allocator, clock=clock)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reconcile") / "w.db"
    fill(path)
    return path


def measured(path: Path, dead: int, *, traced: bool) -> dict[str, Any]:
    """What a process of its own says of two audits."""
    program = f"from bench.test_bench_reconcile import report; report({str(path)!r}, {dead}, {traced})"
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def report(path: str, dead: int, traced: bool) -> None:
    """Audit twice, and print what it took. Nothing is freed: the second audit comes too early."""
    reconciler = reconciler_of(Path(path), dead, lambda: 0.0)
    start = memory_of(os.getpid()).resident
    if traced:
        tracemalloc.start()
    begun = process_time()
    audits = [reconciler.audit(Deadline(SOON)) for _ in range(2)]
    found = {
        "seconds": (process_time() - begun) / 2,
        "start": start,
        "rss": memory_of(os.getpid()).peak,
        "audit": audits[1],
    }
    if traced:
        found["traced"] = round(tracemalloc.get_traced_memory()[1] / 2**20, 1)
    print(json.dumps(found))


@pytest.mark.parametrize(
    "dead",
    [
        pytest.param(1000, id="one in 1000 dead"),
        pytest.param(3, id="one in 3 dead", marks=pytest.mark.long),
    ],
)
def test_an_audit_of_50000_allocations(benchmark: BenchmarkFixture, filled: Path, dead: int) -> None:
    reconciler = reconciler_of(filled, dead, lambda: 0.0)
    audits: list[Audit] = []
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        lambda: audits.append(reconciler.audit(Deadline(SOON))), rounds=ROUNDS
    )
    assert audits[-1].records == PODS
    assert audits[-1].suspects == min(len(range(0, PODS, dead)), 20_000)
    plain, traced = (measured(filled, dead, traced=traced) for traced in (False, True))
    benchmark.extra_info["figures"] = {
        "MiB at most": plain["rss"],
        "MiB at the start": plain["start"],
        "MiB of Python's beyond": traced["traced"],
        "CPU seconds of an audit": plain["seconds"],
    }


def test_freeing_what_a_deleted_pod_left_among_50000(benchmark: BenchmarkFixture, filled: Path) -> None:
    now = [0.0]
    reconciler = reconciler_of(filled, PODS, lambda: now[0])
    reconciler.audit(Deadline(SOON))
    numbers = iter(range(1, PODS))

    def deleted() -> None:
        number = next(numbers)
        own = frozenset({FIRST + offset(number), ip_address("10.244.0.0") + number})
        reconciler.pod_deleted(Pod(ref(number), (uid(number),), node(number), "Running", False, False, own))
        now[0] += 6.0

    freed: list[int] = []
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        lambda: freed.append(reconciler.look_again(Deadline(SOON)).freed), setup=deleted, rounds=200
    )
    assert sum(freed) >= 200
