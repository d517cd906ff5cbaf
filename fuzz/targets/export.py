"""The file that carries what a datastore holds: of any lines, entries that can be written again, or none."""

import contextlib
import json
from typing import Any

from fuzz.json_mutation import mutator
from fuzz.target import Target
from whereabouts.addresses import parse_address
from whereabouts.block import Block, BlockKey, Space
from whereabouts.export_format import (
    Damaged,
    Entry,
    ExportError,
    Header,
    LeftOut,
    Writer,
    read_end,
    read_entries,
)
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.slices import Slice, SlicePool
from whereabouts.stores import etcd_values


def check(data: bytes) -> None:
    """Read the file, and write what was read. Lines end in an empty line, so that each is a part."""
    lines = [line + b"\n" for line in data.split(b"\n\n")]
    with contextlib.suppress(ExportError):
        read_end(lines)
    try:
        entries = list(read_entries(lines))
    except ExportError:
        return
    for entry in entries:
        _can_be_stored(entry)
    written = _written(entries)
    again = list(read_entries(written))
    assert list(map(_comparable, again)) == list(map(_comparable, entries))
    assert read_end(written).lines == len(entries)


def _written(entries: list[Entry]) -> list[bytes]:
    written: list[bytes] = []
    writer = Writer(written.append)
    for entry in entries:
        writer.add(entry)
    writer.finish()
    return written


def _comparable(entry: Entry) -> Any:
    return (entry.key, entry.shared) if isinstance(entry, Pool) else entry


def _can_be_stored(entry: Entry) -> None:
    """An import would write it: texts that no store can hold are noticed when they are read."""
    if isinstance(entry, Block):
        assert Block.from_halves(entry.key, entry.bitmap(), entry.owners()) == entry
        assert entry.key.name
    elif isinstance(entry, Pool):
        assert etcd_values.write_pool(entry)
        assert entry.key.name
    elif isinstance(entry, SlicePool):
        assert etcd_values.read_slices(b"", etcd_values.write_slices(entry)) == entry


_OWNER = Owner("default/a", "uid", "c" * 64, "net1", "node-1", "net", "10.0.0.0/16", 1_700_000_000)
_ENTRIES: list[Entry] = [
    Header("SQLite", 1_700_000_000),
    Pool(PoolKey("blue", "10.0.0.0/16"), True),
    Pool(PoolKey("", "fd00::/64"), False),
    SlicePool("blue", "10.0.0.0/16", "/24", (Slice("10.0.0.0/24", "node-1"), Slice("10.0.1.0/24"))),
    Block(BlockKey.of(Space("blue"), parse_address("10.0.1.0")), {1: _OWNER, 9: _OWNER._replace(pod_uid="")}),
    Block(BlockKey.of(Space("", "fd00::/64"), parse_address("fd00::")), {255: _OWNER}),
    Damaged(BlockKey.of(Space(), parse_address("10.0.2.0")), "its checksum fails", [("value", b"\xff\0")]),
    LeftOut("ippools/x", "nobody can read it"),
]
SEEDS = (
    b"\n".join(_written(_ENTRIES)),
    *(b"\n".join(_written([_ENTRIES[0], entry])) for entry in _ENTRIES[1:]),
)
_LONG = {"block": {"network_name": "", "own_range": "", "cidr": "10.0.0.0/24", "allocations": []}}
WORDS = (
    *("header", "pool", "slices", "block", "damaged", "left_out", "end", "version", "datastore", "exported"),
    *(
        "network_name",
        "range",
        "shared",
        "name",
        "slice_size",
        "node",
        "own_range",
        "cidr",
        "allocations",
        "address",
    ),
    *(
        *Owner._fields,
        "damage",
        "raw",
        "what",
        "reason",
        "lines",
        "crc32",
        "10.0.0.0/24",
        "fd00::/120",
        "fd00::1",
    ),
    *("\ud800", "10.0.0.0/16", "::ffff:10.0.0.0/120", "::ffff:a00:1", "/24", json.dumps(_LONG), "QQ=="),
)
TARGET = Target(check, SEEDS, [word for word in WORDS if word.isascii()], mutator(WORDS), largest=8192)
