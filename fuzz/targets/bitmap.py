"""The bitmap engine beside a naive one: a sequence of operations, after each of which both have to agree."""

from collections.abc import Sequence

from fuzz.reader import Reader
from fuzz.target import Target
from whereabouts._bitmap import Bitmap

CAPACITIES = (
    *(1, 2, 63, 64, 65, 256, 4095, 4096, 4097, 1 << 18, (1 << 18) + 1, 1 << 24, (1 << 32) - 1, 1 << 64),
    *((1 << 64) + 1, (1 << 127) + 5, (1 << 128) - 1, 1 << 128),
)
MOST_OPERATIONS = 64
_FEW = 600
"""Offsets that are looked at one by one."""

Interval = tuple[int, int]


class Naive:
    """Used offsets as disjoint intervals in order, half-open."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.runs: list[Interval] = []

    def without(self, start: int, stop: int) -> list[Interval]:
        parts = []
        for low, high in self.runs:
            parts += [(low, min(high, start)), (max(low, stop), high)]
        return [(low, high) for low, high in parts if low < high]

    def count(self, start: int, stop: int) -> int:
        return sum(max(0, min(high, stop) - max(low, start)) for low, high in self.runs)

    def set_range(self, start: int, stop: int) -> None:
        self.runs = joined([*self.without(start, stop), (start, stop)] if start < stop else self.runs)

    def clear_range(self, start: int, stop: int) -> None:
        self.runs = joined(self.without(start, stop))

    def first_free(self, start: int, barred: Sequence[Interval] = ()) -> int | None:
        for low, high in joined([*self.runs, *barred]):
            if low <= start < high:
                start = high
        return start if start < self.capacity else None


def joined(intervals: Sequence[Interval]) -> list[Interval]:
    """The same offsets in as few intervals as there can be, in order."""
    found: list[Interval] = []
    for low, high in sorted(intervals):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        elif low < high:
            found.append((low, high))
    return found


class Pair:
    """A bitmap and its oracle."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.capacity = reader.one_of(CAPACITIES)
        self.one = Bitmap(self.capacity)
        self.naive = Naive(self.capacity)
        self.kept = (self.one.copy(), list(self.naive.runs))

    def offset(self) -> int:
        """An offset, most often near an edge of a word, a page, or the whole."""
        edge = 1 << self.reader.below(129)
        at = edge + self.reader.below(256) - 128
        return (self.capacity - at if self.reader.flag() else at) % self.capacity

    def interval(self) -> Interval:
        """An interval within bounds, often short."""
        start = self.offset()
        stop = self.offset() if self.reader.flag() else start + self.reader.below(200)
        start, stop = sorted((start, stop))
        return start, min(stop, self.capacity)

    def step(self) -> None:
        """One operation, whose answers agree."""
        operations = (self.set, self.clear, self.set_range, self.clear_range, self.allocate, self.take)
        self.reader.one_of((*operations, self.keep, self.merge, self.subtract, self.bytes_of, self.look))()
        assert list(self.one.runs()) == self.naive.runs
        assert self.one.count() == self.naive.count(0, self.capacity)
        assert self.one.first_free() == self.naive.first_free(0)

    def set(self) -> None:
        at = self.offset()
        assert self.one.set(at) == (self.naive.count(at, at + 1) == 0)
        self.naive.set_range(at, at + 1)

    def clear(self) -> None:
        at = self.offset()
        assert self.one.clear(at) == (self.naive.count(at, at + 1) == 1)
        self.naive.clear_range(at, at + 1)

    def set_range(self) -> None:
        start, stop = self.interval()
        assert self.one.set_range(start, stop) == stop - start - self.naive.count(start, stop)
        self.naive.set_range(start, stop)

    def clear_range(self) -> None:
        start, stop = self.interval()
        assert self.one.clear_range(start, stop) == self.naive.count(start, stop)
        self.naive.clear_range(start, stop)

    def barred(self) -> list[Interval]:
        return joined([self.interval() for _ in range(self.reader.below(4))])

    def allocate(self) -> None:
        start, barred = self.offset(), self.barred()
        free = self.naive.first_free(start, barred)
        assert self.one.first_free_outside(barred, start) == free
        assert self.one.allocate(start, barred) == free
        if free is not None:
            self.naive.set_range(free, free + 1)

    def take(self) -> None:
        start, barred, number = self.offset(), self.barred(), self.reader.below(100)
        expected: list[int] = []
        while len(expected) < number and (free := self.naive.first_free(start, barred)) is not None:
            self.naive.set_range(free, free + 1)
            expected.append(free)
        assert self.one.take(number, start, barred) == expected

    def keep(self) -> None:
        self.kept = (self.one.copy(), list(self.naive.runs))

    def merge(self) -> None:
        other, runs = self.kept
        assert list((self.one | other).runs()) == joined([*self.naive.runs, *runs])
        self.one |= other
        self.naive.runs = joined([*self.naive.runs, *runs])

    def subtract(self) -> None:
        other, runs = self.kept
        for start, stop in runs:
            self.naive.clear_range(start, stop)
        assert list((self.one - other).runs()) == self.naive.runs
        self.one -= other
        assert list(other.runs()) == runs

    def bytes_of(self) -> None:
        start, stop = self.interval()
        stop = min(stop, start + _FEW)
        bits = sum(self.naive.count(at, at + 1) << at - start for at in range(start, stop))
        assert self.one.to_bytes(start, stop) == bits.to_bytes((stop - start + 7) // 8, "little")
        if stop > start:
            small = Bitmap.from_bytes(self.one.to_bytes(start, stop), stop - start)
            assert small.count() == self.naive.count(start, stop)

    def look(self) -> None:
        start, stop = self.interval()
        assert self.one.count(start, stop) == self.naive.count(start, stop)
        assert self.one.test(start) == (start in self.one) == (self.naive.count(start, start + 1) == 1)
        assert self.one.first_free(start) == self.naive.first_free(start)
        if self.one.count() <= _FEW:
            offsets = [at for low, high in self.naive.runs for at in range(low, high)]
            assert list(self.one) == offsets
            assert Bitmap.from_offsets(offsets, self.capacity) == self.one


def check(data: bytes) -> None:
    """Carry out the operations."""
    pair = Pair(Reader(data))
    for _ in range(MOST_OPERATIONS):
        if not pair.reader:
            return
        pair.step()


SEEDS = (
    *(bytes([capacity, *range(1, 120)]) for capacity in range(len(CAPACITIES))),
    *(bytes([capacity, 2, 0, 0, 0, 1, 200, 0, 0, *range(60, 1, -1)]) for capacity in (5, 9, 13, 17)),
    bytes([5, 2, 0, 128, 0, 1, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 0, 90]),
)
TARGET = Target(check, SEEDS, largest=512)
