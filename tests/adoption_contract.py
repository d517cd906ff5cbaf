"""Taking over what the Go plugin wrote, over the double and over a real API server alike."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from whereabouts.allocator import Demand
from whereabouts.block import Block, BlockKey, Space
from whereabouts.changes import release
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline
from whereabouts.liveness import CONFLICT
from whereabouts.owners import Owner
from whereabouts.store import Unavailable
from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kube_api import Request
from whereabouts.stores.kube_migration import repair_reservations, to_blocks, to_upstream
from whereabouts.stores.kube_repair import SETTLED_SECONDS, ReservationRepair
from whereabouts.stores.kubernetes import KubernetesStore

from .api_double import ApiDouble
from .api_server import ADMIN, ApiServer, items, kubeconfig, resources
from .faults import Killed
from .kube_requests import recorded
from .store_contract import SOON, add, allocations, delete, demand, pod

Server = ApiServer | ApiDouble
MERGE = "application/merge-patch+json"


class Cluster:
    """A namespace in which the Go plugin has been at work."""

    def __init__(self, server: Server, folder: Path, stack: ExitStack) -> None:
        self.server = server
        self.namespace = server.namespace()
        self.path = kubeconfig(folder / "kubeconfig", server.server, self.namespace, ADMIN, server.authority)
        self._stack = stack

    def open(self, *, coexist: bool = False) -> KubernetesStore:
        store = KubernetesStore(from_kubeconfig(self.path), coexist_with_upstream=coexist)
        self._stack.callback(store.close)
        return store

    def write(self, plural: str, kind: str, name: str, spec: Any) -> None:
        content = {
            "apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        }
        reply = self.server.call("POST", resources(self.namespace, plural), content)
        assert reply.status == 201, reply.body

    def pool(self, name: str, range_text: str, entries: dict[str, Any]) -> None:
        self.write("ippools", "IPPool", name, {"range": range_text, "allocations": entries})

    def reservation(self, name: str, **spec: str) -> None:
        self.write("overlappingrangeipreservations", "OverlappingRangeIPReservation", name, spec)

    def allocate(self, pool_name: str, entries: dict[str, Any]) -> None:
        patch = {"spec": {"allocations": entries}}
        reply = self.server.call("PATCH", resources(self.namespace, "ippools", pool_name), patch, MERGE)
        assert reply.status == 200, reply.body

    def map_of(self, pool_name: str) -> Any:
        return self.server.call("GET", resources(self.namespace, "ippools", pool_name)).body["spec"][
            "allocations"
        ]

    def reservations(self) -> dict[str, str]:
        found = items(self.server, self.namespace, "overlappingrangeipreservations")
        return {content["metadata"]["name"]: content["spec"].get("podref", "") for content in found}


def entry(number: int, **others: str) -> dict[str, str]:
    return {"id": f"{number:064x}", "podref": f"default/go-{number}", "ifname": "net1", **others}


def of(number: int) -> Any:
    """The owner whose DEL the runtime sends for an allocation of the Go plugin."""
    return pod(0)._replace(container_id=f"{number:064x}", pod_ref=f"default/go-{number}")


def records(store: KubernetesStore) -> list[Owner]:
    return [owner for stored in store.blocks(Deadline(SOON)) for _, owner in stored.trusted()]


def two_that_know_the_block(cluster: Cluster) -> tuple[KubernetesStore, KubernetesStore, Demand]:
    """Two stores that have read the same state of a block in which 10.0.0.1 and 10.0.0.2 are used."""
    one, two, wanted = cluster.open(coexist=True), cluster.open(coexist=True), demand("10.0.0.0/24")
    for n in range(2):
        add(one, wanted, pod(n))
    two.read_pool(wanted.pool_key(wanted.ranges[0]), Deadline(SOON))
    two.read_block(BlockKey.of(Space(), ip_address("10.0.0.1")), Deadline(SOON), fresh=True)
    return one, two, wanted


FIRST = BlockKey.of(Space(), ip_address("10.0.0.1"))


def instead(gone: Owner, *come: Owner) -> Callable[[Block], tuple[Block, None]]:
    """A DEL and ADDs that an agent stores by one write: the lowest offsets are given, from 1 on."""

    def change(block: Block) -> tuple[Block, None]:
        block = block.without([offset for offset, held in block if held.container_id == gone.container_id])
        for owner in come:
            offset = block.lowest_free([(0, 1)])
            assert offset is not None
            block = block.with_owner(offset, owner)
        return block, None

    return change


def unreserved(cluster: Cluster, store: KubernetesStore) -> set[str]:
    """Addresses in use that no reservation keeps from the Go plugin."""
    return {address for address, _ in allocations(store)} - cluster.reservations().keys()


def is_block_write(request: Request) -> bool:
    return request.method == "PUT" and "addressblocks" in request.path


def is_reservation_read(request: Request) -> bool:
    return request.method == "GET" and "overlappingrangeipreservations" in request.path


def is_reservation_delete(request: Request) -> bool:
    return request.method == "DELETE" and "overlappingrangeipreservations" in request.path


def die_behind_the_reservations(store: KubernetesStore, call: Callable[[], object]) -> None:
    """Make a call that is killed when its reservations are made, and before its block is written."""

    def die(request: Request) -> None:
        if request.method != "POST":
            raise Killed

    with recorded(store, die), pytest.raises(Killed):
        call()


@contextmanager
def ahead(
    one: KubernetesStore, at: Callable[[Request], bool], call: Callable[[], list[str]]
) -> Iterator[list[str]]:
    """Make ``call`` ahead of the first request of ``one`` that is such a one; gives what came of it."""
    given = list[str]()

    def first(request: Request) -> None:
        if at(request) and not given:
            given.extend(call())

    with recorded(one, first):
        yield given


@contextmanager
def beside(
    one: KubernetesStore,
    at: Callable[[Request], bool],
    two: KubernetesStore,
    call: Callable[[], list[str]],
) -> Iterator[Callable[[], list[str]]]:
    """Begin ``call`` of ``two`` ahead of the first request of ``one`` that is such a one, which goes on when
    ``two`` has read a reservation and asks for something else. Gives what waits for the outcome."""
    met, begun = Event(), list[Future[list[str]]]()
    asked = list[Request]()

    def go_on(request: Request) -> None:
        if any(is_reservation_read(earlier) for earlier in asked):
            met.set()
        asked.append(request)

    def begin(request: Request) -> None:
        if at(request) and not begun:
            begun.append(other.submit(call))
            assert met.wait(SOON)

    with ThreadPoolExecutor(1) as other, recorded(one, begin), recorded(two, go_on):
        yield lambda: begun[0].result(SOON)


class AdoptionContract:
    """Subclasses' modules give the fixture ``server``."""

    @pytest.fixture
    def cluster(self, server: Server, tmp_path: Path) -> Iterator[Cluster]:
        with ExitStack() as stack:
            yield Cluster(server, tmp_path, stack)

    def test_a_large_pool_is_adopted_on_first_use(self, cluster: Cluster) -> None:
        gaps = {77, 300, 4000}
        entries = {str(n): entry(n) for n in range(1, 5004) if n not in gaps}
        assert len(entries) == 5000
        cluster.pool("10.0.0.0-16", "10.0.0.0/16", entries)
        store, wanted = cluster.open(), demand("10.0.0.0/16", allow_dot_zero=True)
        assert add(store, wanted, pod(1)) == ["10.0.0.77"]
        assert add(store, wanted, pod(2)) == ["10.0.1.44"]
        assert cluster.map_of("10.0.0.0-16") == {}
        assert len(allocations(store)) == 5002
        assert delete(cluster.open(), wanted, of(2000)) == ["10.0.7.208"]
        assert add(store, wanted, pod(3)) == ["10.0.7.208"]

    def test_a_delete_finds_what_nobody_has_adopted_yet(self, cluster: Cluster) -> None:
        cluster.pool("10.0.0.0-24", "10.0.0.0/24", {"1": entry(1), "2": entry(2)})
        cluster.reservation("10.0.0.1", podref="default/go-1", ifname="net1")
        store, wanted = cluster.open(), demand("10.0.0.0/24")
        assert delete(store, wanted, of(1)) == ["10.0.0.1"]
        assert allocations(store) == [("10.0.0.2", "default/go-2")]

    def test_a_pod_of_the_go_plugin_keeps_its_address(self, cluster: Cluster) -> None:
        cluster.pool(
            "blue-fd00---64", "fd00::/64", {"5": entry(5), "6": {"id": "x", "podref": "default/old"}}
        )
        store, wanted = cluster.open(), demand("fd00::/64", network_name="blue")
        again = of(5)._replace(container_id="f" * 64)
        assert add(store, wanted, again) == ["fd00::5"]
        assert delete(store, wanted, again) == ["fd00::5"]
        assert delete(store, wanted, pod(9)._replace(container_id="x")) == ["fd00::6"]

    def test_offsets_count_from_the_address_as_it_is_written(self, cluster: Cluster) -> None:
        cluster.pool("10.0.0.0-24", "10.0.0.8/24", {"3": entry(3)})
        assert add(cluster.open(), demand("10.0.0.0/24", start="10.0.0.11"), pod(1)) == ["10.0.0.12"]

    def test_what_cannot_be_read_is_left_where_it_is(self, cluster: Cluster) -> None:
        strange = {"18446463705355360228": entry(1), "x": entry(2), "-4": entry(3), "900": entry(4)}
        cluster.pool("10.0.0.0-24", "10.0.0.0/24", {"1": entry(9), **strange})
        assert add(cluster.open(), demand("10.0.0.0/24"), pod(1)) == ["10.0.0.2"]
        assert cluster.map_of("10.0.0.0-24") == strange

    def test_old_forms_without_pod_or_interface_are_adopted(self, cluster: Cluster) -> None:
        cluster.pool("10.0.0.0-24", "10.0.0.0/24", {"1": {"id": "abc"}})
        store, wanted = cluster.open(), demand("10.0.0.0/24")
        assert add(store, wanted, pod(1)) == ["10.0.0.2"]
        assert delete(store, wanted, pod(2)._replace(container_id="abc")) == ["10.0.0.1"]

    def test_later_allocations_of_a_go_node_are_adopted_again(self, cluster: Cluster) -> None:
        cluster.pool("10.0.0.0-24", "10.0.0.0/24", {"1": entry(1)})
        wanted = demand("10.0.0.0/24")
        assert add(cluster.open(), wanted, pod(1)) == ["10.0.0.2"]
        cluster.allocate("10.0.0.0-24", {"3": entry(3)})
        assert add(cluster.open(), wanted, pod(2)) == ["10.0.0.4"]
        assert cluster.map_of("10.0.0.0-24") == {}

    def test_an_address_that_both_sides_gave_is_told_and_stays_taken(self, cluster: Cluster) -> None:
        cluster.pool("10.0.0.0-24", "10.0.0.0/24", {})
        wanted = demand("10.0.0.0/24")
        add(cluster.open(), wanted, pod(1))
        cluster.allocate("10.0.0.0-24", {"1": entry(7)})
        store = cluster.open()
        assert add(store, wanted, pod(2)) == ["10.0.0.2"]
        (clash,) = store.clashes
        assert (
            "10.0.0.1 is used by default/pod-1 net1, and the Go plugin gave it to default/go-7"
            in clash.sentence()
        )
        for owner in (pod(1), of(7)):
            assert delete(store, wanted, owner) == []
        (record,) = [owner for _, owner in next(store.blocks(Deadline(SOON))).trusted() if not owner.pod_ref]
        assert record.container_id.startswith(CONFLICT)
        assert add(cluster.open(), wanted, pod(3)) == ["10.0.0.3"]

    def test_the_first_user_says_whether_a_range_overlaps(self, cluster: Cluster) -> None:
        cluster.pool("10.0.0.0-24", "10.0.0.0/24", {"1": entry(1)})
        cluster.reservation("10.0.0.2", podref="default/elsewhere")
        store = cluster.open()
        assert add(store, demand("10.0.0.0/24", shared=False), pod(1)) == ["10.0.0.2"]
        assert add(store, demand("10.0.0.0/25"), pod(2)) == ["10.0.0.1"]

    def test_reservations_of_other_pools_are_honoured_and_their_pools_adopted_later(
        self, cluster: Cluster
    ) -> None:
        cluster.pool("10.0.0.0-24", "10.0.0.0/24", {})
        cluster.pool("10.0.0.0-25", "10.0.0.0/25", {"1": entry(1), "2": entry(2)})
        cluster.reservation("10.0.0.1", podref="default/go-1", ifname="net1")
        cluster.reservation("10.0.0.2", podref="default/go-2", ifname="net1")
        store = cluster.open()
        assert add(store, demand("10.0.0.0/24"), pod(1)) == ["10.0.0.3"]
        assert add(store, demand("10.0.0.0/25"), pod(2)) == ["10.0.0.4"]
        assert store.clashes == []
        assert delete(cluster.open(), demand("10.0.0.0/25"), of(1)) == ["10.0.0.1"]

    def test_a_kill_at_any_request_of_an_adoption_loses_nothing(self, cluster: Cluster) -> None:
        for at in itertools.count():
            range_text, name = f"10.{at}.0.0/22", f"10.{at}.0.0-22"
            cluster.pool(name, range_text, {str(n): entry(1000 * at + n) for n in (1, 2, 300, 600)})
            dying, wanted = cluster.open(), demand(range_text)
            number = itertools.count()

            def die(_: Request, number: Iterator[int] = number, at: int = at) -> None:
                if next(number) == at:
                    raise Killed

            died = False
            with recorded(dying, die):
                try:
                    add(dying, wanted, pod(at))
                except Killed:
                    died = True
            if cluster.map_of(name):
                assert len(cluster.map_of(name)) == 4
            store = cluster.open()
            assert add(store, wanted, pod(at)) == [f"10.{at}.0.3"]
            held = {address for address, _ in allocations(store) if address.startswith(f"10.{at}.")}
            assert held == {f"10.{at}.{rest}" for rest in ("0.1", "0.2", "0.3", "1.44", "2.88")}
            if not died:
                break
        assert at > 8

    def test_what_the_go_plugin_frees_during_an_adoption_is_free_afterwards(self, cluster: Cluster) -> None:
        cluster.pool("10.0.0.0-24", "10.0.0.0/24", {"1": entry(1), "2": entry(2)})
        store, wanted = cluster.open(), demand("10.0.0.0/24")
        once = iter([None])

        def free_one(request: Request) -> None:
            if request.method == "PATCH" and "ippools" in request.path and next(once, 0) is None:
                cluster.allocate("10.0.0.0-24", {"1": None})

        with recorded(store, free_one):
            assert add(store, wanted, pod(1)) == ["10.0.0.1"]

    # ---------------------------------------------------------- side by side

    def test_coexistence_keeps_a_reservation_for_each_address(self, cluster: Cluster) -> None:
        store, wanted = cluster.open(coexist=True), demand("10.0.0.0/24", network_name="blue")
        for n in range(3):
            add(store, wanted, pod(n))
        assert cluster.reservations() == {f"blue-10.0.0.{n + 1}": f"default/pod-{n}" for n in range(3)}
        delete(store, wanted, pod(1))
        assert set(cluster.reservations()) == {"blue-10.0.0.1", "blue-10.0.0.3"}
        add(store, wanted, pod(0, sandbox="b"))
        assert cluster.reservations()["blue-10.0.0.1"] == "default/pod-0"

    def test_an_address_that_a_go_node_has_reserved_is_not_given(self, cluster: Cluster) -> None:
        store, wanted = cluster.open(coexist=True), demand("10.0.0.0/24")
        add(store, wanted, pod(1))
        cluster.reservation("10.0.0.2", podref="default/go-2", ifname="net1")
        assert add(store, wanted, pod(2)) == ["10.0.0.3"]
        assert cluster.reservations()["10.0.0.2"] == "default/go-2"
        assert ("10.0.0.2", "default/go-2") in allocations(store)

    def test_what_is_adopted_is_not_reserved_once_more(self, cluster: Cluster) -> None:
        cluster.pool("10.0.0.0-24", "10.0.0.0/24", {str(n): entry(n) for n in range(1, 100)})
        for n in range(1, 100):
            cluster.reservation(f"10.0.0.{n}", podref=f"default/go-{n}", ifname="net1")
        store, wanted = cluster.open(coexist=True), demand("10.0.0.0/24")
        with recorded(store) as requests:
            assert add(store, wanted, pod(1)) == ["10.0.0.100"]
        assert len(requests) < 20
        assert delete(store, wanted, of(7)) == ["10.0.0.7"]
        assert "10.0.0.7" not in cluster.reservations()

    def test_an_address_that_one_write_takes_from_a_pod_and_gives_another_changes_its_reservation(
        self, cluster: Cluster
    ) -> None:
        """As in an agent, where a DEL and an ADD meet at a block."""
        store, wanted = cluster.open(coexist=True), demand("10.0.0.0/24")
        add(store, wanted, pod(1))
        DirectCommitter(store).commit(FIRST, instead(pod(1), pod(2)), Deadline(SOON))
        assert dict(allocations(store)) == {"10.0.0.1": "default/pod-2"}
        assert cluster.reservations() == dict(allocations(store))

    def test_a_write_that_conflicts_leaves_no_reservation_behind(self, cluster: Cluster) -> None:
        one, two, wanted = cluster.open(coexist=True), cluster.open(coexist=True), demand("10.0.0.0/24")
        add(one, wanted, pod(1))
        add(two, wanted, pod(2))
        add(one, wanted, pod(3))
        assert cluster.reservations() == {f"10.0.0.{n}": f"default/pod-{n}" for n in (1, 2, 3)}

    def test_an_address_that_two_nodes_choose_at_once_keeps_its_reservation(self, cluster: Cluster) -> None:
        """The second meets the first one's reservation, before the first one's record."""
        one, two, wanted = two_that_know_the_block(cluster)
        with beside(one, is_block_write, two, lambda: add(two, wanted, pod(3))) as second:
            assert add(one, wanted, pod(2)) == ["10.0.0.3"]
            assert second() == ["10.0.0.4"]
        assert cluster.reservations() == dict(allocations(one))
        assert all(record.container_id for record in records(one))

    def test_a_reservation_whose_maker_was_very_slow_is_made_again_by_it(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("whereabouts.stores.kube_reservations.ON_THE_WAY_SECONDS", 0.0)
        one, two, wanted = two_that_know_the_block(cluster)
        with ahead(one, is_block_write, lambda: add(two, wanted, pod(3))) as second:
            assert add(one, wanted, pod(2)) == ["10.0.0.3"]
        assert second == ["10.0.0.4"]
        assert cluster.reservations() == dict(allocations(one))
        assert all(record.container_id for record in records(one))

    def test_an_address_whose_reservation_a_death_left_is_passed_over_after_a_while(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, two, wanted = two_that_know_the_block(cluster)
        die_behind_the_reservations(one, lambda: add(one, wanted, pod(2)))
        monkeypatch.setattr("whereabouts.stores.kube_reservations.ON_THE_WAY_SECONDS", 0.2)
        assert add(two, wanted, pod(3)) == ["10.0.0.4"]
        assert ("10.0.0.3", "default/pod-2") in allocations(two)
        assert add(two, wanted, pod(2)) == ["10.0.0.3"]
        assert cluster.reservations() == dict(allocations(two))

    def test_an_address_that_is_being_freed_is_not_put_back(self, cluster: Cluster) -> None:
        one, two, wanted = two_that_know_the_block(cluster)
        add(two, wanted, pod(3))
        with beside(one, is_reservation_delete, two, lambda: add(two, wanted, pod(4))) as second:
            assert delete(one, wanted, pod(1)) == ["10.0.0.2"]
            assert second() == ["10.0.0.2"]
        assert cluster.reservations() == dict(allocations(one))
        assert ("10.0.0.2", "default/pod-4") in allocations(one)

    def test_a_pods_next_sandbox_gets_a_reservation_of_its_own_while_the_last_one_is_freed(
        self, cluster: Cluster
    ) -> None:
        """That of the last one is about to be deleted, and is not taken for its own."""
        one, two, wanted = two_that_know_the_block(cluster)
        again = pod(1, sandbox="b")
        with beside(one, is_reservation_delete, two, lambda: add(two, wanted, again)) as second:
            assert delete(one, wanted, pod(1)) == ["10.0.0.2"]
            assert second() == ["10.0.0.2"]
        assert cluster.reservations() == dict(allocations(one))
        assert again.container_id in {record.container_id for record in records(one)}

    def test_a_very_slow_del_leaves_the_reservation_of_the_pods_next_sandbox(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("whereabouts.stores.kube_reservations.ON_THE_WAY_SECONDS", 0.0)
        one, two, wanted = two_that_know_the_block(cluster)
        again = pod(1, sandbox="b")
        with ahead(one, is_reservation_delete, lambda: add(two, wanted, again)) as second:
            assert delete(one, wanted, pod(1)) == ["10.0.0.2"]
        assert second == ["10.0.0.2"]
        assert cluster.reservations() == dict(allocations(one))

    @pytest.mark.parametrize("first", [True, False])
    def test_a_very_slow_add_and_that_of_the_pods_next_sandbox_keep_one_reservation(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, first: bool
    ) -> None:
        """Whichever of them is ``first`` to write the block."""
        monkeypatch.setattr("whereabouts.stores.kube_reservations.ON_THE_WAY_SECONDS", 0.0)
        one, two, wanted = two_that_know_the_block(cluster)
        slow, again = pod(2), pod(2, sandbox="b")
        with ExitStack() as stack:
            if not first:
                third = cluster.open()  # it writes the block as the slow one does
                stack.enter_context(ahead(two, is_block_write, lambda: add(third, wanted, slow)))
            second = stack.enter_context(ahead(one, is_block_write, lambda: add(two, wanted, again)))
            assert add(one, wanted, slow) == ["10.0.0.3"]
        assert second == ["10.0.0.3"]
        assert cluster.reservations() == dict(allocations(one))

    def test_a_sandbox_that_takes_an_address_over_while_it_is_handed_on_keeps_its_reservation(
        self, cluster: Cluster
    ) -> None:
        one, two, wanted = two_that_know_the_block(cluster)
        with ahead(one, is_block_write, lambda: add(two, wanted, pod(1, sandbox="b"))) as second:
            DirectCommitter(one).commit(FIRST, instead(pod(1), pod(2)), Deadline(SOON))
        assert second == ["10.0.0.2"]
        assert dict(allocations(one))["10.0.0.3"] == "default/pod-2"
        assert unreserved(cluster, one) == set()
        assert delete(two, wanted, pod(1, sandbox="b")) == ["10.0.0.2"]
        assert cluster.reservations() == dict(allocations(one))

    def test_no_record_is_without_reservation_while_another_address_turns_out_to_be_reserved(
        self, cluster: Cluster
    ) -> None:
        one, two, _ = two_that_know_the_block(cluster)
        cluster.reservation("10.0.0.3", podref="default/go-3", ifname="net1")
        seen = list[set[str]]()

        def look(request: Request) -> None:
            seen.append(unreserved(cluster, two))

        with recorded(one, look):
            DirectCommitter(one).commit(FIRST, instead(pod(1), pod(2), pod(3)), Deadline(SOON))
        assert len(seen) > 8
        assert not any(seen)
        assert dict(allocations(one))["10.0.0.4"] == "default/pod-3"

    def test_a_reservation_of_the_go_plugins_is_deleted_once_and_not_from_the_next_sandbox(
        self, cluster: Cluster
    ) -> None:
        """It does not say which sandbox it is for."""
        cluster.pool("10.0.0.0-24", "10.0.0.0/24", {"1": entry(1)})
        cluster.reservation("10.0.0.1", podref="default/go-1", ifname="net1")
        one, two, wanted = cluster.open(coexist=True), cluster.open(coexist=True), demand("10.0.0.0/24")
        again = of(1)._replace(container_id="f" * 64)
        add(one, wanted, pod(5))
        two.read_pool(wanted.pool_key(wanted.ranges[0]), Deadline(SOON))
        with ahead(one, is_reservation_delete, lambda: add(two, wanted, again)) as second:
            assert delete(one, wanted, of(1)) == ["10.0.0.1"]
        assert second == ["10.0.0.1"]
        assert cluster.reservations() == dict(allocations(one))

    def test_an_add_that_is_repeated_elsewhere_never_leaves_its_address_unreserved(
        self, cluster: Cluster
    ) -> None:
        one, two, wanted = two_that_know_the_block(cluster)
        add(one, wanted, pod(2))
        seen = list[set[str]]()
        with recorded(two, lambda _: seen.append(unreserved(cluster, one))):
            assert add(two, wanted, pod(2)) == ["10.0.0.3"]
        assert len(seen) > 3
        assert not any(seen)

    def test_what_one_write_takes_and_gives_is_told_although_another_was_first(
        self, cluster: Cluster
    ) -> None:
        one, two, wanted = two_that_know_the_block(cluster)
        freed: list[Any] = []

        def change(block: Block) -> tuple[Block, None]:
            block, outcome = release(lambda _, held: held.container_id == pod(1).container_id)(block)
            freed[:] = outcome
            return instead(pod(1), pod(7))(block)

        with ahead(one, is_block_write, lambda: add(two, wanted, pod(5))):
            DirectCommitter(one).commit(FIRST, change, Deadline(SOON))
        assert len(freed) == 1
        assert dict(allocations(one))["10.0.0.2"] == "default/pod-7"
        assert cluster.reservations() == dict(allocations(one))

    def test_an_address_whose_handing_on_was_not_stored_is_freed_with_its_reservation(
        self, cluster: Cluster
    ) -> None:
        one, two, wanted = two_that_know_the_block(cluster)

        def refuse(*_: object) -> None:
            raise Unavailable("no more blocks today")

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(one.resources, "replace", refuse)
            with pytest.raises(Unavailable):
                DirectCommitter(one).commit(FIRST, instead(pod(1), pod(2), pod(3)), Deadline(SOON))
        assert unreserved(cluster, two) == set()
        assert set(cluster.reservations()) == {"10.0.0.1", "10.0.0.2"}
        assert delete(two, wanted, pod(1)) == ["10.0.0.2"]
        assert set(cluster.reservations()) == {"10.0.0.1"}

    def test_an_address_that_is_freed_while_it_is_handed_on_is_given_at_once(self, cluster: Cluster) -> None:
        one, two, wanted = two_that_know_the_block(cluster)
        with ahead(one, is_block_write, lambda: delete(two, wanted, pod(1))):
            DirectCommitter(one).commit(FIRST, instead(pod(1), pod(2)), Deadline(2.0))
        assert dict(allocations(one)) == {"10.0.0.1": "default/pod-0", "10.0.0.2": "default/pod-2"}
        assert cluster.reservations() == dict(allocations(one))

    def test_an_add_that_two_processes_serve_keeps_its_reservation(self, cluster: Cluster) -> None:
        """Such as an agent that ends and its successor."""
        one, two, wanted = two_that_know_the_block(cluster)
        with ahead(one, is_block_write, lambda: add(two, wanted, pod(2))) as second:
            assert add(one, wanted, pod(2)) == second == ["10.0.0.3"]
        assert cluster.reservations() == dict(allocations(one))

    def test_a_write_that_is_broken_off_leaves_the_reservations_of_what_it_may_have_stored(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, two, wanted = two_that_know_the_block(cluster)
        replace = one.resources.replace

        def broken_off(*arguments: Any) -> None:
            replace(*arguments)
            raise KeyboardInterrupt

        monkeypatch.setattr(one.resources, "replace", broken_off)
        with pytest.raises(KeyboardInterrupt):
            add(one, wanted, pod(2))
        assert ("10.0.0.3", "default/pod-2") in allocations(two)
        assert cluster.reservations() == dict(allocations(two))

    def test_reservations_that_a_death_left_are_waited_for_at_once(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, two, _ = two_that_know_the_block(cluster)
        both = instead(pod(9), pod(2), pod(3))
        die_behind_the_reservations(one, lambda: DirectCommitter(one).commit(FIRST, both, Deadline(SOON)))
        assert len(cluster.reservations()) == 4
        monkeypatch.setattr("whereabouts.stores.kube_reservations.ON_THE_WAY_SECONDS", 0.2)
        DirectCommitter(two).commit(FIRST, instead(pod(9), pod(7), pod(8)), Deadline(SOON))
        assert dict(allocations(two))["10.0.0.6"] == "default/pod-8"
        assert cluster.reservations() == dict(allocations(two))

    # -------------------------------------------------------- whole clusters

    def test_a_cluster_is_moved_to_blocks_and_back(self, cluster: Cluster) -> None:
        pools = {
            "10.0.0.0-24": ("10.0.0.0/24", {"1": entry(1), "9": entry(9)}),
            "blue-10.0.0.0-16": ("10.0.0.0/16", {"1": entry(21), "700": entry(22)}),
            "fd00---64": ("fd00::/64", {"5": entry(31)}),
        }
        for name, (range_text, entries) in pools.items():
            cluster.pool(name, range_text, entries)
        for name, podref in (("10.0.0.1", "default/go-1"), ("10.0.0.9", "default/go-9")):
            cluster.reservation(name, podref=podref, ifname="net1")
        store = cluster.open()
        planned = list(to_blocks(store, Deadline(SOON), dry_run=True))
        assert {moved.pool: moved.allocations for moved in planned} == {
            "10.0.0.0-24": 2,
            "blue-10.0.0.0-16": 2,
            "fd00---64": 1,
        }
        assert {name: cluster.map_of(name) for name in pools} == {name: one[1] for name, one in pools.items()}
        assert list(to_blocks(store, Deadline(SOON))) == planned
        assert all(cluster.map_of(name) == {} for name in pools)
        assert list(to_blocks(store, Deadline(SOON))) == []
        assert add(store, demand("10.0.0.0/16", network_name="blue"), pod(1)) == ["10.0.0.2"]

        before = sorted(allocations(store))
        planned = list(to_upstream(store, Deadline(SOON), dry_run=True))
        assert sorted(allocations(store)) == before
        assert list(to_upstream(store, Deadline(SOON))) == planned
        assert allocations(store) == []
        assert cluster.map_of("10.0.0.0-24") == pools["10.0.0.0-24"][1]
        assert cluster.map_of("fd00---64") == pools["fd00---64"][1]
        assert set(cluster.map_of("blue-10.0.0.0-16")) == {"1", "2", "700"}
        assert cluster.reservations()["10.0.0.9"] == "default/go-9"
        assert list(to_upstream(store, Deadline(SOON))) == []
        assert [moved.allocations for moved in to_blocks(cluster.open(), Deadline(SOON))] == [2, 3, 1]

    @pytest.mark.parametrize("back", [False, True])
    def test_a_migration_that_was_killed_at_any_request_is_finished_by_the_next(
        self, cluster: Cluster, back: bool
    ) -> None:
        move = to_upstream if back else to_blocks
        expected = {"1": entry(1), "300": entry(300)}
        cluster.pool("10.0.0.0-22", "10.0.0.0/22", expected)
        for number in (1, 300):
            cluster.reservation(
                f"10.0.{number >> 8}.{number & 255}", podref=f"default/go-{number}", ifname="net1"
            )
        for at in itertools.count():
            dying, other = cluster.open(), cluster.open()
            list((to_blocks if back else to_upstream)(other, Deadline(SOON)))
            count = itertools.count()

            def die(_: Request, count: Iterator[int] = count, at: int = at) -> None:
                if next(count) == at:
                    raise Killed

            died = False
            with recorded(dying, die):
                try:
                    list(move(dying, Deadline(SOON)))
                except Killed:
                    died = True
            list(move(cluster.open(), Deadline(SOON)))
            recorded_now = allocations(cluster.open())
            assert cluster.map_of("10.0.0.0-22") == (expected if back else {}), f"killed at {at}"
            assert len(recorded_now) == (0 if back else 2), f"killed at {at}"
            if not died:
                break
        assert at > 5

    def test_what_the_go_plugin_could_not_hold_stays_in_blocks(self, cluster: Cluster) -> None:
        store = cluster.open()
        far = demand("fd00::/8", start="fd80::1")
        add(store, far, pod(1))
        add(store, demand("::/64", start="::5"), pod(2))
        problems = {moved.pool: moved.problem for moved in to_upstream(store, Deadline(SOON))}
        assert len(problems) == 2
        assert all(problems.values())
        assert len(allocations(store)) == 2

    def test_a_repair_deletes_reservations_that_a_death_left(self, cluster: Cluster) -> None:
        store, wanted = cluster.open(coexist=True), demand("10.0.0.0/24")
        add(store, wanted, pod(1))
        cluster.reservation("10.0.0.77", podref="default/dead")
        cluster.pool("10.9.0.0-24", "10.9.0.0/24", {"4": entry(4)})
        cluster.reservation("10.9.0.4", podref="default/go-4")
        assert repair_reservations(store, Deadline(SOON), dry_run=True) == ["10.0.0.77"]
        assert repair_reservations(store, Deadline(SOON)) == ["10.0.0.77"]
        assert set(cluster.reservations()) == {"10.0.0.1", "10.9.0.4"}

    def test_a_repair_leaves_a_reservation_that_was_taken_over_meanwhile(self, cluster: Cluster) -> None:
        one, two, wanted = two_that_know_the_block(cluster)
        die_behind_the_reservations(one, lambda: add(one, wanted, pod(2)))
        repairing = cluster.open(coexist=True)
        with ahead(repairing, is_reservation_delete, lambda: add(two, wanted, pod(2))) as second:
            assert repair_reservations(repairing, Deadline(SOON)) == []
        assert second == ["10.0.0.3"]
        assert cluster.reservations() == dict(allocations(two))

    def test_a_repair_leaves_the_reservation_of_an_address_that_another_space_has_too(
        self, cluster: Cluster
    ) -> None:
        store = cluster.open(coexist=True)
        add(store, demand("10.0.0.0/24"), pod(1))
        own = demand("10.0.0.0/16")._replace(shared=False)
        assert [add(store, own, pod(number)) for number in (2, 3)] == [["10.0.0.1"], ["10.0.0.2"]]
        cluster.reservation("10.0.0.2", podref="default/dead")
        assert repair_reservations(store, Deadline(SOON)) == ["10.0.0.2"]
        assert set(cluster.reservations()) == {"10.0.0.1"}

    def test_a_repair_leaves_the_reservation_of_an_address_that_both_plugins_gave(
        self, cluster: Cluster
    ) -> None:
        store, wanted = cluster.open(coexist=True), demand("10.0.0.0/24")
        add(store, wanted, pod(1))
        cluster.allocate("10.0.0.0-24", {"1": entry(1)})
        add(cluster.open(coexist=True), wanted, pod(3))
        assert any(record.container_id.startswith(CONFLICT) for record in records(store))
        assert repair_reservations(store, Deadline(SOON)) == []
        assert "10.0.0.1" in cluster.reservations()

    def test_a_repair_beside_nodes_at_work_leaves_the_reservation_of_an_add_on_its_way(
        self, cluster: Cluster
    ) -> None:
        store, wanted, now = cluster.open(coexist=True), demand("10.0.0.0/24"), 0.0
        repair = ReservationRepair(cluster.open(coexist=True), clock=lambda: now)
        cluster.reservation("10.0.0.77", podref="default/dead")
        seen: list[list[str]] = []

        def meanwhile(request: Request) -> None:
            if request.path.endswith("/addressblocks") and request.method == "POST":
                seen.append(repair.look(Deadline(SOON)))

        with recorded(store, meanwhile):
            add(store, wanted, pod(1))
        assert seen == [[]]
        now = SETTLED_SECONDS
        assert repair.look(Deadline(SOON)) == ["10.0.0.77"]
        assert set(cluster.reservations()) == {"10.0.0.1"}
