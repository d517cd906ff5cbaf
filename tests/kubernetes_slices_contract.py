"""Node slices in the Kubernetes store: requests, order, objects. Over the double and a real API server."""

import itertools
import random
from collections.abc import Callable
from ipaddress import ip_network
from time import monotonic
from typing import Any

import pytest

from whereabouts.allocator import Demand, RangeFull
from whereabouts.deadline import Deadline
from whereabouts.node_slices import NoSlice
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.slices import MAX_SLICES, SliceRule, assign
from whereabouts.stores import slice_memory
from whereabouts.stores.kubernetes import KubernetesStore

from .api_server import items
from .kube_requests import recorded
from .kubernetes_contract import (
    SeveralStores,
    _lowest,
    _records,
    _run_inside,
    fill,
    free,
)
from .slices_contract import SlicesContract, give_slices, sliced
from .store_contract import SOON, add, allocations, delete, pod

WIDE = sliced("10.0.0.0/16", "/20")
"""A slice has 16 blocks."""


class KubernetesSlicesContract(SeveralStores, SlicesContract):
    """The contract of all stores and what follows here."""

    # -------------------------------------------------------------- requests

    def test_in_the_steady_state_add_and_delete_are_one_request_each(
        self, stores: Callable[[int], list[KubernetesStore]]
    ) -> None:
        (store,) = stores(1)
        give_slices(store, WIDE, "node-0", "node-1")
        fill(store, "10.0.16.0", "10.0.17.0")
        add(store, WIDE, pod(0))
        delete(store, WIDE, pod(0))
        for borrow, n in itertools.product((False, True), range(3)):
            wanted = WIDE._replace(borrow=borrow)
            with recorded(store) as requests:
                add(store, wanted, pod(n))
            assert requests == ["PUT addressblocks/10.0.18.0"]
            with recorded(store) as requests:
                delete(store, wanted, pod(n))
            assert requests == ["PUT addressblocks/10.0.18.0"]

    def test_the_first_add_of_a_process_reads_the_slice_and_two_pools(
        self, stores: Callable[[int], list[KubernetesStore]]
    ) -> None:
        first, second = stores(2)
        give_slices(first, WIDE, "node-0", "node-1")
        with recorded(first) as requests:
            add(first, WIDE, pod(0))
        assert requests == [
            "GET ippools/10.0.0.0-16",
            "GET nodeslicepools",
            "GET ippools",
            "POST ippools",
            "GET ippools/node-1-10.0.16.0-20",
            "POST ippools",
            "GET addressblocks/10.0.16.0",
            "POST addressblocks",
        ]
        with recorded(second) as requests:
            add(second, WIDE, pod(1))
        assert requests == [
            "GET ippools/10.0.0.0-16",
            "GET nodeslicepools/net",
            "GET ippools/node-1-10.0.16.0-20",
            "GET addressblocks/10.0.16.0",
            "PUT addressblocks/10.0.16.0",
        ]

    def test_going_on_to_the_next_block_of_a_slice_takes_no_list(
        self, stores: Callable[[int], list[KubernetesStore]]
    ) -> None:
        (store,) = stores(1)
        give_slices(store, WIDE, "node-0", "node-1")
        fill(store, "10.0.16.0", free=3)
        assert add(store, WIDE, pod(0)) == ["10.0.16.253"]
        with recorded(store) as requests:
            assert [add(store, WIDE, pod(n)) for n in range(1, 5)] == [
                ["10.0.16.254"],
                ["10.0.16.255"],
                ["10.0.17.1"],
                ["10.0.17.2"],
            ]
        assert requests.lists == []
        assert len(requests) <= 7

    def test_an_add_that_borrows_takes_two_requests_where_the_slice_is_one_block(
        self, stores: Callable[[int], list[KubernetesStore]]
    ) -> None:
        (store,) = stores(1)
        wanted = sliced("10.0.0.0/16", "/24", borrow=True)
        give_slices(store, wanted, "node-0", "node-1")
        fill(store, "10.0.1.0")
        add(store, wanted, pod(0))
        with recorded(store) as requests:
            assert add(store, wanted, pod(1)) == ["10.0.0.2"]
        assert requests == ["GET addressblocks/10.0.1.0", "PUT addressblocks/10.0.0.0"]

    def test_an_add_that_borrows_takes_one_request_where_the_node_has_no_slice(
        self, stores: Callable[[int], list[KubernetesStore]]
    ) -> None:
        (store,) = stores(1)
        wanted = sliced("10.0.0.0/16", "/24", borrow=True)
        give_slices(store, wanted, "node-0")
        add(store, wanted, pod(0))
        with recorded(store) as requests:
            assert add(store, wanted, pod(1)) == ["10.0.0.2"]
        assert requests == ["PUT addressblocks/10.0.0.0"]

    def test_a_node_that_borrowed_gives_of_its_slice_within_a_minute_after_it_got_one(
        self, stores: Callable[[int], list[KubernetesStore]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, controller = stores(2)
        wanted = sliced("10.0.0.0/16", "/24", borrow=True)
        give_slices(store, wanted, "node-0")
        assert add(store, wanted, pod(0)) == ["10.0.0.1"]
        stored = controller.read_slices("net", Deadline(SOON))
        assert stored is not None
        pool, _ = assign(stored.pool, ["node-0", "node-1"], lambda _: False)
        controller.write_slices(stored, pool, Deadline(SOON))
        monkeypatch.setattr(slice_memory, "monotonic", lambda: monotonic() + slice_memory.SECONDS)
        assert add(store, wanted, pod(1)) == ["10.0.1.1"]

    # --------------------------------------------------------------- objects

    def test_the_pool_of_a_slice_has_the_go_plugins_name_and_says_whose_it_is(
        self, stores: Callable[[int], list[KubernetesStore]], server: Any
    ) -> None:
        (store,) = stores(1)
        wanted = sliced("10.0.0.0/24", "/26", network_name="blue")
        give_slices(store, wanted, "node-0", "node-1")
        add(store, wanted, pod(1))
        found = {
            content["metadata"]["name"]: content
            for content in items(server, store.resources.namespace, "ippools")
        }
        assert set(found) == {"blue-10.0.0.0-24", "blue-node-1-10.0.0.64-26"}
        assert found["blue-node-1-10.0.0.64-26"]["spec"] == {"range": "10.0.0.64/26", "allocations": {}}
        (slices,) = items(server, store.resources.namespace, "nodeslicepools")
        assert slices["spec"] == {"range": "10.0.0.0/24", "sliceSize": "/26"}
        assert slices["status"]["allocations"] == [
            {"nodeName": "node-0", "sliceRange": "10.0.0.0/26"},
            {"nodeName": "node-1", "sliceRange": "10.0.0.64/26"},
            {"nodeName": "", "sliceRange": "10.0.0.128/26"},
            {"nodeName": "", "sliceRange": "10.0.0.192/26"},
        ]

    def test_the_most_slices_are_stored_with_names_as_long_as_a_label_and_written_again(
        self, stores: Callable[[int], list[KubernetesStore]]
    ) -> None:
        (store,) = stores(1)
        cut = SliceRule("net", 125, "/125").uncut(ip_network("2001:db8:1234:5678:9abc:def0:1234:0/112"))
        named = [one._replace(node=f"{at:063d}") for at, one in enumerate(cut.slices)]
        pool = cut._replace(slices=tuple(named))
        assert len(pool.slices) == MAX_SLICES
        created = store.create_slices(pool, Deadline(SOON))
        swapped = pool._replace(slices=(pool.slices[0]._replace(node=""), *pool.slices[1:]))
        store.write_slices(created, swapped, Deadline(SOON))
        stored = store.read_slices("net", Deadline(SOON), fresh=True)
        assert stored is not None
        assert stored.pool == swapped

    @pytest.mark.parametrize(
        ("key", "alike"),
        [
            (PoolKey("", "10.0.1.0/24", "blue", "10.0.0.0/16"), PoolKey("blue", "10.0.1.0/24")),
            (PoolKey("a", "fd00::/64", "b-c", "fd00::/48"), PoolKey("a-b", "fd00::/64", "c", "fd00::/48")),
        ],
    )
    def test_pools_of_slices_are_read_back_as_what_they_are(
        self, stores: Callable[[int], list[KubernetesStore]], key: PoolKey, alike: PoolKey
    ) -> None:
        one, two = stores(2)
        assert key.name == alike.name
        one.create_pool(Pool(key.of_whole, shared=True), Deadline(SOON))
        one.create_pool(Pool(key, shared=True), Deadline(SOON))
        stored = two.read_pool(key, Deadline(SOON))
        assert stored is not None
        assert stored.pool.key == key
        assert [one.pool.key for one in two.pools(Deadline(SOON))] == [key.of_whole]

    # ----------------------------------------------------------------- order

    def test_an_address_that_another_node_freed_in_a_lower_block_is_the_next(
        self, stores: Callable[[int], list[KubernetesStore]]
    ) -> None:
        one, two, three = stores(3)
        give_slices(one, WIDE, "node-0", "node-1")
        fill(one, "10.0.16.0", "10.0.17.0")
        for n, store in enumerate((one, two, three)):
            add(store, WIDE, pod(n))
        free(two, WIDE, pod(100_000 + 9), "10.0.16.9")
        free(three, WIDE, pod(100_000 + 256 + 7), "10.0.17.7")
        given = [add(store, WIDE, pod(10 + n)) for n, store in enumerate((one, three, one, two, three))]
        assert given == [["10.0.16.9"], ["10.0.17.7"], ["10.0.18.4"], ["10.0.18.5"], ["10.0.18.6"]]

    @pytest.mark.parametrize("seed", range(2))
    def test_every_add_gets_the_lowest_address_of_its_slice_then_of_the_range(
        self, stores: Callable[[int], list[KubernetesStore]], seed: int, steps: int
    ) -> None:
        """Every ADD after every other call has ended, by processes that remember different things."""
        chance = random.Random(seed)
        processes = stores(3)
        slicing = sliced("10.0.0.0/20", "/22", borrow=True)
        give_slices(processes[0], slicing, "node-0", "node-1")
        whole = slicing._replace(slices={})
        fill(processes[0], *(f"10.0.{block}.0" for block in range(8)), free=2)
        held = {address: f"p{n}" for n, (address, _) in enumerate(allocations(processes[0]))}
        owners = {str(address): owner for address, owner in _records(processes[0])}
        for step in range(steps):
            process = chance.choice(processes)
            if chance.random() < 0.55:
                node = chance.choice(("node-0", "node-1", "node-2"))
                wanted = chance.choice((slicing, whole, slicing._replace(borrow=False)))
                owner = pod(step, node=node)._replace(range="10.0.0.0/20")
                expected = _expected(wanted, node, held)
                if expected is None:
                    with pytest.raises((NoSlice, RangeFull)):
                        add(process, wanted, owner)
                    continue
                assert add(process, wanted, owner) == [expected], f"step {step}"
                held[expected], owners[expected] = owner.pod_ref, owner
            else:
                address = chance.choice(sorted(held))
                free(process, whole, owners[address], address)
                del held[address]
        assert sorted(address for address, _ in allocations(processes[0])) == sorted(held)

    @pytest.mark.parametrize("first", ["free", "use up"])
    @pytest.mark.parametrize("second", ["free", "free above", "add"])
    def test_a_call_in_the_middle_of_another_never_leads_a_third_past_a_free_address(
        self, stores: Callable[[int], list[KubernetesStore]], first: str, second: str, steps: int
    ) -> None:
        """As for whole ranges, with the hints of a slice's pool and of its range's, which others use."""
        wanted = sliced("10.0.0.0/19", "/20", borrow=True)
        whole = wanted._replace(slices={})
        number = itertools.count()

        def adding(store: KubernetesStore, which: Demand = wanted) -> None:
            add(store, which, pod(next(number)))

        for at in range(0, 14, 1 if steps > 100 else 4):
            one, two, three, reader = stores(4)
            _remove_all(one)
            give_slices(one, wanted, "node-1")
            fill(one, "10.0.0.0", "10.0.1.0", free=1, first=100_000)
            for store in (one, two, three, one, two, three):
                adding(store)  # 10.0.0.255, 10.0.1.255, then block 10.0.2.0
            adding(two, whole)
            owners = {str(address): owner for address, owner in _records(reader)}
            addresses = {"free": "10.0.0.10", "free above": "10.0.1.10"}

            def freeing(store: KubernetesStore, address: str, owners: dict[str, Owner] = owners) -> None:
                free(store, whole, owners[address], address)

            def inside(two: KubernetesStore = two, address: str = addresses.get(second, "")) -> None:
                freeing(two, address) if address else adding(two)

            if first == "use up":
                freeing(two, "10.0.0.30")
                reached = _run_inside(one, adding, at, inside)
            else:
                reached = _run_inside(one, lambda store: freeing(store, "10.0.0.20"), at, inside)
            for process, which in ((three, wanted), (two, whole)):
                expected = _expected(which, "node-1", dict(allocations(reader)))
                assert add(process, which, pod(next(number))) == [expected], f"at {at}"
            if not reached:
                break


def _expected(wanted: Demand, node: str, held: dict[str, str]) -> str | None:
    """The lowest free address of the node's slice, then of the range where that is allowed."""
    (configured,) = wanted.ranges
    rule = wanted.slice_rule(configured)
    if rule is None:
        return _lowest(wanted, held)
    parts = rule.uncut(configured.network).slices
    at = int(node.removeprefix("node-")) if len(parts) > 2 else 0
    if at < 2:
        part = configured.within(ip_network(parts[at].range))
        found = _lowest(wanted._replace(ranges=[part]), held)
        if found is not None:
            return found
    return _lowest(wanted, held) if wanted.borrow else None


def _remove_all(store: KubernetesStore) -> None:
    for kind in ("addressblocks", "ippools", "nodeslicepools"):
        for content in list(store.resources.list(kind, Deadline(SOON))):
            store.resources.delete(kind, content["metadata"]["name"], Deadline(SOON))
