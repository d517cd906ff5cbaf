"""The commands that look and repair, on Kubernetes: pods are asked, and what the Go plugin left is found."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.api_double import ApiDouble
from tests.api_server import ADMIN, ApiServer, kubeconfig, resources
from tests.cluster_objects import (
    NETWORK_STATUS,
    asked,
    create_definition,
    create_node,
    create_pod,
    delete_pod,
    network_status,
    set_pod_status,
)
from tests.cluster_servers import BOTH, opened
from tests.store_contract import SOON, add, demand, pod
from tests.tools_contract import WIDE, Tools, ToolsContract, quickly
from whereabouts import liveness
from whereabouts.deadline import Deadline
from whereabouts.owners import Owner
from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kube_objects import ADOPTING, OVERLAPPING
from whereabouts.stores.kubernetes import KubernetesStore
from whereabouts.stores.sqlite import SqliteStore


class KubeTools(Tools):
    """With the server behind it."""

    server: ApiDouble | ApiServer
    namespace: str
    path: str

    def coexisting(self, *, coexist: bool = True) -> KubernetesStore:
        """A store beside nodes with the Go plugin; the commands are told so, too."""
        conf = self.folder / "whereabouts.conf"
        content = {"kubernetes": {"kubeconfig": self.path}, "coexist_with_upstream": coexist}
        conf.write_text(json.dumps(content))
        self.options = ["--config", str(conf)]
        return KubernetesStore(from_kubeconfig(self.path), coexist_with_upstream=coexist)

    def owner(self, number: int) -> Owner:
        """The owner of what a pod in this test's namespace is given."""
        return pod(number, node=self.namespace)._replace(pod_ref=f"{self.namespace}/pod-{number}")

    def start(self, number: int, *addresses: str) -> None:
        """A pod that runs and reports these addresses."""
        status = {NETWORK_STATUS: network_status(["10.244.0.5"], addresses)}
        create_pod(
            self.server,
            self.namespace,
            f"pod-{number}",
            node=self.namespace,
            phase="Running",
            annotations=status,
        )

    def put(self, plural: str, content: dict[str, Any]) -> None:
        whole = {"apiVersion": "whereabouts.cni.cncf.io/v1alpha1", **content}
        asked(self.server, "POST", resources(self.namespace, plural), whole)

    def found(self, *arguments: str) -> list[tuple[str, str, str]]:
        """Kind, place and address of everything that check finds."""
        run = self.run("check", "-o", "json", *arguments)
        assert run.status in (0, 1), run.err
        return [(one["kind"], one["place"], one["address"]) for one in run.json()["findings"]]


@pytest.fixture(params=BOTH)
def tools(
    quickly: None,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[KubeTools]:
    monkeypatch.setattr(liveness, "GONE_SECONDS", 0.1)
    with opened(request.param) as server:
        namespace = server.namespace()
        path = kubeconfig(tmp_path / "kubeconfig", server.server, namespace, ADMIN, server.authority)
        made = KubeTools(
            ["--kubeconfig", path], lambda: KubernetesStore(from_kubeconfig(path)), tmp_path, capsys
        )
        made.server, made.namespace, made.path = server, namespace, path
        create_node(server, namespace)
        yield made
        made.store.close()


__all__ = ["quickly"]  # a fixture


class TestTools(ToolsContract):
    pass


def test_pods_are_asked_whether_they_live(tools: KubeTools) -> None:
    for number in range(5):
        (address,) = add(tools.store, WIDE, tools.owner(number))
        tools.start(number, address)
    assert tools.found() == []
    delete_pod(tools.server, tools.namespace, "pod-1")
    set_pod_status(tools.server, tools.namespace, "pod-2", phase="Succeeded")
    assert tools.found() == [
        ("leak", "10.0.0.0", "10.0.0.2"),
        ("completed-pod", "10.0.0.0", "10.0.0.3"),
    ]
    assert "its pod is gone" in tools.run("explain", "range", "10.0.0.0/22").out
    kept = tools.run("release", "10.0.0.1", "--yes")
    assert (kept.status, "nothing says that its pod is gone" in kept.out) == (1, True)
    assert tools.run("release", "--pod", f"{tools.namespace}/pod-1", "--yes").status == 0
    assert tools.addresses() == ["10.0.0.1", "10.0.0.3", "10.0.0.4", "10.0.0.5"]


def test_a_second_record_of_a_pod_is_the_one_that_it_does_not_report(tools: KubeTools) -> None:
    (address,) = add(tools.store, WIDE, tools.owner(1))
    tools.start(1, address)
    tools.record("10.0.0.99", tools.owner(1)._replace(range="10.0.0.0/22"))
    assert tools.found() == [("duplicate", "10.0.0.0", "10.0.0.99")]


def test_excludes_are_those_of_the_clusters_definitions(tools: KubeTools) -> None:
    for number in range(3):
        (address,) = add(tools.store, WIDE, tools.owner(number))
        tools.start(number, address)
    ipam = {"type": "whereabouts", "range": "10.0.0.0/22", "exclude": ["10.0.0.2/32"]}
    config = {"cniVersion": "1.0.0", "name": "n", "type": "macvlan", "ipam": ipam}
    create_definition(tools.server, tools.namespace, "one", config)
    assert tools.found() == [("excluded", "10.0.0.0", "10.0.0.2")]
    explained = tools.run("explain", "next", "10.0.0.0/22")
    assert "(as configured): 10.0.0.1 to 10.0.3.254, without 10.0.0.2/32." in explained.out
    create_definition(tools.server, tools.namespace, "other", "no JSON")
    assert tools.found() == []
    assert f"NetworkAttachmentDefinition {tools.namespace}/other cannot be read" in tools.run("check").out


def test_objects_under_wrong_names_are_found(tools: KubeTools) -> None:
    (address,) = add(tools.store, WIDE, tools.owner(1))
    tools.start(1, address)
    (block,) = tools.server.call("GET", resources(tools.namespace, "addressblocks")).body["items"]
    metadata = {"name": "10.0.7.0", "annotations": block["metadata"]["annotations"]}
    tools.put("addressblocks", {"kind": "AddressBlock", "metadata": metadata, "spec": block["spec"]})
    tools.put(
        "ippools",
        {"kind": "IPPool", "metadata": {"name": "mine"}, "spec": {"range": "10.0.0.0/16", "allocations": {}}},
    )
    assert tools.found() == [("misnamed-block", "10.0.7.0", ""), ("misnamed-pool", "mine", "")]


def test_a_block_whose_annotation_was_edited_is_found(tools: KubeTools) -> None:
    for number in range(2):
        (address,) = add(tools.store, WIDE, tools.owner(number))
        tools.start(number, address)
    patch = {"metadata": {"annotations": {"whereabouts.cni.cncf.io/allocated": "nothing"}}}
    path = resources(tools.namespace, "addressblocks", "10.0.0.0")
    asked(tools.server, "PATCH", path, patch, "application/merge-patch+json")
    assert tools.found() == [("damaged-block", "10.0.0.0", "")]


def test_what_the_go_plugin_wrote_into_a_pool_of_ours_is_found_and_nothing_is_adopted(
    tools: KubeTools,
) -> None:
    (address,) = add(tools.store, WIDE, tools.owner(1))
    tools.start(1, address)
    entries = {
        "7": {"id": "aa", "podref": "default/old", "ifname": "net1"},
        "none": {"id": "x", "podref": "y"},
    }
    path = resources(tools.namespace, "ippools", "10.0.0.0-22")
    asked(tools.server, "PATCH", path, {"spec": {"allocations": entries}}, "application/merge-patch+json")
    for _ in range(2):
        assert tools.found() == [
            ("foreign-allocation", "10.0.0.0-22 10.0.0.7", ""),
            ("unreadable-allocation", "10.0.0.0-22 none", ""),
        ]
        for arguments in (["show"], ["show", "--address", "10.0.0.1"], ["explain", "next", "10.0.0.0/22"]):
            assert tools.run(*arguments).status == 0
    assert tools.run("migrate", "--to", "blocks").status == 1  # one entry cannot be read
    assert [kind for kind, _, _ in tools.found()] == ["leak", "unreadable-allocation"]


@pytest.mark.parametrize("adopting", [None, "false"])
def test_a_pool_of_the_go_plugin_that_nobody_took_over_yet_is_no_fault(
    tools: KubeTools, adopting: str | None
) -> None:
    annotations = {} if adopting is None else {ADOPTING: adopting}
    spec = {"range": "10.6.0.0/24", "allocations": {"2": {"id": "aa", "podref": "default/old"}}}
    metadata = {"name": "10.6.0.0-24", "annotations": annotations}
    tools.put("ippools", {"kind": "IPPool", "metadata": metadata, "spec": spec})
    reservation = {"kind": "OverlappingRangeIPReservation", "metadata": {"name": "10.6.0.2"}}
    tools.put("overlappingrangeipreservations", {**reservation, "spec": {"podref": "default/old"}})
    assert tools.found() == []
    found = asked(tools.server, "GET", resources(tools.namespace, "ippools", "10.6.0.0-24"))
    assert found["spec"]["allocations"].keys() == {"2"}
    assert OVERLAPPING not in found["metadata"].get("annotations", {})


def test_reservations_and_records_are_compared_while_both_plugins_run(tools: KubeTools) -> None:
    store = tools.coexisting()
    for number in range(3):
        given = add(store, WIDE, tools.owner(number))
        tools.start(number, *given, *add(store, demand("10.7.0.0/24", shared=False), tools.owner(number)))
    assert tools.found() == []
    reservations = resources(tools.namespace, "overlappingrangeipreservations")
    asked(tools.server, "DELETE", f"{reservations}/10.0.0.2")
    stale = {"kind": "OverlappingRangeIPReservation", "metadata": {"name": "10.0.0.77"}}
    tools.put("overlappingrangeipreservations", {**stale, "spec": {"podref": "default/gone"}})
    kinds = [(kind, address) for kind, _, address in tools.found()]
    assert kinds == [("missing-reservation", "10.0.0.2"), ("stale-reservation", "")]
    assert tools.run("migrate", "--repair-reservations").status == 0
    assert [kind for kind, _, _ in tools.found()] == ["missing-reservation"]
    tools.coexisting(coexist=False)
    assert tools.found() == []
    tools.coexisting()
    assert tools.run("release", "10.0.0.1", "--yes", "--force").status == 0
    left = asked(tools.server, "GET", reservations)["items"]
    assert [one["metadata"]["name"] for one in left] == ["10.0.0.3"]
    store.close()


def test_a_cluster_that_cannot_be_read_is_another_status_than_problems(tools: KubeTools) -> None:
    tools.options = ["--kubeconfig", str(tools.folder / "none")]
    run = tools.run("check")
    assert (run.status, "none cannot be read" in run.err) == (3, True)


def test_a_cluster_can_be_asked_for_the_records_of_another_store(tools: KubeTools) -> None:
    path = str(tools.folder / "w.db")
    with closing(SqliteStore(path, Deadline(SOON))) as store:
        for number in range(2):
            add(store, WIDE, tools.owner(number))
    tools.start(0, "10.0.0.1")
    tools.options = ["--local", path, "--cluster", tools.path]
    for command in (
        ["check"],
        ["release", "10.0.0.2", "--yes", "--force"],
        ["explain", "range", "10.0.0.0/22"],
    ):
        refused = tools.run(*command)
        assert (refused.status, "give --sole-cluster" in refused.err) == (2, True)
    tools.options += ["--sole-cluster"]
    assert tools.found() == [("leak", "10.0.0.0", "10.0.0.2")]
    assert tools.run("release", "10.0.0.2", "--yes").out.endswith("Released 1 of 1.\n")
    assert tools.run("release", "10.0.0.1", "--yes").status == 1
    assert tools.run("check", *tools.attachments()).status == 2  # either of them
