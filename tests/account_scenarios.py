"""What each service account of ``deploy/`` does with its rights, all of them, in a few seconds.

A scenario ends with an exception if one of the rights is missing.
"""

from collections.abc import Callable
from typing import Any

from whereabouts.deadline import Deadline
from whereabouts.stores import kube_objects as objects
from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kubernetes import KubernetesStore

from .accounts import Account
from .api_server import GROUP, resources
from .kubernetes_contract import fill, free
from .store_contract import SOON, add, delete, demand, pod

API_VERSION = GROUP.removeprefix("/apis/")
RESERVATIONS = "overlappingrangeipreservations"


def node_agent(account: Account) -> None:
    """Give and free addresses, be the first and the second on a range, adopt a range, share one."""
    source = from_kubeconfig(account.kubeconfig)
    stores = [KubernetesStore(source), KubernetesStore(source)]
    coexisting = KubernetesStore(source, coexist_with_upstream=True)
    try:
        _give_and_free(account, *stores)
        _share(account, coexisting)
        _adopt(account, stores[0])
        assert stores[0].read_slices("none", Deadline(SOON)) is None
    finally:
        for store in (*stores, coexisting):
            store.close()


def _give_and_free(account: Account, first: KubernetesStore, second: KubernetesStore) -> None:
    wide = demand("10.0.0.0/16")
    assert add(first, wide, pod(1)) == ["10.0.0.1"]
    assert add(second, wide, pod(2)) == ["10.0.0.2"]
    assert delete(second, wide, pod(1)) == ["10.0.0.1"]
    fill(first, "10.0.0.0")
    assert add(second, wide, pod(3)) == ["10.0.1.1"]
    # An ADD does without the hint that the first block is exhausted, but gets slower with every such block.
    path = resources(account.namespace, "ippools", "10.0.0.0-16")
    assert objects.EXHAUSTED in account.server.call("GET", path).body["metadata"]["annotations"]
    free(first, wide, pod(100_009), "10.0.0.9")
    assert add(second, wide, pod(4)) == ["10.0.0.9"]
    assert second.blocks_of_attachment("unknown", "net1", Deadline(SOON)) == ()


def _share(account: Account, store: KubernetesStore) -> None:
    """Beside nodes with the Go plugin: one of their pods has the second address."""
    _create(account, "OverlappingRangeIPReservation", RESERVATIONS, "10.1.0.2", {"podref": "theirs/pod"})
    wanted = demand("10.1.0.0/24")
    assert add(store, wanted, pod(1)) == ["10.1.0.1"]
    assert _exists(account, "10.1.0.1")
    assert add(store, wanted, pod(2)) == ["10.1.0.3"]
    assert delete(store, wanted, pod(1)) == ["10.1.0.1"]
    assert not _exists(account, "10.1.0.1")


def _adopt(account: Account, store: KubernetesStore) -> None:
    """Take a range of the Go plugin over, in which one address was given by it and by us."""
    assert add(store, demand("10.2.0.0/25"), pod(1)) == ["10.2.0.1"]
    theirs = {"1": {"id": "f" * 64, "podref": "theirs/pod", "ifname": "net1"}}
    pool = {"range": "10.2.0.0/24", "allocations": theirs}
    _create(account, "IPPool", "ippools", "10.2.0.0-24", pool)
    assert add(store, demand("10.2.0.0/24"), pod(2)) == ["10.2.0.2"]
    events = account.server.call("GET", f"/api/v1/namespaces/{account.namespace}/events").body["items"]
    assert [event["reason"] for event in events] == ["IPAddressConflict"]
    # It may be the slice of a node called blue: the slices tell.
    _create(account, "IPPool", "ippools", "blue-10.3.0.0-24", {**pool, "range": "10.3.0.0/24"})
    assert add(store, demand("10.3.0.0/24", network_name="blue"), pod(3)) == ["10.3.0.2"]


def _create(account: Account, kind: str, plural: str, name: str, spec: dict[str, Any]) -> None:
    content = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
    reply = account.server.call("POST", resources(account.namespace, plural), content)
    assert reply.status == 201, reply.body


def _exists(account: Account, name: str) -> bool:
    path = resources(account.namespace, RESERVATIONS, name)
    return account.server.call("GET", path).status == 200


SCENARIOS: dict[str, Callable[[Account], None]] = {"whereabouts": node_agent}
"""By the name of the service account."""
