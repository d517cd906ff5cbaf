"""Where things stand in etcd: keys, and the text from which a block's key is read back.

Under the prefix::

    blocks/<space>/<block>                          the block
    bitmaps/<space>/<block>                         its used offsets alone
    pools/<network name>/<range>                    a pool
    pools/<network name>/<range>/<node>/<slice>     the pool of a node's slice of it
    slices/<name>                                   the slices of a range, and which node has which
    pods/<pod reference>/<interface>/<space>/<block>             which blocks hold records of a pod
    attachments/<container ID>/<interface>/<space>/<block>       which blocks hold records of an attachment

``<space>`` is ``<network name>/<own range>``, ``<block>`` is ``4/010.001.002.000`` or
``6/fd00:0000:0000:0000:0000:0000:0000:0100``: blocks of a space stand in the order of their addresses. An
empty text stands as ``-``; any character but ASCII letters, digits, ``.`` and ``:`` stands as ``%`` and
the hexadecimal digits of its UTF-8 bytes, so that no text can reach into another place.
"""

from __future__ import annotations

from ipaddress import ip_address

from whereabouts.addresses import Address
from whereabouts.block import BLOCK_SIZE, BlockKey, Space
from whereabouts.pool import PoolKey

DEFAULT_PREFIX = "/whereabouts/v1/"

_EMPTY = "-"
_PLAIN = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.:")
_ESCAPES = {byte: f"%{byte:02X}" for byte in range(256) if byte not in _PLAIN}


class Keys:
    """The keys under one prefix."""

    __slots__ = ("_prefix",)

    def __init__(self, prefix: str) -> None:
        """Keys under ``prefix``, which ends in ``/`` or is given one."""
        self._prefix = prefix if prefix.endswith("/") else prefix + "/"

    def block(self, key: BlockKey) -> bytes:
        """The key of a block."""
        return self.blocks() + block_name(key)

    def blocks(self) -> bytes:
        """What the keys of all blocks begin with."""
        return self._key("blocks", "")

    def bitmaps(self) -> bytes:
        """What the keys of all bitmaps begin with."""
        return self._key("bitmaps", "")

    def bitmaps_between(self, space: Space, version: int, first: int, last: int) -> tuple[bytes, bytes]:
        """The keys, from one up to and without another, of the blocks whose base is in first..last."""
        start, end = (self.bitmaps() + block_name(BlockKey(space, version, at)) for at in (first, last))
        return start, end + b"\0"

    def pool(self, key: PoolKey) -> bytes:
        """The key of a pool."""
        of_slice = (_text(key.node), _text(key.range)) if key.node else ()
        return self._key("pools", _text(key.network_name), _text(key.of_whole.range), *of_slice)

    def pools(self, network_name: str | None) -> bytes:
        """What the keys of the pools of a network name, or of all pools, begin with."""
        return self._key("pools", "" if network_name is None else _text(network_name) + "/")

    def slices(self, name: str) -> bytes:
        """The key of the slices of that name; of no name: what the keys of all of them begin with."""
        return self._key("slices", name and _text(name))

    def pod(self, pod_ref: str, ifname: str) -> bytes:
        """What the keys begin with that say in which blocks a pod's interface has records."""
        return self._key("pods", _text(pod_ref), _text(ifname), "")

    def attachment(self, container_id: str, ifname: str) -> bytes:
        """What the keys begin with that say in which blocks an attachment has records."""
        return self._key("attachments", _text(container_id), _text(ifname), "")

    def block_at(self, key: bytes, beginning: bytes) -> BlockKey | None:
        """The block whose name stands in ``key`` behind ``beginning``; None if that is no block's name."""
        try:
            network_name, own_range, version, address = key[len(beginning) :].decode().split("/")
            first = ip_address(_without_zeros(address) if version == "4" else address)
            found = BlockKey(Space(_value(network_name), _value(own_range)), first.version, int(first))
        except ValueError:
            return None
        return found if found.base % BLOCK_SIZE == 0 and beginning + block_name(found) == key else None

    def _key(self, *parts: str) -> bytes:
        return (self._prefix + "/".join(parts)).encode()


def block_name(key: BlockKey) -> bytes:
    """The part of a key that says which block: space, version and address."""
    network_name, own_range = key.space
    address = _spelled_out(key.address(0))
    return f"{_text(network_name)}/{_text(own_range)}/{key.version}/{address}".encode()


def _spelled_out(address: Address) -> str:
    """All digits of an address, so that texts are ordered as addresses are."""
    if address.version == 4:
        return ".".join(f"{byte:03d}" for byte in address.packed)
    return address.exploded


def _without_zeros(address: str) -> str:
    return ".".join(str(int(part)) for part in address.split("."))


def _text(value: str) -> str:
    return value.encode().decode("latin-1").translate(_ESCAPES) or _EMPTY


def _value(text: str) -> str:
    if text == _EMPTY:
        return ""
    first, *escaped = text.split("%")
    decoded = first.encode() + b"".join(bytes.fromhex(part[:2]) + part[2:].encode() for part in escaped)
    return decoded.decode()
