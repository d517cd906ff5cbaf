"""What an embedded store has beside the blocks that can be read: rows under wrong names, and its index.

The tables are read with a connection of their own, which cannot write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from os.path import abspath
from urllib.parse import quote

from whereabouts.addresses import text_of
from whereabouts.block import BlockKey, Space
from whereabouts.deadline import Deadline
from whereabouts.findings import Finding, Record
from whereabouts.inspection import Surroundings
from whereabouts.store import StoredBlock, Unavailable

_NAMES = "SELECT name, network_name, own_range, version, base FROM blocks"
_INDEX = (
    "SELECT name, offset, pod_ref, container_id, ifname FROM records LEFT JOIN blocks ON block = blocks.rowid"
)

_Entry = tuple[str | None, int]
"""A block's name (None: of a row that is gone), and an offset in it."""


def surroundings(path: str, blocks: Sequence[StoredBlock], deadline: Deadline) -> Surroundings:
    """What is wrong around the blocks of the store in the file ``path``."""
    uri = f"file:{quote(abspath(path))}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            seconds = min(30.0, deadline.remaining(f"{path} is locked by another process"))
            connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
            names = connection.execute(_NAMES).fetchall()
            index = {(row[0], row[1]): row[2:] for row in connection.execute(_INDEX)}
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise Unavailable(f"{path}: {error}") from error
    return Surroundings([*_misnamed(names), *_index_faults(blocks, index)])


def _misnamed(rows: Sequence[tuple[str, str, str, int, bytes]]) -> Iterator[Finding]:
    for name, network_name, own_range, version, base in rows:
        try:
            right = BlockKey(Space(network_name, own_range), version, int.from_bytes(base)).name
        except (TypeError, ValueError, OverflowError):
            right = "none that can be"
        if name != right:
            message = f"the row {name} of table blocks has the fields of a block whose name is {right}"
            yield Finding("misnamed-block", message, network_name, place=name)


def _index_faults(
    blocks: Sequence[StoredBlock], index: dict[_Entry, tuple[str, str, str]]
) -> Iterator[Finding]:
    left = dict(index)
    for stored in blocks:
        if stored.block is None:
            left = {entry: whose for entry, whose in left.items() if entry[0] != stored.key.name}
            continue
        name, network_name = stored.key.name, stored.key.space.network_name
        for offset, owner in stored.block:
            whose = left.pop((name, offset), None)
            if whose != (owner.pod_ref, owner.container_id, owner.ifname):
                address = stored.key.address(offset)
                says = f"says it is of {whose[0]} {whose[2]}" if whose else "does not have it"
                yield Finding(
                    "index",
                    f"{text_of(address)} is held by {owner.pod_ref} {owner.ifname}, but the index {says}",
                    network_name,
                    place=name,
                    record=Record(stored.key.space, address, owner),
                    pod=owner.pod_ref,
                )
    for (block, offset), (pod_ref, _, ifname) in left.items():
        yield Finding(
            "index",
            f"the index says that {pod_ref} {ifname} holds offset {offset} of block {block}, where nobody is",
            place=f"{block} {offset}",
            pod=pod_ref,
        )
