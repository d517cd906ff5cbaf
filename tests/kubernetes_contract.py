"""What the Kubernetes store does beyond the contract, over the double and over a real API server alike.

Subclasses' modules give the fixtures ``server`` and ``open_store``, as for the contract of all stores.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any

import pytest

from whereabouts.addresses import Address
from whereabouts.agent.group_commit import GroupCommitter, Groups
from whereabouts.allocator import Allocator, Demand, RangeFull
from whereabouts.block import Block, BlockKey, Space
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline
from whereabouts.log import SILENT
from whereabouts.owners import Owner
from whereabouts.store import StoreError, Unavailable, Unsettled
from whereabouts.stores.kube_api import MERGE_PATCH, Request
from whereabouts.stores.kube_objects import ALLOCATED
from whereabouts.stores.kube_status import Audited, write_status
from whereabouts.stores.kubernetes import KubernetesStore

from .api_server import items, resources
from .faults import Killed
from .kube_requests import recorded
from .store_contract import (
    SOON,
    StoreContract,
    add,
    allocations,
    allocator,
    attachment,
    delete,
    demand,
    pod,
)

OpenStore = Callable[[], KubernetesStore]
WIDE = demand("10.0.0.0/16")
FIRST = BlockKey.of(Space(), ip_address("10.0.0.0"))
WIDER = demand("10.0.0.0/20")
WIDER_BUT_ONE = demand("10.0.0.0/20", excludes=["10.0.1.0/24"])


def fill(store: KubernetesStore, *blocks: str, free: int = 0, first: int = 100_000) -> None:
    """Write blocks in which all is used but the last ``free`` usable offsets."""
    for index, text in enumerate(blocks):
        key = BlockKey.of(Space(), ip_address(text))
        owners = {
            offset: pod(first + 256 * index + offset)._replace(range="10.0.0.0/16")
            for offset in range(1, 256 - free)
        }
        previous = store.read_block(key, Deadline(SOON), fresh=True)
        store.write_block(key, previous, Block(key, owners), Deadline(SOON))


class SeveralStores:
    """Stores of one cluster, as of several nodes."""

    @pytest.fixture
    def stores(self, open_store: OpenStore) -> Iterator[Callable[[int], list[KubernetesStore]]]:
        opened: list[KubernetesStore] = []

        def several(count: int) -> list[KubernetesStore]:
            opened.extend(open_store() for _ in range(count))
            return opened[-count:]

        yield several
        for store in opened:
            store.close()


class KubernetesContract(SeveralStores, StoreContract):
    """The contract of all stores and what follows here."""

    # -------------------------------------------------------------- requests

    def test_the_first_add_on_a_new_range_takes_five_requests_and_lists_slices_only(
        self, stores: Callable[[int], list[KubernetesStore]]
    ) -> None:
        (store,) = stores(1)
        with recorded(store) as requests:
            add(store, WIDE, pod(1))
        assert len(requests) == 5
        assert requests.lists == ["GET nodeslicepools"]

    def test_the_first_add_of_a_process_on_a_range_in_use_takes_three_requests_and_no_list(
        self, stores: Callable[[int], list[KubernetesStore]]
    ) -> None:
        first, second = stores(2)
        fill(first, "10.0.0.0", "10.0.1.0", "10.0.2.0")
        add(first, WIDE, pod(1))
        with recorded(second) as requests:
            assert add(second, WIDE, pod(2)) == ["10.0.3.2"]
        assert requests == [
            "GET ippools/10.0.0.0-16",
            "GET addressblocks/10.0.3.0",
            "PUT addressblocks/10.0.3.0",
        ]

    @pytest.mark.parametrize("other_pools", [0, 30])
    def test_in_the_steady_state_add_and_delete_are_one_request_each(
        self, stores: Callable[[int], list[KubernetesStore]], other_pools: int
    ) -> None:
        (store,) = stores(1)
        for n in range(other_pools):
            add(store, demand(f"10.{n + 1}.0.0/24"), pod(500 + n))
        fill(store, "10.0.0.0", "10.0.1.0")
        add(store, WIDE, pod(0))
        delete(store, WIDE, pod(0))
        for n in range(5):
            with recorded(store) as requests:
                add(store, WIDE, pod(n))
            assert requests == ["PUT addressblocks/10.0.2.0"]
        for n in range(5):
            with recorded(store) as requests:
                assert delete(store, WIDE, pod(n)) == [f"10.0.2.{n + 1}"]
            assert requests == ["PUT addressblocks/10.0.2.0"]

    def test_what_was_learnt_once_is_not_listed_again(
        self, stores: Callable[[int], list[KubernetesStore]]
    ) -> None:
        first, second = stores(2)
        fill(first, "10.0.0.0")
        add(first, WIDE, pod(1))
        with recorded(second) as requests:
            assert [len(stored.trusted()) for stored in second.learn(Deadline(SOON))] == [255, 1]
        assert requests.lists == ["GET ippools", "GET addressblocks"]
        with recorded(second) as requests:
            assert delete(second, WIDE, pod(1)) == ["10.0.1.1"]
        assert requests.lists == []

    def test_an_add_of_several_ranges_is_one_request_each(
        self, stores: Callable[[int], list[KubernetesStore]]
    ) -> None:
        (store,) = stores(1)
        several = demand("10.0.0.0/16", "10.1.0.0/16", "fd00::/64")
        add(store, several, pod(1))
        with recorded(store) as requests:
            add(store, several, pod(2))
        assert [request.partition("/")[0] for request in requests] == ["PUT addressblocks"] * 3

    def test_going_on_to_the_next_block_takes_no_list(
        self, stores: Callable[[int], list[KubernetesStore]]
    ) -> None:
        (store,) = stores(1)
        fill(store, "10.0.0.0", free=2)
        assert add(store, WIDE, pod(0)) == ["10.0.0.254"]
        with recorded(store) as requests:
            assert [add(store, WIDE, pod(n)) for n in range(1, 4)] == [
                ["10.0.0.255"],
                ["10.0.1.1"],
                ["10.0.1.2"],
            ]
        assert requests.lists == []
        assert len(requests) <= 6

    # ---------------------------------------------------------------- status

    def test_of_many_calls_of_an_agent_that_find_a_block_full_one_says_so(
        self, stores: Callable[[int], list[KubernetesStore]]
    ) -> None:
        (store,) = stores(1)
        fill(store, "10.0.0.0", free=4)
        add(store, WIDE, pod(0))
        groups = Groups(lambda _: None)

        def call(number: int) -> list[Address]:
            committer = GroupCommitter(groups, DirectCommitter(store))
            return Allocator(store, committer, SILENT).add(WIDE, pod(number), Deadline(SOON))

        with recorded(store) as requests, ThreadPoolExecutor(24) as threads:
            given = [str(address) for (address,) in threads.map(call, range(1, 25))]
        last, first = (f"10.0.0.{n}" for n in range(253, 256)), (f"10.0.1.{n}" for n in range(1, 22))
        assert set(given) == {*last, *first}
        assert requests.count("PATCH ippools/10.0.0.0-16") == 1

    def test_the_status_of_a_pool_is_written_where_it_differs(
        self, stores: Callable[[int], list[KubernetesStore]], server: Any
    ) -> None:
        (store,) = stores(1)
        fill(store, "10.0.0.0")
        add(store, WIDE, pod(1))
        add(store, demand("fd00::/64"), pod(2))
        with recorded(store) as requests:
            write_status(store, None, Deadline(SOON))
            assert sum(request.startswith("PATCH") for request in requests) == 2
            write_status(store, None, Deadline(SOON))
            assert sum(request.startswith("PATCH") for request in requests) == 2
        assert statuses(server, store) == {
            "10.0.0.0-16": {"capacity": 65279, "allocated": 256, "free": 65023},
            "fd00---64": {"capacity": str(2**64 - 2), "allocated": 1, "free": str(2**64 - 3)},
        }

    def test_a_pool_tells_when_it_was_audited_and_what_an_operator_should_know(
        self, stores: Callable[[int], list[KubernetesStore]], server: Any
    ) -> None:
        (store,) = stores(1)
        wanted = demand("10.0.0.0/30", shared=False)
        key = wanted.pool_key(wanted.ranges[0])
        add(store, wanted, pod(1))
        assert write_status(store, Audited(1_000_000, {}), Deadline(SOON))[1] == []
        before = statuses(server, store)[key.name]
        assert before["lastAudit"] == "1970-01-12T13:46:40Z"
        assert {one["type"]: one["status"] for one in before["conditions"]} == dict.fromkeys(
            ("Exhausted", "Conflict", "Damaged"), "False"
        )
        write_status(store, Audited(1_000_300, {}), Deadline(SOON))
        assert statuses(server, store)[key.name] == before
        write_status(store, Audited(1_000_700, {}), Deadline(SOON))
        assert statuses(server, store)[key.name] == {**before, "lastAudit": "1970-01-12T13:58:20Z"}

        add(store, wanted, pod(2))
        twice = Audited(1_000_800, {key: [ip_address("10.0.0.1")]})
        _, worse = write_status(store, twice, Deadline(SOON))
        assert [(trouble.pool, trouble.type) for trouble in worse] == [
            (key.name, "Exhausted"),
            (key.name, "Conflict"),
        ]
        assert "10.0.0.1" in worse[1].message
        assert write_status(store, twice, Deadline(SOON))[1] == []
        now = {one["type"]: one for one in statuses(server, store)[key.name]["conditions"]}
        states = [now[kind]["status"] for kind in ("Exhausted", "Conflict", "Damaged")]
        assert states == ["True", "True", "False"]
        assert now["Damaged"] == before["conditions"][2]

    def test_a_pool_that_is_deleted_meanwhile_does_not_keep_others_without_status(
        self, stores: Callable[[int], list[KubernetesStore]], server: Any
    ) -> None:
        (store,) = stores(1)
        add(store, WIDE, pod(1))
        add(store, demand("fd00::/64"), pod(2))

        def vanish(request: Request) -> None:
            if request.method == "PATCH" and request.path.endswith("/10.0.0.0-16/status"):
                server.call("DELETE", resources(store.resources.namespace, "ippools", "10.0.0.0-16"))

        with recorded(store, vanish):
            write_status(store, None, Deadline(SOON))
        assert set(statuses(server, store)) == {"fd00---64"}

    def test_a_block_that_cannot_be_read_shows_in_the_status_of_its_pool(
        self, stores: Callable[[int], list[KubernetesStore]], server: Any
    ) -> None:
        (store,) = stores(1)
        add(store, WIDE, pod(1))
        patch = {"metadata": {"annotations": {ALLOCATED: "g1:nonsense"}}}
        path = resources(store.resources.namespace, "addressblocks", "10.0.0.0")
        assert server.call("PATCH", path, patch, MERGE_PATCH).status == 200
        _, (trouble,) = write_status(store, Audited(1_000_000, {}), Deadline(SOON))
        assert (trouble.pool, trouble.type) == ("10.0.0.0-16", "Damaged")

    # ----------------------------------------------------------------- order

    def test_an_address_that_another_node_freed_in_a_lower_block_is_the_next(
        self, stores: Callable[[int], list[KubernetesStore]]
    ) -> None:
        one, two, three = stores(3)
        fill(one, "10.0.0.0", "10.0.1.0")
        for n, store in enumerate((one, two, three)):
            add(store, WIDE, pod(n))
        free(two, demand("10.0.0.0/22"), pod(100_000 + 9), "10.0.0.9")
        free(three, demand("10.0.0.0/22"), pod(100_000 + 256 + 7), "10.0.1.7")
        given = [add(store, WIDE, pod(10 + n)) for n, store in enumerate((one, three, one, two, three))]
        assert given == [["10.0.0.9"], ["10.0.1.7"], ["10.0.2.4"], ["10.0.2.5"], ["10.0.2.6"]]

    @pytest.mark.parametrize("seed", range(2))
    def test_whoever_adds_gets_the_lowest_address_of_overlapping_ranges(
        self, stores: Callable[[int], list[KubernetesStore]], seed: int, steps: int
    ) -> None:
        """Every ADD after every other call has ended, by nodes that remember different things."""
        chance = random.Random(seed)
        nodes = stores(3)
        ranges = [
            demand("10.0.0.0/21"),
            demand("10.0.0.0/22"),
            demand("10.0.0.0/21", excludes=["10.0.1.0/24"]),
            demand("10.0.0.0/20", start="10.0.1.7"),
            demand("10.0.2.0/23"),
        ]
        fill(nodes[0], "10.0.0.0", "10.0.1.0", "10.0.2.0", "10.0.3.0", free=2)
        held = {address: f"p{n}" for n, (address, _) in enumerate(allocations(nodes[0]))}
        owners = {str(address): owner for address, owner in _records(nodes[0])}
        for step in range(steps):
            node = chance.choice(nodes)
            if chance.random() < 0.55:
                wanted = chance.choice(ranges)
                owner = pod(step)._replace(range=str(wanted.ranges[0].network))
                expected = _lowest(wanted, held)
                if expected is None:
                    with pytest.raises(RangeFull):
                        add(node, wanted, owner)
                    continue
                assert add(node, wanted, owner) == [expected], f"step {step}"
                held[expected], owners[expected] = owner.pod_ref, owner
            else:
                address = chance.choice(sorted(held))
                free(node, ranges[0], owners[address], address)
                del held[address]
        assert sorted(address for address, _ in allocations(nodes[0])) == sorted(held)

    def test_a_call_in_the_middle_of_another_never_leads_a_third_past_a_free_address(
        self, stores: Callable[[int], list[KubernetesStore]]
    ) -> None:
        """One node uses a block up, or frees something below others; a second frees or adds before each of
        its requests; a third that remembers the time before must still be given the lowest address."""
        wanted = demand("10.0.0.0/20")
        number = itertools.count()

        def adding(store: KubernetesStore) -> None:
            add(store, wanted, pod(next(number)))

        for first, second in itertools.product(("free", "use up"), ("free", "free above", "add")):
            for at in range(12):
                one, two, three, reader = stores(4)
                _empty(one)
                fill(one, "10.0.0.0", "10.0.1.0", free=1, first=100_000)
                for store in (one, two, three, one, two, three):
                    adding(store)  # 10.0.0.255, 10.0.1.255, then block 10.0.2.0
                owners = {str(address): owner for address, owner in _records(reader)}
                addresses = {"free": "10.0.0.10", "free above": "10.0.1.10"}

                def freeing(store: KubernetesStore, address: str, owners: Any = owners) -> None:
                    free(store, wanted, owners[address], address)

                def inside(two: KubernetesStore = two, address: str = addresses.get(second, "")) -> None:
                    freeing(two, address) if address else adding(two)

                if first == "use up":
                    freeing(two, "10.0.0.30")
                    reached = _run_inside(one, adding, at, inside)
                else:
                    reached = _run_inside(one, lambda store: freeing(store, "10.0.0.20"), at, inside)
                held = dict(allocations(reader))
                expected = _lowest(wanted, held)
                assert add(three, wanted, pod(next(number))) == [expected], f"{second} at {at} of {first}"
                if not reached:
                    break

    @pytest.mark.parametrize("dies", [True, False], ids=["who dies there", "who goes on"])
    @pytest.mark.parametrize("view", [WIDER, WIDER_BUT_ONE], ids=["hints left", "no hint left"])
    def test_who_frees_after_somebody_took_the_hint_back_leads_those_who_search_above(
        self, stores: Callable[[int], list[KubernetesStore]], dies: bool, view: Demand
    ) -> None:
        """One node frees an address in an exhausted block, and before each of its requests comes to a stop,
        for good or not; a second frees one there too; a third remembers the time before."""
        for at in range(12):
            one, two, three, reader = stores(4)
            _empty(one)
            fill(one, "10.0.0.0", "10.0.1.0", free=1)
            for number, store in enumerate((one, two, one, two, three)):
                add(store, WIDER if number < 2 else view, pod(number))
            owners = {str(address): owner for address, owner in _records(reader)}

            def freeing(store: KubernetesStore, address: str, owners: Any = owners) -> None:
                free(store, view, owners[address], address)

            def first(store: KubernetesStore, freeing: Callable[..., None] = freeing) -> None:
                freeing(store, "10.0.0.20")

            def second(
                stores: Any = (two, three, reader), freeing: Callable[..., None] = freeing, at: int = at
            ) -> None:
                two, three, reader = stores
                freeing(two, "10.0.0.10")
                lowest = _lowest(view, dict(allocations(reader)))
                assert add(three, view, pod(10)) == [lowest], f"at {at}"
                if dies:
                    raise Killed

            try:
                reached = _run_inside(one, first, at, second)
            except Killed:
                reached = True
            if not reached:
                break
        assert at > 3

    @pytest.mark.parametrize("here", [True, False], ids=["in the same process", "on another node"])
    def test_what_is_freed_while_a_search_looks_at_many_blocks_is_given_next(
        self, stores: Callable[[int], list[KubernetesStore]], here: bool
    ) -> None:
        """A search finds one full block after the other, then lists bitmaps; in one of the blocks that it
        only saw there an address is freed before each of its requests."""
        wanted = demand("10.0.0.0/20")
        for at in range(8, 24):
            one, two, three, filling = stores(4)
            _empty(filling)
            fill(filling, *(f"10.0.{n}.0" for n in range(6)))
            (owner,) = (owner for address, owner in _records(filling) if str(address) == "10.0.4.20")

            def freeing(store: KubernetesStore = one if here else two, owner: Owner = owner) -> None:
                free(store, wanted, owner, "10.0.4.20")

            def adding(store: KubernetesStore) -> None:
                add(store, wanted, pod(1))

            if not _run_inside(one, adding, at, freeing):
                break
            lowest = _lowest(wanted, dict(allocations(filling)))
            assert add(three, wanted, pod(2)) == [lowest], f"at {at}"
        assert at > 13

    def test_a_delete_finds_the_blocks_that_its_process_has_not_read(
        self, stores: Callable[[int], list[KubernetesStore]]
    ) -> None:
        before, restarted = stores(2)
        both = demand("10.0.0.0/16", "fd00::/64")
        add(before, both, pod(1))
        add(restarted, WIDE, pod(2))  # so it knows one of the two blocks
        assert delete(restarted, both, pod(1)) == ["10.0.0.1", "fd00::1"]
        assert allocations(restarted) == [("10.0.0.2", pod(2).pod_ref)]

    def test_a_delete_finds_what_an_add_wrote_that_never_had_its_answer(
        self, stores: Callable[[int], list[KubernetesStore]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = _with_whole_index(stores)
        api, fetch = store.resources.api, store.resources.api.fetch

        def away(request: Request, deadline: Deadline) -> bytes:
            if request.writes:
                fetch(request, deadline)
                raise Unsettled("the answer was lost")
            raise Unavailable("the API server is away")

        monkeypatch.setattr(api, "fetch", away)
        with pytest.raises(StoreError):
            add(store, WIDE, pod(3))
        monkeypatch.setattr(api, "fetch", fetch)
        assert [ref for _, ref in allocations(store)] == ["default/pod-1", "default/pod-3"]
        assert delete(store, WIDE, pod(3)) == ["10.0.0.2"]

    def test_what_others_freed_leaves_the_index_when_the_block_is_read(
        self, stores: Callable[[int], list[KubernetesStore]]
    ) -> None:
        mine, other = stores(2)
        for n in range(10):
            add(other, WIDE, pod(n))
            mine.read_block(FIRST, Deadline(SOON), fresh=True)
            assert list(mine.blocks_of_pod(pod(n).pod_ref, "net1", Deadline(SOON))) == [FIRST]
            delete(other, WIDE, pod(n))
            add(mine, WIDE, pod(100))  # it conflicts, and the block is read anew
            delete(mine, WIDE, pod(100))
            assert not mine.blocks_of_pod(pod(n).pod_ref, "net1", Deadline(SOON))

    def test_what_others_freed_leaves_the_index_when_blocks_are_listed(
        self, stores: Callable[[int], list[KubernetesStore]]
    ) -> None:
        mine, other = stores(2)
        add(other, WIDE, pod(1))
        fill(other, "10.0.1.0")
        assert len(list(mine.learn(Deadline(SOON)))) == 2
        delete(other, WIDE, pod(1))
        assert len(list(mine.learn(Deadline(SOON)))) == 2
        assert not mine.blocks_of_pod(pod(1).pod_ref, "net1", Deadline(SOON))
        _empty(other)
        assert not list(mine.learn(Deadline(SOON)))
        for gone in (pod(1), pod(100_001)):
            assert not mine.blocks_of_pod(gone.pod_ref, "net1", Deadline(SOON))
            assert not mine.blocks_of_attachment(gone.container_id, "net1", Deadline(SOON))

    def test_an_answer_that_comes_late_takes_nothing_out_of_the_index(
        self, stores: Callable[[int], list[KubernetesStore]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A call reads a block; before it has the answer another call of the process writes the block."""
        store = _with_whole_index(stores)
        api, fetch = store.resources.api, store.resources.api.fetch

        def late(request: Request, deadline: Deadline) -> bytes:
            answer = fetch(request, deadline)
            monkeypatch.setattr(api, "fetch", fetch)
            add(store, WIDE, pod(3))
            return answer

        monkeypatch.setattr(api, "fetch", late)
        store.read_block(BlockKey.of(Space(), ip_address("10.0.0.1")), Deadline(SOON), fresh=True)
        delete(store, WIDE, pod(3))
        assert [ref for _, ref in allocations(store)] == ["default/pod-1"]

    def test_a_wrong_order_of_clocks_does_not_hide_a_freed_address(
        self, stores: Callable[[int], list[KubernetesStore]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, two = stores(2)
        fill(one, "10.0.0.0")
        add(one, WIDE, pod(1))
        for n, now in enumerate((2e9, 1e9, 5e8)):
            monkeypatch.setattr("whereabouts.stores.kubernetes.time", lambda now=now: now)
            add(two, WIDE, pod(50 + n))
            free(one, WIDE, pod(100_000 + 10 + n), f"10.0.0.{10 + n}")
            assert add(two, WIDE, pod(60 + n)) == [f"10.0.0.{10 + n}"]


def free(store: KubernetesStore, wanted: Demand, owner: Owner, address: str) -> None:
    """A DEL that was told the address by ``prevResult``."""
    freed = allocator(store).delete(wanted, attachment(owner), [ip_address(address)], Deadline(SOON))
    assert [str(one) for one, _ in freed] == [address]


def _records(store: KubernetesStore) -> Iterator[tuple[Address, Owner]]:
    for stored in store.blocks(Deadline(SOON)):
        for offset, owner in stored.trusted():
            yield stored.key.address(offset), owner


def _with_whole_index(stores: Callable[[int], list[KubernetesStore]]) -> KubernetesStore:
    """A store that knows all blocks: pod 1 has the only address."""
    (store,) = stores(1)
    add(store, WIDE, pod(1))
    delete(store, WIDE, pod(2))  # of one that nobody knows: all blocks are read
    return store


def _empty(store: KubernetesStore) -> None:
    for stored in list(store.blocks(Deadline(SOON))):
        store.resources.delete("addressblocks", stored.key.name, Deadline(SOON))
    for pool in store.pools(Deadline(SOON)):
        store.resources.delete("ippools", pool.pool.key.name, Deadline(SOON))


def _lowest(wanted: Demand, held: dict[str, str]) -> str | None:
    (configured,) = wanted.ranges
    for first, last in configured.usable:
        for value in range(first, last + 1):
            address = ip_address(value)
            if str(address) not in held and value & 255:
                return str(address)
    return None


def _run_inside(
    store: KubernetesStore, call: Callable[[KubernetesStore], None], at: int, other: Callable[[], None]
) -> bool:
    """Run ``call`` on ``store``, and ``other`` before its request number ``at``; False if it has none."""
    count = itertools.count()
    reached = False

    def before(_: Request) -> None:
        nonlocal reached
        if next(count) == at:
            reached = True
            other()

    with recorded(store, before):
        call(store)
    return reached


def statuses(server: Any, store: KubernetesStore) -> dict[str, Any]:
    found = items(server, store.resources.namespace, "ippools")
    return {content["metadata"]["name"]: content["status"] for content in found}
