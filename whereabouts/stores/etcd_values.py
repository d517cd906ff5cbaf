"""The values of etcd keys: a block, a pool and the slices of a range as bytes.

Each begins with a mark and carries the name of what it is: a value that was copied to another key is
noticed there. Integers are little-endian::

    block := "WAB1" name_size:u16 bitmap_size:u32 owners_size:u32 name bitmap owners
    pool  := "WAP1" shared:u8 name_size:u16 name hints
    slices := "WAS1" name NUL range NUL size NUL slices

Names are UTF-8. The two halves of a block have their own checksums (see :mod:`whereabouts.block`); the
hints of a pool are the text of :meth:`whereabouts.pool.Pool.hints`, the slices that of
:func:`whereabouts.slices.print_slices`.
"""

from __future__ import annotations

import struct

from whereabouts.block import Block, BlockDamaged, BlockKey
from whereabouts.pool import Pool, PoolKey
from whereabouts.slices import SlicePool, parse_slices, print_slices
from whereabouts.store import StoreDamaged

_BLOCK = struct.Struct("<4sHII")
_BLOCK_MARK = b"WAB1"
_POOL = struct.Struct("<4sBH")
_POOL_MARK = b"WAP1"
_SLICES_MARK = b"WAS1"


def write_block(block: Block) -> bytes:
    """The value of a block; equal blocks give equal bytes."""
    name, bitmap, owners = block.key.name.encode(), block.bitmap(), block.owners()
    return b"".join((_BLOCK.pack(_BLOCK_MARK, len(name), len(bitmap), len(owners)), name, bitmap, owners))


def read_block(key: BlockKey, value: bytes) -> Block:
    """Read what :func:`write_block` wrote for ``key``. Raises BlockDamaged for anything else."""
    try:
        mark, name_size, bitmap_size, owners_size = _BLOCK.unpack_from(value)
    except struct.error:
        raise BlockDamaged(f"block {key.name}: its value in etcd is cut short") from None
    if mark != _BLOCK_MARK:
        raise BlockDamaged(f"block {key.name}: its value in etcd begins with {mark!r}, not {_BLOCK_MARK!r}")
    if len(value) != _BLOCK.size + name_size + bitmap_size + owners_size:
        raise BlockDamaged(f"block {key.name}: the length of its value in etcd is wrong")
    bitmap_at = _BLOCK.size + name_size
    owners_at = bitmap_at + bitmap_size
    name = value[_BLOCK.size : bitmap_at]
    if name != key.name.encode():
        raise BlockDamaged(
            f"block {key.name}: its value in etcd is that of block {name.decode(errors='replace')}"
        )
    return Block.from_halves(key, value[bitmap_at:owners_at], value[owners_at:])


def write_pool(pool: Pool) -> bytes:
    """The value of a pool; equal pools give equal bytes."""
    name = "\0".join(pool.key).encode()
    return _POOL.pack(_POOL_MARK, pool.shared, len(name)) + name + pool.hints().encode()


def read_pool(where: bytes, value: bytes) -> Pool:
    """Read what :func:`write_pool` wrote. Raises StoreDamaged, which names the key ``where``."""
    try:
        mark, shared, size = _POOL.unpack_from(value)
        key = value[_POOL.size : _POOL.size + size].decode().split("\0")
        if mark == _POOL_MARK and len(key) == len(PoolKey._fields):
            hints = value[_POOL.size + size :].decode("ascii", "replace")
            return Pool.with_hints(PoolKey(*key), bool(shared), hints)
    except (struct.error, ValueError):
        pass
    raise StoreDamaged(
        f"etcd key {where.decode(errors='replace')} holds no pool: delete it, and the next ADD makes it anew"
    )


def write_slices(pool: SlicePool) -> bytes:
    """The value of the slices of a range; equal slices give equal bytes."""
    texts = (pool.name, pool.range, pool.slice_size, print_slices(pool.slices))
    return _SLICES_MARK + "\0".join(texts).encode()


def read_slices(where: bytes, value: bytes) -> SlicePool:
    """Read what :func:`write_slices` wrote. Raises StoreDamaged, which names the key ``where``."""
    try:
        if value.startswith(_SLICES_MARK):
            name, range_text, size, slices = value[len(_SLICES_MARK) :].decode().split("\0")
            return SlicePool(name, range_text, size, parse_slices(slices))
    except ValueError:
        pass
    key = where.decode(errors="replace")
    raise StoreDamaged(f"etcd key {key} holds no slices: delete it, and the next ADD makes it anew")
