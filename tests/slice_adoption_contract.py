"""Taking over the node slices of the Go plugin, over the double and over a real API server alike."""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from whereabouts.block import Space
from whereabouts.deadline import Deadline
from whereabouts.node_slices import NoSlice
from whereabouts.stores.kube_api import Request
from whereabouts.stores.kube_inspection import surroundings
from whereabouts.stores.kube_migration import repair_reservations, to_blocks, to_upstream
from whereabouts.stores.kubernetes import KubernetesStore

from .adoption_contract import Cluster, Server, entry, of
from .api_server import resources
from .faults import Killed
from .kube_requests import recorded
from .slices_contract import sliced
from .store_contract import SOON, add, allocations, delete, demand, pod

WANTED = sliced("10.0.0.0/24", "/26")
MAPS = {
    "node-0-10.0.0.0-26": ("10.0.0.0/26", {"1": entry(1), "2": entry(2)}),
    "node-1-10.0.0.64-26": ("10.0.0.64/26", {"1": entry(3), "9": entry(4)}),
}
HELD = {"10.0.0.1": 1, "10.0.0.2": 2, "10.0.0.65": 3, "10.0.0.73": 4}


class SliceCluster(Cluster):
    """A namespace in which the Go plugin and its controller have been at work with slices."""

    def slices(self, name: str, text: str, size: int, *nodes: str) -> None:
        rule = next(iter(sliced(text, f"/{size}").slices.values()))
        parts = [one.range for one in rule.uncut(demand(text).ranges[0].network).slices]
        named = itertools.zip_longest(parts, nodes, fillvalue="")
        content = {
            "apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
            "kind": "NodeSlicePool",
            "metadata": {"name": name},
            "spec": {"range": text, "sliceSize": str(size)},
            "status": {"allocations": [{"nodeName": node, "sliceRange": part} for part, node in named]},
        }
        reply = self.server.call("POST", resources(self.namespace, "nodeslicepools"), content)
        assert reply.status == 201, reply.body

    def fill(self, prefix: str = "", name: str = "net", *, reserve: bool = True) -> None:
        """Two nodes' slices with two allocations each."""
        self.slices(name, "10.0.0.0/24", 26, "node-0", "node-1")
        for pool, (text, entries) in MAPS.items():
            self.pool(f"{prefix}{pool}", text, entries)
        for address, number in HELD.items() if reserve else ():
            self.reservation(f"{prefix}{address}", podref=f"default/go-{number}", ifname="net1")

    def names(self) -> set[str]:
        path = resources(self.namespace, "ippools")
        return {one["metadata"]["name"] for one in self.server.call("GET", path).body["items"]}


def held(store: KubernetesStore) -> dict[str, str]:
    return dict(allocations(store))


def spaces(store: KubernetesStore) -> set[Space]:
    return {stored.key.space for stored in store.blocks(Deadline(SOON)) if len(stored.trusted())}


class SliceAdoptionContract:
    """Subclasses' modules give the fixture ``server``."""

    @pytest.fixture
    def cluster(self, server: Server, tmp_path: Path) -> Iterator[SliceCluster]:
        with ExitStack() as stack:
            yield SliceCluster(server, tmp_path, stack)

    @pytest.mark.parametrize("network_name", ["", "blue"])
    def test_all_slices_of_a_range_are_adopted_before_its_first_address_is_given(
        self, cluster: SliceCluster, network_name: str
    ) -> None:
        prefix = f"{network_name}-" if network_name else ""
        cluster.fill(prefix, network_name or "net")
        store = cluster.open()
        wanted = sliced("10.0.0.0/24", "/26", borrow=True, network_name=network_name)
        assert add(store, wanted, pod(1)) == ["10.0.0.66"]
        assert all(cluster.map_of(prefix + name) == {} for name in MAPS)
        assert spaces(store) == {Space(network_name)}
        given = [add(store, wanted, pod(n))[0] for n in range(2, 63)]
        assert given[-3:] == ["10.0.0.126", "10.0.0.3", "10.0.0.4"]
        assert store.clashes == []

    def test_a_range_that_is_cut_no_more_gives_nothing_that_a_slice_has(self, cluster: SliceCluster) -> None:
        cluster.fill()
        store = cluster.open()
        given = {add(store, demand("10.0.0.0/24"), pod(n))[0] for n in range(80)}
        assert given.isdisjoint(HELD)

    def test_pods_of_the_go_plugin_keep_their_addresses_and_give_them_back(
        self, cluster: SliceCluster
    ) -> None:
        cluster.fill()
        store = cluster.open()
        again = of(4)._replace(container_id="f" * 64)
        assert add(store, WANTED, again) == ["10.0.0.73"]
        assert delete(store, WANTED, of(1)) == ["10.0.0.1"]
        assert delete(cluster.open(), WANTED, again) == ["10.0.0.73"]

    def test_a_delete_finds_what_nobody_has_adopted_yet(self, cluster: SliceCluster) -> None:
        cluster.fill("blue-", "blue")
        store = cluster.open()
        assert delete(store, sliced("10.0.0.0/24", "/26", network_name="blue"), of(3)) == ["10.0.0.65"]
        assert spaces(store) == {Space("blue")}
        assert len(held(store)) == 3

    @pytest.mark.parametrize("reserve", [True, False])
    def test_where_no_configuration_says_it_reservations_tell_the_space_of_all_slices(
        self, cluster: SliceCluster, reserve: bool
    ) -> None:
        cluster.fill(reserve=reserve)
        cluster.pool("node-0-10.0.0.128-26", "10.0.0.128/26", {})
        store = cluster.open()
        list(to_blocks(store, Deadline(SOON)))
        assert spaces(store) == {Space("", "" if reserve else "10.0.0.0/24")}
        assert add(store, WANTED._replace(shared=not reserve), pod(1)) == ["10.0.0.66"]
        assert spaces(store) == {Space("", "" if reserve else "10.0.0.0/24")}

    def test_the_first_user_says_the_space_of_all_slices(self, cluster: SliceCluster) -> None:
        cluster.fill(reserve=False)
        store = cluster.open()
        assert add(store, WANTED._replace(shared=False), pod(1)) == ["10.0.0.66"]
        assert spaces(store) == {Space("", "10.0.0.0/24")}
        assert add(store, demand("10.0.0.0/25"), pod(2)) == ["10.0.0.1"]

    def test_reservations_without_an_allocation_are_honoured(self, cluster: SliceCluster) -> None:
        cluster.fill()
        cluster.reservation("10.0.0.66", podref="default/elsewhere", ifname="net1")
        store = cluster.open()
        assert add(store, WANTED, pod(1)) == ["10.0.0.67"]
        assert held(store)["10.0.0.66"] == "default/elsewhere"
        assert held(store)["10.0.0.65"] == "default/go-3"

    def test_a_pool_that_is_named_as_a_slice_might_be_is_what_the_slice_pools_say(
        self, cluster: SliceCluster
    ) -> None:
        cluster.fill()
        cluster.pool("blue-10.0.0.128-26", "10.0.0.128/26", {"5": entry(50)})
        store = cluster.open()
        add(store, WANTED, pod(1))
        assert cluster.map_of("blue-10.0.0.128-26") == {"5": entry(50)}
        assert add(store, demand("10.0.0.128/26", network_name="blue"), pod(2)) == ["10.0.0.129"]
        assert spaces(store) == {Space(""), Space("blue")}

    def test_later_allocations_of_a_go_node_in_its_slice_are_adopted(self, cluster: SliceCluster) -> None:
        cluster.fill()
        add(cluster.open(), WANTED, pod(1))
        cluster.allocate("node-1-10.0.0.64-26", {"3": entry(33)})
        store = cluster.open()
        assert [add(store, WANTED, pod(n)) for n in (2, 3)] == [["10.0.0.68"], ["10.0.0.69"]]
        assert held(store)["10.0.0.67"] == "default/go-33"

    def test_a_slice_of_a_node_without_one_is_waited_for(self, cluster: SliceCluster) -> None:
        cluster.fill()
        with pytest.raises(NoSlice, match="the controller has given it none"):
            add(cluster.open(), WANTED, pod(1, node="node-9"))

    def test_looking_finds_no_fault_before_and_after(self, cluster: SliceCluster) -> None:
        cluster.fill()
        store = cluster.open()
        for _ in range(2):
            blocks = list(store.blocks(Deadline(SOON)))
            found = surroundings(store.resources, blocks, Deadline(SOON), coexist=False)
            assert found.findings == []
            list(to_blocks(store, Deadline(SOON)))
        assert repair_reservations(store, Deadline(SOON)) == []

    def test_a_kill_at_any_request_of_an_adoption_loses_nothing(self, cluster: SliceCluster) -> None:
        for at in itertools.count():
            network_name = f"n{at}"
            wanted = sliced("10.0.0.0/24", "/26", borrow=True, network_name=network_name)
            cluster.fill(f"{network_name}-", network_name)
            dying = cluster.open()
            number = itertools.count()

            def die(_: Request, number: Iterator[int] = number, at: int = at) -> None:
                if next(number) == at:
                    raise Killed

            died = False
            with recorded(dying, die):
                try:
                    add(dying, wanted, pod(1))
                except Killed:
                    died = True
            store = cluster.open()
            assert add(store, wanted, pod(1)) == ["10.0.0.66"], f"killed at {at}"
            here = {
                str(stored.key.address(offset))
                for stored in store.blocks(Deadline(SOON))
                if stored.key.space.network_name == network_name
                for offset, _ in stored.trusted()
            }
            assert here == {*HELD, "10.0.0.66"}, f"killed at {at}"
            if not died:
                break
        assert at > 15

    def test_a_cluster_is_moved_to_blocks_and_back(self, cluster: SliceCluster) -> None:
        cluster.fill()
        store = cluster.open()
        planned = list(to_blocks(store, Deadline(SOON), dry_run=True))
        assert {moved.pool: moved.allocations for moved in planned} == dict.fromkeys(MAPS, 2)
        assert list(to_blocks(store, Deadline(SOON))) == planned
        assert list(to_blocks(store, Deadline(SOON))) == []
        borrowing = WANTED._replace(borrow=True)
        for n in range(63):
            add(store, borrowing, pod(n))
        assert held(store)["10.0.0.4"] == "default/pod-61"
        add(store, borrowing, pod(99, node="node-9"))
        for address in ("10.0.0.63", "10.0.0.127", "10.0.0.128"):
            add(store, demand("10.0.0.0/24", start=address, end=address), pod(int(address[7:])))

        assert {moved.pool: moved.problem for moved in to_upstream(store, Deadline(SOON))} == dict.fromkeys(
            ["10.0.0.0-24", *MAPS], ""
        )
        assert allocations(store) == []
        assert set(cluster.map_of("node-0-10.0.0.0-26")) == {"1", "2", "3", "4", "5", "6", "63"}
        assert cluster.map_of("node-0-10.0.0.0-26")["1"] == entry(1)
        assert set(cluster.map_of("node-1-10.0.0.64-26")) == {str(n) for n in range(1, 64)}
        assert set(cluster.map_of("10.0.0.0-24")) == {"128"}
        assert list(to_upstream(store, Deadline(SOON))) == []
        assert sum(moved.allocations for moved in to_blocks(cluster.open(), Deadline(SOON))) == 71

    def test_what_is_ours_says_so_on_its_own(self, cluster: SliceCluster, server: Any) -> None:
        cluster.fill("a-b-", "a-b")
        add(cluster.open(), sliced("10.0.0.0/24", "/26", network_name="a-b"), pod(1))
        assert server.call("DELETE", resources(cluster.namespace, "nodeslicepools", "a-b")).status == 200
        keys = {stored.pool.key for stored in cluster.open().pools(Deadline(SOON))}
        assert keys == {WANTED.pool_key(WANTED.ranges[0])._replace(network_name="a-b")}
