"""The block: 256 neighbouring addresses of one space, and who holds them.

A block is the only authority on its addresses (one record per address). Its name follows from space
and address alone, so that ranges which overlap meet in the same block and cannot give one address
twice. A block has two halves that change in the same conditional write: the bitmap of used offsets
and the packed owners. Each half carries a checksum, and the owners carry one of the bitmap, so that
halves which do not belong together are noticed.
"""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Collection, Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from operator import itemgetter

from whereabouts._bitmap import Bitmap
from whereabouts._codec import CodecError, decode_bytes, encode_bytes
from whereabouts.addresses import Address, Network
from whereabouts.errors import WhereaboutsError
from whereabouts.owners import Owner, OwnersError, pack, unpack
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Self

BLOCK_SIZE = 256
"""Addresses in a block: a /24 in IPv4, a /120 in IPv6."""

_OFFSET_MASK = BLOCK_SIZE - 1
_OFFSET_BITS = 8
_POD_REF = itemgetter(Owner._fields.index("pod_ref"))
_HALVES = struct.Struct("<II")
_LABEL_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_LONGEST_LABEL = 63
_OWN_RANGE_LABEL = "own-"
_HEX_LABEL = "hex-"
_HEX_DIGITS = 56

Interval = tuple[int, int]
"""A half-open interval ``(start, stop)`` of offsets."""


class BlockDamaged(WhereaboutsError):
    """A stored block that fails its checksums: it is never written over, its addresses count as used."""


class Space(NamedTuple):
    """A set of addresses within which each is given once.

    All ranges of one ``network_name`` share a space, but a range with ``enable_overlapping_ranges:
    false`` has a space of its own: then ``own_range`` is its network as text.
    """

    network_name: str = ""
    own_range: str = ""


class BlockKey(NamedTuple):
    """Which block: a space, an address family (4 or 6) and the block's first address as an integer."""

    space: Space
    version: int
    base: int

    @classmethod
    def of(cls, space: Space, address: Address) -> Self:
        """The block of ``space`` that holds ``address``."""
        return cls(space, address.version, int(address) & ~_OFFSET_MASK)

    @property
    def cidr(self) -> Network:
        """The block's addresses: a /24 or a /120."""
        bits = 32 if self.version == 4 else 128
        return ip_network((_address(self.version, self.base), bits - _OFFSET_BITS))

    @property
    def name(self) -> str:
        """A name that no other block has, valid as a Kubernetes object name (RFC 1123 subdomain).

        ``10.1.2.0``, ``fd00-0-0-0-0-0-0-100``; before it, where there are such, the network name and
        the own range: ``blue.10.1.2.0``, ``own-10-1-0-0-16.10.1.2.0``. A network name that is not a
        lower-case label stands as the hexadecimal form of its UTF-8 bytes, in labels that begin with
        ``hex-``. Distinct keys have distinct names: the address is read off from the right, the only
        label after the family's own form can begin with ``own-``.
        """
        labels = []
        if self.space.network_name:
            labels.append(_network_label(self.space.network_name))
        if self.space.own_range:
            network = ip_network(self.space.own_range)
            first = _spelled_out(network.network_address).replace(".", "-")
            labels.append(f"{_OWN_RANGE_LABEL}{first}-{network.prefixlen}")
        labels.append(_spelled_out(_address(self.version, self.base)))
        return ".".join(labels)

    def address(self, offset: int) -> Address:
        """The address at ``offset`` (0 to 255) of the block."""
        return _address(self.version, self.base + offset)

    def offset(self, address: Address) -> int:
        """The offset of an address that lies in the block; ValueError for any other."""
        offset = int(address) - self.base
        if address.version != self.version or not 0 <= offset < BLOCK_SIZE:
            raise ValueError(f"{address} is not in block {self.cidr}")
        return offset


class Block:
    """The used offsets of a block and their owners; a value: changes give a new one."""

    __slots__ = ("_owners", "_used", "key")

    def __init__(self, key: BlockKey, owners: Mapping[int, Owner]) -> None:
        """A block in which exactly the offsets of ``owners`` are used."""
        self.key = key
        self._owners = dict(sorted(owners.items()))  # always in offset order
        self._used = Bitmap.from_offsets(self._owners, BLOCK_SIZE)

    @classmethod
    def _of(cls, key: BlockKey, used: Bitmap, owners: dict[int, Owner]) -> Self:
        block = cls.__new__(cls)
        block.key = key
        block._used = used
        block._owners = owners
        return block

    def __repr__(self) -> str:
        return f"<Block {self.key.name}: {len(self)} of {BLOCK_SIZE} allocated>"

    def __len__(self) -> int:
        """How many addresses are allocated."""
        return len(self._owners)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Block):
            return NotImplemented
        return self.key == other.key and self._owners == other._owners

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[tuple[int, Owner]]:
        """Offsets and owners, in offset order."""
        return iter(self._owners.items())

    def holders(self) -> Collection[Owner]:
        """The owners, in offset order."""
        return self._owners.values()

    def owner(self, offset: int) -> Owner | None:
        """Who holds ``offset``; None where it is free."""
        return self._owners.get(offset)

    def changes_since(self, before: Block) -> list[tuple[int, Owner | None, Owner | None]]:
        """What became of another value of the block: offset, owner before, owner now, in offset order."""
        was, now = before._owners, self._owners
        # Values that come from one another share their owners: most are known to be equal by identity.
        changed = {offset for offset, _ in was.items() ^ now.items()}
        return [(offset, was.get(offset), now.get(offset)) for offset in sorted(changed)]

    def lowest_free(self, barred: Sequence[Interval] = ()) -> int | None:
        """The lowest free offset outside the sorted intervals ``barred``; None where there is none."""
        return self._used.first_free_outside(barred)

    def offset_held(self, pod_ref: str, ifname: str, range_text: str) -> int | None:
        """The offset that this pod's interface was given from this range, if any.

        The rule of idempotence: a repeated ADD finds its address by pod reference and interface.
        """
        if pod_ref not in map(_POD_REF, self._owners.values()):
            return None
        for offset, owner in self._owners.items():
            if owner.pod_ref == pod_ref and owner.ifname == ifname and owner.range == range_text:
                return offset
        return None

    def with_owner(self, offset: int, owner: Owner) -> Self:
        """The block in which ``offset`` is held by ``owner``, who replaces an earlier one."""
        used, owners = self._used, {**self._owners, offset: owner}
        if offset not in self._owners:
            used = used.copy()
            used.set(offset)
            if self._owners and offset < next(reversed(self._owners)):
                owners = dict(sorted(owners.items()))
        return self._of(self.key, used, owners)

    def without(self, offsets: Sequence[int]) -> Self:
        """The block in which ``offsets`` are free. KeyError for one that is free already."""
        owners, used = dict(self._owners), self._used.copy()
        for offset in offsets:
            del owners[offset]
            used.clear(offset)
        return self._of(self.key, used, owners)

    def bitmap(self) -> bytes:
        """The half that says which offsets are used, compressed."""
        return encode_bytes(self._used)

    def owners(self) -> bytes:
        """The half that says who holds them, packed in offset order behind two checksums."""
        packed = pack(list(self.holders()))
        return _HALVES.pack(crc32(self._used.to_bytes()), crc32(packed)) + packed

    @classmethod
    def from_halves(cls, key: BlockKey, bitmap: bytes, owners: bytes) -> Self:
        """The block whose halves were written by :meth:`bitmap` and :meth:`owners`.

        Raises :class:`BlockDamaged` if a half cannot be read or the two do not belong together.
        """
        try:
            used = decode_bytes(bitmap, BLOCK_SIZE)
            of_bitmap, of_owners = _HALVES.unpack_from(owners)
            packed = owners[_HALVES.size :]
            if crc32(packed) != of_owners:
                raise BlockDamaged(f"block {key.name}: the owners fail their checksum")
            if crc32(used.to_bytes()) != of_bitmap:
                raise BlockDamaged(f"block {key.name}: bitmap and owners do not belong together")
            return cls._of(key, used, dict(zip(used, unpack(packed), strict=True)))
        except (CodecError, OwnersError, struct.error, ValueError) as error:
            raise BlockDamaged(f"block {key.name}: {error}") from error


def read_bitmap(bitmap: bytes) -> Bitmap | None:
    """The used offsets of a block from what :meth:`Block.bitmap` wrote; None if it is damaged."""
    try:
        return decode_bytes(bitmap, BLOCK_SIZE)
    except CodecError:
        return None


def _address(version: int, value: int) -> Address:
    return ip_address(value.to_bytes(4 if version == 4 else 16))


def _spelled_out(address: Address) -> str:
    """The address without ``::``, so that it can begin and end a name: ``fd00-0-0-0-0-0-0-100``."""
    if address.version == 4:
        return str(address)
    return "-".join(f"{(int(address) >> shift) & 0xFFFF:x}" for shift in range(112, -16, -16))


def _network_label(network_name: str) -> str:
    plain = _LABEL_CHARACTERS.issuperset(network_name) and len(network_name) <= _LONGEST_LABEL
    if (
        plain
        and network_name.strip("-") == network_name
        and network_name[:4] not in (_OWN_RANGE_LABEL, _HEX_LABEL)
    ):
        return network_name
    digits = network_name.encode().hex()
    chunks = [digits[at : at + _HEX_DIGITS] for at in range(0, len(digits), _HEX_DIGITS)]
    return ".".join(_HEX_LABEL + chunk for chunk in chunks)
