"""Node slices in etcd, and what an ADD asks there."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("grpc", reason="grpcio is not installed (pip install 'whereabouts-ipam[etcd]')")

from whereabouts.stores.etcd import EtcdStore
from whereabouts.stores.etcd_connection import Connection

from .etcd_server import EtcdServer, cluster
from .slices_contract import SlicesContract, give_slices, sliced
from .store_contract import add, delete, pod

pytestmark = pytest.mark.etcd

_numbers = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[EtcdServer]:
    with cluster() as (one,):
        yield one


@pytest.fixture
def open_store(server: EtcdServer) -> Callable[[], EtcdStore]:
    prefix = f"/slices/{next(_numbers)}/"
    return lambda: EtcdStore(server.host, prefix=prefix)


class TestSlices(SlicesContract):
    pass


def test_in_the_steady_state_an_add_from_a_slice_is_one_transaction(
    open_store: Callable[[], EtcdStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, wanted = open_store(), sliced("10.0.0.0/20", "/22", borrow=True)
    give_slices(store, wanted, "node-0", "node-1")
    for n in range(300):
        add(store, wanted, pod(n))
    asked = 0
    transact = Connection.transact

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal asked
        asked += 1
        return transact(*args, **kwargs)

    monkeypatch.setattr(Connection, "transact", counted)
    for n in range(300, 310):
        add(store, wanted, pod(n))
    assert asked == 10
    store.close()


def test_a_write_rests_on_the_hints_of_the_slice_still_being_what_they_were(
    open_store: Callable[[], EtcdStore],
) -> None:
    one, two, wanted = open_store(), open_store(), sliced("10.0.0.0/20", "/22")
    give_slices(one, wanted, "node-0", "node-1")
    for n in range(300):
        add(one, wanted, pod(n))
    assert delete(two, wanted, pod(9)) == ["10.0.4.10"]
    assert add(one, wanted, pod(900)) == ["10.0.4.10"]
    for store in (one, two):
        store.close()
