"""The hints of a pool as text: what was written comes back, anything else is dropped."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whereabouts._bitmap import Bitmap
from whereabouts._codec import encode
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
