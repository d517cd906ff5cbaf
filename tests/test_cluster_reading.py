"""Reading the cluster, over the double and over a real API server."""

import gc
import itertools
import json
import weakref
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path

import pytest

from whereabouts.cluster import reading
from whereabouts.cluster.forms import Anything, Form
from whereabouts.cluster.reading import KubernetesCluster
from whereabouts.deadline import Deadline
from whereabouts.liveness import Node, Pod
from whereabouts.stores.kube_access import Access
from whereabouts.stores.kube_api import ApiClient, NotFound, Refused, Request

from .api_double import ApiDouble
from .api_double_requests import Asked, Fault
from .cluster_objects import (
    NETWORK_STATUS,
    annotate,
    create_definition,
    create_node,
    create_pod,
    delete_node,
    delete_pod,
    network_status,
    set_pod_status,
    set_ready,
)
from .cluster_servers import Server, client

SOON = 30.0
_numbers = itertools.count()


@pytest.fixture
def cluster(server: Server, tmp_path: Path) -> Iterator[KubernetesCluster]:
    with client(server, tmp_path, "default") as api:
        yield KubernetesCluster(api)


@pytest.fixture
def node() -> str:
    """The name of a node that no other test has."""
    return f"reading-{next(_numbers)}"


def pods_in(cluster: KubernetesCluster, namespace: str) -> list[Pod]:
    found = {pod.ref: pod for pod in cluster.pods(Deadline(SOON))}
    return [pod for ref, pod in sorted(found.items()) if ref.startswith(f"{namespace}/")]


# ------------------------------------------------------------------------ pods


def test_a_pod_is_read_alone_as_in_the_list(server: Server, cluster: KubernetesCluster, node: str) -> None:
    namespace = server.namespace()
    status = {NETWORK_STATUS: network_status(["10.244.0.5"], ["10.0.0.1", "fd00::1"])}
    created = create_pod(server, namespace, "p", node=node, ips=["10.244.0.5"], annotations=status)
    pod = cluster.pod(f"{namespace}/p", Deadline(SOON))
    assert pod == Pod(
        ref=f"{namespace}/p",
        uids=(created["metadata"]["uid"],),
        node=node,
        phase="Running",
        deleting=False,
        disrupted=False,
        addresses=frozenset(map(ip_address, ("10.244.0.5", "10.0.0.1", "fd00::1"))),
    )
    assert pods_in(cluster, namespace) == [pod]


def test_pods_of_all_namespaces_come_in_pages(
    server: Server, cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PAGE", 2)
    here, there = server.namespace(), server.namespace()
    for name in "abc":
        create_pod(server, here, name)
        create_pod(server, there, name)
    for namespace in (here, there):
        assert [pod.ref for pod in pods_in(cluster, namespace)] == [f"{namespace}/{name}" for name in "abc"]


def test_a_new_pod_is_pending_and_its_addresses_are_not_known(
    server: Server, namespace: str, cluster: KubernetesCluster
) -> None:
    create_pod(server, namespace, "p")
    (pod,) = pods_in(cluster, namespace)
    assert (pod.node, pod.phase, pod.addresses) == ("", "Pending", None)
    annotate(server, namespace, "p", {NETWORK_STATUS: network_status([], ["10.0.0.1/24"])})
    (pod,) = pods_in(cluster, namespace)
    assert pod.addresses == frozenset({ip_address("10.0.0.1")})


def test_a_pod_that_is_going_and_one_that_was_disrupted_are_seen(
    server: Server, namespace: str, cluster: KubernetesCluster, node: str
) -> None:
    create_pod(server, namespace, "p", node=node, phase="Running")
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}
    set_pod_status(server, namespace, "p", conditions=[condition])
    delete_pod(server, namespace, "p", force=False)
    (pod,) = pods_in(cluster, namespace)
    assert (pod.deleting, pod.disrupted) == (True, True)


def test_a_pod_that_is_gone_is_none_and_one_of_its_name_is_another(
    server: Server, namespace: str, cluster: KubernetesCluster, node: str
) -> None:
    first = create_pod(server, namespace, "p", node=node, phase="Running")
    delete_pod(server, namespace, "p")
    assert cluster.pod(f"{namespace}/p", Deadline(SOON)) is None
    create_pod(server, namespace, "p", node=node)
    second = cluster.pod(f"{namespace}/p", Deadline(SOON))
    assert second is not None
    assert first["metadata"]["uid"] not in second.uids


@pytest.mark.parametrize(
    "ref", ["", "p", "ns/", "/p", "ns/p/status", "ns/..", "ns/p?limit=1", "../p", "ns/P"]
)
def test_a_reference_that_no_pod_can_have_is_not_told_to_be_gone(
    cluster: KubernetesCluster, ref: str
) -> None:
    with pytest.raises(Refused, match="names no pod"):
        cluster.pod(ref, Deadline(SOON))


# ------------------------------------------------------------------ other kinds


def test_nodes_come_with_what_is_known_of_them(
    server: Server, cluster: KubernetesCluster, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PAGE", 1)
    create_node(server, f"{node}-a")
    create_node(server, f"{node}-b", ready=False, taints=["node.kubernetes.io/out-of-service"])
    expected = {
        f"{node}-a": Node(f"{node}-a", ready=True, out_of_service=False),
        f"{node}-b": Node(f"{node}-b", ready=False, out_of_service=True),
    }
    assert expected.items() <= cluster.nodes(Deadline(SOON)).items()
    set_ready(server, f"{node}-a", False)
    one = cluster.node(f"{node}-a", Deadline(SOON))
    assert one == Node(f"{node}-a", ready=False, out_of_service=False)
    delete_node(server, f"{node}-a")
    assert cluster.node(f"{node}-a", Deadline(SOON)) is None
    assert f"{node}-a" not in cluster.nodes(Deadline(SOON))


def test_definitions_come_with_their_configuration(
    server: Server, namespace: str, cluster: KubernetesCluster
) -> None:
    created = create_definition(server, namespace, "blue", {"name": "blue"})
    found = [one for one in cluster.attachment_definitions(Deadline(SOON)) if one.namespace == namespace]
    assert found == [(namespace, "blue", created["metadata"]["uid"], '{"name": "blue"}')]


# --------------------------------------------------------------- what goes wrong


@pytest.fixture
def of_double(double: ApiDouble, tmp_path: Path) -> Iterator[KubernetesCluster]:
    with client(double, tmp_path, "default") as api:
        yield KubernetesCluster(api)


def test_a_cluster_without_the_kind_has_no_definitions(
    double: ApiDouble, of_double: KubernetesCluster
) -> None:
    del double.kinds["network-attachment-definitions"]
    assert list(of_double.attachment_definitions(Deadline(SOON))) == []


def test_a_404_that_another_gives_says_neither_that_a_pod_nor_that_definitions_are_gone(
    double: ApiDouble, of_double: KubernetesCluster
) -> None:
    create_pod(double, "ns", "p")
    double.fault = lambda asked: Fault(404) if asked.path != "/apis" else None
    with pytest.raises(NotFound):
        of_double.pod("ns/p", Deadline(SOON))
    with pytest.raises(NotFound):
        of_double.node("n", Deadline(SOON))
    with pytest.raises(NotFound):
        list(of_double.attachment_definitions(Deadline(SOON)))


def _expire_second_page(double: ApiDouble) -> None:
    asked_before = itertools.count()

    def fault(asked: Asked) -> Fault | None:
        return Fault(410) if "continue" in asked.query and next(asked_before) == 0 else None

    double.fault = fault


def test_a_list_that_took_too_long_begins_again(
    double: ApiDouble, of_double: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PAGE", 2)
    for name in "abcd":
        create_pod(double, "ns", name)
        create_node(double, name)
    _expire_second_page(double)
    assert [pod.ref[-1] for pod in of_double.pods(Deadline(SOON))] == ["a", "b", "a", "b", "c", "d"]
    _expire_second_page(double)
    nodes = of_double.nodes(Deadline(SOON))
    assert list(nodes) == ["a", "b", "c", "d"]


def test_a_node_that_went_while_the_list_began_again_is_not_in_it(
    double: ApiDouble, of_double: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PAGE", 1)
    create_node(double, "a")
    create_node(double, "b")

    def fault(asked: Asked) -> Fault | None:
        if "continue" not in asked.query or ("", "nodes", "a") not in double.objects:
            return None
        delete_node(double, "a")
        return Fault(410)

    double.fault = fault
    assert list(of_double.nodes(Deadline(SOON))) == ["b"]


class _Item(Anything, weakref=True):
    """An object that can be referred to weakly."""


def test_no_more_than_one_page_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    items: list[weakref.ref[_Item]] = []

    def read(content: _Item) -> str:
        items.append(weakref.ref(content))
        return content.metadata.name

    def fetch(request: Request, deadline: Deadline) -> bytes:
        gc.collect()
        assert [item for item in items if item() is not None] == []
        number = int(dict(request.query).get("continue") or 0)
        page = [
            {"metadata": {"name": f"p{number}-{n}", "uid": "u", "resourceVersion": "1"}} for n in range(3)
        ]
        position = {"continue": str(number + 1)} if number < 3 else {}
        return json.dumps({"metadata": {"resourceVersion": "1", **position}, "items": page}).encode()

    monkeypatch.setattr(reading, "pod_of", Form(_Item, read))
    with closing(ApiClient(lambda: Access("http://127.0.0.1:9", "default"))) as api:
        monkeypatch.setattr(api, "fetch", fetch)
        for count, pod in enumerate(KubernetesCluster(api).pods(Deadline(SOON))):
            assert str(pod) == f"p{count // 3}-{count % 3}"
    assert len(items) == 12
