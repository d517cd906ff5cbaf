"""The codec of bitmaps: sets to texts and back, frames of a right checksum with anything in them, damage.

The first byte says what an input is, the second for which capacity.
"""

from fuzz.reader import Reader
from fuzz.target import Target
from whereabouts._bitmap import Bitmap
from whereabouts._codec import (
    DENSE_CAPACITY,
    TAG,
    CodecError,
    _crc32c,
    decode,
    decode_bytes,
    encode,
    encode_bytes,
)

CAPACITIES = (
    *(1, 7, 8, 9, 63, 64, 65, 255, 256, 257, 4095, 4096, 4097, 1 << 16, (1 << 18) + 1),
    *(DENSE_CAPACITY - 1, DENSE_CAPACITY, DENSE_CAPACITY + 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 63) + 1),
    *((1 << 64) - 1, 1 << 64, (1 << 64) + 1, 1 << 127, (1 << 128) - 1, 1 << 128),
)
SET, FRAME, TEXT, DAMAGE = range(4)


def check(data: bytes) -> None:
    """Do what the first byte says."""
    reader = Reader(data)
    try_one = (_try_set, _try_frame, _try_text, _try_damage)[reader.below(4)]
    try_one(reader, reader.one_of(CAPACITIES))


def _try_set(reader: Reader, capacity: int) -> None:
    """Any set comes back, of its text and of its frame, and takes little more than its bits."""
    _comes_back(_set(reader, capacity))


def _set(reader: Reader, capacity: int) -> Bitmap:
    bitmap, at = Bitmap(capacity), 0
    while reader and at < capacity:
        bits = reader.below(256)
        at += reader.below(1 << (bits & 127)) if bits < 128 else bits & 127
        stop = min(capacity, at + 1 + reader.below(1 << reader.below(130)))
        if at < stop:
            bitmap.set_range(at, stop)
        at = stop + 1
    return bitmap


def _comes_back(bitmap: Bitmap) -> None:
    text, frame = encode(bitmap), encode_bytes(bitmap)
    assert decode(text, bitmap.capacity) == bitmap
    assert decode_bytes(frame, bitmap.capacity) == bitmap
    assert len(text) == len(TAG) + (len(frame) + 2) // 3 * 4


def _try_frame(reader: Reader, capacity: int) -> None:
    """Whatever a frame with a right checksum holds, it is a set within the capacity, or a CodecError."""
    body = reader.rest()
    bound = body + (capacity - 1).to_bytes(16, "little")
    try:
        bitmap = decode_bytes(_crc32c(bound, True).to_bytes(4, "little") + body, capacity)
    except CodecError:
        return
    assert bitmap.capacity == capacity
    assert bitmap.nbytes <= 4096 + max(capacity if capacity <= DENSE_CAPACITY else 0, 20_000 * len(body))
    runs = list(bitmap.runs())
    assert all(start < stop <= capacity for start, stop in runs)
    assert sum(stop - start for start, stop in runs) == bitmap.count()
    _comes_back(bitmap)


def _try_text(reader: Reader, capacity: int) -> None:
    """Any text is a set or a CodecError."""
    try:
        bitmap = decode(reader.rest().decode("utf-8", "replace"), capacity)
    except CodecError:
        return
    _comes_back(bitmap)


def _try_damage(reader: Reader, capacity: int) -> None:
    """A frame of which up to 32 bits in a row are altered, or that was cut, is not taken for another."""
    at, mask, cut = reader.below(4096), reader.below(1 << 32), reader.below(256)
    frame = encode_bytes(_set(reader, capacity))
    number = int.from_bytes(frame, "little") ^ mask << at % (8 * len(frame))
    damaged = (number & (1 << 8 * len(frame)) - 1).to_bytes(len(frame), "little")
    for other in (damaged, frame[: len(frame) - cut]):
        if other != frame:
            _refused(other, capacity)


def _refused(frame: bytes, capacity: int) -> None:
    try:
        bitmap = decode_bytes(frame, capacity)
    except CodecError:
        return
    raise AssertionError(f"{frame.hex()} was taken for {bitmap}")


def _seed(kind: int, capacity: int, rest: bytes) -> bytes:
    return bytes([kind, CAPACITIES.index(capacity)]) + rest


_BLOCK_FRAMES = (
    b"\x00\xff\x0f",
    b"\x80\x00\x00\xff",
    b"\x80\x03\x03\x55\xaa\x01",
    b"\x02\x01\x01\x00",
    b"\x82\x01\x01\x00",
)
SEEDS = (
    *(_seed(SET, capacity, bytes(range(1, 60))) for capacity in CAPACITIES[::3]),
    *(_seed(SET, capacity, b"\x05\x03\x00\x02") for capacity in CAPACITIES[1::3]),
    *(_seed(FRAME, capacity, body) for capacity in CAPACITIES[::4] for body in _BLOCK_FRAMES),
    _seed(TEXT, 256, encode(Bitmap.from_offsets(range(40), 256)).encode()),
    _seed(TEXT, 1 << 128, encode(Bitmap.from_offsets((1, 5, 1 << 100))).encode()),
    *(_seed(DAMAGE, 256, bytes([at, 0, 1, 0, 0, 0, 1, 4, 3, 2])) for at in (0, 33, 70)),
)
TARGET = Target(check, SEEDS, (TAG, b"\x80", b"\x00", b"\x81", b"\x7f"), largest=600)
