"""The codec: what comes back, how small it is, what it refuses, and that its texts stay readable."""

import base64
import math
import random
import struct
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whereabouts import _codec
from whereabouts._bitmap import Bitmap
from whereabouts._codec import DENSE_CAPACITY, TAG, CodecError, decode, decode_bytes, encode, encode_bytes
from whereabouts.errors import WhereaboutsError

WIDEST = 1 << 128
RAW, HOLES, RUNS = 0x00, 0x80, 0x80


def bitmap_of(intervals: Iterable[tuple[int, int]], capacity: int) -> Bitmap:
    bitmap = Bitmap(capacity)
    intervals = list(intervals)
    for start, stop in intervals:
        bitmap.set_range(start, stop)
    assert list(islice(bitmap.runs(), len(intervals) + 1)) == intervals
    return bitmap


def intervals_of(bits: Iterable[int]) -> Iterator[tuple[int, int]]:
    start = None
    at = -1
    for at, bit in enumerate(bits):
        if bit and start is None:
            start = at
        elif not bit and start is not None:
            yield start, at
            start = None
    if start is not None:
        yield start, at + 1


def crc32c(data: bytes) -> int:
    """CRC-32C as its definition has it, one bit a step."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def sealed(body: bytes, capacity: int) -> bytes:
    """A frame whose checksum is right, whatever is in it: what an attacker would write."""
    return struct.pack("<I", crc32c(body + (capacity - 1).to_bytes(16, "little"))) + body


# -- what comes back ----------------------------------------------------------------------------------


@st.composite
def runs_below(draw: st.DrawFn, capacity: int) -> list[tuple[int, int]]:
    """Disjoint intervals that do not touch, of lengths from one to all that there is."""
    width = draw(st.integers(1, max(1, capacity.bit_length())))
    edges = draw(st.lists(st.integers(0, min(capacity, 1 << width)), unique=True, max_size=40))
    edges = sorted(edges)[: len(edges) // 2 * 2]
    return list(zip(edges[::2], edges[1::2], strict=True))


CAPACITIES = st.one_of(
    st.integers(1, 300),
    st.integers(1, 1 << 16),
    st.sampled_from(
        [256, 1 << 16, DENSE_CAPACITY + 1, 1 << 32, (1 << 63) + 5, 1 << 64, 1 << 120, WIDEST - 1, WIDEST]
    ),
)


@settings(max_examples=400)
@given(st.data(), CAPACITIES)
def test_every_set_comes_back(data: st.DataObject, capacity: int) -> None:
    bitmap = bitmap_of(data.draw(runs_below(capacity)), capacity)
    text = encode(bitmap)
    assert decode(text, capacity) == bitmap
    assert decode_bytes(encode_bytes(bitmap), capacity) == bitmap
    assert text == TAG + base64.b64encode(encode_bytes(bitmap)).decode()


@settings(max_examples=200)
@given(st.binary(min_size=1, max_size=80), st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7]))
def test_every_bit_pattern_comes_back(raw: bytes, spare: int) -> None:
    bits = [(raw[i // 8] >> i % 8) & 1 for i in range(8 * len(raw) - spare)]
    bitmap = bitmap_of(intervals_of(bits), len(bits))
    assert decode(encode(bitmap), len(bits)) == bitmap


@settings(max_examples=200)
@given(st.integers(0, 2**32), st.sampled_from([0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.9, 1]), st.integers(1, 999))
def test_dense_and_wide_paths_write_the_same_frame(seed: int, density: float, span: int) -> None:
    rng = random.Random(seed)
    intervals = list(intervals_of(rng.random() < density for _ in range(span)))
    dense = encode_bytes(bitmap_of(intervals, DENSE_CAPACITY))
    wide = encode_bytes(bitmap_of(intervals, DENSE_CAPACITY + 1))
    assert dense[4:] == wide[4:]
    assert list(decode_bytes(wide, DENSE_CAPACITY + 1).runs()) == intervals


@settings(max_examples=200)
@given(st.data())
def test_clustered_sets_take_run_lengths_on_both_paths(data: st.DataObject) -> None:
    edges = sorted(data.draw(st.sets(st.integers(0, 1 << 20), min_size=2, max_size=30)))
    intervals = list(zip(edges[::2], edges[1::2], strict=False))
    frames = [encode_bytes(bitmap_of(intervals, DENSE_CAPACITY + more)) for more in (0, 1)]
    assert frames[0][4:] == frames[1][4:]
    assert list(decode_bytes(frames[0], DENSE_CAPACITY).runs()) == intervals


def test_equal_sets_give_equal_texts_however_they_were_made() -> None:
    rng = random.Random(2)
    offsets = rng.sample(range(1 << 16), 5000)
    one, other = Bitmap(1 << 16), Bitmap(1 << 16)
    for offset in offsets:
        one.set(offset)
    other.set_range(0, 1 << 16)
    for offset in set(range(1 << 16)) - set(offsets):
        other.clear(offset)
    assert encode(one) == encode(other)


@pytest.mark.parametrize("capacity", [1, 7, 8, 9, 63, 64, 65, 256, 1 << 24, (1 << 24) + 1, 1 << 64, WIDEST])
@pytest.mark.parametrize("kind", ["empty", "full", "first", "last", "all but first", "all but last"])
def test_simple_sets_come_back_and_are_tiny(capacity: int, kind: str) -> None:
    intervals = {
        "empty": [],
        "full": [(0, capacity)],
        "first": [(0, 1)],
        "last": [(capacity - 1, capacity)],
        "all but first": [(1, capacity)],
        "all but last": [(0, capacity - 1)],
    }[kind]
    bitmap = bitmap_of([(start, stop) for start, stop in intervals if start < stop], capacity)
    assert decode(encode(bitmap), capacity) == bitmap
    assert len(encode_bytes(bitmap)) <= 8 + 2 * capacity.bit_length() / 8 + 1


def test_dense_leases_and_far_reservations_of_an_ipv6_network() -> None:
    rng = random.Random(3)
    far = sorted({rng.randrange(1 << 60, WIDEST) for _ in range(1000)})
    bitmap = bitmap_of([(0, 100_000), *((offset, offset + 1) for offset in far)], WIDEST)
    text = encode(bitmap)
    assert decode(text, WIDEST) == bitmap
    information = sum(math.log2(WIDEST / (i + 1)) for i in range(1000)) / 8
    assert len(text) < 4 / 3 * (1.15 * information + 24)


# -- how small it is ----------------------------------------------------------------------------------


def entropy_bytes(offsets: int, used: int) -> float:
    if used in (0, offsets):
        return 0.0
    p = used / offsets
    return -offsets * (p * math.log2(p) + (1 - p) * math.log2(1 - p)) / 8


PATTERNS = ["empty", "full", "dense prefix", "dense, 1 % holes", "60 % prefix, 1 % holes"]
PATTERNS += ["0.1 %", "1 %", "10 %", "25 %", "38 %", "50 %", "62 %", "90 %", "99.9 %"]


def pattern(name: str, capacity: int) -> tuple[Bitmap, float]:
    """A set, and the bytes that no code can go below: the prefix's length, then the entropy within it."""
    rng = numpy.random.default_rng([*name.encode(), capacity])
    prefix = capacity * 6 // 10 if "prefix" in name else capacity
    density = {"empty": 0.0, "full": 1.0, "dense prefix": 1.0}.get(name)
    if density is None:
        density = 0.99 if "holes" in name else float(name.removesuffix(" %")) / 100
    bits = rng.random(capacity) < density
    bits[prefix:] = False
    least = entropy_bytes(prefix, int(bits.sum())) + (math.log2(capacity + 1) / 8 if prefix < capacity else 0)
    return Bitmap.from_bytes(numpy.packbits(bits, bitorder="little").tobytes(), capacity), least


@pytest.mark.parametrize("width", [8, 16, 20])
@pytest.mark.parametrize("name", PATTERNS)
def test_size_is_within_a_twentieth_of_the_information_and_24_bytes(name: str, width: int) -> None:
    bitmap, least = pattern(name, 1 << width)
    frame = encode_bytes(bitmap)
    assert len(frame) <= 1.05 * least + 24
    assert len(encode(bitmap)) == len(TAG) + (len(frame) + 2) // 3 * 4
    assert decode_bytes(frame, 1 << width) == bitmap


@pytest.mark.parametrize("used", range(257))
def test_a_block_filled_from_below_takes_at_most_fifteen_characters(used: int) -> None:
    bitmap = bitmap_of([(0, used)] if used else [], 256)
    assert len(encode(bitmap)) <= len(TAG) + 12
    assert decode(encode(bitmap), 256) == bitmap


def test_no_block_is_more_than_five_bytes_longer_than_its_bits() -> None:
    rng = random.Random(4)
    for _ in range(500):
        density = rng.random()
        bitmap = bitmap_of(intervals_of(rng.random() < density for _ in range(256)), 256)
        assert len(encode_bytes(bitmap)) <= 32 + 5


# -- that its texts stay readable ---------------------------------------------------------------------

GOLDEN = [
    (256, [], "g1:E943VQA="),
    (256, [(0, 1)], "g1:gWwbGQAB"),
    (256, [(0, 100)], "g1:tMU0v4UBCAQ="),
    (256, [(0, 256)], "g1:tzQg7YcBBAA="),
    (256, [(0, 3), (4, 200)], "g1:Th21D4UCgYMA"),
    (256, [(1, 2), (100, 101), (255, 256)], "g1:otSS9QUDEQJBaA=="),
    (256, [(10, 60), (100, 160), (200, 250)], "g1:SEAuBYAFBZXR4/YYAQ=="),
    (1 << 16, [(0, 40_000), (41_000, 65_536)], "g1:G/B7roAAD/3hAPD86y8="),
    (1 << 64, [(0, 1000), (1 << 63, (1 << 63) + 1)], "g1:uxetUYAAAAF4HgAAAAAAAADwgv///////w8="),
    (WIDEST, [(0, WIDEST)], "g1:qV/IQv4BEAAAAAAAAAAAAAAAAAAAAAA="),
]


@pytest.mark.parametrize(("capacity", "intervals", "text"), GOLDEN)
def test_texts_of_this_version_are_read_and_written_for_ever(
    capacity: int, intervals: list[tuple[int, int]], text: str
) -> None:
    bitmap = bitmap_of(intervals, capacity)
    assert encode(bitmap) == text
    assert decode(text, capacity) == bitmap


# -- what it refuses ----------------------------------------------------------------------------------

SAMPLES = [(capacity, intervals) for capacity, intervals, _ in GOLDEN]
SAMPLES += [(256, [(i, i + 1) for i in range(0, 256, step)]) for step in (2, 3, 11)]


@pytest.mark.parametrize(("capacity", "intervals"), SAMPLES)
def test_every_flipped_bit_is_found(capacity: int, intervals: list[tuple[int, int]]) -> None:
    bitmap = bitmap_of(intervals, capacity)
    frame, text = encode_bytes(bitmap), encode(bitmap)
    for bit in range(8 * len(frame)):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CodecError):
            decode_bytes(bytes(damaged), capacity)
    for bit in range(8 * len(text)):
        damaged = bytearray(text.encode())
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CodecError):
            decode(damaged.decode("latin-1"), capacity)


@pytest.mark.parametrize(("capacity", "intervals"), SAMPLES)
def test_every_cut_and_every_addition_is_found(capacity: int, intervals: list[tuple[int, int]]) -> None:
    frame = encode_bytes(bitmap_of(intervals, capacity))
    text = encode(bitmap_of(intervals, capacity))
    for size in range(len(frame)):
        with pytest.raises(CodecError):
            decode_bytes(frame[:size], capacity)
    for size in range(len(text)):
        with pytest.raises(CodecError):
            decode(text[:size], capacity)
    for extra in ("A", "=", "====", "AAAA", "\n", " ", "\0"):
        with pytest.raises(CodecError):
            decode(text + extra, capacity)
    with pytest.raises(CodecError):
        decode_bytes(frame + b"\0", capacity)


@pytest.mark.parametrize(("capacity", "intervals"), SAMPLES)
def test_a_frame_is_bound_to_its_capacity(capacity: int, intervals: list[tuple[int, int]]) -> None:
    text = encode(bitmap_of(intervals, capacity))
    for other in {1, 255, 257, capacity - 1, capacity + 1, 2 * capacity, 1 << 64, WIDEST} - {capacity}:
        if 1 <= other <= WIDEST:
            with pytest.raises(CodecError):
                decode(text, other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "g1",
        "g1:",
        "G1:E943VQA=",
        "g2:E943VQA=",
        " g1:E943VQA=",
        "g1: E943VQA=",
        "g1:E943VQA=\n",
        "g1:E943VQA",
        "g1:E943VQB=",
        "g1:E943VQA==",
        "g1:E943=QA=",
        "g1:E943V===",
        "g1:====",
        "g1:E9-3VQA=",
        "g1:E943VQA\u00e9",
        "g1:E943VQA\ud800",
        "g1:E943VQA\U0001f600",
        "\ud800\ud801\ud802",
        "[object Object]",
        "g1:" + "A" * 100_000,
    ],
)
def test_text_that_is_not_canonical_is_refused(text: str) -> None:
    with pytest.raises(CodecError):
        decode(text, 256)


def test_the_error_is_of_both_families() -> None:
    assert issubclass(CodecError, WhereaboutsError)
    assert issubclass(CodecError, ValueError)


@pytest.mark.parametrize("capacity", [0, -1, WIDEST + 1, -(1 << 200)])
def test_a_capacity_that_cannot_be_is_the_callers_mistake(capacity: int) -> None:
    with pytest.raises(ValueError, match="capacity") as caught:
        decode("g1:E943VQA=", capacity)
    assert not isinstance(caught.value, CodecError)


def varint(value: int) -> bytes:
    low = bytes([value & 127 | (128 if value > 127 else 0)])
    return low + varint(value >> 7) if value > 127 else low


HOSTILE = [
    b"\x00\x00",  # raw, with a byte that no writer adds
    b"\x00" + b"\xff" * 33,  # raw, longer than the capacity
    b"\x00" + b"\xff" * 32 + b"\x01",
    b"\x01",  # gaps without a count,
    b"\x01\x00",  # with none,
    b"\x01" + varint(1 << 62) + b"\xff",  # with more than there are bits,
    b"\x01" + b"\xff" * 20,  # with an endless one,
    b"\x01\x81\x00\x01\x00",  # with one written in two bytes,
    b"\x01\x02\x01\x00",  # with fewer codes than it says,
    b"\x01\x01\x03\x00",  # with more,
    b"\x01\x01\x01\x02",  # with padding that is not zero,
    b"\x01\x01\x01\x00\x00",  # with a byte too many
    b"\x08\x02\x03\xff\xff",  # the second code leaves the capacity
    b"\x88\x02\x03\xff\xff",
    b"\x09\x01\x01\xff\x01",  # a gap longer than the capacity
    b"\x7f\x01\x01" + b"\xff" * 16,  # a parameter out of all proportion
    b"\xff\x01\x01" + b"\xff" * 16,
    b"\x20\x01\x01" + b"\xff" * 4,
    b"\x80",  # runs without parameters
    b"\x80\x00",
    b"\x80\x00\xff\x01",
    b"\x80\xff\x00\x01",
    b"\x80\x00\x00\x00",  # runs: zeros without an end
    b"\x80\x00\x00\x01",  # a free run and no used one: the padding is no code
    b"\x80\x00\x00" + b"\x00" * 50 + b"\x01",  # a length of 2**400
    b"\x80\x07\x07\xff\xff\xff",
    b"\x80\x00\x09\x03\xff\xff",
]


@pytest.mark.parametrize("body", HOSTILE)
def test_a_right_checksum_over_nonsense_is_refused(body: bytes) -> None:
    with pytest.raises(CodecError):
        decode_bytes(sealed(body, 256), 256)
    with pytest.raises(CodecError):
        decode(TAG + base64.b64encode(sealed(body, 256)).decode(), 256)


@pytest.mark.parametrize("capacity", [1, 9, 64, 256, 1000, 1 << 16, DENSE_CAPACITY + 1, 1 << 64, WIDEST])
def test_sealed_noise_gives_a_set_within_the_capacity_or_an_error(capacity: int) -> None:
    rng = random.Random(capacity)
    methods = [RAW, RUNS, *range(1, 28), *range(129, 156), 0x7F, 0xFF]
    for _ in range(600):
        method = rng.choice(methods)
        body = rng.randbytes(rng.randrange(24)) if rng.random() < 0.7 else bytes(rng.randrange(24))
        if method == RUNS:
            body = bytes([rng.randrange(12), rng.randrange(12)]) + body
        elif method != RAW:
            body = varint(rng.randrange(12)) + body
        try:
            bitmap = decode_bytes(sealed(bytes([method]) + body, capacity), capacity)
        except CodecError:
            continue
        runs = list(bitmap.runs())
        assert bitmap.capacity == capacity
        assert all(start < stop for start, stop in runs)
        assert all(one[1] < other[0] for one, other in pairwise(runs))
        assert not runs or (runs[0][0] >= 0 and runs[-1][1] <= capacity)
        assert decode(encode(bitmap), capacity) == bitmap


@settings(max_examples=300)
@given(st.one_of(st.text(), st.binary().map(lambda raw: TAG + base64.b64encode(raw).decode())), CAPACITIES)
def test_any_text_gives_a_bitmap_or_the_one_error(text: str, capacity: int) -> None:
    with pytest.raises(CodecError):
        decode(text, capacity)


@settings(max_examples=300)
@given(st.data(), CAPACITIES, st.sampled_from([RAW, 1, 2, 5, 13, 60, 0x80, 0x81, 0x83, 0x8D, 0xC0]))
def test_any_sealed_body_gives_a_bitmap_or_the_one_error(
    data: st.DataObject, capacity: int, method: int
) -> None:
    body = bytes([method]) + data.draw(st.binary(max_size=60))
    try:
        bitmap = decode_bytes(sealed(body, capacity), capacity)
    except CodecError:
        return
    assert decode_bytes(encode_bytes(bitmap), capacity) == bitmap


@pytest.mark.parametrize("bad", [None, 3, b"g1:E943VQA=", ["g1:"]])
def test_what_is_not_text_is_a_type_error(bad: object) -> None:
    with pytest.raises(TypeError):
        decode(bad, 256)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [None, 3, b"", {1, 2}])
def test_what_is_not_a_bitmap_is_a_type_error(bad: object) -> None:
    with pytest.raises(TypeError):
        encode(bad)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        encode_bytes(bad)  # type: ignore[arg-type]


def test_a_tiny_text_of_a_huge_interval_stays_cheap() -> None:
    bitmap = bitmap_of([(5, WIDEST - 7)], WIDEST)
    text = encode(bitmap)
    assert len(text) < 80
    assert decode(text, WIDEST).nbytes < 100_000


# -- the parts that stand on their own ----------------------------------------------------------------


@given(st.binary(min_size=1, max_size=100))
def test_both_checksums_are_crc32c(data: bytes) -> None:
    assert _codec._crc32c(data, True) == _codec._crc32c(data, False) == crc32c(data)


def test_crc32c_has_its_check_value() -> None:
    assert _codec._crc32c(b"123456789", True) == 0xE3069283


def test_a_second_reader_can_be_written_from_the_document() -> None:
    """Reads gap frames as docs/codec.md tells, with nothing of the codec."""
    rng = random.Random(6)
    for density in (0.02, 0.1, 0.9, 0.98):
        intervals = list(intervals_of(rng.random() < density for _ in range(2000)))
        frame = encode_bytes(bitmap_of(intervals, 2000))
        assert frame == sealed(frame[4:], 2000)
        assert read_gap_frame(frame, 2000) == {offset for run in intervals for offset in range(*run)}


def read_gap_frame(frame: bytes, capacity: int) -> set[int]:
    method, k, at, shift, count = frame[4], frame[4] & 0x7F, 5, 0, 0
    assert k
    while True:
        count |= (frame[at] & 127) << shift
        shift += 7
        at += 1
        if frame[at - 1] < 128:
            break
    rest_bytes = (count * k + 7) // 8
    quotients = int.from_bytes(frame[at : len(frame) - rest_bytes], "little")
    rests = int.from_bytes(frame[len(frame) - rest_bytes :], "little")
    marks, mark = [], -1
    for _ in range(count):
        quotient = (quotients & -quotients).bit_length() - 1
        mark += 1 + (quotient << k) + (rests & (1 << k) - 1)
        marks.append(mark)
        quotients >>= quotient + 1
        rests >>= k
    assert quotients == rests == 0
    return set(range(marks[-1])) - set(marks) if method & HOLES else set(marks)
