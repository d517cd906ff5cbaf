"""The file of the embedded store: rows with anything in them, and files that were damaged.

The first byte says what an input is. Whatever a file holds, a store that opens it gives addresses or says
what is wrong, and gives no address of a block that it cannot read.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from fuzz.reader import Reader
from fuzz.target import Target
from whereabouts.addresses import parse_address
from whereabouts.allocator import Allocator, Attachment, Demand
from whereabouts.block import Block, BlockKey, Space
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline
from whereabouts.errors import WhereaboutsError
from whereabouts.log import SILENT
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.ranges import Range
from whereabouts.slices import Slice, SlicePool
from whereabouts.store import StoredBlock
from whereabouts.stores.sqlite import SqliteStore
from whereabouts.stores.sqlite_inspection import surroundings

BLOCK, POOL, SLICES, RECORDS, FILE = range(5)
COLUMNS = {
    "blocks": ("revision", "allocated", "bitmap", "owners", "base", "version"),
    "pools": ("revision", "shared", "exhausted"),
    "slices": ("revision", "range", "slice_size", "slices"),
    "records": ("offset", "pod_ref", "container_id", "ifname"),
}
KEY = BlockKey.of(Space(), parse_address("10.0.0.0"))
WANTED = Demand("", True, [Range.parse("10.0.0.0/24")])
WIDE = Demand("", True, [Range.parse("10.0.0.0/16")])
HELD = Owner("default/a", "", "c0ffee", "net1", "node-1", "net", "10.0.0.0/24", 1)
NEW = Owner("default/b", "", "beef", "net1", "node-1", "net", "", 1)


def _soon() -> Deadline:
    """A deadline by a clock of its own, on which only pauses take time."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += max(seconds, 0.01)

    return Deadline(2.0, clock=lambda: now[0], sleep=sleep)


@cache
def _folder() -> Path:
    """In memory, where there is such a place: nothing of it has to last."""
    shared = "/dev/shm"
    return Path(mkdtemp(prefix="whereabouts-fuzz-", dir=shared if os.access(shared, os.W_OK) else None))


@cache
def _sound() -> bytes:
    """The file of a store in which there is something of each kind."""
    path = _folder() / "sound.db"
    with closing(SqliteStore(str(path), _soon())) as store:
        store.write_block(KEY, None, Block(KEY, {1: HELD, 7: HELD._replace(ifname="net2")}), _soon())
        pool = Pool(PoolKey("", "10.0.0.0/16"), True)
        store.create_pool(pool.with_exhausted("0badcafe", [KEY.base]), _soon())
        store.create_slices(SlicePool("s", "10.0.0.0/16", "/24", (Slice("10.0.0.0/24", "n"),)), _soon())
    return path.read_bytes()


def check(data: bytes) -> None:
    """Damage a file, and use it."""
    path = _folder() / f"{os.getpid()}.db"
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    reader = Reader(data)
    kind = reader.below(5)
    if kind == FILE:
        path.write_bytes(_patched(_sound(), reader))
    else:
        path.write_bytes(_sound())
        _write_row(path, list(COLUMNS)[kind], reader)
    _use(path)


def _patched(content: bytes, reader: Reader) -> bytes:
    patched = bytearray(content)
    while reader:
        at = reader.below(len(content))
        patch = reader.take(1 + reader.below(16))
        patched[at : at + len(patch)] = patch
    return bytes(patched)


def _write_row(path: Path, table: str, reader: Reader) -> None:
    """Put values of any type into a row."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        while reader:
            column = reader.one_of(COLUMNS[table])
            value = reader.one_of((_blob, _text, _number))(reader)
            try:
                connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
            except (sqlite3.Error, UnicodeError):
                continue


def _blob(reader: Reader) -> object:
    return reader.piece()


def _text(reader: Reader) -> object:
    return reader.piece().decode("utf-8", "replace")


def _number(reader: Reader) -> object:
    return reader.below(1 << 64) - (1 << 63)


def _use(path: Path) -> None:
    try:
        store = SqliteStore(str(path), _soon())
    except WhereaboutsError:
        return
    with closing(store):
        found = _allowed(lambda: store.read_block(KEY, _soon()))
        for look in _looks(store, path):
            _allowed(look)
        allocator = Allocator(store, DirectCommitter(store), SILENT)
        given = _allowed(lambda: allocator.add(WANTED, NEW, _soon()))
        if isinstance(given, list) and isinstance(found, StoredBlock):
            assert found.block is not None, f"{given} was given of a block that is damaged"
            assert found.block.owner(KEY.offset(given[0])) in (None, NEW._replace(range="10.0.0.0/24"))
        _allowed(lambda: allocator.add(WIDE, NEW._replace(pod_ref="default/c"), _soon()))
        held = Attachment(HELD.container_id, HELD.ifname, HELD.network)
        _allowed(lambda: allocator.delete(WANTED, held, [], _soon()))


def _looks(store: SqliteStore, path: Path) -> tuple[Callable[[], object], ...]:
    """All that a store is asked for."""
    return (
        lambda: surroundings(str(path), list(store.blocks(_soon())), _soon()),
        lambda: list(store.bitmaps(Space(), 4, 0, (1 << 32) - 1, _soon())),
        lambda: list(store.blocks_of_pod(HELD.pod_ref, HELD.ifname, _soon())),
        lambda: list(store.blocks_of_attachment(HELD.container_id, HELD.ifname, _soon())),
        lambda: list(store.pools(_soon())),
        lambda: list(store.pools(_soon(), hinted=True)),
        lambda: list(store.slice_pools(_soon())),
    )


def _allowed(look: Callable[[], object]) -> object:
    """What was found, or the error of ours that says why nothing was."""
    try:
        return look()
    except WhereaboutsError as error:
        return error


_EMPTY = Block(KEY, {})
SEEDS = (
    bytes([BLOCK, 2, 0, len(_EMPTY.bitmap())])
    + _EMPTY.bitmap()
    + bytes([3, 0, len(_EMPTY.owners())])
    + _EMPTY.owners(),
    bytes([BLOCK, 2, 0, 3]) + b"\0\1\2",
    bytes([BLOCK, 3, 1, 3]) + b"abc",
    bytes([BLOCK, 0, 2]) + b"\xff" * 8,
    bytes([BLOCK, 4, 1, 1]) + b"x",
    bytes([BLOCK, 5, 2]) + (7 + (1 << 63)).to_bytes(8, "little"),
    bytes([POOL, 2, 1, 20]) + b"0badcafe@9=g1:AAAAAA",
    bytes([POOL, 1, 0, 0, 0, 1, 1]) + b"x",
    bytes([SLICES, 3, 1, 20]) + b"10.0.0.0/24 n\n x\n\n y",
    bytes([RECORDS, 1, 1, 9]) + b"default/b",
    *(
        bytes([FILE, at & 255, at >> 8, 0, 3]) + b"\xff\0\xff\0"
        for at in (0, 18, 100, 4096, 8192, 12288, 20500)
    ),
)
TARGET = Target(check, SEEDS, ("g1:", "0badcafe", b"\0\0\0\0\0\0\0\x80"), largest=600)
