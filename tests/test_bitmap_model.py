"""Bitmaps against plain sets: whatever is done to both, they answer alike."""

import contextlib
import random
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from whereabouts._bitmap import Bitmap

CAPACITIES = [
    1,
    63,
    64,
    256,
    4095,
    4096,
    10_000,
    2**18 + 1,
    2**24,
    2**64,
    2**64 + 9,
    2**127,
    2**128 - 1,
    2**128,
]
# Intervals that fill words, pages and nodes above them, and just miss to; the oracle writes them out.
LENGTHS = [0, 1, 2, 63, 64, 65, 200, 4095, 4096, 4097, 9000]


def runs_of(offsets: Iterable[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for offset in sorted(offsets):
        if runs and runs[-1][1] == offset:
            runs[-1] = (runs[-1][0], offset + 1)
        else:
            runs.append((offset, offset + 1))
    return runs


class Model:
    """A set of used offsets below a capacity, as slow as it is plain."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used: set[int] = set()

    def free(self, start: int, barred: Sequence[tuple[int, int]], wanted: int) -> list[int]:
        found: list[int] = []
        offset = start
        while offset < self.capacity and len(found) < wanted:
            if offset not in self.used and not any(first <= offset < stop for first, stop in barred):
                found.append(offset)
            offset += 1
        return found

    def packed(self, start: int, stop: int) -> bytes:
        number = sum(1 << (offset - start) for offset in self.used if start <= offset < stop)
        return number.to_bytes((stop - start + 7) // 8, "little")


def offsets_below(capacity: int) -> st.SearchStrategy[int]:
    """Offsets near each other and near the edges of nodes, so that things happen in one place."""
    anchors = [0, 0, capacity // 2, capacity - 1, *(64**level for level in range(1, 22))]
    near = st.integers(-70, 70) | st.integers(0, 130).map(lambda word: word * 64)
    return st.builds(
        lambda anchor, by: min(max(anchor + by, 0), capacity - 1), st.sampled_from(anchors), near
    )


class BitmapMachine(RuleBasedStateMachine):
    @initialize(capacity=st.sampled_from(CAPACITIES))
    def begin(self, capacity: int) -> None:
        self.bitmap = Bitmap(capacity)
        self.model = Model(capacity)
        self.offsets = offsets_below(capacity)

    def an_offset(self, data: st.DataObject) -> int:
        again = data.draw(st.booleans())
        if self.model.used and again:
            return data.draw(st.sampled_from(sorted(self.model.used)))
        return data.draw(self.offsets)

    def an_interval(self, data: st.DataObject) -> tuple[int, int]:
        start = data.draw(self.offsets)
        start -= start % data.draw(st.sampled_from([1, 64, 4096]))
        return start, min(start + data.draw(st.sampled_from(LENGTHS)), self.model.capacity)

    def some_barred(self, data: st.DataObject, start: int) -> list[tuple[int, int]]:
        steps = data.draw(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 80)), max_size=5))
        barred, at = [], start - 20
        for gap, length in steps:
            barred.append((at + gap, at + gap + length))
            at += gap + length
        return barred

    @rule(data=st.data())
    def use_one(self, data: st.DataObject) -> None:
        offset = self.an_offset(data)
        assert self.bitmap.set(offset) is (offset not in self.model.used)
        self.model.used.add(offset)

    @rule(data=st.data())
    def free_one(self, data: st.DataObject) -> None:
        offset = self.an_offset(data)
        assert self.bitmap.clear(offset) is (offset in self.model.used)
        self.model.used.discard(offset)

    @rule(data=st.data())
    def use_interval(self, data: st.DataObject) -> None:
        start, stop = self.an_interval(data)
        assert self.bitmap.set_range(start, stop) == len(set(range(start, stop)) - self.model.used)
        self.model.used.update(range(start, stop))

    @rule(data=st.data())
    def free_interval(self, data: st.DataObject) -> None:
        start, stop = self.an_interval(data)
        assert self.bitmap.clear_range(start, stop) == len(self.model.used.intersection(range(start, stop)))
        self.model.used.difference_update(range(start, stop))

    @rule(data=st.data())
    def search(self, data: st.DataObject) -> None:
        start = self.an_offset(data)
        barred = self.some_barred(data, start)
        assert self.bitmap.first_free(start) == next(iter(self.model.free(start, (), 1)), None)
        assert self.bitmap.first_free_outside(barred, start) == next(
            iter(self.model.free(start, barred, 1)), None
        )

    @rule(data=st.data())
    def give_lowest(self, data: st.DataObject) -> None:
        start = data.draw(st.just(0) | self.offsets)
        barred = self.some_barred(data, start)
        expected = self.model.free(start, barred, 1)
        assert self.bitmap.allocate(start, barred) == next(iter(expected), None)
        self.model.used.update(expected)

    @rule(data=st.data(), wanted=st.integers(0, 100))
    def take(self, data: st.DataObject, wanted: int) -> None:
        start = data.draw(st.just(0) | self.offsets)
        barred = self.some_barred(data, start)
        expected = self.model.free(start, barred, wanted)
        assert self.bitmap.take(wanted, start, barred) == expected
        self.model.used.update(expected)

    @rule(data=st.data())
    def give_back_and_give_again(self, data: st.DataObject) -> None:
        if not self.model.used:
            return
        offset = data.draw(st.sampled_from(sorted(self.model.used)))
        self.bitmap.clear(offset)
        lowest = self.bitmap.allocate()
        self.model.used.discard(offset)
        assert [lowest] == self.model.free(0, (), 1)
        assert lowest is not None
        self.model.used.add(lowest)

    @rule(data=st.data(), union=st.booleans())
    def combine(self, data: st.DataObject, union: bool) -> None:
        other, offsets = Bitmap(self.model.capacity), set[int]()
        for _ in range(data.draw(st.integers(0, 6))):
            start, stop = self.an_interval(data)
            other.set_range(start, stop)
            offsets.update(range(start, stop))
        expected = self.model.used | offsets if union else self.model.used - offsets
        combined = self.bitmap | other if union else self.bitmap - other
        assert set(combined) == expected
        assert set(other) == offsets
        if union:
            self.bitmap |= other
        else:
            self.bitmap -= other
        assert self.bitmap == combined
        self.model.used = expected

    @rule(data=st.data())
    def read_interval(self, data: st.DataObject) -> None:
        start, stop = self.an_interval(data)
        assert self.bitmap.count(start, stop) == len(self.model.used.intersection(range(start, stop)))
        assert self.bitmap.to_bytes(start, stop) == self.model.packed(start, stop)

    @rule(data=st.data())
    def test_one(self, data: st.DataObject) -> None:
        offset = self.an_offset(data)
        assert self.bitmap.test(offset) is (offset in self.bitmap) is (offset in self.model.used)

    @invariant()
    def holds_the_same(self) -> None:
        if not hasattr(self, "bitmap"):
            return
        used = self.model.used
        # A copy, as looking would do in the original what it puts off.
        twin = self.bitmap.copy()
        assert twin.count() == len(used)
        assert bool(twin) is bool(used)
        assert list(twin) == sorted(used)
        assert list(twin.runs()) == runs_of(used)
        assert twin == Bitmap.from_offsets(
            random.Random(0).sample(sorted(used), len(used)), self.model.capacity
        )


TestBitmapAgainstSet = BitmapMachine.TestCase


@given(st.data())
def test_bytes_of_any_set_come_back(data: st.DataObject) -> None:
    capacity = data.draw(st.integers(1, 20_000))
    offsets = data.draw(st.sets(st.integers(0, capacity - 1)))
    packed = sum(1 << offset for offset in offsets).to_bytes((capacity + 7) // 8, "little")
    bitmap = Bitmap.from_bytes(packed, capacity)
    assert set(bitmap) == offsets
    assert bitmap.to_bytes() == packed


ANYTHING: st.SearchStrategy[Any] = (
    st.integers()
    | st.sampled_from([2**63, 2**64, 2**127, 2**128, -(2**63), -(2**64)])
    | st.none()
    | st.booleans()
    | st.floats()
    | st.text(max_size=3)
    | st.binary(max_size=9)
    | st.lists(st.integers() | st.tuples(st.integers(), st.integers()), max_size=3)
)


@given(
    st.sampled_from([name for name in dir(Bitmap) if not name.startswith("_")]),
    st.lists(ANYTHING, max_size=3),
    st.sampled_from(CAPACITIES),
)
def test_any_arguments_give_an_answer_or_a_plain_error(
    name: str, arguments: list[Any], capacity: int
) -> None:
    bitmap = Bitmap(capacity)
    bitmap.set_range(0, capacity // 2)
    method = getattr(bitmap, name)
    # Half of a large capacity as an array or as bytes is more than a test should ask for.
    if callable(method) and not (name in ("to_numpy", "to_bytes") and capacity > 2**24):
        if name == "take" and arguments:
            arguments[0] = min(arguments[0], 1000) if isinstance(arguments[0], int) else arguments[0]
        with contextlib.suppress(TypeError, ValueError, IndexError):
            method(*arguments)
    assert bitmap.count() == sum(stop - start for start, stop in bitmap.runs())


@pytest.mark.parametrize("bits", [8, 12, 18, 20])
def test_a_long_life_of_leases_gives_the_lowest_each_time(bits: int) -> None:
    """Used and freed at random around 90 % and around a few, against a sorted list of what is free."""
    chance = random.Random(bits)
    capacity = min(2**bits, 40_000)
    spread = 2**bits // capacity
    bitmap = Bitmap(2**bits)
    barred = [(at * spread + 1, (at + 1) * spread) for at in range(capacity)] if spread > 1 else []
    free = bytearray(b"\1" * capacity)
    used: list[int] = []
    for target in (capacity * 9 // 10, 20, capacity // 2, capacity):
        target = min(target, 3000)
        while len(used) != target:
            if len(used) < target or chance.random() < 0.2:
                lowest = free.find(1)
                free[lowest] = 0
                used.append(lowest)
                assert bitmap.allocate(0, barred) == lowest * spread
            else:
                place = chance.randrange(len(used))
                used[place], used[-1] = used[-1], used[place]
                free[used[-1]] = 1
                assert bitmap.clear(used.pop() * spread)
    assert list(bitmap) == sorted(at * spread for at in used)
