"""What every store must do, written once. A test module per store inherits :class:`StoreContract`."""

import itertools
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any, cast

import pytest

from whereabouts.allocator import Allocator, Attachment, Demand, GivenTwice, RangeFull
from whereabouts.block import Block, BlockKey, Space
from whereabouts.collect import CollectFailed, Listing, collect
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.log import SILENT
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey, view_of
from whereabouts.ranges import Range
from whereabouts.slices import SlicePool, SliceRule, parse_size
from whereabouts.store import Conflict, NameTaken, Store, StoreError, Unavailable, Unsettled
from whereabouts.verify import CheckFailed, RangeExhausted, check, status

from .faults import WAYS, FaultyStore, Killed, Never
from .test_owners import typical

SOON = 60.0
KEY = BlockKey.of(Space(), ip_address("10.1.2.0"))
OpenStore = Callable[[], Store]


def block_with(key: BlockKey, *offsets: int, seed: int = 1) -> Block:
    return Block(key, dict(zip(offsets, typical(len(offsets), seed), strict=True)))


def pod(number: int, *, ifname: str = "net1", sandbox: str = "a", node: str = "node-1") -> Owner:
    return Owner(
        f"default/pod-{number}", "", f"{sandbox}{number:063x}", ifname, node, "macvlan", "", 1_700_000_000
    )


def demand(*texts: str, network_name: str = "", shared: bool = True, **options: object) -> Demand:
    return Demand(network_name, shared, [Range.parse(text, **options) for text in texts])  # type: ignore[arg-type]


def slices(name: str, text: str, size: str, *nodes: str) -> SlicePool:
    """A range cut into slices, the first of which are those of ``nodes``."""
    pool = SliceRule(name, parse_size(size), size).uncut(ip_network(text))
    named = zip(pool.slices, itertools.chain(nodes, itertools.repeat("")), strict=False)
    return pool._replace(slices=tuple(one._replace(node=node) for one, node in named))


def attachment(owner: Owner) -> Attachment:
    return Attachment(owner.container_id, owner.ifname, owner.network)


def allocator(store: Store) -> Allocator:
    return Allocator(store, DirectCommitter(store), SILENT)


def add(store: Store, wanted: Demand, owner: Owner) -> list[str]:
    return [str(address) for address in allocator(store).add(wanted, owner, Deadline(SOON))]


def delete(store: Store, wanted: Demand, owner: Owner) -> list[str]:
    freed = allocator(store).delete(wanted, attachment(owner), [], Deadline(SOON))
    return [str(address) for address, _ in freed]


def allocations(store: Store) -> list[tuple[str, str]]:
    """(address, pod reference) of everything that is stored."""
    return [
        (str(stored.key.address(offset)), owner.pod_ref)
        for stored in store.blocks(Deadline(SOON))
        for offset, owner in stored.trusted()
    ]


class StoreContract:
    """Subclasses give a fixture ``open_store``: each call opens the same data once more."""

    @pytest.fixture
    def store(self, open_store: OpenStore) -> Iterator[Store]:
        store = open_store()
        yield store
        store.close()

    # ------------------------------------------------------------- blocks

    def test_a_block_that_was_never_written_is_none(self, store: Store) -> None:
        assert store.read_block(KEY, Deadline(SOON)) is None
        assert store.read_block(KEY, Deadline(SOON), fresh=True) is None

    def test_a_written_block_is_read_by_everybody(self, store: Store, open_store: OpenStore) -> None:
        block = block_with(KEY, 1, 7, 255)
        store.write_block(KEY, None, block, Deadline(SOON))
        other = open_store()
        for reader in (store, other):
            stored = reader.read_block(KEY, Deadline(SOON), fresh=True)
            assert stored is not None
            assert stored.trusted() == block
        other.close()

    def test_a_write_returns_what_the_next_write_is_conditional_on(self, store: Store) -> None:
        stored = None
        for offset in range(5):
            stored = store.write_block(KEY, stored, block_with(KEY, offset), Deadline(SOON))
        last = store.read_block(KEY, Deadline(SOON), fresh=True)
        assert last is not None
        assert last.trusted() == block_with(KEY, 4)

    def test_a_block_is_created_once(self, store: Store, open_store: OpenStore) -> None:
        other = open_store()
        store.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))
        with pytest.raises(Conflict):
            other.write_block(KEY, None, block_with(KEY, 2), Deadline(SOON))
        other.close()

    def test_a_write_on_an_old_revision_conflicts_and_changes_nothing(
        self, store: Store, open_store: OpenStore
    ) -> None:
        other = open_store()
        first = store.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))
        other.read_block(KEY, Deadline(SOON), fresh=True)
        store.write_block(KEY, first, block_with(KEY, 1, 2), Deadline(SOON))
        with pytest.raises(Conflict):
            other.write_block(KEY, first, block_with(KEY, 3), Deadline(SOON))
        stored = other.read_block(KEY, Deadline(SOON), fresh=True)
        assert stored is not None
        assert stored.trusted() == block_with(KEY, 1, 2)
        other.close()

    def test_blocks_are_listed_by_space_family_and_address(self, store: Store) -> None:
        keys = [
            BlockKey.of(Space(*space), ip_address(address))
            for space in [("", ""), ("", "10.1.0.0/16"), ("blue", ""), ("blue", "10.1.0.0/16")]
            for address in ["9.0.0.0", "10.1.2.0", "10.1.10.0", "::", "fd00::100", "fd00::1:0"]
        ]
        for key in reversed(keys):
            store.write_block(key, None, block_with(key, 3), Deadline(SOON))
        assert [stored.key for stored in store.blocks(Deadline(SOON))] == keys
        assert all(stored.trusted() == block_with(stored.key, 3) for stored in store.blocks(Deadline(SOON)))

    def test_bitmaps_are_listed_between_two_bases_of_one_space(self, store: Store) -> None:
        bases = [int(ip_address("10.0.0.0")) + 256 * index for index in range(12)]
        for base, space in itertools.product(bases, (Space(), Space("blue"))):
            key = BlockKey(space, 4, base)
            store.write_block(key, None, block_with(key, 0, 9), Deadline(SOON))
        listed = list(store.bitmaps(Space("blue"), 4, bases[2], bases[10] + 77, Deadline(SOON)))
        assert [key for key, _ in listed] == [BlockKey(Space("blue"), 4, base) for base in bases[2:11]]
        assert all(used is not None and list(used) == [0, 9] for _, used in listed)

    def test_blocks_are_found_by_pod_and_by_attachment(self, store: Store) -> None:
        one, two = pod(1), pod(2)
        keys = [
            BlockKey.of(Space("blue"), ip_address(address)) for address in ("10.0.0.0", "10.0.9.0", "fd00::")
        ]
        stored = [store.write_block(key, None, Block(key, {5: one}), Deadline(SOON)) for key in keys[:2]]
        store.write_block(keys[2], None, Block(keys[2], {7: two}), Deadline(SOON))
        assert set(store.blocks_of_attachment(one.container_id, "net1", Deadline(SOON))) == set(keys[:2])
        assert set(store.blocks_of_pod(two.pod_ref, "net1", Deadline(SOON))) == {keys[2]}
        assert not store.blocks_of_attachment(one.container_id, "net2", Deadline(SOON))
        moved = one._replace(container_id="b" * 64)
        store.write_block(keys[0], stored[0], Block(keys[0], {5: moved}), Deadline(SOON))
        assert set(store.blocks_of_attachment(one.container_id, "net1", Deadline(SOON))) == {keys[1]}
        assert set(store.blocks_of_attachment("b" * 64, "net1", Deadline(SOON))) == {keys[0]}
        store.write_block(keys[1], stored[1], Block(keys[1], {}), Deadline(SOON))
        assert not store.blocks_of_attachment(one.container_id, "net1", Deadline(SOON))

    # -------------------------------------------------------------- pools

    def test_a_pool_is_created_once_and_the_first_one_holds(
        self, store: Store, open_store: OpenStore
    ) -> None:
        other = open_store()
        key = PoolKey("blue", "10.0.0.0/16")
        assert store.read_pool(key, Deadline(SOON)) is None
        assert store.create_pool(Pool(key, shared=False), Deadline(SOON)).pool.shared is False
        assert other.create_pool(Pool(key, shared=True), Deadline(SOON)).pool.shared is False
        other.close()

    def test_a_pool_keeps_its_hints_and_is_written_on_condition(self, store: Store) -> None:
        key = PoolKey("", "fd00::/64")
        base = int(ip_address("fd00::"))
        first = store.create_pool(Pool(key, shared=True), Deadline(SOON))
        far = base + 2**63
        store.write_pool(first, first.pool.with_exhausted("a", [base, far]), Deadline(SOON))
        with pytest.raises(Conflict):
            store.write_pool(first, first.pool.with_exhausted("a", [base + 256]), Deadline(SOON))
        stored = store.read_pool(key, Deadline(SOON))
        assert stored is not None
        assert stored.pool.first_unexhausted("a", base) == base + 256
        assert stored.pool.first_unexhausted("a", far) == far + 256
        assert stored.pool.first_unexhausted("b", base) == base

    def test_pools_are_listed_by_network_name(self, store: Store) -> None:
        keys = [PoolKey("", "10.0.0.0/16"), PoolKey("blue", "10.0.0.0/16"), PoolKey("blue", "fd00::/64")]
        for key in keys:
            store.create_pool(Pool(key, shared=True), Deadline(SOON))
        assert {stored.pool.key for stored in store.pools(Deadline(SOON))} == set(keys)
        assert {stored.pool.key for stored in store.pools(Deadline(SOON), "blue")} == set(keys[1:])

    # ------------------------------------------------------------- slices

    def test_slices_that_were_never_written_are_none(self, store: Store) -> None:
        assert store.read_slices("net", Deadline(SOON)) is None
        assert list(store.slice_pools(Deadline(SOON))) == []

    def test_written_slices_are_read_by_everybody_and_listed_by_name(
        self, store: Store, open_store: OpenStore
    ) -> None:
        pools = [
            slices("Net_1", "10.0.0.0/24", "26", "", "node.example.com", "node-2"),
            slices("net", "10.0.0.0/24", "/26"),
            slices("net-fd00---112", "fd00::/112", "/114", "node-1"),
        ]
        for pool in reversed(pools):
            assert store.create_slices(pool, Deadline(SOON)).pool == pool
        other = open_store()
        for reader, pool in itertools.product((store, other), pools):
            stored = reader.read_slices(pool.name, Deadline(SOON))
            assert stored is not None
            assert stored.pool == pool
        assert [stored.pool for stored in other.slice_pools(Deadline(SOON))] == pools
        other.close()

    def test_slices_are_written_on_condition_of_their_revision(
        self, store: Store, open_store: OpenStore
    ) -> None:
        other = open_store()
        first = store.create_slices(slices("net", "10.0.0.0/24", "/26"), Deadline(SOON))
        with pytest.raises(Conflict):
            other.create_slices(slices("net", "10.0.0.0/24", "/26", "late"), Deadline(SOON))
        seen = other.read_slices("net", Deadline(SOON), fresh=True)
        assert seen is not None
        assert seen.revision == first.revision
        now = slices("net", "10.0.0.0/23", "/25", "node-1")
        second = store.write_slices(first, now, Deadline(SOON))
        with pytest.raises(Conflict):
            other.write_slices(seen, slices("net", "10.0.0.0/24", "/26", "late"), Deadline(SOON))
        with pytest.raises(Conflict):
            other.delete_slices(seen, Deadline(SOON))
        read = other.read_slices("net", Deadline(SOON), fresh=True)
        assert read is not None
        assert (read.pool, read.revision) == (now, second.revision)
        other.close()

    def test_slices_that_were_deleted_are_gone_and_cannot_be_written(self, store: Store) -> None:
        pool = slices("net", "10.0.0.0/24", "/26")
        stored = store.create_slices(pool, Deadline(SOON))
        store.delete_slices(stored, Deadline(SOON))
        store.delete_slices(stored, Deadline(SOON))
        assert store.read_slices("net", Deadline(SOON)) is None
        with pytest.raises(Conflict):
            store.write_slices(stored, pool, Deadline(SOON))
        again = store.create_slices(pool, Deadline(SOON))
        with pytest.raises(Conflict):
            store.delete_slices(stored, Deadline(SOON))
        assert store.write_slices(again, pool, Deadline(SOON)).pool == pool

    # --------------------------------------------------------- allocation

    def test_addresses_are_given_lowest_first_and_given_again_when_freed(self, store: Store) -> None:
        wanted = demand("10.0.0.0/24")
        assert [add(store, wanted, pod(n)) for n in range(4)] == [[f"10.0.0.{n + 1}"] for n in range(4)]
        assert delete(store, wanted, pod(1)) == ["10.0.0.2"]
        assert delete(store, wanted, pod(1)) == []
        assert add(store, wanted, pod(9)) == ["10.0.0.2"]
        assert add(store, wanted, pod(10)) == ["10.0.0.5"]

    def test_a_range_over_several_blocks_fills_to_its_last_address_and_empties(self, store: Store) -> None:
        wanted = demand("10.0.0.0/22", excludes=["10.0.1.0/25", "10.0.2.0/24"])
        expected = [
            f"10.0.{block}.{last}"
            for block, first in ((0, 1), (1, 128), (3, 1))
            for last in range(first, 256)
        ][:-1]
        given = [add(store, wanted, pod(n))[0] for n in range(len(expected))]
        assert given == expected
        with pytest.raises(
            RangeFull, match=r"Could not allocate IP in range: ip: 10\.0\.0\.1 / - 10\.0\.3\.254"
        ):
            add(store, wanted, pod(9999))
        with pytest.raises(RangeExhausted, match=r"10\.0\.0\.0/22"):
            status(store, wanted, Deadline(SOON))
        assert delete(store, wanted, pod(3)) == ["10.0.0.4"]
        status(store, wanted, Deadline(SOON))
        assert add(store, wanted, pod(9999)) == ["10.0.0.4"]
        for n in [*range(3), *range(4, len(expected)), 9999]:
            delete(store, wanted, pod(n))
        assert allocations(store) == []
        assert add(store, wanted, pod(1)) == ["10.0.0.1"]

    def test_a_freed_address_of_a_lower_block_is_the_next_whoever_freed_it(
        self, store: Store, open_store: OpenStore
    ) -> None:
        other = open_store()
        wide, narrow = demand("10.0.0.0/16"), demand("10.0.0.0/23")
        for n in range(300):
            add(store, wide, pod(n))
        assert delete(other, narrow, pod(7)) == ["10.0.0.8"]
        assert add(store, wide, pod(1000)) == ["10.0.0.8"]
        other.close()

    def test_a_wrong_hint_never_makes_a_range_full(self, store: Store) -> None:
        wanted = demand("10.0.0.0/23")
        add(store, wanted, pod(1))
        stored = store.read_pool(PoolKey("", "10.0.0.0/23"), Deadline(SOON))
        assert stored is not None
        base = int(ip_address("10.0.0.0"))
        lie = stored.pool.with_exhausted(view_of(wanted.ranges[0]), [base, base + 256])
        store.write_pool(stored, lie, Deadline(SOON))
        status(store, wanted, Deadline(SOON))
        assert add(store, wanted, pod(2)) == ["10.0.0.2"]
        assert add(store, wanted, pod(3)) == ["10.0.0.3"]

    def test_a_range_is_not_full_while_an_address_is_free_though_others_take_what_is_seen(
        self, store: Store, open_store: OpenStore
    ) -> None:
        other, wanted = open_store(), demand("10.0.0.250-10.0.1.5/22")
        for n in range(10):
            add(store, wanted, pod(n))  # one is left: 10.0.1.5
        direct, last, seen = DirectCommitter(store), int(ip_address("10.0.1.0")), 0

        class Late:
            """Comes to the last block after others, who have freed another address before."""

            def commit(self, key: BlockKey, change: Any, deadline: Deadline) -> Any:
                nonlocal seen
                seen += key.base == last
                if (key.base, seen) == (last, 1):
                    assert add(other, wanted, pod(20)) == ["10.0.1.5"]
                elif (key.base, seen) == (last, 2):
                    assert delete(other, wanted, pod(2)) == ["10.0.0.252"]
                    assert add(other, demand("10.0.1.4-10.0.1.4/22"), pod(21)) == ["10.0.1.4"]
                outcome = direct.commit(key, change, deadline)
                if (key.base, seen) == (last, 1):
                    assert delete(other, wanted, pod(9)) == ["10.0.1.4"]
                return outcome

        late = Allocator(store, Late(), SILENT)
        assert list(map(str, late.add(wanted, pod(30), Deadline(SOON)))) == ["10.0.0.252"]
        with pytest.raises(RangeFull):
            late.add(wanted, pod(31), Deadline(SOON))
        other.close()

    def test_configurations_of_one_range_do_not_share_hints(self, store: Store) -> None:
        low = demand("10.0.0.0/23", end="10.0.0.5")
        for n in range(5):
            add(store, low, pod(n))
        with pytest.raises(RangeFull):
            add(store, low, pod(5))
        assert add(store, demand("10.0.0.0/23"), pod(6)) == ["10.0.0.6"]

    def test_a_repeated_add_gives_the_same_address_also_after_its_block_has_passed(
        self, store: Store
    ) -> None:
        wanted = demand("10.0.0.0/23")
        for n in range(260):
            add(store, wanted, pod(n))
        late = pod(259)
        delete(store, wanted, pod(0))
        assert add(store, wanted, late) == ["10.0.1.5"]
        assert add(store, wanted, pod(259, sandbox="b")) == ["10.0.1.5"]
        assert delete(store, wanted, late) == []
        assert delete(store, wanted, pod(259, sandbox="b")) == ["10.0.1.5"]

    def test_overlapping_ranges_never_give_one_address_twice(self, store: Store) -> None:
        ranges = [demand("10.0.0.0/24"), demand("10.0.0.0/25"), demand("10.0.0.64-10.0.0.90/26")]
        given = [add(store, ranges[n % 3], pod(n))[0] for n in range(60)]
        assert len(set(given)) == 60

    def test_networks_by_name_and_ranges_of_their_own_are_separate(self, store: Store) -> None:
        wants = [
            demand("10.0.0.0/24"),
            demand("10.0.0.0/24", network_name="blue"),
            demand("10.0.0.0/25", shared=False),
            demand("10.0.0.0/25", network_name="blue", shared=False),
        ]
        assert [add(store, wanted, pod(n)) for n, wanted in enumerate(wants)] == [["10.0.0.1"]] * 4
        assert [delete(store, wanted, pod(n)) for n, wanted in enumerate(wants)] == [["10.0.0.1"]] * 4

    def test_a_range_keeps_the_space_in_which_it_was_first_used(self, store: Store) -> None:
        add(store, demand("10.0.0.0/24", shared=False), pod(1))
        assert add(store, demand("10.0.0.0/24", shared=True), pod(2)) == ["10.0.0.2"]

    def test_ranges_with_spaces_of_their_own_never_give_one_interface_an_address_twice(
        self, store: Store
    ) -> None:
        for text in ("10.0.0.0/24", "10.0.0.0/25"):
            add(store, demand(text, shared=False), pod(1))
        with pytest.raises(GivenTwice, match=r"10\.0\.0\.0/24 and 10\.0\.0\.0/25 overlap"):
            add(store, demand("10.0.0.0/24", "10.0.0.0/25"), pod(2))
        assert len(allocations(store)) == 2

    def test_pools_whose_names_are_spelled_alike_do_not_mix(
        self, store: Store, open_store: OpenStore
    ) -> None:
        assert add(store, demand("2001:db8::/119"), pod(1)) == ["2001:db8::1"]
        alike = demand("db8::/119", network_name="2001")
        assert alike.pool_key(alike.ranges[0]).name == "2001-db8---119"
        other = open_store()  # one that has nothing in memory
        for number, each in enumerate((store, other), 2):
            try:
                assert add(each, alike, pod(number)) == [f"db8::{number - 1}"]
            except NameTaken:
                assert [address for address, _ in allocations(store)] == ["2001:db8::1"]
        other.close()

    def test_wide_ipv6_ranges_are_used_to_their_ends(self, store: Store) -> None:
        top = demand("fd00::/8", start="fdff:ffff:ffff:ffff:ffff:ffff:ffff:fffd")
        assert add(store, top, pod(1)) == ["fdff:ffff:ffff:ffff:ffff:ffff:ffff:fffd"]
        assert add(store, top, pod(2)) == ["fdff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"]
        with pytest.raises(RangeFull):
            add(store, top, pod(3))
        assert add(store, demand("::/0"), pod(4)) == ["::1"]

    def test_an_add_of_several_ranges_is_undone_when_one_is_full(self, store: Store) -> None:
        full = demand("10.9.0.0/30")
        add(store, full, pod(1))
        add(store, full, pod(2))
        with pytest.raises(RangeFull):
            add(store, demand("10.0.0.0/24", "fd00::/64", "10.9.0.0/30"), pod(3))
        assert sorted(allocations(store)) == [("10.9.0.1", "default/pod-1"), ("10.9.0.2", "default/pod-2")]

    def test_a_delete_frees_every_range_and_what_the_network_gave_before_it_was_edited(
        self, store: Store
    ) -> None:
        both = demand("10.0.0.0/24", "fd00::/64")
        assert add(store, both, pod(1)) == ["10.0.0.1", "fd00::1"]
        assert sorted(delete(store, demand("172.16.0.0/24"), pod(1))) == ["10.0.0.1", "fd00::1"]

    def test_a_delete_finds_by_the_reported_addresses_and_trusts_none_of_them(self, store: Store) -> None:
        wanted = demand("10.0.0.0/23", "fd00::/64")
        for n in range(3):
            add(store, wanted, pod(n))
        lies = [
            ip_address("10.0.0.2"),
            ip_address("10.0.1.9"),
            ip_address("fd00::1"),
            ip_address("192.0.2.1"),
        ]
        freed = allocator(store).delete(wanted, attachment(pod(0)), lies, Deadline(SOON))
        assert sorted(str(address) for address, _ in freed) == ["10.0.0.1", "fd00::1"]
        assert {ref for _, ref in allocations(store)} == {"default/pod-1", "default/pod-2"}

    def test_a_delete_leaves_other_interfaces_containers_and_networks_alone(self, store: Store) -> None:
        wanted = demand("10.0.0.0/24")
        for owner in (pod(1), pod(1, ifname="net2"), pod(2)):
            add(store, wanted, owner)
        add(store, demand("172.16.0.0/24"), pod(3)._replace(network="other"))
        assert delete(store, wanted, pod(1)) == ["10.0.0.1"]
        assert delete(store, wanted, pod(3)) == []
        assert len(allocations(store)) == 3

    def test_a_record_without_an_interface_is_freed_with_its_container(self, store: Store) -> None:
        taken_over = pod(1, ifname="")
        store.write_block(KEY, None, Block(KEY, {5: taken_over}), Deadline(SOON))
        assert delete(store, demand("10.1.2.0/24"), taken_over._replace(ifname="net7")) == ["10.1.2.5"]

    def test_check_compares_both_ways(self, store: Store) -> None:
        wanted = demand("10.0.0.0/24", "fd00::/64")
        addresses = allocator(store).add(wanted, pod(1), Deadline(SOON))
        arguments = (store, wanted, pod(1).container_id, "net1")
        check(*arguments, [*addresses, ip_address("192.0.2.1")], Deadline(SOON))
        with pytest.raises(
            CheckFailed, match="fd00::1 is recorded for net1, but prevResult does not have it"
        ):
            check(*arguments, addresses[:1], Deadline(SOON))
        with pytest.raises(CheckFailed, match=r"10\.0\.0\.9 is in prevResult, but it is not recorded"):
            check(*arguments, [*addresses, ip_address("10.0.0.9")], Deadline(SOON))
        delete(store, wanted, pod(1))
        add(store, wanted, pod(2))
        with pytest.raises(
            CheckFailed, match=r"10\.0\.0\.1 is in prevResult, but it is recorded for default/pod-2"
        ):
            check(*arguments, addresses, Deadline(SOON))
        with pytest.raises(CheckFailed, match=r"no address of range 10\.0\.0\.0/24 is recorded"):
            check(*arguments, [], Deadline(SOON))

    def test_gc_frees_this_nodes_and_this_networks_stale_attachments_only(self, store: Store) -> None:
        wanted = demand("10.0.0.0/22")
        owners = [pod(n) for n in range(300)]
        foreign = [pod(900, node="node-2"), pod(901)._replace(network="other"), pod(902)._replace(network="")]
        for owner in [*owners, *foreign]:
            add(store, wanted, owner)
        valid = {(owner.container_id, owner.ifname) for owner in owners[::2]}
        freed = collect(store, allocator(store), Listing(valid, "node-1", "macvlan"), Deadline(SOON))
        assert {one.owner.pod_ref for one in freed} == {owner.pod_ref for owner in owners[1::2]}
        assert {ref for _, ref in allocations(store)} == {owner.pod_ref for owner in [*owners[::2], *foreign]}
        assert add(store, wanted, pod(1)) == ["10.0.0.2"]

    def test_gc_that_a_store_was_away_for_is_worth_another_try(self, store: Store) -> None:
        wanted = demand("10.0.0.0/22")
        for n in range(300):
            add(store, wanted, pod(n))
        listing = Listing(set(), "node-1", "macvlan")
        faulty = FaultyStore(store, 1, "unavailable")
        with pytest.raises(Unavailable, match="45 freed, but not everything was looked at") as failed:
            collect(faulty, allocator(faulty), listing, Deadline(SOON))
        assert isinstance(failed.value, CollectFailed)
        assert len(collect(store, allocator(store), listing, Deadline(SOON))) == 300 - len(failed.value.freed)
        assert not allocations(store)

    # ------------------------------------------------- many at once, faults

    def test_many_at_once_get_the_lowest_addresses_and_give_them_back(self, open_store: OpenStore) -> None:
        wanted = demand("10.0.0.0/22")
        given: list[str] = []
        failures: list[BaseException] = []

        def work(worker: int) -> None:
            store = open_store()
            try:
                for n in range(40):
                    address = add(store, wanted, pod(1000 * worker + n))
                    if n % 4 == 3:
                        delete(store, wanted, pod(1000 * worker + n))
                    else:
                        given.extend(address)
            except BaseException as error:
                failures.append(error)
            finally:
                store.close()

        workers = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert failures == []
        assert len(set(given)) == 8 * 30
        store = open_store()
        assert {address for address, _ in allocations(store)} == set(given)
        store.close()

    def test_a_del_whose_answer_was_lost_tells_what_it_freed_although_that_was_given_again(
        self, store: Store
    ) -> None:
        wanted = demand("10.0.0.0/24")
        add(store, wanted, pod(1))

        class Lost(FaultyStore):
            def write_block(self, *arguments: Any) -> None:
                store.write_block(*arguments)
                assert add(store, wanted, pod(2)) == ["10.0.0.1"]
                raise Unsettled("the answer was lost")

        assert delete(cast(Store, Lost(store, -1, "")), wanted, pod(1)) == ["10.0.0.1"]
        assert allocations(store) == [("10.0.0.1", "default/pod-2")]

    @pytest.mark.parametrize("way", WAYS)
    def test_a_fault_at_any_call_of_add_and_delete_loses_nothing(
        self, open_store: OpenStore, way: str
    ) -> None:
        store = open_store()
        wanted = demand("10.0.0.0/24", start="10.0.0.250")
        both = demand("10.0.0.0/24", "fd00::/64", start=None)
        neighbours = [pod(n) for n in range(3)]
        for owner in neighbours:
            add(store, wanted, owner)
        settled = sorted(allocations(store))
        for at in itertools.count():
            faulty = FaultyStore(store, at, way)
            frail = Allocator(faulty, DirectCommitter(faulty), SILENT)
            owner = pod(10 + at)
            failed = False
            try:
                frail.add(both, owner, Never())
                frail.delete(both, attachment(owner), [], Never())
            except (StoreError, DeadlineExceeded, Killed):
                failed = True
            # The runtime comes back: DEL until it succeeds, with a store that works.
            delete(store, both, owner)
            assert sorted(allocations(store)) == settled, f"{way} at call {at}: {faulty.calls[at]}"
            if not failed and len(faulty.calls) <= at:
                break
        assert at > 8
        assert add(store, both, pod(5)) == ["10.0.0.1", "fd00::1"]
        store.close()
