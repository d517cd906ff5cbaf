"""The codec against general compressors and roaring: time of each step, and bytes, side by side in one run.

``whereabouts`` starts from a ``Bitmap`` and ends with one, checksum included. The compressors start from and
end with the bitmap's raw bytes; ``zlib-1 Bitmap`` makes them and reads them too. ``… text`` is the same with
base64, as it stands in an annotation. Bytes are those that were written.
"""

import base64
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyroaring
import pytest
import zstandard
from pytest_benchmark.fixture import BenchmarkFixture

from whereabouts._bitmap import Bitmap
from whereabouts._codec import decode, decode_bytes, encode, encode_bytes

PATTERNS = ["dense prefix", "1 % holes", "60 % prefix, 1 % holes", "0.1 %", "10 %", "50 %"]
ENTRIES = [
    "whereabouts",
    "whereabouts text",
    "zlib-1",
    "zlib-1 Bitmap",
    "zlib-1 text",
    "zlib-6",
    "zstd-3",
    "pyroaring",
]

pytestmark = pytest.mark.benchmark(max_time=0.05, min_rounds=5)


class Case(NamedTuple):
    """One set in every form that an entry starts from."""

    capacity: int
    bitmap: Bitmap
    raw: bytes
    roaring: pyroaring.BitMap


@lru_cache(maxsize=1)
def case(pattern: str, width: int) -> Case:
    rng = np.random.default_rng([*pattern.encode(), width])
    capacity = 1 << width
    if pattern == "dense prefix":
        density = 1.0
    else:
        density = 0.99 if "holes" in pattern else float(pattern.removesuffix(" %")) / 100
    bits = rng.random(capacity) < density
    if "prefix" in pattern:
        bits[capacity * 6 // 10 :] = False
    raw = np.packbits(bits, bitorder="little").tobytes()
    roaring = pyroaring.BitMap(np.flatnonzero(bits).astype(np.uint32))
    roaring.run_optimize()
    return Case(capacity, Bitmap.from_bytes(raw, capacity), raw, roaring)


def steps(entry: str, case: Case) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """How the entry writes the set, and how it reads what it wrote."""
    zstd, unzstd = zstandard.ZstdCompressor(level=3), zstandard.ZstdDecompressor()
    bitmap, raw, capacity = case.bitmap, case.raw, case.capacity
    table: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
        "whereabouts": (lambda: encode_bytes(bitmap), lambda written: decode_bytes(written, capacity)),
        "whereabouts text": (lambda: encode(bitmap), lambda written: decode(written, capacity)),
        "zlib-1": (lambda: zlib.compress(raw, 1), zlib.decompress),
        "zlib-1 Bitmap": (
            lambda: zlib.compress(bitmap.to_bytes(), 1),
            lambda written: Bitmap.from_bytes(zlib.decompress(written), capacity),
        ),
        "zlib-1 text": (
            lambda: base64.b64encode(zlib.compress(raw, 1)).decode(),
            lambda written: zlib.decompress(base64.b64decode(written, validate=True)),
        ),
        "zlib-6": (lambda: zlib.compress(raw, 6), zlib.decompress),
        "zstd-3": (lambda: zstd.compress(raw), unzstd.decompress),
        "pyroaring": (case.roaring.serialize, pyroaring.BitMap.deserialize),
    }
    return table[entry]


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("width", [8, 16, 20])
def test_encode(benchmark: BenchmarkFixture, entry: str, pattern: str, width: int) -> None:
    write, _ = steps(entry, case(pattern, width))
    benchmark.group = f"encode {pattern} of 2^{width}"
    benchmark.extra_info.update(entry=entry, bytes=len(write()))
    benchmark(write)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("width", [8, 16, 20])
def test_decode(benchmark: BenchmarkFixture, entry: str, pattern: str, width: int) -> None:
    write, read = steps(entry, case(pattern, width))
    written = write()
    benchmark.group = f"decode {pattern} of 2^{width}"
    benchmark.extra_info.update(entry=entry, bytes=len(written))
    benchmark(read, written)
