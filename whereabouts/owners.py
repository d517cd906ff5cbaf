"""Who holds an address, and the packed form in which a block keeps its owners.

A block has up to 256 owners. They are packed by column, because the values of one column resemble
each other: container IDs are hexadecimal digests, pod UIDs are UUIDs, names of pods and nodes have
parts in common, and node, range and interface name repeat. Bytes matter, since a datastore's time for
a write goes with them, and so does the time to pack, since every ADD and DEL packs a whole block:
every step below works on a whole column at the speed of the interpreter's own C code.

Layout, integers little-endian::

    owners  := count:u16 column[8] (where count is not 0)
    column  := kind:u8 size:u32 body[size]
    kind 0    text        values in UTF-8, joined by NUL
    kind 1    deflated    the same, deflated (RFC 1951); at most MAX_TEXT bytes when it is inflated
    kind 2    fixed       values of one width, as in whereabouts/_columns.pyx
    kind 3    dictionary  n:u8, an index below n for each value (a byte), then kind:u8 and body of a column
                          of n values; that column is no dictionary itself
    kind 4    times       same:u8, then the lowest byte of each u32, the next byte of each, and so on;
                          where bit i of same is set, byte i stands there once for all

The columns stand in the order of the fields of :class:`Owner`; the last one, and only that, is of times.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from whereabouts._columns import pack_texts, unpack_texts
from whereabouts.errors import WhereaboutsError
from whereabouts.values import NamedTuple

MAX_OWNERS = 256
MAX_TEXT = 1 << 17
"""The most bytes of a column that is deflated: all that Kubernetes' names can make, and no bomb."""

_COUNT = struct.Struct("<H")
_COLUMN = struct.Struct("<BI")
_TEXT, _DEFLATED, _FIXED, _DICTIONARY, _TIMES = range(5)
_LONGEST_DICTIONARY = 128
_DEFLATED_FROM = 64
"""Bytes from which on deflating a column is tried."""
_DEFLATE_LEVEL = 3
"""Levels beyond save one byte in a hundred, and take half as long again."""
_RAW_DEFLATE = -15


class Owner(NamedTuple):
    """The record of one allocation.

    ``created`` is in whole seconds since 1970 UTC. Values that are not known are empty. No text may
    hold a NUL character.
    """

    pod_ref: str
    """``namespace/name``; outside Kubernetes the container ID."""
    pod_uid: str
    container_id: str
    ifname: str
    node: str
    network: str
    """The ``name`` of the CNI network configuration: CNI GC speaks of one network at a time."""
    range: str
    """The range it was given from, as its pool spells it."""
    created: int

    def belongs_to(self, container_id: str, ifname: str) -> bool:
        """Whether this is the attachment of that container and interface (CNI SPEC, section 2).

        A record that was taken over from a Go plugin of old has no interface name: it is of them all.
        """
        return self.container_id == container_id and self.ifname in (ifname, "")


class OwnersError(WhereaboutsError, ValueError):
    """Packed owners that cannot be read."""


def pack(owners: Sequence[Owner]) -> bytes:
    """Pack up to 256 owners; equal sequences give equal bytes.

    Raises :class:`OwnersError` for more owners, a text with a NUL character, or a time that does not
    fit in 32 bits.
    """
    if len(owners) > MAX_OWNERS:
        raise OwnersError(f"a block holds at most {MAX_OWNERS} owners, not {len(owners)}")
    parts = [_COUNT.pack(len(owners))]
    if owners:
        *texts, created = zip(*owners, strict=True)
        try:
            columns = [*map(_pack_column, texts), (_TIMES, _pack_times(created))]
        except (struct.error, UnicodeEncodeError) as error:
            raise OwnersError(f"an owner cannot be stored: {error}") from error
        for kind, body in columns:
            parts += (_COLUMN.pack(kind, len(body)), body)
    return b"".join(parts)


def unpack(data: bytes) -> list[Owner]:
    """Read what :func:`pack` wrote. Raises :class:`OwnersError` for anything else."""
    try:
        return _unpack(data)
    except (struct.error, UnicodeDecodeError, IndexError, ValueError) as error:
        raise OwnersError(f"the owners of a block cannot be read: {error}") from error


def _unpack(data: bytes) -> list[Owner]:
    (count,) = _COUNT.unpack_from(data)
    if count > MAX_OWNERS:
        raise ValueError(f"it claims {count} owners")
    position = _COUNT.size
    columns: list[Sequence[object]] = []
    for field in Owner._fields if count else ():
        kind, size = _COLUMN.unpack_from(data, position)
        position += _COLUMN.size + size
        body = data[position - size : position]
        if len(body) != size:
            raise ValueError("a column is cut short")
        if (kind == _TIMES) != (field == Owner._fields[-1]):
            raise ValueError(f"the column of {field} is of kind {kind}")
        columns.append(_unpack_times(body, count) if kind == _TIMES else _unpack_column(kind, body, count))
    if len(data) != position:
        raise ValueError("there is something behind the end")
    return list(map(Owner._make, zip(*columns, strict=True)))


def _pack_column(values: tuple[str, ...]) -> tuple[int, bytes]:
    """The kind and the body of a column of texts, of all kinds about the shortest."""
    fixed = pack_texts(values)
    if fixed is not None and len(fixed) <= len(values):
        return _FIXED, fixed  # no index is shorter
    if len(set(values)) <= min(_LONGEST_DICTIONARY, len(values) // 2):
        dictionary = _pack_dictionary(values)
        if fixed is None or len(dictionary) < len(fixed):
            return _DICTIONARY, dictionary
    return _pack_text(values) if fixed is None else (_FIXED, fixed)


def _unpack_column(kind: int, body: bytes, count: int) -> Sequence[str]:
    if kind >= len(_UNPACKERS):
        raise ValueError(f"a column is of the unknown kind {kind}")
    values = _UNPACKERS[kind](body, count)
    if len(values) != count:
        raise ValueError(f"a column has {len(values)} values, and not {count}")
    return values


def _pack_dictionary(values: tuple[str, ...]) -> bytes:
    indexes = {value: index for index, value in enumerate(dict.fromkeys(values))}
    table = tuple(indexes)
    fixed = pack_texts(table)
    kind, body = _pack_text(table) if fixed is None else (_FIXED, fixed)
    return b"".join((bytes([len(table)]), bytes(map(indexes.__getitem__, values)), bytes([kind]), body))


def _unpack_dictionary(body: bytes, count: int) -> Sequence[str]:
    indexes, kind = body[1 : count + 1], body[count + 1]
    if kind == _DICTIONARY:
        raise ValueError("a dictionary has a dictionary")
    table = _unpack_column(kind, body[count + 2 :], body[0])
    return [table[index] for index in indexes]


def _pack_text(values: Sequence[str]) -> tuple[int, bytes]:
    joined = "\0".join(values)
    if joined.count("\0") != len(values) - 1:
        raise OwnersError("an owner cannot be stored: one of its texts holds a NUL character")
    text = joined.encode()
    if _DEFLATED_FROM <= len(text) <= MAX_TEXT:
        from zlib import compress

        deflated = compress(text, _DEFLATE_LEVEL, _RAW_DEFLATE)
        if len(deflated) < len(text):
            return _DEFLATED, deflated
    return _TEXT, text


def _unpack_text(body: bytes, count: int) -> Sequence[str]:
    return body.decode().split("\0")


def _unpack_deflated(body: bytes, count: int) -> Sequence[str]:
    from zlib import decompressobj, error

    inflater = decompressobj(_RAW_DEFLATE)
    try:
        text = inflater.decompress(body, MAX_TEXT)
    except error as reason:
        raise ValueError(str(reason)) from reason
    if not inflater.eof or inflater.unused_data:
        raise ValueError("a deflated column does not end where it should")
    return _unpack_text(text, count)


def _pack_times(times: Sequence[int]) -> bytes:
    packed = struct.pack(f"<{len(times)}I", *times)
    same, parts = 0, []
    for place in range(4):
        part = packed[place::4]
        if part == part[:1] * len(part):
            same |= 1 << place
            part = part[:1]
        parts.append(part)
    return b"".join((bytes([same]), *parts))


def _unpack_times(body: bytes, count: int) -> Sequence[int]:
    same, at = body[0], 1
    packed = bytearray(4 * count)
    for place in range(4):
        size = 1 if same >> place & 1 else count
        part = body[at : at + size]
        if len(part) != size:
            raise ValueError("the times are cut short")
        packed[place::4] = part if size == count else part * count
        at += size
    if at != len(body) or same >> 4:
        raise ValueError("the times have something behind their end")
    return struct.unpack(f"<{count}I", packed)


_UNPACKERS: tuple[Callable[[bytes, int], Sequence[str]], ...] = (
    _unpack_text,
    _unpack_deflated,
    unpack_texts,
    _unpack_dictionary,
)
