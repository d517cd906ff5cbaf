"""The messages of etcd's v3 API that the store needs: values in, bytes out; bytes in, values out.

One kind of request does all the work: the transaction (``etcdserverpb.KV/Txn``), which compares, reads
and writes in one step; a read is a transaction without comparisons. Beside it stands the request for a
token (``etcdserverpb.Auth/Authenticate``). The field numbers are those of etcd's ``rpc.proto`` and
``kv.proto`` and of the Protocol Buffers encoding, both of which only ever grow; unknown fields are
passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from whereabouts.errors import WhereaboutsError
from whereabouts.values import NamedTuple

TRANSACTION = "/etcdserverpb.KV/Txn"
AUTHENTICATE = "/etcdserverpb.Auth/Authenticate"

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT = 70
_INT64_MASK = 2**64 - 1
_SHORT_VARINTS = [bytes([value]) for value in range(0x80)]

# Compare.result and Compare.target
_EQUAL, _LESS = 0, 2
_CREATE, _MOD = 1, 2


class MessageError(WhereaboutsError, ValueError):
    """Bytes that are no answer of an etcd server."""


class KeyValue(NamedTuple):
    """A key with its value (empty where only keys were asked for) and revisions."""

    key: bytes
    mod_revision: int
    value: bytes


class Found(NamedTuple):
    """What one read of a transaction found; ``more`` tells that its limit cut it short."""

    pairs: Sequence[KeyValue]
    more: bool


class Outcome(NamedTuple):
    """The answer to a transaction: the store's revision, which branch was taken, and what its reads found."""

    revision: int
    succeeded: bool
    found: Sequence[Found]


# ------------------------------------------------------------------- requests


def transaction(compares: Sequence[bytes], success: Sequence[bytes], failure: Sequence[bytes] = ()) -> bytes:
    """A transaction: where all ``compares`` hold the operations ``success`` are done, else ``failure``."""
    return b"".join(
        [
            *(_field(1, compare) for compare in compares),
            *(_field(2, operation) for operation in success),
            *(_field(3, operation) for operation in failure),
        ]
    )


def unchanged(key: bytes, mod_revision: int) -> bytes:
    """A comparison: ``key`` was last written in ``mod_revision``; 0: it does not exist."""
    return _number(1, _EQUAL) + _number(2, _MOD) + _field(3, key) + _number(6, mod_revision)


def none_since(key: bytes, end: bytes, revision: int) -> bytes:
    """A comparison: no key in ``key`` up to and without ``end`` was created after ``revision``."""
    return (
        _number(1, _LESS) + _number(2, _CREATE) + _field(3, key) + _number(5, revision + 1) + _field(64, end)
    )


def read(key: bytes, end: bytes = b"", *, limit: int = 0, keys_only: bool = False) -> bytes:
    """An operation: read ``key``, or the keys from ``key`` up to and without ``end``, in order."""
    request = _field(1, key)
    if end:
        request += _field(2, end)
    if limit:
        request += _number(3, limit)
    if keys_only:
        request += _number(8, 1)
    return _field(1, request)


def put(key: bytes, value: bytes) -> bytes:
    """An operation: write ``key``."""
    return _field(2, _field(1, key) + _field(2, value))


def delete(key: bytes) -> bytes:
    """An operation: delete ``key``, which need not exist."""
    return _field(3, _field(1, key))


def nested(operations: Sequence[bytes]) -> bytes:
    """An operation: several operations, which count as one of the transaction that they stand in."""
    return _field(4, transaction((), operations))


def authenticate(name: str, password: str) -> bytes:
    """The request for a token."""
    return _field(1, name.encode()) + _field(2, password.encode())


def end_of(prefix: bytes) -> bytes:
    """The ``end`` of a range that holds every key which begins with ``prefix`` (its last byte below 255)."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


# -------------------------------------------------------------------- answers


def outcome(data: bytes) -> Outcome:
    """Read the answer to a transaction. Raises :class:`MessageError`."""
    revision, succeeded, found = 0, False, []
    for number, value in _fields(data):
        if number == 1:
            revision = _revision(_bytes(value))
        elif number == 2:
            succeeded = bool(_integer(value))
        elif number == 3:
            found += [_found(_bytes(read)) for kind, read in _fields(_bytes(value)) if kind == 1]
    return Outcome(revision, succeeded, found)


def token(data: bytes) -> str:
    """Read the token from the answer to :func:`authenticate`. Raises :class:`MessageError`."""
    for number, value in _fields(data):
        if number == 2:
            return _bytes(value).decode("ascii", "replace")
    raise MessageError("there is no token in etcd's answer")


def _revision(header: bytes) -> int:
    return next((_integer(value) for number, value in _fields(header) if number == 3), 0)


def _found(data: bytes) -> Found:
    pairs, more = [], False
    for number, value in _fields(data):
        if number == 2:
            pairs.append(_pair(_bytes(value)))
        elif number == 3:
            more = bool(_integer(value))
    return Found(pairs, more)


def _pair(data: bytes) -> KeyValue:
    key, mod_revision, content = b"", 0, b""
    for number, value in _fields(data):
        if number == 1:
            key = _bytes(value)
        elif number == 3:
            mod_revision = _integer(value)
        elif number == 5:
            content = _bytes(value)
    return KeyValue(key, mod_revision, content)


# ------------------------------------------------------------- wire encoding


def _varint(value: int) -> bytes:
    if value < len(_SHORT_VARINTS):
        return _SHORT_VARINTS[value]
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value & _INT64_MASK)


def _field(number: int, value: bytes) -> bytes:
    return b"".join((_varint(number << 3 | _BYTES), _varint(len(value)), value))


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message with their numbers; integers are not yet signed."""
    position, end = 0, len(data)
    while position < end:
        tag, position = _read_varint(data, position)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, position = _read_varint(data, position)
            yield number, value
            continue
        if kind == _BYTES:
            size, position = _read_varint(data, position)
        elif kind in _FIXED_SIZES:
            size = _FIXED_SIZES[kind]
        else:
            raise MessageError(f"etcd's answer has a field of wire type {kind}")
        if size > end - position:
            raise MessageError("etcd's answer is cut short")
        yield number, data[position : position + size]
        position += size


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while shift < _LONGEST_VARINT:
        if position >= len(data):
            raise MessageError("etcd's answer is cut short")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _INT64_MASK, position
        shift += 7
    raise MessageError("etcd's answer has a number of more than 64 bits")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise MessageError("etcd's answer has a number where bytes belong")
    return value


def _integer(value: int | bytes) -> int:
    """The value as int64."""
    if isinstance(value, bytes):
        raise MessageError("etcd's answer has bytes where a number belongs")
    return value - 2**64 if value >= 2**63 else value
