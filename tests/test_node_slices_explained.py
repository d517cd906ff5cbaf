"""What is said of ranges that are cut into slices for nodes."""

from ipaddress import ip_address, ip_network

from tests.faults import Never
from tests.memory_store import MemoryStore
from tests.store_contract import add, demand, pod
from whereabouts.block import BlockKey, Space
from whereabouts.explanation import account, next_address
from whereabouts.false_hints import FalseHint, configurations, false_hints
from whereabouts.inspection import Inspector
from whereabouts.pool import Pool, PoolKey, view_of
from whereabouts.ranges import Range

WHOLE = PoolKey("", "10.0.0.0/22")
SLICE = WHOLE.of_slice("10.0.1.0/24", "node-1")
CONFIGURED = {WHOLE: [Range.parse("10.0.0.0/22", excludes=["10.0.1.1/32"])]}


def sliced_store() -> MemoryStore:
    """257 addresses in the whole range, 2 of them in the slice of node-1."""
    store = MemoryStore()
    for number in range(257):
        add(store, demand("10.0.0.0/22"), pod(number))
    store.create_pool(Pool(SLICE, shared=True), Never())
    return store


def test_records_of_a_sliced_range_are_no_fault() -> None:
    assert Inspector(sliced_store(), configured={}).inspect(Never()).findings == []


def test_a_slice_is_explained_as_its_range_is_configured() -> None:
    store = sliced_store()
    (configured,) = configurations(SLICE, CONFIGURED)
    assert configured.network == ip_network("10.0.1.0/24")
    pool = Pool(SLICE, shared=True)
    assert next_address(store, pool, configured, Never()).address == ip_address("10.0.1.3")
    told = account(store, pool, configured, None, Never())
    assert told.holders == {"this range": 2}
    assert (told.shares.usable, told.shares.excluded, told.shares.used) == (253, 1, 1)


def test_a_slices_hints_are_compared_with_what_its_configuration_gives_of_it() -> None:
    (configured,) = configurations(SLICE, CONFIGURED)
    base = int(ip_address("10.0.1.0"))
    pool = Pool(SLICE, shared=True).with_exhausted(view_of(configured), [base])
    key = BlockKey(Space(), 4, base)
    blocks = {stored.key: stored.block for stored in sliced_store().blocks(Never())}
    assert false_hints([pool], blocks, CONFIGURED) == [FalseHint(SLICE, view_of(configured), key)]
