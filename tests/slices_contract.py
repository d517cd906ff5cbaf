"""What every store must do for ranges that are cut into node slices. See :mod:`tests.store_contract`."""

import itertools
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import pytest

from whereabouts.allocator import Allocator, Demand, RangeFull
from whereabouts.collect import Listing, collect
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.log import SILENT
from whereabouts.node_slices import NoSlice
from whereabouts.pool import PoolKey
from whereabouts.ranges import Range
from whereabouts.slices import SliceRule, assign, parse_size
from whereabouts.store import Store, StoreError, Unsettled
from whereabouts.usage import range_uses
from whereabouts.verify import CheckFailed, RangeExhausted, check, status

from .faults import WAYS, FaultyStore, Killed, Never
from .store_contract import SOON, add, allocations, allocator, attachment, delete, demand, pod

OpenStore = Callable[[], Store]


def sliced(
    text: str,
    size: str,
    *,
    borrow: bool = False,
    shared: bool = True,
    network_name: str = "",
    **options: object,
) -> Demand:
    """A demand of one range in slices, which are those of the network ``net`` or of a network name."""
    configured = Range.parse(text, **options)  # type: ignore[arg-type]
    rule = SliceRule(network_name or "net", parse_size(size), size)
    return Demand(network_name, shared, [configured], {str(configured.network): rule}, borrow)


def both(one: Demand, other: Demand) -> Demand:
    """The ranges of two demands; the slices of the second have another name."""
    renamed = {text: rule._replace(pool=f"{rule.pool}-2") for text, rule in other.slices.items()}
    return one._replace(ranges=[*one.ranges, *other.ranges], slices={**one.slices, **renamed})


def give_slices(store: Store, wanted: Demand, *nodes: str) -> None:
    """Cut the ranges and give nodes their slices, in this order, as a controller does."""
    for configured in wanted.ranges:
        rule = wanted.slices[str(configured.network)]
        pool = rule.uncut(configured.network)
        for at in range(len(nodes)):
            pool, _ = assign(pool, nodes[: at + 1], lambda _: False)
        store.create_slices(pool, Deadline(SOON))


def given_by(wanted: Demand, part: str) -> list[str]:
    """What may be given of a slice, in order."""
    (configured,) = wanted.ranges
    network = Range.parse(part).network
    first, last = int(network.network_address) + 1, int(network.broadcast_address)
    return [str(ip_address(value)) for value in range(first, last) if configured.contains(value)]


class SlicesContract:
    """Subclasses give a fixture ``open_store``: each call opens the same data once more."""

    @pytest.fixture
    def store(self, open_store: OpenStore) -> Iterator[Store]:
        store = open_store()
        yield store
        store.close()

    # ---------------------------------------------------------- whose is which

    def test_a_node_gives_the_lowest_address_of_its_slice_that_the_range_may_give(self, store: Store) -> None:
        wanted = sliced("10.0.0.0/24", "/26", start="10.0.0.3", end="10.0.0.67", excludes=["10.0.0.65/32"])
        give_slices(store, wanted, "node-1", "node-2")
        assert [add(store, wanted, pod(n)) for n in range(2)] == [["10.0.0.3"], ["10.0.0.4"]]
        assert [add(store, wanted, pod(9 + n, node="node-2")) for n in range(2)] == [
            ["10.0.0.66"],
            ["10.0.0.67"],
        ]
        with pytest.raises(RangeFull):
            add(store, wanted, pod(20, node="node-2"))

    def test_a_node_without_a_slice_is_told_so_or_claims_one(self, store: Store) -> None:
        wanted = sliced("10.0.0.0/24", "/26")
        give_slices(store, wanted, "node-1")
        if store.claims_slices:
            assert add(store, wanted, pod(1, node="node-2")) == ["10.0.0.65"]
            stored = store.read_slices("net", Deadline(SOON), fresh=True)
            assert stored is not None
            assert [one.node for one in stored.pool.slices] == ["node-1", "node-2", "", ""]
        else:
            with pytest.raises(NoSlice, match="no allocated node slice for node node-2"):
                add(store, wanted, pod(1, node="node-2"))

    def test_a_node_to_which_no_slice_is_left_is_told_so_unless_it_may_borrow(self, store: Store) -> None:
        wanted = sliced("10.0.0.0/24", "/25")
        give_slices(store, wanted, "node-1", "node-2")
        late = pod(1, node="node-3")
        with pytest.raises(NoSlice, match="set node_slice_borrow: true"):
            add(store, wanted, late)
        assert allocations(store) == []
        assert add(store, wanted._replace(borrow=True), late) == ["10.0.0.1"]

    def test_a_slice_that_was_given_meanwhile_is_found_at_once(
        self, store: Store, open_store: OpenStore
    ) -> None:
        wanted, other = sliced("10.0.0.0/24", "/26"), open_store()
        give_slices(store, wanted, "node-1")
        add(store, wanted, pod(1))
        stored = other.read_slices("net", Deadline(SOON))
        assert stored is not None
        pool, _ = assign(stored.pool, ["node-1", "node-2"], lambda _: False)
        other.write_slices(stored, pool, Deadline(SOON))
        assert add(store, wanted, pod(2, node="node-2")) == ["10.0.0.65"]
        other.close()

    # --------------------------------------------------------------- borrowing

    def test_a_full_slice_is_said_by_its_name_and_status_tells_each_node_its_own(self, store: Store) -> None:
        wanted = sliced("10.0.0.0/28", "/30")
        give_slices(store, wanted, "node-1", "node-2")
        assert [add(store, wanted, pod(n))[0] for n in range(2)] == ["10.0.0.1", "10.0.0.2"]
        with pytest.raises(RangeFull, match=r"ip: 10\.0\.0\.1 / - 10\.0\.0\.2 / range: 10\.0\.0\.0/30"):
            add(store, wanted, pod(5))
        with pytest.raises(RangeExhausted, match=r"10\.0\.0\.0/30"):
            status(store, wanted, Deadline(SOON), "node-1")
        status(store, wanted, Deadline(SOON), "node-2")
        status(store, wanted._replace(borrow=True), Deadline(SOON), "node-1")

    @pytest.mark.parametrize("shared", [True, False])
    def test_a_range_is_filled_to_its_last_address_from_one_node_by_borrowing(
        self, store: Store, shared: bool
    ) -> None:
        wanted = sliced(
            "10.0.0.0/23", "/25", borrow=True, shared=shared, excludes=["10.0.0.64/26", "10.0.1.128/26"]
        )
        give_slices(store, wanted, "node-0", "node-1", "node-2")
        own = given_by(wanted, "10.0.0.128/25")
        everything = given_by(wanted, "10.0.0.0/23")
        rest = [address for address in everything if address not in own]
        given = [add(store, wanted, pod(n))[0] for n in range(len(everything))]
        assert given == own + rest
        assert len(given) == wanted.ranges[0].capacity()
        with pytest.raises(RangeFull, match=r"range: 10\.0\.0\.0/23"):
            add(store, wanted, pod(9999))
        with pytest.raises(RangeExhausted, match=r"10\.0\.0\.0/23"):
            status(store, wanted, Deadline(SOON), "node-1")
        assert add(store, wanted, pod(len(own) + 3, sandbox="b")) == [rest[3]]
        assert delete(store, wanted, pod(5)) == [own[5]]
        assert add(store, wanted, pod(9999)) == [own[5]]

    def test_a_node_goes_back_to_its_own_slice_when_it_has_room_again(self, store: Store) -> None:
        wanted = sliced("10.0.0.0/28", "/30", borrow=True)
        give_slices(store, wanted, "node-0", "node-1")
        given = [add(store, wanted, pod(n))[0] for n in range(4)]
        assert given == ["10.0.0.5", "10.0.0.6", "10.0.0.1", "10.0.0.2"]
        delete(store, wanted, pod(1))
        assert add(store, wanted, pod(9)) == ["10.0.0.6"]

    # ---------------------------------------------------- one range, one space

    def test_records_are_of_the_whole_range_for_repeated_adds_check_and_delete(self, store: Store) -> None:
        wanted = both(sliced("10.0.0.0/24", "/26", borrow=True), sliced("fd00::/112", "/118"))
        give_slices(store, wanted, "node-0", "node-1")
        addresses = allocator(store).add(wanted, pod(1), Deadline(SOON))
        assert [str(address) for address in addresses] == ["10.0.0.65", "fd00::401"]
        assert {owner.range for stored in store.blocks(Deadline(SOON)) for _, owner in stored.trusted()} == {
            "10.0.0.0/24",
            "fd00::/112",
        }
        unsliced = demand("10.0.0.0/24", "fd00::/112")
        for now in (wanted, unsliced):
            assert allocator(store).add(now, pod(1, sandbox="b"), Deadline(SOON)) == addresses
            check(store, now, pod(1, sandbox="b").container_id, "net1", addresses, Deadline(SOON))
        with pytest.raises(CheckFailed):
            check(store, wanted, pod(1, sandbox="b").container_id, "net1", addresses[:1], Deadline(SOON))
        held = attachment(pod(1, sandbox="b"))
        freed = allocator(store).delete(wanted, held, addresses, Deadline(SOON))
        assert {address for address, _ in freed} == set(addresses)

    def test_slices_and_ranges_that_overlap_never_give_one_address_twice(self, store: Store) -> None:
        wants = [sliced("10.0.0.0/24", "/26", borrow=True), demand("10.0.0.0/24"), demand("10.0.0.0/25")]
        give_slices(store, wants[0], "node-1")
        given = [add(store, wants[n % 3], pod(n))[0] for n in range(100)]
        assert len(set(given)) == 100

    def test_a_range_with_a_space_of_its_own_keeps_it_in_its_slices(self, store: Store) -> None:
        wanted = sliced("10.0.0.0/24", "/26", shared=False)
        give_slices(store, wanted, "node-1")
        assert add(store, demand("10.0.0.0/16"), pod(1)) == ["10.0.0.1"]
        assert add(store, wanted, pod(2)) == ["10.0.0.1"]
        assert {stored.key.space.own_range for stored in store.blocks(Deadline(SOON))} == {"", "10.0.0.0/24"}
        assert delete(store, wanted, pod(2)) == ["10.0.0.1"]

    def test_gc_frees_what_a_node_borrowed_as_well(self, store: Store) -> None:
        wanted = sliced("10.0.0.0/28", "/30", borrow=True)
        give_slices(store, wanted, "node-0", "node-1")
        for n in range(4):
            add(store, wanted, pod(n))
        add(store, wanted, pod(9, node="node-0"))
        freed = collect(store, allocator(store), Listing(set(), "node-1", "macvlan"), Deadline(SOON))
        assert len(freed) == 4
        assert [ref for _, ref in allocations(store)] == ["default/pod-9"]

    def test_a_slice_is_no_range_of_its_own_for_whoever_counts(self, store: Store) -> None:
        wanted = sliced("10.0.0.0/24", "/26", network_name="blue")
        give_slices(store, wanted, "node-1")
        add(store, wanted, pod(1))
        assert [stored.pool.key for stored in store.pools(Deadline(SOON))] == [PoolKey("blue", "10.0.0.0/24")]
        assert [
            (use.pool.key.range, use.capacity, use.used) for use in range_uses(store, Deadline(SOON))
        ] == [("10.0.0.0/24", 254, 1)]

    # ------------------------------------------------------------------- order

    @pytest.mark.parametrize("shared", [True, False])
    def test_a_freed_address_of_a_lower_block_of_a_slice_is_the_next_whoever_freed_it(
        self, store: Store, open_store: OpenStore, shared: bool
    ) -> None:
        other = open_store()
        wanted = sliced("10.0.0.0/21", "/22", shared=shared)
        give_slices(store, wanted, "node-0", "node-1")
        given = [add(store, wanted, pod(n))[0] for n in range(600)]
        assert given == given_by(wanted, "10.0.4.0/22")[:600]
        assert delete(other, demand("10.0.0.0/21", shared=shared), pod(7)) == ["10.0.4.8"]
        assert add(store, wanted, pod(1000)) == ["10.0.4.8"]
        assert delete(other, wanted, pod(300)) == [given[300]]
        assert add(store, wanted, pod(1001)) == [given[300]]
        other.close()

    def test_wide_slices_of_ipv6_are_used_from_their_first_address_on(self, store: Store) -> None:
        wanted = sliced("fd00::/48", "/56", borrow=True)
        give_slices(store, wanted, "node-0", "node-1")
        given = [add(store, wanted, pod(n))[0] for n in range(300)]
        assert (given[0], given[299]) == ("fd00:0:0:100::1", "fd00:0:0:100::12c")

    # ------------------------------------------------- many at once, and faults

    def test_nodes_that_come_at_once_have_slices_of_their_own(self, open_store: OpenStore) -> None:
        wanted = sliced("10.0.0.0/24", "/28")
        store = open_store()
        if not store.claims_slices:
            give_slices(store, wanted, *(f"node-{n}" for n in range(8)))
        given: dict[int, str] = {}
        failures: list[BaseException] = []

        def work(node: int) -> None:
            mine = open_store()
            try:
                (given[node],) = add(mine, wanted, pod(node, node=f"node-{node}"))
            except BaseException as error:
                failures.append(error)
            finally:
                mine.close()

        workers = [threading.Thread(target=work, args=(node,)) for node in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert failures == []
        assert sorted(given.values(), key=ip_address) == [f"10.0.0.{16 * n + 1}" for n in range(8)]
        store.close()

    @pytest.mark.parametrize("way", WAYS)
    def test_a_fault_at_any_call_of_an_add_from_a_slice_loses_nothing(
        self, open_store: OpenStore, way: str
    ) -> None:
        store = open_store()
        for at in itertools.count():
            wanted = sliced("10.0.0.0/28", "/30", borrow=True, network_name=f"net-{at}")
            if not store.claims_slices:
                give_slices(store, wanted, "node-1")
            faulty = FaultyStore(store, at, way)
            frail = Allocator(faulty, DirectCommitter(faulty), SILENT)
            failed = False
            try:
                for n in range(3):
                    frail.add(wanted, pod(n), Never())
                frail.delete(wanted, attachment(pod(1)), [], Never())
            except (StoreError, Unsettled, DeadlineExceeded, Killed):
                failed = True
            for n in range(3):
                delete(store, wanted, pod(n))
            assert allocations(store) == [], f"{way} at call {at}: {faulty.calls[at]}"
            assert [add(store, wanted, pod(n)) for n in range(3)] == [
                ["10.0.0.1"],
                ["10.0.0.2"],
                ["10.0.0.3"],
            ]
            for n in range(3):
                delete(store, wanted, pod(n))
            if not failed and len(faulty.calls) <= at:
                break
        assert at > 8
        store.close()
