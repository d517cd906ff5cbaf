"""What stands in etcd, and how the server says it: values, keys, answers, lists of the Go plugin of old.

The first byte says what an input is.
"""

from ipaddress import ip_network
from struct import pack

from fuzz.reader import Reader
from fuzz.target import Target
from whereabouts.addresses import parse_address
from whereabouts.block import BLOCK_SIZE, Block, BlockDamaged, BlockKey, Space
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.slices import Slice, SlicePool
from whereabouts.store import StoreDamaged
from whereabouts.stores import etcd_messages as messages
from whereabouts.stores import etcd_values as values
from whereabouts.stores.etcd_keys import Keys
from whereabouts.stores.etcd_v0 import PREFIX, _parse

BLOCK, POOL, SLICES, OUTCOME, TOKEN, KEY, OLD = range(7)
BLOCK_KEY = BlockKey.of(Space("blue"), parse_address("fd00::"))
KEYS = Keys("/whereabouts/v1/")


def check(data: bytes) -> None:
    """Do what the first byte says."""
    reader = Reader(data)
    read = reader.one_of((_block, _pool, _slices, _outcome, _token, _key, _old))
    read(reader.rest())


def _block(value: bytes) -> None:
    try:
        block = values.read_block(BLOCK_KEY, value)
    except BlockDamaged:
        return
    assert values.read_block(BLOCK_KEY, values.write_block(block)) == block


def _pool(value: bytes) -> None:
    try:
        pool = values.read_pool(b"/pools/x", value)
    except StoreDamaged:
        return
    again = values.read_pool(b"/pools/x", values.write_pool(pool))
    assert (again.key, again.shared, again.hints()) == (pool.key, pool.shared, pool.hints())
    for view, front in pool.fronts.items():
        assert pool.first_unexhausted(view, front) is None or front in range(1 << 128)
    assert pool.space.own_range in ("", pool.key.of_whole.range)


def _slices(value: bytes) -> None:
    try:
        pool = values.read_slices(b"/slices/x", value)
    except StoreDamaged:
        return
    assert values.read_slices(b"/slices/x", values.write_slices(pool)) == pool


def _outcome(value: bytes) -> None:
    try:
        outcome = messages.outcome(value)
    except messages.MessageError:
        return
    assert -(1 << 63) <= outcome.revision < 1 << 63
    assert sum(len(pair.value) for found in outcome.found for pair in found.pairs) <= len(value)


def _token(value: bytes) -> None:
    try:
        assert messages.token(value).isascii() or "\ufffd" in messages.token(value)
    except messages.MessageError:
        return


def _key(value: bytes) -> None:
    """A key that stands for a block is the key of that block."""
    key = KEYS.block_at(KEYS.blocks() + value, KEYS.blocks())
    if key is not None:
        assert KEYS.block(key) == KEYS.blocks() + value
        assert key.base % BLOCK_SIZE == 0


def _old(value: bytes) -> None:
    """Every line of an old list is an allocation of the range, or a fault."""
    key = f"{PREFIX}10.0.0.0/24"
    allocations, faults = _parse(key, value)
    assert len(allocations) + len(faults) <= value.count(b"\n") + 1
    for address, container_id in allocations:
        assert address in ip_network("10.0.0.0/24")
        assert container_id
        assert "\0" not in container_id


def _block_seed(used: int) -> bytes:
    owner = Owner("default/a", "uid", "c" * 64, "net1", "node-1", "net", "fd00::/64", 1_700_000_000)
    return values.write_block(Block(BLOCK_KEY, dict.fromkeys(range(used), owner)))


def _message(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


_HINTS = Pool(PoolKey("blue", "10.0.0.0/16"), True).with_exhausted("0badcafe", [10 << 24])
_PAIR = _message(1, b"/k") + b"\x18\x05" + _message(5, b"value")
_FOUND = _message(1, _message(2, _PAIR) + b"\x18\x01")
_WRITTEN: tuple[tuple[int, bytes], ...] = (
    *((BLOCK, _block_seed(used)) for used in (0, 1, 40)),
    (POOL, values.write_pool(_HINTS.with_front("0badcafe", (10 << 24) + 256))),
    (POOL, values.write_pool(Pool(PoolKey("", "fd00::/120", "node-1", "fd00::/64"), False))),
    (
        SLICES,
        values.write_slices(
            SlicePool("blue", "10.0.0.0/16", "/24", (Slice("10.0.0.0/24", "n"), Slice("10.0.1.0/24")))
        ),
    ),
    (OUTCOME, _message(1, b"\x18\x90\x01") + b"\x10\x01" + _message(3, _FOUND) + _message(3, b"")),
    (OUTCOME, b"\x09" + b"\xff" * 8 + b"\x0d" + b"\xff" * 4 + b"\x10" + b"\xff" * 9 + b"\x01"),
    (TOKEN, _message(1, b"\x18\x01") + _message(2, b"token.1")),
    (KEY, b"blue/10.0.0.0%2F16/4/010.000.001.000"),
    (KEY, b"-/-/6/fd00:0000:0000:0000:0000:0000:0000:0100"),
    (KEY, b"%C3%A9%2F/-/4/010.000.001.000"),
    (OLD, b"10.0.0.1 c1\n10.0.0.2 c2 default/a\n\nx\n10.0.1.1 c\n10.0.0.1 c3\n10.0.0.9 \n"),
)
SEEDS = tuple(bytes([kind]) + value for kind, value in _WRITTEN)
TARGET = Target(
    check,
    SEEDS,
    (
        "WAB1",
        "WAP1",
        "WAS1",
        "0badcafe@",
        "=g1:",
        b"\0",
        "%2F",
        "/4/",
        "/6/",
        "\x85",
        pack("<I", 4),
        "10.0.0.",
    ),
    largest=2048,
)
