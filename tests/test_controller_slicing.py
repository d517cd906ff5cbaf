"""Cutting ranges into node slices, on the double and on a real API server."""

import json
from collections.abc import Iterator
from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from whereabouts.block import Block, BlockKey, Space
from whereabouts.cluster.networks import DefinitionFiles, read_networks
from whereabouts.cluster.parsing import AttachmentDefinition
from whereabouts.cluster.reading import KubernetesCluster
from whereabouts.controller.slicing import Sliced, Slicer, wanted_by
from whereabouts.deadline import Deadline
from whereabouts.owners import Owner
from whereabouts.slices import SlicePool, SliceRule
from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kubernetes import KubernetesStore

from .api_server import ADMIN, kubeconfig
from .cluster_objects import asked, create_definition, create_node, delete_node
from .cluster_servers import BOTH, Server, opened

SOON = 30.0
DEFINITIONS = "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions"


@pytest.fixture(params=BOTH)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One without nodes and definitions, before and after."""
    with opened(request.param) as server:
        empty(server)
        yield server
        empty(server)


def empty(server: Server) -> None:
    for node in asked(server, "GET", "/api/v1/nodes")["items"]:
        delete_node(server, node["metadata"]["name"])
    reply = server.call("GET", DEFINITIONS)
    for one in reply.body["items"] if reply.status == 200 else ():
        drop_definition(server, one["metadata"]["namespace"], one["metadata"]["name"])


def drop_definition(server: Server, namespace: str, name: str) -> None:
    path = DEFINITIONS.replace("/network-", f"/namespaces/{namespace}/network-")
    asked(server, "DELETE", f"{path}/{name}")


class Slicing:
    """A cluster whose ranges are cut."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.namespace = server.namespace()
        path = kubeconfig(folder / "kubeconfig", server.server, self.namespace, ADMIN, server.authority)
        self.store = KubernetesStore(from_kubeconfig(path))
        self._slicer = Slicer(self.store, KubernetesCluster(self.store.resources.api), DefinitionFiles())

    def nodes(self, *names: str) -> None:
        for name in names:
            create_node(self.server, name)

    def define(self, name: str, **ipam: Any) -> None:
        create_definition(self.server, self.namespace, name, config(name, **ipam))

    def sync(self) -> Sliced:
        sliced = self._slicer.sync(Deadline(SOON))
        assert sliced.failures == []
        return sliced

    def pools(self) -> dict[str, SlicePool]:
        return {stored.pool.name: stored.pool for stored in self.store.slice_pools(Deadline(SOON))}

    def assigned(self, pool: str) -> dict[str, str]:
        """Slices by node."""
        return {one.node: one.range for one in self.pools()[pool].slices if one.node}

    def use(self, address: str, *, used: bool = True) -> None:
        """Have an address given to a pod, or free it."""
        key = BlockKey.of(Space(), ip_address(address))
        owner = Owner("default/p", "", "c", "net1", "n", "blue", "10.0.0.0/20", 1)
        holders = {key.offset(ip_address(address)): owner} if used else {}
        before = self.store.read_block(key, Deadline(SOON), fresh=True)
        self.store.write_block(key, before, Block(key, holders), Deadline(SOON))


def config(name: str, **ipam: Any) -> dict[str, Any]:
    return {"cniVersion": "1.0.0", "name": name, "type": "macvlan", "ipam": {"type": "whereabouts", **ipam}}


@pytest.fixture
def slicing(server: Server, tmp_path: Path) -> Iterator[Slicing]:
    slicing = Slicing(server, tmp_path)
    yield slicing
    slicing.store.close()


def test_fifty_nodes_get_a_slice_each_of_both_families(slicing: Slicing) -> None:
    nodes = [f"node-{number:02}" for number in range(50)]
    slicing.nodes(*nodes)
    slicing.define("blue", range="10.0.0.0/20", node_slice_size="/26", exclude=["10.0.0.0/28"])
    slicing.define("six", range="fd00::/112", node_slice_size="/120")
    sliced = slicing.sync()
    assert (sliced.without, sliced.faults) == ({}, {})
    for pool, cidr, prefix in (("blue", "10.0.0.0/20", 26), ("six", "fd00::/112", 120)):
        expected = [str(part) for part in ip_network(cidr).subnets(new_prefix=prefix)]
        assert [one.range for one in slicing.pools()[pool].slices] == expected
        assert slicing.assigned(pool) == dict(zip(nodes, expected, strict=False))


def test_nobody_gets_a_slice_of_which_no_address_can_be_given(slicing: Slicing) -> None:
    slicing.nodes("a", "b", "c")
    options = {"range": "10.0.0.0/24", "node_slice_size": "/26", "network_name": "green"}
    slicing.define("one", **options, exclude=["10.0.0.0/25"], range_end="10.0.0.190")
    slicing.define("two", **options, exclude=["10.0.0.0/26"], range_end="10.0.0.190")
    assert slicing.sync().without == {"green": ["c"]}
    assert slicing.assigned("green") == {"a": "10.0.0.64/26", "b": "10.0.0.128/26"}


def test_nodes_come_and_go_and_the_others_keep_their_slices(slicing: Slicing) -> None:
    slicing.nodes("a", "b", "c")
    slicing.define("blue", range="10.0.0.0/24", node_slice_size="26")
    slicing.sync()
    before = slicing.assigned("blue")
    delete_node(slicing.server, "a")
    slicing.nodes("d", "e")
    slicing.sync()
    after = slicing.assigned("blue")
    assert {node: after[node] for node in "bc"} == {node: before[node] for node in "bc"}
    assert after["d"] == before["a"] == "10.0.0.0/26"
    assert after["e"] == "10.0.0.192/26"


def test_a_slice_with_a_live_address_is_passed_on_only_when_it_is_free(slicing: Slicing) -> None:
    slicing.nodes("a", "b")
    slicing.define("blue", range="10.0.0.0/25", node_slice_size="/26")
    slicing.sync()
    slicing.use("10.0.0.5")
    delete_node(slicing.server, "a")
    slicing.nodes("c")
    assert slicing.sync().without == {"blue": ["c"]}
    assert slicing.assigned("blue") == {"a": "10.0.0.0/26", "b": "10.0.0.64/26"}
    slicing.use("10.0.0.5", used=False)
    assert slicing.sync().without == {}
    assert slicing.assigned("blue") == {"c": "10.0.0.0/26", "b": "10.0.0.64/26"}


def test_a_pass_that_finds_nothing_to_do_writes_nothing(slicing: Slicing) -> None:
    slicing.nodes("a")
    slicing.define("blue", range="10.0.0.0/24", node_slice_size="/26")
    slicing.sync()
    before = [stored.revision for stored in slicing.store.slice_pools(Deadline(SOON))]
    slicing.sync()
    assert [stored.revision for stored in slicing.store.slice_pools(Deadline(SOON))] == before


def test_every_range_of_a_network_is_cut(slicing: Slicing) -> None:
    slicing.nodes("a", "b")
    ranges = [{"range": "fd00::/112"}]
    slicing.define("dual", range="10.0.0.0/24", ipRanges=ranges, node_slice_size="/26")
    slicing.sync()
    assert set(slicing.pools()) == {"dual", "dual-fd00---112"}
    assert slicing.assigned("dual-fd00---112") == {"a": "fd00::/114", "b": "fd00::4000/114"}


def test_a_list_of_plugins_and_a_network_name_name_the_pool(slicing: Slicing) -> None:
    slicing.nodes("a")
    ipam = {"type": "whereabouts", "range": "10.0.0.0/24", "node_slice_size": "/26"}
    listed = {"cniVersion": "1.0.0", "name": "listed", "plugins": [{"type": "macvlan", "ipam": ipam}]}
    create_definition(slicing.server, slicing.namespace, "nad", json.dumps(listed))
    slicing.define("other", range="10.0.0.0/24", node_slice_size="/26", network_name="green")
    slicing.sync()
    assert set(slicing.pools()) == {"listed", "green"}


def test_definitions_that_disagree_are_told_and_the_pool_that_is_there_stays(slicing: Slicing) -> None:
    slicing.nodes("a")
    slicing.define("second", range="10.0.0.0/24", node_slice_size="/26", network_name="green")
    slicing.sync()
    slicing.define("first", range="10.0.0.0/24", node_slice_size="/27", network_name="green")
    slicing.define("alone", range="10.1.0.0/24", node_slice_size="/26")
    sliced = slicing.sync()
    (name,) = sliced.faults
    assert name == f"{slicing.namespace}/first"
    assert "network_name" in sliced.faults[name]
    assert slicing.pools()["green"].slice_size == "/26"
    assert slicing.assigned("alone") == {"a": "10.1.0.0/26"}


def test_a_network_with_definitions_in_many_namespaces_is_cut_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cuts: list[str] = []
    uncut = SliceRule.uncut

    def counted(rule: SliceRule, network: IPv4Network) -> SlicePool:
        cuts.append(str(network))
        return uncut(rule, network)

    monkeypatch.setattr(SliceRule, "uncut", counted)
    text = json.dumps(config("blue", range="10.0.0.0/24", node_slice_size="/26"))
    definitions = [AttachmentDefinition(f"ns-{number}", "blue", "uid", text) for number in range(20)]
    networks, _ = read_networks(definitions, DefinitionFiles())
    wanted, faults = wanted_by(networks, {})
    assert (list(wanted), faults) == (["blue"], {})
    assert cuts == ["10.0.0.0/24"]


@pytest.mark.parametrize("size", ["/32", "/20", "x", "/8"])
def test_a_size_that_cannot_be_is_told_and_keeps_nobody_else(slicing: Slicing, size: str) -> None:
    slicing.nodes("a")
    slicing.define("bad", range="10.0.0.0/24", node_slice_size=size)
    slicing.define("good", range="10.1.0.0/24", node_slice_size="/26")
    sliced = slicing.sync()
    assert list(sliced.faults) == [f"{slicing.namespace}/bad"]
    assert set(slicing.pools()) == {"good"}


def test_another_size_keeps_nodes_where_their_addresses_are(slicing: Slicing) -> None:
    slicing.nodes("a", "b")
    slicing.define("blue", range="10.0.0.0/24", node_slice_size="/26")
    slicing.sync()
    slicing.use("10.0.0.70")
    drop_definition(slicing.server, slicing.namespace, "blue")
    slicing.define("blue", range="10.0.0.0/24", node_slice_size="/25")
    slicing.sync()
    assert slicing.assigned("blue").keys() <= {"a", "b"}
    assert [one.range for one in slicing.pools()["blue"].slices] == ["10.0.0.0/25", "10.0.0.128/25"]


def test_a_pool_that_nobody_asks_for_goes_when_its_addresses_are_free(slicing: Slicing) -> None:
    slicing.nodes("a")
    slicing.define("blue", range="10.0.0.0/24", node_slice_size="/26")
    slicing.sync()
    asked(
        slicing.server,
        "POST",
        f"/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/{slicing.namespace}/ippools",
        {
            "apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
            "kind": "IPPool",
            "metadata": {"name": "10.0.0.0-24"},
            "spec": {"range": "10.0.0.0/24", "allocations": {}},
        },
    )
    slicing.use("10.0.0.5")
    drop_definition(slicing.server, slicing.namespace, "blue")
    slicing.sync()
    assert set(slicing.pools()) == {"blue"}
    slicing.use("10.0.0.5", used=False)
    slicing.sync()
    assert slicing.pools() == {}


def test_nothing_is_dropped_while_a_definition_cannot_be_read(slicing: Slicing) -> None:
    slicing.nodes("a")
    slicing.define("blue", range="10.0.0.0/24", node_slice_size="/26")
    slicing.sync()
    drop_definition(slicing.server, slicing.namespace, "blue")
    create_definition(slicing.server, slicing.namespace, "broken", "{")
    slicing.sync()
    assert set(slicing.pools()) == {"blue"}
