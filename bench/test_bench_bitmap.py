"""The bitmap engine against other sets: who finds, gives and takes back the lowest free offset how fast.

pyroaring and intbitset hold the free offsets, as they find the lowest member best; bitarray holds the used
ones; ``set and scan`` is the Go plugin's way, a set of the used ones and a walk from the lowest. ``bare
call`` is a compiled method that does nothing. A round is 200 operations. Bytes are the memory of the set, for
pyroaring, which does not tell it, the size of what it serialises.
"""

import random
import sys
from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import repeat
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import pyroaring
import pytest
from bitarray import bitarray
from intbitset import intbitset
from pytest_benchmark.fixture import BenchmarkFixture

from whereabouts._bitmap import Bitmap

SIZES = [8, 12, 16, 20, 24]
PEERS = ["whereabouts", "pyroaring", "bitarray", "intbitset", "set and scan"]
SCANNED = 12  # bits beyond which a walk from the lowest offset takes milliseconds
OPERATIONS = 200
SECONDS = 0.1
"""What the rounds of one entry may take together."""


class Engine(NamedTuple):
    """A set of used offsets, whatever holds it. The loops are its own, so that none pays for a wrapper."""

    lowest: Callable[[], Any]
    in_turns: Callable[[list[int], list[int]], None]
    """Release ``leases[place]`` for each place, and put what is allocated instead there."""
    at_once: Callable[[list[int]], None]
    """Release all leases, then allocate as many, and put them there."""
    bytes: int


@lru_cache(maxsize=4)
def used_bits(bits: int, used: float, pattern: str) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """The used offsets as booleans: the lowest ones, or any."""
    mask = np.zeros(1 << bits, bool)
    if pattern == "all but the last":
        mask[:-1] = True
    elif pattern == "dense":
        mask[: int(used * len(mask))] = True
    else:
        mask[np.random.default_rng(bits).permutation(len(mask))[: int(used * len(mask))]] = True
    return mask


def whereabouts_engine(mask: Any) -> Engine:
    bitmap = Bitmap.from_bytes(np.packbits(mask, bitorder="little"), len(mask))
    allocate, clear = bitmap.allocate, bitmap.clear

    def in_turns(leases: list[Any], places: list[int]) -> None:
        for place in places:
            clear(leases[place])
            leases[place] = allocate()

    def at_once(leases: list[Any]) -> None:
        for offset in leases:
            clear(offset)
        for place in range(len(leases)):
            leases[place] = allocate()

    return Engine(bitmap.first_free, in_turns, at_once, bitmap.nbytes)


def pyroaring_engine(mask: Any) -> Engine:
    free = pyroaring.BitMap(np.flatnonzero(~mask).astype(np.uint32))
    lowest, remove, add = free.min, free.remove, free.add

    def in_turns(leases: list[int], places: list[int]) -> None:
        for place in places:
            add(leases[place])
            leases[place] = offset = lowest()
            remove(offset)

    def at_once(leases: list[int]) -> None:
        for offset in leases:
            add(offset)
        for place in range(len(leases)):
            leases[place] = offset = lowest()
            remove(offset)

    return Engine(lowest, in_turns, at_once, len(free.serialize()))


def bitarray_engine(mask: Any) -> Engine:
    used = bitarray(endian="little")
    used.frombytes(np.packbits(mask, bitorder="little").tobytes())
    find = used.find

    def in_turns(leases: list[int], places: list[int]) -> None:
        for place in places:
            used[leases[place]] = 0
            leases[place] = offset = find(0)
            used[offset] = 1

    def at_once(leases: list[int]) -> None:
        for offset in leases:
            used[offset] = 0
        for place in range(len(leases)):
            leases[place] = offset = find(0)
            used[offset] = 1

    return Engine(partial(find, 0), in_turns, at_once, sys.getsizeof(used))


def intbitset_engine(mask: Any) -> Engine:
    free = intbitset(np.flatnonzero(~mask).tolist())
    remove, add = free.remove, free.add

    def in_turns(leases: list[int], places: list[int]) -> None:
        for place in places:
            add(leases[place])
            leases[place] = offset = free[0]
            remove(offset)

    def at_once(leases: list[int]) -> None:
        for offset in leases:
            add(offset)
        for place in range(len(leases)):
            leases[place] = offset = free[0]
            remove(offset)

    return Engine(partial(free.__getitem__, 0), in_turns, at_once, len(mask) // 8)


def scan_engine(mask: Any) -> Engine:
    used = set(np.flatnonzero(mask).tolist())

    def lowest() -> int:
        offset = 0
        while offset in used:
            offset += 1
        return offset

    def in_turns(leases: list[int], places: list[int]) -> None:
        for place in places:
            used.remove(leases[place])
            leases[place] = offset = lowest()
            used.add(offset)

    def at_once(leases: list[int]) -> None:
        used.difference_update(leases)
        for place in range(len(leases)):
            leases[place] = offset = lowest()
            used.add(offset)

    return Engine(lowest, in_turns, at_once, sys.getsizeof(used) + 32 * len(used))


ENGINES = dict(
    zip(
        PEERS,
        [whereabouts_engine, pyroaring_engine, bitarray_engine, intbitset_engine, scan_engine],
        strict=True,
    )
)


def measure(benchmark: BenchmarkFixture, entry: str, group: str, run: Callable[[], Any], size: int) -> None:
    """Run as often as fits in a time, so that slow ones end and fast ones have a fair minimum."""
    began = perf_counter()
    run()
    rounds = max(3, min(2000, int(SECONDS / (perf_counter() - began))))
    benchmark.group = group
    benchmark.extra_info.update(entry=entry, **({"bytes": size} if size else {}))
    benchmark.pedantic(run, rounds=rounds, iterations=1)  # type: ignore[no-untyped-call]


def sizes_and(*entries: str, long: tuple[int, ...] = ()) -> pytest.MarkDecorator:
    """Every entry with every size that it can do in a moment; sets of ``long`` sizes take a while to make."""
    return pytest.mark.parametrize(
        ("bits", "entry"),
        [
            pytest.param(bits, entry, marks=[pytest.mark.long] * (bits in long))
            for bits in SIZES
            for entry in entries
            if bits <= SCANNED or entry != "set and scan"
        ],
    )


@sizes_and(*PEERS, "bare call")
def test_lowest_free(benchmark: BenchmarkFixture, entry: str, bits: int) -> None:
    if entry == "bare call":
        lowest, size = (1).bit_length, 0
    else:
        engine = ENGINES[entry](used_bits(bits, 1, "all but the last"))
        assert engine.lowest() == 2**bits - 1
        lowest, size = engine.lowest, engine.bytes

    def run() -> None:
        for _ in repeat(None, OPERATIONS):
            lowest()

    measure(benchmark, entry, f"lowest free, the last of 2^{bits}", run, size)
    stats: Any = benchmark.stats
    benchmark.extra_info["curve"] = {
        "title": "The lowest free offset, where it is the last one",
        "x": {"label": "offsets", "log": True},
        "y": {"label": "nanoseconds to find it", "log": True},
        "series": {entry: [[2**bits, stats["min"] / OPERATIONS * 1e9]]},
    }


@sizes_and(*PEERS, long=(24,))
@pytest.mark.parametrize("used", [0.9, 0.99])
@pytest.mark.parametrize("pattern", ["dense", "random"])
def test_release_and_allocate(
    benchmark: BenchmarkFixture, entry: str, bits: int, pattern: str, used: float
) -> None:
    """Each time any used offset comes back, and the lowest free one is given."""
    mask = used_bits(bits, used, pattern)
    engine = ENGINES[entry](mask)
    leases = random.Random(bits).choices(np.flatnonzero(mask).tolist(), k=OPERATIONS)
    leases = list(dict.fromkeys(leases))
    places = random.Random(bits).choices(range(len(leases)), k=OPERATIONS)
    run = partial(engine.in_turns, leases, places)
    measure(benchmark, entry, f"release + allocate, 2^{bits}, {used:.0%} {pattern}", run, engine.bytes)


@sizes_and(*PEERS, long=(24,))
@pytest.mark.parametrize("pattern", ["dense", "random"])
def test_release_many_then_allocate_as_many(
    benchmark: BenchmarkFixture, entry: str, bits: int, pattern: str
) -> None:
    """What came back is not what is given next: no engine gets by with remembering the last one."""
    mask = used_bits(bits, 0.9, pattern)
    engine = ENGINES[entry](mask)
    leases = list(dict.fromkeys(random.Random(bits).choices(np.flatnonzero(mask).tolist(), k=OPERATIONS)))
    run = partial(engine.at_once, leases)
    measure(benchmark, entry, f"release 200, allocate 200, 2^{bits}, 90% {pattern}", run, engine.bytes)


@pytest.mark.parametrize("entry", ["whereabouts", "pyroaring64"])
def test_release_and_allocate_in_a_far_reaching_range(benchmark: BenchmarkFixture, entry: str) -> None:
    """100,000 dense leases and 1,000 far ones in 2^64 offsets. Roaring has to hold what is used, as what is
    free would be too much, and finds the lowest gap by bisection of ranks."""
    chance = random.Random(64)
    offsets = [*range(100_000), *(chance.randrange(2**64) for _ in range(1000))]
    places = chance.choices(range(100_000), k=OPERATIONS)
    if entry == "whereabouts":
        bitmap = Bitmap.from_offsets(offsets, 2**64)
        size = bitmap.nbytes

        def run() -> None:
            for place in places:
                bitmap.clear(place)
                bitmap.allocate()
    else:
        used = pyroaring.BitMap64(offsets)
        size = len(used.serialize())

        def run() -> None:
            for place in places:
                used.remove(place)
                used.add(bisect_left(range(100_001), True, key=lambda at: used.rank(at) <= at))

    measure(benchmark, entry, "release + allocate, 2^64, 100,000 dense, 1,000 far", run, size)
