"""The owners of a block: packed and back, any bytes in their place, texts of one width, blocks of two halves.

The first byte says what an input is.
"""

import contextlib
from binascii import crc32
from collections.abc import Sequence
from struct import pack as packed_integers

from fuzz.reader import Reader
from fuzz.target import Target
from whereabouts._columns import pack_texts, unpack_texts
from whereabouts.addresses import parse_address
from whereabouts.block import Block, BlockDamaged, BlockKey, Space
from whereabouts.owners import MAX_OWNERS, Owner, OwnersError, pack, unpack

OWNERS, PACKED, TEXTS, FIXED, HALVES, DAMAGE = range(6)
KEY = BlockKey.of(Space(), parse_address("10.0.0.0"))


def check(data: bytes) -> None:
    """Do what the first byte says."""
    reader = Reader(data)
    tries = (_try_owners, _try_packed, _try_texts, _try_fixed, _try_halves, _try_damage)
    tries[reader.below(len(tries))](reader)


def _try_owners(reader: Reader) -> None:
    """Whatever can be packed comes back; what cannot is an OwnersError."""
    _come_back(_owners(reader))


def _owners(reader: Reader) -> list[Owner]:
    owners: list[Owner] = []
    while reader and len(owners) <= MAX_OWNERS:
        before = owners[-1] if owners else Owner("", "", "", "", "", "", "", 0)
        same = reader.below(256)
        texts = [before[i] if same >> i & 1 else reader.text() for i in range(len(Owner._fields) - 1)]
        created = before.created if same >> 7 else reader.below(1 << 40)
        repeated = 1 + reader.below(8)
        owners += [Owner._make([*texts, created])] * repeated
    return owners


def _come_back(owners: Sequence[Owner]) -> None:
    try:
        packed = pack(owners)
    except OwnersError:
        assert len(owners) > MAX_OWNERS or any(
            one.created >= 1 << 32 or "\0" in "".join(one[:-1]) for one in owners
        )
        return
    assert unpack(packed) == owners


def _try_packed(reader: Reader) -> None:
    """Any bytes are owners, which can be packed again, or an OwnersError."""
    data = reader.rest()
    try:
        owners = unpack(data)
    except OwnersError:
        return
    assert all("\0" not in text for one in owners for text in one[:-1])
    _come_back(owners)


def _try_texts(reader: Reader) -> None:
    """Texts that are packed in one width come back."""
    texts: list[str] = []
    width = reader.below(256)
    while reader and len(texts) < MAX_OWNERS:
        texts.append(reader.take(width or 1).decode("utf-8" if reader.flag() else "latin-1", "replace"))
    if texts:
        _texts_come_back(texts)


def _texts_come_back(texts: Sequence[str]) -> None:
    body = pack_texts(tuple(texts))
    if body is not None:
        assert unpack_texts(body, len(texts)) == list(texts)


def _try_fixed(reader: Reader) -> None:
    """Any bytes are so many texts of one width, or a ValueError."""
    count = 1 + reader.below(MAX_OWNERS + 1)
    try:
        texts = unpack_texts(reader.rest(), count)
    except ValueError:
        return
    assert len(texts) == count
    assert len(set(map(len, texts))) == 1
    assert all(text.isascii() and "\0" not in text for text in texts)
    _texts_come_back(texts)


def _try_halves(reader: Reader) -> None:
    """Halves whose checksums are right are a block, which comes back, or damaged."""
    used = Block(KEY, dict.fromkeys(reader.take(32), Owner("", "", "", "", "", "", "", 0)))
    rest = reader.rest()
    sums = packed_integers("<II", crc32(used._used.to_bytes()), crc32(rest))
    try:
        block = Block.from_halves(KEY, used.bitmap(), sums + rest)
    except BlockDamaged:
        return
    assert [offset for offset, _ in block] == [offset for offset, _ in used]
    assert Block.from_halves(KEY, block.bitmap(), block.owners()) == block


def _try_damage(reader: Reader) -> None:
    """A half in which up to 32 bits in a row are altered is never taken for another block."""
    at, mask, half = reader.below(1 << 14), reader.below(1 << 32), reader.flag()
    owners = _owners(reader)[:MAX_OWNERS]
    try:
        block = Block(KEY, dict(enumerate(owners)))
        halves = [block.bitmap(), block.owners()]
    except OwnersError:
        return
    size = len(halves[half])
    number = int.from_bytes(halves[half], "little") ^ mask << at % (8 * size)
    halves[half] = (number & (1 << 8 * size) - 1).to_bytes(size, "little")
    with contextlib.suppress(BlockDamaged):
        assert Block.from_halves(KEY, *halves) == block


_POD = Owner(
    "default/web-5d4f8c7b9-x2k4p",
    "0b5f8a3e-1d2c-4e5f-8a9b-0c1d2e3f4a5b",
    "3f" * 32,
    "net1",
    "node-1",
    "pods",
    "10.0.0.0/16",
    1_700_000_000,
)
_CONTAINER = Owner("c0ffee", "", "c0ffee", "eth0", "", "net", "fd00::/64", 1)
_LISTS: tuple[list[Owner], ...] = (
    [],
    [_POD],
    [_POD, _CONTAINER],
    [_POD._replace(pod_ref=f"default/web-5d4f8c7b9-{n:05x}", container_id=f"{n:064x}") for n in range(30)],
    [_POD._replace(pod_ref="ns/" + "é" * n, node="n" * n, created=n << 20) for n in range(1, 9)],
)


def _spelled(owners: Sequence[Owner]) -> bytes:
    """Owners as :func:`_owners` reads them."""
    spelled = bytearray()
    for one in owners:
        spelled.append(0)
        for text in one[:-1]:
            data = str(text).encode()[:255]
            spelled += bytes([len(data)]) + data
        spelled += one.created.to_bytes(5, "little") + b"\0"
    return bytes(spelled)


SEEDS = (
    *(bytes([OWNERS]) + _spelled(owners) for owners in _LISTS),
    *(bytes([PACKED]) + pack(owners) for owners in _LISTS),
    *(bytes([TEXTS, width]) + b"0123456789abcdef-.XYZ" * 3 for width in (1, 5, 21)),
    *(
        bytes([FIXED, len(texts) - 1, 0]) + (pack_texts(texts) or b"")
        for texts in (
            ("same",),
            ("abcd", "abce", "0bcd"),
            ("web-x2k4p", "web-9zzzz"),
            ("Ab.-", "zZ09"),
            ("",),
        )
    ),
    *(
        bytes([HALVES]) + bytes(len(owners) * [0, 1])[:32].ljust(32, b"\1") + pack(owners)
        for owners in _LISTS
    ),
    *(bytes([DAMAGE, at, 0, 255, 0, 0, 0, at & 1]) + _spelled(_LISTS[3]) for at in (3, 80)),
)
TARGET = Target(check, SEEDS, ("0123456789abcdef", "default/", b"\0\0\0\0"), largest=8192)
