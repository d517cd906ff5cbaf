"""Printing JSON as the Go library does: indented by four blanks, with its escapes.

The ``json`` module prints the same, but importing it takes a process as long as serving a call.
"""

from __future__ import annotations

from _json import encode_basestring, encode_basestring_ascii

_ESCAPES = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})


def print_json(value: object, sort_keys: bool = False) -> bytes:
    """The value, made of dicts with text keys, lists, texts, integers and booleans, in UTF-8."""
    return _print(value, sort_keys, "\n").translate(_ESCAPES).encode("utf-8", "replace")  # a stray byte: "?"


def quoted(text: str) -> str:
    """A text as JSON has it, in double quotes, all but plain ASCII escaped."""
    return encode_basestring_ascii(text)


def _print(value: object, sort_keys: bool, newline: str) -> str:
    deeper = newline + "    "
    if isinstance(value, dict):
        members = sorted(value.items()) if sort_keys else value.items()
        items = [f"{encode_basestring(key)}: {_print(of, sort_keys, deeper)}" for key, of in members]
        return _enclose("{}", items, newline)
    if isinstance(value, list | tuple):
        return _enclose("[]", [_print(item, sort_keys, deeper) for item in value], newline)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return encode_basestring(value)
    raise TypeError(f"a {type(value).__name__} is not printed as JSON")


def _enclose(brackets: str, items: list[str], newline: str) -> str:
    if not items:
        return brackets
    deeper = newline + "    "
    return brackets[0] + deeper + f",{deeper}".join(items) + newline + brackets[1]
