"""The file that carries the content of a datastore: JSON Lines, version 1.

Every line is a JSON object with one key that says what it is: ``header`` first, then in any order ``pool``,
``slices``, ``block``, ``damaged`` and ``left_out``, and ``end`` last, with which a file that was cut short or
altered is noticed. A line is at most a block or the slices of a range, so neither writer nor reader holds
more than that. What a store derives from these (hints, indexes, counts) is not carried: it comes about anew.
"""

from __future__ import annotations

import json
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64, crc32
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_network

from whereabouts.addresses import AddressError, Network, parse_address, parse_network, text_of
from whereabouts.block import BLOCK_SIZE, Block, BlockKey, Space
from whereabouts.errors import WhereaboutsError
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.slices import Slice, SlicePool
from whereabouts.values import NamedTuple

FORMAT_VERSION = 1
LONGEST_LINE = 1 << 26
"""Bytes. No line that is written comes near it."""
_LARGEST_TIME = 2**32 - 1


class ExportError(WhereaboutsError, ValueError):
    """A file that is no export, or not a whole one."""


class Header(NamedTuple):
    """Where the content comes from: the datastore's name, and when, in whole seconds since 1970 UTC."""

    datastore: str
    exported: int


class Damaged(NamedTuple):
    """A block that cannot be read, with what stands in the store in its place."""

    key: BlockKey
    damage: str
    raw: Sequence[tuple[str, bytes]] = ()


class LeftOut(NamedTuple):
    """Something that the store holds and the file does not."""

    what: str
    reason: str


class End(NamedTuple):
    """The last line: what comes before it."""

    lines: int
    allocations: int
    crc32: str
    """Of all bytes before this line, eight hexadecimal digits."""


Entry = Header | Pool | SlicePool | Block | Damaged | LeftOut


class Writer:
    """Writes entries, the header first. Nothing is whole before :meth:`finish`."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        """A writer that hands every line to ``write``."""
        self._write = write
        self._lines = 0
        self._allocations = 0
        self._crc = 0

    def add(self, entry: Entry) -> None:
        """Write one line."""
        line = _line(_as_json(entry))
        self._write(line)
        self._lines += 1
        self._allocations += len(entry) if isinstance(entry, Block) else 0
        self._crc = crc32(line, self._crc)

    def finish(self) -> End:
        """Write the last line."""
        end = End(self._lines, self._allocations, f"{self._crc:08x}")
        self._write(_line({"end": end._asdict()}))
        return end


def read_end(lines: Iterable[bytes]) -> End:
    """Read a file to its end, without looking at what it says; its last line, which has to agree with it.

    Raises :class:`ExportError` for a file that is not whole.
    """
    crc, count, last = 0, 0, b""
    for line in lines:
        if count:
            crc = crc32(last, crc)
        last, count = line, count + 1
    try:
        end = End(**json.loads(last)["end"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ExportError("it is no export, or cut short: its last line says no end") from None
    if end.lines != count - 1 or end.crc32 != f"{crc:08x}":
        raise ExportError("it is not as it was written: the check in its last line does not agree with it")
    return end


def read_entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Read what :class:`Writer` wrote, up to the end. Raises :class:`ExportError`, which names the line."""
    for number, line in enumerate(lines, 1):
        try:
            content = json.loads(line)
            if not isinstance(content, dict) or len(content) != 1:
                raise ExportError("it is no object with one key")
            ((kind, value),) = content.items()
            if (number == 1) != (kind == "header"):
                raise ExportError("the header has to be the first line, and only that")
            if kind == "end":
                return
            if kind not in _READERS:
                raise ExportError(f"{kind!r} is nothing that version {FORMAT_VERSION} knows")
            yield _READERS[kind](value)
        except (KeyError, TypeError, ValueError, AttributeError, AddressError, RecursionError) as error:
            problem = error if isinstance(error, ExportError) else f"{type(error).__name__}: {error}"
            raise ExportError(f"line {number}: {problem}") from error


def _line(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


# ------------------------------------------------------------------- to JSON


def _as_json(entry: Entry) -> Mapping[str, object]:
    if isinstance(entry, Block):
        return {"block": {**_key_as_json(entry.key), "allocations": list(_allocations_as_json(entry))}}
    if isinstance(entry, Pool):
        key = entry.key
        return {"pool": {"network_name": key.network_name, "range": key.range, "shared": entry.shared}}
    if isinstance(entry, SlicePool):
        return {"slices": {**entry._asdict(), "slices": [one._asdict() for one in entry.slices]}}
    if isinstance(entry, Damaged):
        raw = {name: b2a_base64(value, newline=False).decode() for name, value in entry.raw}
        return {"damaged": {**_key_as_json(entry.key), "damage": entry.damage, "raw": raw}}
    if isinstance(entry, LeftOut):
        return {"left_out": entry._asdict()}
    return {"header": {"version": FORMAT_VERSION, **entry._asdict()}}


def _key_as_json(key: BlockKey) -> Mapping[str, object]:
    return {**key.space._asdict(), "cidr": str(key.cidr)}


def _allocations_as_json(block: Block) -> Iterator[Mapping[str, object]]:
    for offset, owner in block:
        known = {name: value for name, value in owner._asdict().items() if value != ""}
        yield {"address": text_of(block.key.address(offset)), **known}


# ----------------------------------------------------------------- from JSON


def _header(content: Mapping[str, object]) -> Header:
    version = content["version"]
    if version != FORMAT_VERSION:
        raise ExportError(f"it is of version {version}, this program knows {FORMAT_VERSION}")
    _only(content, "version", "datastore", "exported")
    return Header(_text(content["datastore"]), _number(content["exported"], 2**63))


def _pool(content: Mapping[str, object]) -> Pool:
    _only(content, "network_name", "range", "shared")
    shared = content["shared"]
    if not isinstance(shared, bool):
        raise ExportError(f"shared is {shared!r}, neither true nor false")
    return Pool(PoolKey(_text(content["network_name"]), str(_network(content["range"]))), shared)


def _slices(content: Mapping[str, object]) -> SlicePool:
    _only(content, *SlicePool._fields)
    slices = content["slices"]
    if not isinstance(slices, list):
        raise ExportError("slices is no list")
    name, text, size = (_text(content[field]) for field in ("name", "range", "slice_size"))
    return SlicePool(name, text, size, tuple(map(_slice, slices)))


def _slice(content: Mapping[str, object]) -> Slice:
    _only(content, *Slice._fields)
    one = Slice(_text(content["range"]), _text(content["node"]))
    parse_network(one.range)
    if not one.node.isprintable() or " " in one.node:
        raise ExportError(f"{one.node!r} is no name of a node")
    return one


def _key(content: Mapping[str, object]) -> BlockKey:
    own_range = _text(content["own_range"])
    cidr = _network(content["cidr"])
    if cidr.num_addresses != BLOCK_SIZE:
        raise ExportError(f"{cidr} is no block: a block has {BLOCK_SIZE} addresses")
    if own_range and _network(own_range).version != cidr.version:
        raise ExportError(f"{cidr} is not of the family of {own_range}")
    return BlockKey(Space(_text(content["network_name"]), own_range), cidr.version, int(cidr.network_address))


def _block(content: Mapping[str, object]) -> Block:
    _only(content, "network_name", "own_range", "cidr", "allocations")
    key = _key(content)
    owners: dict[int, Owner] = {}
    allocations = content["allocations"]
    if not isinstance(allocations, list):
        raise ExportError("allocations is no list")
    for allocation in allocations:
        _only(allocation, "address", *Owner._fields)
        offset = key.offset(parse_address(_text(allocation["address"])))
        if offset in owners:
            raise ExportError(f"{allocation['address']} stands there twice")
        texts = [_text(allocation.get(name, "")) for name in Owner._fields[:-1]]
        owners[offset] = Owner._make([*texts, _number(allocation["created"], _LARGEST_TIME)])
    return Block(key, owners)


def _damaged(content: Mapping[str, object]) -> Damaged:
    _only(content, "network_name", "own_range", "cidr", "damage", "raw")
    raw = content["raw"]
    if not isinstance(raw, dict):
        raise ExportError("raw is no object")
    parts = [(name, _base64(value)) for name, value in raw.items()]
    return Damaged(_key(content), _text(content["damage"]), parts)


def _left_out(content: Mapping[str, object]) -> LeftOut:
    _only(content, "what", "reason")
    return LeftOut(_text(content["what"]), _text(content["reason"]))


_READERS: Mapping[str, Callable[[Mapping[str, object]], Entry]] = {
    "header": _header,
    "pool": _pool,
    "slices": _slices,
    "block": _block,
    "damaged": _damaged,
    "left_out": _left_out,
}


def _only(content: Mapping[str, object], *names: str) -> None:
    unknown = sorted(content.keys() - set(names))
    if unknown:
        raise ExportError(f"{unknown[0]!r} is nothing that version {FORMAT_VERSION} knows there")


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value or not _is_whole(value):
        raise ExportError(f"{value!r} should be a text without NUL characters and halves of characters")
    return value


def _is_whole(text: str) -> bool:
    """Whether there are no unpaired surrogates, which JSON can name and no store can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _number(value: object, largest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest:
        raise ExportError(f"{value!r} should be a number of seconds since 1970")
    return value


def _network(value: object) -> Network:
    text = _text(value)
    network = ip_network(text)
    if str(network) != text:
        raise ExportError(f"{text!r} is not how a network is written: {network}")
    return network


def _base64(value: object) -> bytes:
    try:
        return a2b_base64(_text(value), strict_mode=True)
    except Base64Error as error:
        raise ExportError(f"raw: {error}") from error
