"""A range as rows of cells, for a picture: what is in each cell, and nothing about how it looks.

A cell is one address, or one block for large ranges. Rows in which nothing is recorded are left out where
there would be too many, so that a picture's size goes with what is recorded and not with the range.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from itertools import groupby
from typing import NamedTuple

from whereabouts.block import BLOCK_SIZE, BlockKey, Space
from whereabouts.deadline import Deadline
from whereabouts.liveness import CONFLICT
from whereabouts.ranges import Interval, Range
from whereabouts.store import Store, StoredBlock

MOST_ROWS = 64
"""Rows up to which all are shown."""
MOST_ROWS_OF_ADDRESSES = 32
"""Rows up to which a cell is one address, where nobody says otherwise."""
READ_ONE_BY_ONE = 32
"""Blocks up to which they are read one by one: more come from a listing of all."""


class State(IntEnum):
    """What an address is. The problems come last, the worst at the end."""

    FREE = 0
    USED = 1
    BARRED = 2
    """Free, and given by no configuration."""
    STRAY = 3
    """Used, and given by no configuration, where all are known."""
    SUSPECT = 4
    """Used, and a report has something against it."""
    CONFLICT = 5
    """Given to two pods, one by each plugin."""
    DAMAGED = 6
    """In a block that cannot be read."""


class Cell(NamedTuple):
    """Neighbouring addresses: the first of them, and how many are in each state, by its number."""

    first: int
    counts: tuple[int, ...]

    @property
    def addresses(self) -> int:
        """How many there are."""
        return sum(self.counts)

    @property
    def state(self) -> State:
        """The worst problem; without one, USED if any is, else FREE if any is, else BARRED."""
        for state in reversed(State):
            if state > State.BARRED and self.counts[state]:
                return state
        if self.counts[State.USED]:
            return State.USED
        return State.FREE if self.counts[State.FREE] else State.BARRED

    @property
    def used(self) -> int:
        """Addresses that cannot be given now, but could be otherwise."""
        return self.addresses - self.counts[State.FREE] - self.counts[State.BARRED]

    @property
    def eighths(self) -> int:
        """How full it is: 0 empty, 1 to 7 partly, 8 nothing left."""
        used, free = self.used, self.counts[State.FREE]
        if not used:
            return 0
        return max(1, 8 * used // (used + free))


class Row(NamedTuple):
    """Neighbouring cells. The first and the last row of a picture may be short."""

    cells: Sequence[Cell]


class Gap(NamedTuple):
    """Rows in which nothing is recorded, and that are left out: their addresses, inclusive."""

    first: int
    last: int
    rows: int
    free: int
    """Addresses that can be given."""


class Window(NamedTuple):
    """What a picture shows: addresses from ``first`` to ``last``, ``size`` to a cell, ``columns`` to a row.

    ``size`` is 1 or BLOCK_SIZE; ``columns`` is a power of two up to BLOCK_SIZE. A row begins at a multiple
    of what it holds, or at ``first``.
    """

    version: int
    first: int
    last: int
    size: int
    columns: int

    @property
    def span(self) -> int:
        """Addresses of a whole row."""
        return self.size * self.columns

    @property
    def rows(self) -> int:
        """How many rows all addresses take."""
        return self.last // self.span - self.first // self.span + 1

    def row_of(self, address: int) -> int:
        """The row that an address is in, from 0."""
        return address // self.span - self.first // self.span

    def bounds(self, row: int) -> Interval:
        """The first and the last address of a row."""
        start = (self.first // self.span + row) * self.span
        return max(self.first, start), min(self.last, start + self.span - 1)


def choose_size(addresses: int, columns: int) -> int:
    """Addresses to a cell for so many of them."""
    return 1 if addresses <= MOST_ROWS_OF_ADDRESSES * columns else BLOCK_SIZE


class Givable:
    """The addresses that at least one configuration of a range would give."""

    def __init__(self, ranges: Sequence[Range], *, known: bool = True) -> None:
        """The union of what ``ranges`` give. ``known``: whether there are no other configurations."""
        self.known = known
        whole = _merged(interval for one in ranges if not one.dot_zero_barred for interval in one.usable)
        others = _merged(interval for one in ranges if one.dot_zero_barred for interval in one.usable)
        without_dot_zeros = _without(others, whole)
        pieces = [(*interval, False) for interval in whole]
        self._pieces = sorted(pieces + [(*interval, True) for interval in without_dot_zeros])
        self._lasts = [last for _, last, _ in self._pieces]

    def count(self, first: int, last: int) -> int:
        """How many there are from ``first`` to ``last``."""
        total = 0
        for index in range(bisect_left(self._lasts, first), len(self._pieces)):
            start, stop, dot_zeros_barred = self._pieces[index]
            if start > last:
                break
            low, high = max(first, start), min(last, stop)
            total += high - low + 1
            if dot_zeros_barred:
                total -= high // BLOCK_SIZE - (low - 1) // BLOCK_SIZE
        return total


def _merged(intervals: Iterable[Interval]) -> list[Interval]:
    """The same addresses as disjoint intervals in order."""
    merged: list[Interval] = []
    for first, last in sorted(intervals):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def _without(intervals: Iterable[Interval], barred: Sequence[Interval]) -> list[Interval]:
    """What is left of disjoint intervals without others."""
    left = []
    for first, last in intervals:
        for start, stop in barred:
            if start <= last and stop >= first:
                if start > first:
                    left.append((first, start - 1))
                first = max(first, stop + 1)
        if first <= last:
            left.append((first, last))
    return left


Recorded = Mapping[int, State] | None
"""The states of the recorded addresses of a block, by address; None for a block that is damaged."""


def recorded(stored: StoredBlock, marked: Mapping[int, State]) -> Recorded:
    """What a block has recorded. ``marked`` are states that something else found, by address."""
    if stored.block is None:
        return None
    base = stored.key.base
    return {
        base + offset: marked.get(
            base + offset, State.CONFLICT if owner.container_id.startswith(CONFLICT) else State.USED
        )
        for offset, owner in stored.block
    }


def rows_of(
    window: Window, blocks: Iterable[tuple[int, Recorded]], givable: Givable, *, whole: bool
) -> Iterator[Row | Gap]:
    """The rows of a picture, from blocks in order, given as first address and what is recorded.

    ``whole``: rows without records are rows as well; otherwise they are gaps.
    """
    following = 0
    for row, group in groupby(_by_row(window, blocks), key=lambda item: item[0]):
        yield from _empty_rows(window, following, row, givable, whole)
        yield _row(window, row, {base: content for _, base, content in group}, givable)
        following = row + 1
    yield from _empty_rows(window, following, window.rows, givable, whole)


def _by_row(window: Window, blocks: Iterable[tuple[int, Recorded]]) -> Iterator[tuple[int, int, Recorded]]:
    """Row, first address and content of every block in every row that it has something recorded in."""
    for base, content in blocks:
        first, last = max(base, window.first), min(base + BLOCK_SIZE - 1, window.last)
        addresses = range(first, last + 1) if content is None else content
        rows = sorted({window.row_of(address) for address in addresses if first <= address <= last})
        for row in rows:
            yield row, base, content


def _empty_rows(window: Window, start: int, stop: int, givable: Givable, whole: bool) -> Iterator[Row | Gap]:
    if whole:
        for row in range(start, stop):
            yield _row(window, row, {}, givable)
    elif start < stop:
        first, last = window.bounds(start)[0], window.bounds(stop - 1)[1]
        yield Gap(first, last, stop - start, givable.count(first, last))


def _row(window: Window, row: int, blocks: Mapping[int, Recorded], givable: Givable) -> Row:
    first, last = window.bounds(row)
    starts = range(first - first % window.size, last + 1, window.size)
    return Row(
        [
            _cell(
                max(first, at), min(last, at + window.size - 1), blocks.get(at - at % BLOCK_SIZE, {}), givable
            )
            for at in starts
        ]
    )


def _cell(first: int, last: int, content: Recorded, givable: Givable) -> Cell:
    counts = [0] * len(State)
    if content is None:
        counts[State.DAMAGED] = last - first + 1
        return Cell(first, tuple(counts))
    could = givable.count(first, last)
    taken = 0
    for address in range(first, last + 1) if content else ():
        state = content.get(address)
        if state is not None:
            given = givable.count(address, address)
            taken += given
            stray = state == State.USED and givable.known and not given
            counts[State.STRAY if stray else state] += 1
    counts[State.FREE] = could - taken
    counts[State.BARRED] = last - first + 1 - sum(counts)
    return Cell(first, tuple(counts))


def blocks_between(
    store: Store, space: Space, version: int, first: int, last: int, deadline: Deadline
) -> Iterator[StoredBlock]:
    """The blocks of a space with addresses from ``first`` to ``last``, in order."""
    low = first - first % BLOCK_SIZE
    keys = [key for key, _ in store.bitmaps(space, version, low, last, deadline)]
    if len(keys) <= READ_ONE_BY_ONE:
        for key in keys:
            stored = store.read_block(key, deadline, fresh=True)
            if stored is not None:
                yield stored
        return
    for stored in store.blocks(deadline):
        if _lies_in(stored.key, space, version, low, last):
            yield stored


def _lies_in(key: BlockKey, space: Space, version: int, first: int, last: int) -> bool:
    return key.space == space and key.version == version and first <= key.base <= last
