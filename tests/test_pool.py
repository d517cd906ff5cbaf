"""The hints of a pool as text: what was written comes back, anything else is dropped."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whereabouts._bitmap import Bitmap
from whereabouts._codec import CodecError, decode, encode
from whereabouts.block import BLOCK_SIZE
from whereabouts.pool import Pool, PoolKey

KEY = PoolKey("blue", "10.0.0.0/16")
FIRST = int(ip_network(KEY.range).network_address)
VIEW = "0badcafe"
HINTS = encode(Bitmap.from_offsets((0, 1, 7), 256))


@given(st.sets(st.integers(0, 255), min_size=1), st.none() | st.integers(0, 255))
def test_hints_come_back(exhausted: set[int], front: int | None) -> None:
    pool = Pool(KEY, True).with_exhausted(VIEW, [FIRST + BLOCK_SIZE * index for index in exhausted])
    pool = pool.with_front(VIEW, None if front is None else FIRST + BLOCK_SIZE * front)
    again = Pool.with_hints(KEY, True, pool.hints())
    assert (again.exhausted, again.fronts) == (pool.exhausted, pool.fronts)


FRONTS = st.none() | st.integers(0, 255)


@given(st.sets(st.integers(0, 255), min_size=2), FRONTS, st.lists(st.integers(0, 255), min_size=1))
def test_fronts_that_were_left_come_back_and_change_nothing_for_who_does_not_know_of_them(
    exhausted: set[int], front: int | None, taken_back: list[int]
) -> None:
    pool = Pool(KEY, True).with_exhausted(VIEW, [FIRST + BLOCK_SIZE * index for index in exhausted])
    pool = pool.with_front(VIEW, None if front is None else FIRST + BLOCK_SIZE * front)
    for index in taken_back:
        pool = pool.without_exhausted(FIRST + BLOCK_SIZE * index).leaving(pool)
    again = Pool.with_hints(KEY, True, pool.hints())
    assert (again.exhausted, again.fronts, again.left) == (pool.exhausted, pool.fronts, pool.left)
    known = [entry for entry in pool.hints().split() if entry.partition("=")[2]]
    assert " ".join(known) == Pool(KEY, True, pool.exhausted, pool.fronts).hints()
    with pytest.raises(CodecError):
        decode("", 256)


def test_the_lowest_fronts_that_were_left_are_kept_until_hints_reach_them() -> None:
    base = [FIRST + BLOCK_SIZE * index for index in range(12)]
    pool = Pool(KEY, True).with_exhausted(VIEW, base[:10]).with_front(VIEW, base[10])
    for index in (9, 8, 6, 4, 2, 7):
        pool = pool.without_exhausted(base[index]).leaving(pool)
    assert pool.fronts == {VIEW: base[2]}
    assert pool.left == {VIEW: [base[4], base[6], base[8], base[9]]}
    noted = pool.with_exhausted(VIEW, (base[2], base[4], base[6])).with_front(VIEW, base[7]).leaving(pool)
    assert noted.left == {VIEW: [base[8], base[9]]}
    full = noted.with_exhausted(VIEW, base[7:11]).with_front(VIEW, base[11]).leaving(noted)
    assert full.left == {}
    last = Pool(KEY, True).with_exhausted(VIEW, base[:1]).with_front(VIEW, base[1])
    assert last.without_exhausted(base[0]).leaving(last).left == {VIEW: [base[1]]}


@pytest.mark.parametrize("front", ["256", "-1", "x", "", "1.5", "²", "٣", "9" * 39, "9" * 5000])
def test_a_front_that_is_no_block_of_the_range_is_dropped_and_the_hints_stay(front: str) -> None:
    pool = Pool.with_hints(KEY, True, f"{VIEW}@{front}={HINTS}")
    assert pool.fronts == {}
    assert list(pool.exhausted[VIEW]) == [0, 1, 7]
    assert pool.hints() == f"{VIEW}={HINTS}"


@pytest.mark.parametrize(
    "entry", [f"\ufffd={HINTS}", f"a\0={HINTS}", f"\x7f={HINTS}", "0badcafe=g1:", "0badcafe", "="]
)
def test_hints_that_cannot_be_read_are_dropped(entry: str) -> None:
    pool = Pool.with_hints(KEY, True, f"{entry} {VIEW}@2={HINTS}")
    assert list(pool.exhausted) == [VIEW]
    assert pool.fronts == {VIEW: FIRST + 2 * BLOCK_SIZE}


@given(st.text(max_size=60))
def test_any_text_in_the_place_of_hints_is_read_and_written_without_growing(text: str) -> None:
    pool = Pool.with_hints(KEY, True, text)
    assert len(pool.hints().encode()) <= len(text.encode("utf-8", "surrogatepass"))
    assert Pool.with_hints(KEY, True, pool.hints()).hints() == pool.hints()
