"""Who holds an address, and the packed form in which a block keeps its owners.

A block has up to 256 owners. They are packed by column, because the values of one column resemble
each other: container IDs are hexadecimal digests, pod UIDs are UUIDs, and node, range and interface
name repeat. Every step below works on a whole column at the speed of the interpreter's own C code.

Layout, integers little-endian::

    owners  := count:u16 column[7] created:u32[count]
    column  := kind:u8 size:u32 body[size]
    kind 0    text        values in UTF-8, joined by NUL
    kind 1    dictionary  n:u8, n values in UTF-8 joined by NUL, NUL, then (n > 1) one index byte a value
    kind 2    hexadecimal bytes a value:u8, then the values as raw bytes
    kind 3    UUID        the values as 16 raw bytes

The columns stand in the order of the fields of :class:`Owner`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from whereabouts.errors import WhereaboutsError
from whereabouts.values import NamedTuple

MAX_OWNERS = 256
_COUNT = struct.Struct("<H")
_COLUMN = struct.Struct("<BI")
_TEXT, _DICTIONARY, _HEX, _UUID = range(4)
_DICTIONARY_LIMIT = 64


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


_TEXT_FIELDS = len(Owner._fields) - 1


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
            parts += map(_pack_column, texts)
            parts.append(struct.pack(f"<{len(created)}I", *created))
        except (struct.error, UnicodeEncodeError) as error:
            raise OwnersError(f"an owner cannot be stored: {error}") from error
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
    if count == 0:
        if len(data) != position:
            raise ValueError("there is something behind the end")
        return []
    columns: list[Sequence[object]] = []
    for _ in range(_TEXT_FIELDS):
        kind, size = _COLUMN.unpack_from(data, position)
        body = data[position + _COLUMN.size : position + _COLUMN.size + size]
        position += _COLUMN.size + size
        if len(body) != size or kind >= len(_UNPACKERS):
            raise ValueError("a column is cut short or of an unknown kind")
        values = _UNPACKERS[kind](body, count)
        if len(values) != count:
            raise ValueError(f"a column has {len(values)} values for {count} owners")
        columns.append(values)
    if len(data) != position + 4 * count:
        raise ValueError("its length is wrong")
    columns.append(struct.unpack_from(f"<{count}I", data, position))
    return list(map(Owner._make, zip(*columns, strict=True)))


def _pack_column(values: Sequence[str]) -> bytes:
    kind, body = _smallest(values)
    return _COLUMN.pack(kind, len(body)) + body


def _smallest(values: Sequence[str]) -> tuple[int, bytes]:
    first = values[0]
    if values.count(first) == len(values):
        return _DICTIONARY, _pack_dictionary(values, [first])
    width = len(first)
    if width and len(set(map(len, values))) == 1:
        raw = _as_uuids(values) if width == 36 else _as_hexadecimal(values)
        if raw is not None:
            return (_UUID, raw) if width == 36 else (_HEX, bytes([width // 2]) + raw)
    distinct = list(dict.fromkeys(values))
    if len(distinct) <= min(_DICTIONARY_LIMIT, len(values) // 2):
        return _DICTIONARY, _pack_dictionary(values, distinct)
    return _TEXT, _join(values)


def _join(values: Sequence[str]) -> bytes:
    joined = "\0".join(values)
    if joined.count("\0") != len(values) - 1:
        raise OwnersError("an owner cannot be stored: one of its texts holds a NUL character")
    return joined.encode()


def _pack_dictionary(values: Sequence[str], distinct: list[str]) -> bytes:
    table = bytes([len(distinct)]) + _join(distinct) + b"\0"
    if len(distinct) == 1:
        return table
    index = {value: position for position, value in enumerate(distinct)}
    return table + bytes(map(index.__getitem__, values))


def _as_hexadecimal(values: Sequence[str]) -> bytes | None:
    """The raw bytes of equally long lower-case hexadecimal texts; None if any of them is not one."""
    width = len(values[0])
    joined = "".join(values)
    if width % 2 or width > 510 or not joined.isascii():
        return None
    try:
        raw = bytes.fromhex(joined)
    except ValueError:
        return None
    return raw if raw.hex() == joined else None


def _as_uuids(values: Sequence[str]) -> bytes | None:
    raw = _as_hexadecimal([value.replace("-", "") for value in values])
    if raw is None or len(raw) != 16 * len(values) or _uuids(raw, len(values)) != list(values):
        return None
    return raw


def _uuids(body: bytes, count: int) -> Sequence[str]:
    digits = body.hex()
    return [
        f"{digits[at : at + 8]}-{digits[at + 8 : at + 12]}-{digits[at + 12 : at + 16]}"
        f"-{digits[at + 16 : at + 20]}-{digits[at + 20 : at + 32]}"
        for at in range(0, len(digits), 32)
    ]


def _texts(body: bytes, count: int) -> Sequence[str]:
    return body.decode().split("\0")


def _dictionary(body: bytes, count: int) -> Sequence[str]:
    size = body[0]
    *encoded, index = body[1:].split(b"\0", size)
    if len(encoded) != size:
        raise ValueError("a dictionary is cut short")
    table = [value.decode() for value in encoded]
    if size != 1:
        return [table[position] for position in index]
    if index:
        raise ValueError("a dictionary of one value has an index")
    return table * count


def _hexadecimal(body: bytes, count: int) -> Sequence[str]:
    width = 2 * body[0]
    digits = body[1:].hex()
    return [digits[at : at + width] for at in range(0, len(digits), width)]


_UNPACKERS: tuple[Callable[[bytes, int], Sequence[str]], ...] = (_texts, _dictionary, _hexadecimal, _uuids)
