"""An ADD and a DEL on etcd beside the bare transaction: the same client, as many bytes, taking turns.

A DEL comes with the result of its ADD. The bare transaction compares one key and writes a value of the size
of the calls' block. The server keeps its data on a disk, as etcd does. No process is started for a call
here.
"""

from collections.abc import Iterator
from itertools import count

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.floors import BareTransaction
from bench.pods import Filled, holder
from bench.turns import take_turns
from tests.etcd_server import EtcdServer, cluster
from tests.store_contract import SOON, attachment, demand
from tests.suites import SUITES
from whereabouts.allocator import Allocator
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline
from whereabouts.log import SILENT
from whereabouts.ranges import Range
from whereabouts.stores.etcd import EtcdStore

MISSING = SUITES["etcd"].missing()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")

RANGE = "10.0.0.0/16"
ROUNDS = 60


@pytest.fixture(scope="module")
def server() -> Iterator[EtcdServer]:
    with cluster(on_disk=True) as (one,):
        yield one


@pytest.mark.parametrize("call", ["ADD", "DEL"])
@pytest.mark.parametrize("allocated", [10, 100, 190])
def test_call(benchmark: BenchmarkFixture, server: EtcdServer, call: str, allocated: int) -> None:
    place = f"{call}-{allocated}"
    store = EtcdStore(server.host, prefix=f"/bench/{place}/")
    allocator = Allocator(store, DirectCommitter(store), SILENT)
    wanted = demand(RANGE)
    middle = Filled(Range.parse(RANGE), allocated + ROUNDS // 2, place)
    (block,) = middle.blocks()
    bare_transaction = BareTransaction(store, block)
    given = [
        allocator.add(wanted, holder(number), Deadline(SOON))
        for number in range(allocated + (ROUNDS + 1 if call == "DEL" else 0))
    ]
    numbers = count(allocated)

    def add() -> None:
        allocator.add(wanted, holder(next(numbers)), Deadline(SOON))

    def delete() -> None:
        number = next(numbers)
        held = attachment(holder(number))
        assert len(allocator.delete(wanted, held, given[number], Deadline(SOON))) == 1

    run = add if call == "ADD" else delete
    take_turns(benchmark, run, {"bare transaction": bare_transaction}, rounds=ROUNDS)
    store.close()
