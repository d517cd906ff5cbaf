"""What each service account of ``deploy/`` does with its rights, all of them, in a few seconds.

A scenario ends with an exception if one of the rights is missing.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import time
from typing import Any

from whereabouts.cluster import events
from whereabouts.cluster.events import EventRecorder
from whereabouts.cluster.lease import Lease
from whereabouts.cluster.reading import DEFINITIONS, NODES, PODS, KubernetesCluster
from whereabouts.deadline import Deadline
from whereabouts.stores import kube_objects as objects
from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kube_api import Request
from whereabouts.stores.kube_events import Event
from whereabouts.stores.kube_migration import repair_reservations, to_blocks
from whereabouts.stores.kube_status import Audited, write_status
from whereabouts.stores.kubernetes import KubernetesStore

from .accounts import Account
from .api_server import ADMIN, GROUP, kubeconfig, resources
from .controller_process import until
from .kubernetes_contract import fill, free
from .store_contract import SOON, add, delete, demand, pod, slices

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
    _create(account, "OverlappingRangeIPReservation", RESERVATIONS, "10.1.0.4", {"podref": pod(3).pod_ref})
    assert add(store, wanted, pod(3)) == ["10.1.0.4"]
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


# -------------------------------------------------------------------------- the controller


def controller(account: Account) -> None:
    """Hold the lease, follow the cluster, free what dead pods left, cut slices, tell of it all."""
    source = from_kubeconfig(account.kubeconfig)
    store = KubernetesStore(source, coexist_with_upstream=True)
    try:
        _lead(store)
        _follow(store)
        _judge(account, store)
        _free_in_a_block_that_was_full(account, store)
        _tell_pools(store)
        _mend(account, store)
        _cut(account, store)
        _tell(account, store)
    finally:
        store.close()


def _lead(store: KubernetesStore) -> None:
    lease = Lease(store.resources.api, "whereabouts-controller")
    assert lease.attempt(Deadline(SOON))
    assert lease.attempt(Deadline(SOON))


def _follow(store: KubernetesStore) -> None:
    for path in (PODS, NODES, DEFINITIONS):
        request = Request("GET", path, query=(("watch", "true"), ("timeoutSeconds", "1")))
        store.resources.api.stream(request, Deadline(SOON), silence=SOON).close()


def _judge(account: Account, store: KubernetesStore) -> None:
    cluster = KubernetesCluster(store.resources.api)
    assert cluster.pod(f"{account.namespace}/none", Deadline(SOON)) is None
    assert cluster.node("none", Deadline(SOON)) is None
    list(cluster.pods(Deadline(SOON)))
    cluster.nodes(Deadline(SOON))
    list(cluster.attachment_definitions(Deadline(SOON)))


def _free_in_a_block_that_was_full(account: Account, store: KubernetesStore) -> None:
    """A hint is taken back, and the block is made, or changed, where others search."""
    administrator = from_kubeconfig(
        kubeconfig(
            Path(account.kubeconfig).with_name("administrator"),
            account.server.server,
            account.namespace,
            ADMIN,
            account.server.authority,
        )
    )
    agent = KubernetesStore(administrator)
    try:
        for number, exists in enumerate((False, True)):
            wanted = demand(f"10.{20 + number}.0.0/16")
            fill(agent, f"10.{20 + number}.0.0", free=1)
            given = [add(agent, wanted, pod(number * 10 + n)) for n in range(2 if exists else 1)]
            assert given[0] == [f"10.{20 + number}.0.255"]
            free(store, wanted, pod(100_009), f"10.{20 + number}.0.9")
            assert add(agent, wanted, pod(number * 10 + 5)) == [f"10.{20 + number}.0.9"]
    finally:
        agent.close()


def _tell_pools(store: KubernetesStore) -> None:
    assert write_status(store, Audited(time(), {}), Deadline(SOON))[0]


def _mend(account: Account, store: KubernetesStore) -> None:
    """Beside the Go plugin: its reservation goes with the address, and those that are nobody's."""
    _create(account, "OverlappingRangeIPReservation", RESERVATIONS, "10.20.0.255", {"podref": pod(0).pod_ref})
    assert delete(store, demand("10.20.0.0/16"), pod(0)) == ["10.20.0.255"]
    assert not _exists(account, "10.20.0.255")
    _create(account, "OverlappingRangeIPReservation", RESERVATIONS, "10.9.9.9", {"podref": "nobody/nowhere"})
    list(to_blocks(store, Deadline(SOON), late=True))
    assert "10.9.9.9" in repair_reservations(store, Deadline(SOON))


def _cut(account: Account, store: KubernetesStore) -> None:
    before = store.create_slices(slices("net", "10.8.0.0/24", "/26", "a"), Deadline(SOON))
    after = store.write_slices(before, slices("net", "10.8.0.0/24", "/26", "b"), Deadline(SOON))
    assert store.read_slices("net", Deadline(SOON), fresh=True) == after
    assert [one.pool.name for one in store.slice_pools(Deadline(SOON))] == ["net"]
    store.delete_slices(after, Deadline(SOON))


def _tell(account: Account, store: KubernetesStore) -> None:
    recorder = EventRecorder(store.resources.api)
    for times in (1, 2):
        recorder.record(Event(events.pod(f"{account.namespace}/p"), events.FREED, "message"))
        until(partial(_were_told, recorder, times), SOON)
    recorder.close()
    assert recorder.counts == (2, 0, 0)


def _were_told(recorder: EventRecorder, times: int) -> bool:
    return sum(recorder.counts) >= times


SCENARIOS: dict[str, Callable[[Account], None]] = {
    "whereabouts": node_agent,
    "whereabouts-controller": controller,
}
"""By the name of the service account."""
