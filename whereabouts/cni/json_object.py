"""JSON as the CNI world reads it: strict text in, one object out, keys found as Go finds them."""

from __future__ import annotations

from _json import make_scanner
from collections.abc import Iterable, Mapping

from whereabouts.errors import WhereaboutsError
from whereabouts.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NoReturn

DEEPEST = 100
"""Levels of nesting that are read: a fixed number gives the same answer under every Python release."""
MOST_DIGITS = 300
"""Digits of an integer: what fits in a double, and no conversion in quadratic time."""

_INFINITY = float("inf")
_BLANKS = b" \t\r\n"
_TYPE_NAMES = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}


class JsonError(WhereaboutsError, ValueError):
    """Text that is not the JSON that was expected."""


def decode_object(data: bytes) -> dict[str, object]:
    """Read the bytes of one JSON object. Of a key that comes twice the last value counts, as in Go.

    Raises :class:`JsonError` for everything else: text that is not UTF-8 or not JSON, NaN and
    infinities, numbers beyond all measure, nesting deeper than ``DEEPEST``, unpaired surrogates,
    another value than an object.
    """
    value = _decode(data)
    if data.count(b"[") + data.count(b"{") > DEEPEST and _is_deep(value):
        _refuse_depth()
    if not isinstance(value, dict):
        raise JsonError(f"expected an object, found {type_name(value)}")
    if b"\\u" in data:
        _refuse_unpaired_surrogates(value)
    return value


def find_key(members: Mapping[str, object], key: str) -> str | None:
    """How ``key`` is spelled in an object: exactly, else with other capitals (Go's rule), else None."""
    if key in members:
        return key
    lowered = key.lower()
    return next((spelling for spelling in members if spelling.lower() == lowered), None)


def member(members: Mapping[str, object], key: str) -> object:
    """Give the value that :func:`find_key` leads to; None for a key that is missing or null, like Go."""
    spelling = find_key(members, key)
    return None if spelling is None else members[spelling]


def text_member(members: Mapping[str, object], key: str) -> str:
    """Give the text at a key; ``""`` for a key that is missing or null.

    Raises :class:`JsonError` for a value of another type.
    """
    value = member(members, key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise JsonError(f'key "{key}": expected a string, found {type_name(value)}')
    return value


def type_name(value: object) -> str:
    """What JSON calls the type of a decoded value, with its article."""
    return "null" if value is None else _TYPE_NAMES.get(type(value), "an object")


class _Scan:
    """How the interpreter's own scanner, the C half of the ``json`` module, is to read a value."""

    strict = True
    object_hook = None
    object_pairs_hook = None

    @staticmethod
    def parse_int(digits: str) -> int:
        if len(digits) > MOST_DIGITS:
            raise JsonError(f"a number has {len(digits)} digits, at most {MOST_DIGITS} are read")
        return int(digits)

    @staticmethod
    def parse_float(text: str) -> float:
        number = float(text)
        if number in (_INFINITY, -_INFINITY):
            raise JsonError("a number is too large")
        return number

    @staticmethod
    def parse_constant(name: str) -> NoReturn:
        raise JsonError(f"{name} is not a number that JSON has")


_scan = make_scanner(_Scan)  # type: ignore[arg-type]  # any object with these attributes will do


def _decode(data: bytes) -> object:
    stripped = data.strip(_BLANKS)
    if not stripped:
        raise JsonError("there is no input")
    if data.startswith(b"\xef\xbb\xbf"):
        raise JsonError("the text starts with a byte order mark, which JSON does not have")
    try:
        text = stripped.decode()
        value, end = _scan(text, 0)
    except UnicodeDecodeError as error:
        raise JsonError(f"byte {error.start + data.index(stripped)} is not UTF-8") from error
    except RecursionError:
        _refuse_depth()
    except (StopIteration, ValueError, SystemError) as error:
        # SystemError: in Python 3.11 the scanner has no error of its own before json.decoder is imported.
        if isinstance(error, JsonError):
            raise
        _explain(data)
    if end != len(text):
        _explain(data)
    return value


def _explain(data: bytes) -> NoReturn:
    """Have the ``json`` module itself say what is wrong; it is not imported for input that is right."""
    import json

    try:
        json.loads(data.decode())
    except json.JSONDecodeError as error:
        raise JsonError(str(error)) from error
    raise JsonError("not JSON")


def _refuse_depth() -> NoReturn:
    raise JsonError(f"more than {DEEPEST} levels of nesting")


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [child for item in level for child in _children(item)]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _refuse_unpaired_surrogates(value: dict[str, object]) -> None:
    import json

    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        surrogate = ord(error.object[error.start])
        raise JsonError(f"the escape \\u{surrogate:04x} is half of a character") from error
