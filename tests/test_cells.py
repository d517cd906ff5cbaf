"""The cells of a picture against what is said naively of every address."""

from collections.abc import Mapping
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whereabouts.block import BLOCK_SIZE, Block, BlockDamaged, BlockKey, Space
from whereabouts.cells import (
    READ_ONE_BY_ONE,
    Cell,
    Gap,
    Givable,
    Recorded,
    Row,
    State,
    Window,
    blocks_between,
    choose_size,
    recorded,
    rows_of,
)
from whereabouts.deadline import Deadline
from whereabouts.ranges import Range
from whereabouts.store import StoredBlock
from whereabouts.stores.sqlite import SqliteStore

from .store_contract import SOON, pod

BASE = int(ip_address("10.0.0.0"))
SIZE = 2048
"""Addresses of the network that pictures are made of."""

addresses = st.integers(BASE, BASE + SIZE - 1)
excludes = st.builds(
    lambda first, bits: f"{ip_address(first - first % 2 ** (32 - bits))}/{bits}",
    addresses,
    st.integers(22, 32),
)
ranges = st.builds(
    lambda barred, start, dot_zero: Range.parse(
        "10.0.0.0/21", excludes=barred, start=ip_address(start) if start else None, allow_dot_zero=dot_zero
    ),
    st.lists(excludes, max_size=3),
    st.one_of(st.none(), addresses),
    st.booleans(),
)
states = st.sampled_from([State.USED, State.SUSPECT, State.CONFLICT])


@st.composite
def contents(draw: st.DrawFn) -> dict[int, Recorded]:
    """Blocks of the network, by first address."""
    bases = draw(st.sets(st.integers(0, SIZE // BLOCK_SIZE - 1)))
    found: dict[int, Recorded] = {}
    for base in sorted(BASE + BLOCK_SIZE * index for index in bases):
        offsets = st.dictionaries(st.integers(base, base + BLOCK_SIZE - 1), states, max_size=20)
        found[base] = draw(st.one_of(offsets, st.none()))
    return found


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Networks inside the network, in cells of either size."""
    prefix = draw(st.integers(21, 32))
    addresses = 2 ** (32 - prefix)
    first = BASE + addresses * draw(st.integers(0, SIZE // addresses - 1))
    return Window(
        4, first, first + addresses - 1, draw(st.sampled_from([1, BLOCK_SIZE])), 2 ** draw(st.integers(0, 8))
    )


def state_by_address(address: int, content: Mapping[int, Recorded], given: bool, known: bool) -> State:
    """The state of one address, said naively."""
    block = content.get(address // BLOCK_SIZE * BLOCK_SIZE, {})
    if block is None:
        return State.DAMAGED
    if address not in block:
        return State.FREE if given else State.BARRED
    return State.STRAY if block[address] == State.USED and known and not given else block[address]


@given(windows(), contents(), st.lists(ranges, max_size=3), st.booleans(), st.booleans())
def test_every_address_is_counted_once_with_its_state(
    window: Window, content: dict[int, Recorded], configured: list[Range], whole: bool, known: bool
) -> None:
    rows = list(rows_of(window, content.items(), Givable(configured, known=known), whole=whole))
    expected = window.first
    for row in rows:
        if isinstance(row, Gap):
            assert not whole
            assert row.first == expected
            states = [
                _state(address, content, configured, known) for address in range(row.first, row.last + 1)
            ]
            assert set(states) <= {State.FREE, State.BARRED}
            assert row.free == states.count(State.FREE)
            assert row.rows == window.row_of(row.last) - window.row_of(row.first) + 1
            expected = row.last + 1
            continue
        assert 1 <= len(row.cells) <= window.columns
        for cell in row.cells:
            assert cell.first == expected
            assert cell.addresses <= window.size
            states = [
                _state(cell.first + offset, content, configured, known) for offset in range(cell.addresses)
            ]
            assert cell.counts == tuple(states.count(state) for state in State)
            expected += cell.addresses
    assert expected == window.last + 1
    assert sum(row.rows if isinstance(row, Gap) else 1 for row in rows) == window.rows


def _state(address: int, content: Mapping[int, Recorded], configured: list[Range], known: bool) -> State:
    return state_by_address(address, content, any(one.contains(address) for one in configured), known)


@given(st.lists(ranges, max_size=4), st.lists(st.tuples(addresses, addresses), max_size=10))
def test_what_several_configurations_give_is_counted_exactly(
    configured: list[Range], intervals: list[tuple[int, int]]
) -> None:
    givable = Givable(configured)
    for first, last in map(sorted, intervals):
        naive = sum(any(one.contains(address) for one in configured) for address in range(first, last + 1))
        assert givable.count(first, last) == naive


def test_what_an_ipv6_network_gives_is_counted_exactly() -> None:
    givable = Givable(
        [Range.parse("fd00::/8", excludes=["fd80::/9"]), Range.parse("fd00::/8", start="fd00::9")]
    )
    first = int(ip_address("fd00::"))
    assert givable.count(first, first + 2**120 - 1) == 2**120 - 2
    assert Givable([Range.parse("fd00::/8", excludes=["fd80::/9"])]).count(0, 2**128) == 2**119 - 1


def test_a_cell_shows_its_worst_problem_and_how_full_it_is() -> None:
    def cell(**counts: int) -> Cell:
        return Cell(0, tuple(counts.get(state.name.lower(), 0) for state in State))

    assert cell(barred=256).state == State.BARRED
    assert cell(barred=200, free=56).state == State.FREE
    assert cell(free=255, used=1).state == State.USED
    assert cell(used=200, stray=1).state == State.STRAY
    assert cell(stray=1, suspect=1, conflict=1).state == State.CONFLICT
    assert cell(damaged=1, conflict=1).state == State.DAMAGED
    eighths = [cell(free=256 - used, used=used).eighths for used in (0, 1, 32, 127, 128, 255, 256)]
    assert eighths == [0, 1, 1, 3, 4, 7, 8]
    assert cell(barred=250, used=6).eighths == 8


def test_records_tell_of_conflicts_and_marks_of_the_rest() -> None:
    key = BlockKey.of(Space(), ip_address("10.0.0.0"))
    twice = pod(2)._replace(container_id="conflict: default/a, default/b")
    block = Block(key, {1: pod(1), 2: twice, 3: pod(3)})
    marked = {BASE + 3: State.SUSPECT, BASE + 9: State.SUSPECT}
    assert recorded(StoredBlock(key, 1, block), marked) == {
        BASE + 1: State.USED,
        BASE + 2: State.CONFLICT,
        BASE + 3: State.SUSPECT,
    }

    def damaged() -> Block:
        raise BlockDamaged("it fails its checksum")

    assert recorded(StoredBlock.judged(key, 1, damaged, lambda: ()), marked) is None


def test_a_huge_range_takes_no_longer_than_what_is_recorded_in_it() -> None:
    first = int(ip_address("fd00::"))
    window = Window(6, first, first + 2**120 - 1, BLOCK_SIZE, 32)
    far = first + 2**100
    rows = list(rows_of(window, [(first, {first + 1: State.USED}), (far, None)], Givable([]), whole=False))
    assert [type(row) for row in rows] == [Row, Gap, Row, Gap]
    assert isinstance(rows[1], Gap)
    assert (rows[1].first, rows[1].last) == (first + 32 * BLOCK_SIZE, far - 1)


@pytest.mark.parametrize(("size", "cells"), [(256, 1), (2048, 1), (2049, 256), (2**32, 256)])
def test_small_ranges_have_a_cell_for_every_address(size: int, cells: int) -> None:
    assert choose_size(size, 64) == cells


@pytest.mark.parametrize("blocks", [3, READ_ONE_BY_ONE + 1])
def test_blocks_of_a_space_are_found_however_many_there_are(tmp_path: object, blocks: int) -> None:
    store = SqliteStore(f"{tmp_path}/w.db", Deadline(SOON))
    keys = [BlockKey(Space(), 4, BASE + BLOCK_SIZE * index) for index in range(blocks)]
    for key in [*keys, BlockKey(Space("blue"), 4, BASE), BlockKey(Space(), 4, BASE + BLOCK_SIZE * blocks)]:
        store.write_block(key, None, Block(key, {1: pod(1)}), Deadline(SOON))
    found = blocks_between(store, Space(), 4, BASE + 7, BASE + BLOCK_SIZE * blocks - 1, Deadline(SOON))
    assert [stored.key for stored in found] == keys
    store.close()
