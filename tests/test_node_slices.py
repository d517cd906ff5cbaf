"""Claiming slices where no controller gives them, and the pools of slices, over a store in memory."""

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from whereabouts.block import Block, BlockKey, Space
from whereabouts.node_slices import Cut, claim, pool_of_slice, slice_of
from whereabouts.pool import Pool, PoolKey
from whereabouts.ranges import Range
from whereabouts.slices import Slice, SlicePool, SliceRule
from whereabouts.usage import in_use

from .faults import Never
from .memory_store import MemoryStore
from .slices_contract import sliced
from .store_contract import add, demand, pod

RULE = SliceRule("net", 26, "/26")
WHOLE = Range.parse("10.0.0.0/24")


def cut(node: str, configured: Range = WHOLE, rule: SliceRule = RULE) -> Cut:
    return Cut(configured, rule, node)


def claimed(store: MemoryStore, node: str, configured: Range = WHOLE, rule: SliceRule = RULE) -> str:
    return str(claim(store, cut(node, configured, rule), Space(), Never()))


def nodes(store: MemoryStore) -> list[str]:
    return [one.node for one in store.stored_slices["net"].pool.slices]


# ---- claiming ----


def test_nodes_claim_the_lowest_free_slices_in_the_order_in_which_they_come() -> None:
    store = MemoryStore()
    assert [claimed(store, node) for node in ("b", "a", "c", "b")] == [
        "10.0.0.0/26",
        "10.0.0.64/26",
        "10.0.0.128/26",
        "10.0.0.0/26",
    ]
    assert claimed(store, "d") == "10.0.0.192/26"
    assert claimed(store, "e") == "None"
    assert nodes(store) == ["b", "a", "c", "d"]


def test_a_slice_in_which_addresses_are_used_is_not_claimed() -> None:
    store = MemoryStore()
    add(store, demand("10.0.0.0/16"), pod(1))
    assert claimed(store, "a") == "10.0.0.64/26"


def test_a_slice_of_which_nothing_may_be_given_is_not_claimed() -> None:
    configured = Range.parse("10.0.0.0/24", start="10.0.0.130", excludes=["10.0.0.128/26"])
    assert claimed(MemoryStore(), "a", configured) == "10.0.0.192/26"


def test_a_range_that_is_cut_otherwise_now_is_cut_anew_and_nodes_keep_a_part() -> None:
    store = MemoryStore()
    for node in ("a", "b"):
        claimed(store, node)
    smaller = SliceRule("net", 27, "/27")
    assert claimed(store, "c", rule=smaller) == "10.0.0.32/27"
    assert claimed(store, "b", rule=smaller) == "10.0.0.64/27"
    assert nodes(store) == ["a", "c", "b", "", "", "", "", ""]


def test_a_slice_outside_of_the_range_as_it_is_configured_now_is_none() -> None:
    store = MemoryStore()
    pool = SlicePool("net", "10.9.0.0/24", "/26", (Slice("10.9.0.0/26", "a"), Slice("fd00::/120", "b")))
    store.create_slices(pool, Never())
    assert slice_of(store, cut("a"), Never()) is None
    assert slice_of(store, cut("b"), Never()) is None
    assert claimed(store, "a") == "10.0.0.0/26"


@given(st.sets(st.integers(0, 1023), max_size=6), st.integers(0, 1023), st.integers(22, 32))
def test_a_network_is_in_use_if_any_of_its_addresses_is(used: set[int], address: int, prefixlen: int) -> None:
    store, first = MemoryStore(), int(ip_address("10.0.0.0"))
    for offset in used:
        key = BlockKey.of(Space(), ip_address(first + offset))
        stored = store.read_block(key, Never())
        block = Block(key, {}) if stored is None else stored.trusted()
        store.write_block(key, stored, block.with_owner(offset % 256, pod(offset)), Never())
    network = ip_network((first + address, prefixlen), strict=False)
    expected = any(ip_address(first + offset) in network for offset in used)
    assert in_use(store, Space(), network, Never()) is expected


def test_a_damaged_block_is_in_use() -> None:
    store = MemoryStore()
    add(store, demand("10.0.0.0/24"), pod(1))
    (key,) = store.halves
    store.halves[key] = (2, b"damaged", b"damaged")
    assert in_use(store, Space(), ip_network("10.0.0.128/25"), Never())


# ---- pools ----


def test_the_pool_of_a_slice_follows_its_range_into_another_space() -> None:
    store, wanted = MemoryStore(), sliced("10.0.0.0/22", "/23")
    for n in range(300):
        add(store, wanted, pod(n))
    whole = wanted.pool_key(wanted.ranges[0])
    part = ip_network("10.0.0.0/23")
    before = pool_of_slice(store, store.stored_pools[whole].pool, part, "node-1", Never())
    assert before.pool.shared
    assert before.pool.exhausted
    del store.stored_pools[whole]
    assert add(store, wanted._replace(shared=False), pod(999)) == ["10.0.0.1"]
    after = pool_of_slice(store, Pool(whole, shared=False), part, "node-1", Never())
    assert (after.pool.shared, after.pool.exhausted) == (False, {})


def test_a_slice_of_one_block_has_no_stored_pool_and_one_of_several_has() -> None:
    for size, pools in (("/24", 0), ("/25", 0), ("/23", 1)):
        store = MemoryStore()
        assert add(store, sliced("10.0.0.0/20", size), pod(1)) == ["10.0.0.1"]
        assert len([key for key in store.stored_pools if key.node]) == pools


def test_a_pool_of_a_slice_is_named_as_the_go_plugin_names_it() -> None:
    whole = PoolKey("", "10.0.0.0/8")
    assert whole.of_slice("10.0.0.0/24", "testnode").name == "testnode-10.0.0.0-24"
    blue = PoolKey("blue", "fd00::/48")
    assert blue.of_slice("fd00::/64", "node-1").name == "blue-node-1-fd00---64"
    assert blue.of_slice("fd00::/64", "node-1").of_whole == blue
    assert blue.of_whole == blue


# ---- what a slice gives ----


@given(
    st.integers(0, 1023),
    st.integers(0, 1023),
    st.lists(st.tuples(st.integers(0, 1023), st.integers(23, 32)), max_size=3),
    st.integers(0, 1023),
    st.integers(22, 30),
)
def test_a_part_of_a_range_gives_what_the_range_gives_but_for_the_parts_first_and_last(
    start: int, end: int, excludes: list[tuple[int, int]], address: int, prefixlen: int
) -> None:
    first = int(ip_address("10.0.0.0"))
    low, high = (str(ip_address(first + value)) for value in (start, end))
    barred = [str(ip_network((first + value, length), strict=False)) for value, length in excludes]
    configured = Range.parse("10.0.0.0/22", start=low, end=high, excludes=barred)
    part = ip_network((first + address, prefixlen), strict=False)
    edges = {part.network_address, part.broadcast_address}
    narrowed = configured.within(part)
    expected = {
        int(one) for one in map(ip_address, range(first, first + 1024)) if one in part and one not in edges
    }
    assert {value for value in range(first, first + 1024) if narrowed.contains(value)} == {
        value for value in expected if configured.contains(value)
    }
    assert narrowed.capacity() == sum(map(configured.contains, expected))
    assert narrowed.network == part
    assert int(part.network_address) < narrowed.first <= narrowed.last
