"""The lowest free address among a million, without a store

The engine's part of an ADD: nothing is read or written here. *engine* is a set of 2^20 offsets of which one
in a hundred is free, at random, or only the last: the lowest is given, and the next one found, each time
after a lower one was freed and given again, so that nothing remembered helps. *search* is the whole way from
a range to an address with a million live allocations: by the hints of the pool to the lowest block with room,
which was written anew each time, and what the range bars of it; and the same in an IPv6 range with ten
thousand excludes, once they are read.
"""

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from random import Random
from statistics import median
from time import perf_counter_ns

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.memory_store import MemoryStore
from tests.store_contract import SOON, pod
from whereabouts._bitmap import Bitmap
from whereabouts.block import BLOCK_SIZE, Block, BlockKey, Space
from whereabouts.deadline import Deadline
from whereabouts.pool import Pool, PoolKey, view_of
from whereabouts.ranges import Range
from whereabouts.search import Search

BITS = 1 << 20
ROUNDS = 2_000
MICROSECONDS = "µs for the lowest free address"
WITHIN = {4: 50, 6: 100}
"""Microseconds, by family: the IPv6 range has ten thousand excludes."""


def test_engine_with_one_in_a_hundred_free(benchmark: BenchmarkFixture) -> None:
    random = Random(1)
    used = Bitmap(BITS)
    used.set_range(0, BITS)
    free = sorted(random.sample(range(BITS), BITS // 100))
    for offset in free:
        used.clear(offset)
    given = iter(free)
    give_and_find(benchmark, used, lambda: next(given))


def test_engine_with_the_last_one_free(benchmark: BenchmarkFixture) -> None:
    random = Random(1)
    used = Bitmap(BITS)
    used.set_range(0, BITS - 1)

    def free_a_low_one() -> int:
        offset = random.randrange(BITS // 100)
        used.clear(offset)
        return offset

    give_and_find(benchmark, used, free_a_low_one)
    assert used.first_free() == BITS - 1


def give_and_find(benchmark: BenchmarkFixture, used: Bitmap, expect: Callable[[], int]) -> None:
    """Give the lowest free offset, which has to be the expected one, and find the next."""
    expected: list[int | None] = []
    found: list[int | None] = []

    def find() -> None:
        offset = used.first_free()
        assert offset is not None
        used.set(offset)
        found.append(offset)
        used.first_free()

    tell(benchmark, find, lambda: expected.append(expect()), 4)
    assert found == expected


def excludes() -> Iterator[str]:
    """Ten thousand, each of one address, between those that are given."""
    first = int(ip_address("fd00::"))
    return (f"{ip_address(first + 20 * number + 7)}/128" for number in range(10_000))


@pytest.mark.parametrize(
    ("configured", "allocations"),
    [
        pytest.param(lambda: Range.parse("10.0.0.0/12"), 1_000_000, id="a million of a 12"),
        pytest.param(
            lambda: Range.parse("fd00::/64", excludes=tuple(excludes())),
            100_000,
            id="a hundred thousand of a 64 with excludes",
        ),
    ],
)
def test_search(benchmark: BenchmarkFixture, configured: Callable[[], Range], allocations: int) -> None:
    range_ = configured()
    store, pool = MemoryStore(), Pool(PoolKey("", str(range_.network)), shared=True)
    full = []
    last = Block(BlockKey(Space(), range_.version, 0), {})
    for block in blocks_of(range_, allocations):
        store.write_block(block.key, None, block, Deadline(SOON))
        full.append(block.key.base)
        last = block
    view = view_of(range_)
    pool = pool.with_exhausted(view, full[:-1]).with_front(view, full[-1])
    expected = last.lowest_free(range_.barred(last.key.base))
    assert expected is not None

    def search() -> tuple[int, int | None]:
        key = next(Search(store, pool, range_, Deadline(SOON)).candidates())
        stored = store.read_block(key, Deadline(SOON))
        return key.base, stored.trusted().lowest_free(range_.barred(key.base)) if stored else None

    def write_anew() -> None:
        stored = store.read_block(last.key, Deadline(SOON))
        read = Block.from_halves(last.key, last.bitmap(), last.owners())
        store.write_block(last.key, stored, read, Deadline(SOON))
        written = store.read_block(last.key, Deadline(SOON))
        assert written is not None
        written.trusted()  # an agent has what it wrote; reading it is a store's time

    tell(benchmark, search, write_anew, range_.version)
    assert search() == (full[-1], expected)


def blocks_of(range_: Range, allocations: int) -> Iterator[Block]:
    """The blocks of a range whose lowest addresses are given, but for half of the last block."""
    base, left = range_.first & ~(BLOCK_SIZE - 1), allocations
    while left > 0:
        key, used = BlockKey(Space(), range_.version, base), Bitmap(BLOCK_SIZE)
        offsets = used.take(BLOCK_SIZE, 0, range_.barred(base))
        held = offsets[: len(offsets) // 2 if left <= len(offsets) else None]
        owners = {offset: pod(left - number) for number, offset in enumerate(held)}
        left -= len(offsets)
        base += BLOCK_SIZE
        yield Block(key, owners)


def tell(
    benchmark: BenchmarkFixture, find: Callable[[], object], before: Callable[[], None], version: int
) -> None:
    """Time single calls, each on its own: a loop over one would find what the last has remembered."""
    taken = []
    for _ in range(ROUNDS):
        before()
        begun = perf_counter_ns()
        find()
        taken.append(perf_counter_ns() - begun)
    benchmark.pedantic(find, setup=before, rounds=100)  # type: ignore[no-untyped-call]
    taken.sort()
    slowest = taken[len(taken) * 99 // 100]
    benchmark.extra_info["figures"] = {
        MICROSECONDS: median(taken) / 1e3,
        f"{MICROSECONDS}, 99 % are faster": slowest / 1e3,
    }
    benchmark.extra_info["bar"] = [{"figure": MICROSECONDS, "at_most": WITHIN[version]}]
