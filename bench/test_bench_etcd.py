"""An ADD on etcd beside the bare transaction: the same client, the same bytes, the same run, taking turns.

The bare transaction compares one key and writes a value of the same size as the ADD's block. The server keeps
its data on a disk, as etcd does. The ratios at the end of the run are those of the medians.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from statistics import median
from time import perf_counter

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.etcd_server import EtcdServer, cluster
from tests.store_contract import SOON, attachment, demand, pod
from tests.suites import SUITES
from whereabouts.allocator import Allocator
from whereabouts.block import BlockKey, Space
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline
from whereabouts.log import SILENT
from whereabouts.stores import etcd_messages as messages
from whereabouts.stores import etcd_values as values
from whereabouts.stores.etcd import EtcdStore

MISSING = SUITES["etcd"].missing()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")

ROUNDS = 60


@pytest.fixture(scope="module")
def server() -> Iterator[EtcdServer]:
    with cluster(on_disk=True) as (one,):
        yield one


class Bare:
    """Writes one key over and over, each time on the condition that nobody else did."""

    def __init__(self, store: EtcdStore) -> None:
        self._connection = store.connection
        self._revision = 0
        self.seconds: list[float] = []

    def write(self, value: bytes) -> None:
        key = b"/bare"
        begun = perf_counter()
        request = messages.transaction(
            [messages.unchanged(key, self._revision)], [messages.put(key, value)], [messages.read(key)]
        )
        outcome = self._connection.transact(request, Deadline(SOON), writes=True).outcome
        self.seconds.append(perf_counter() - begun)
        if not outcome.succeeded:
            self._revision = outcome.found[0].pairs[0].mod_revision
            self.write(value)
        else:
            self._revision = outcome.revision


@pytest.mark.parametrize("call", ["ADD", "DEL"])
@pytest.mark.parametrize("allocated", [10, 100, 190])
def test_call(benchmark: BenchmarkFixture, server: EtcdServer, call: str, allocated: int) -> None:
    store = EtcdStore(server.host, prefix=f"/bench/{call}/{allocated}/")
    allocator = Allocator(store, DirectCommitter(store), SILENT)
    wanted = demand("10.0.0.0/16")
    bare, key = Bare(store), BlockKey.of(Space(), ip_address("10.0.0.0"))
    first = allocated + (ROUNDS if call == "DEL" else 0)
    for n in range(first):
        allocator.add(wanted, pod(n), Deadline(SOON))
    numbers = iter(range(allocated, allocated + ROUNDS))

    def take_turns() -> tuple[tuple[int], dict[str, object]]:
        stored = store.read_block(key, Deadline(SOON))
        assert stored is not None
        bare.write(values.write_block(stored.trusted()))
        return (next(numbers),), {}

    def run(number: int) -> None:
        if call == "ADD":
            allocator.add(wanted, pod(number), Deadline(SOON))
        else:
            allocator.delete(wanted, attachment(pod(number)), [], Deadline(SOON))

    benchmark.group = f"etcd, {allocated} addresses in the block"
    benchmark.pedantic(run, setup=take_turns, rounds=ROUNDS, iterations=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info["beside"] = {"bare transaction": median(bare.seconds)}
    store.close()
