"""Mutations of JSON that leave it JSON: bytes that are changed at random hardly ever get past a parser.

An input may have several parts, parted by NUL or by an empty line, of which some are JSON: one of these is
changed.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

_PARTS = re.compile(rb"(\0|\n\n)")
_NUMBERS = (0, 1, -1, 255, 1 << 31, 1 << 63, -(1 << 63), 10**20, 1.5, -0.0, 1e308)
_TEXTS = (
    "",
    "/",
    "-",
    "::",
    "0.0.0.0/0",
    "\x00",
    "\u00e9",
    "\ud7ff",
    "\U0001f600",
    "0" * 40,
    "a/b",
    "%",
    "..",
)
_DEEPEST = 60

Place = tuple[Any, Any]
"""A container and the key or index of one of its members."""


def mutator(words: Sequence[str]) -> Callable[[bytes, Random], bytes | None]:
    """A mutation that knows ``words``: keys and values of the subject."""

    def mutate(data: bytes, dice: Random) -> bytes | None:
        parts = _PARTS.split(data)
        found = [(at, value) for at, part in enumerate(parts) if (value := _parsed(part)) is not None]
        if not found:
            return None
        at, value = dice.choice(found)
        root = [value]
        for _ in range(dice.choice((1, 1, 1, 2, 4))):
            _change(root, words, dice)
        parts[at] = json.dumps(root[0], ensure_ascii=dice.random() < 0.5).encode("utf-8", "replace")
        return b"".join(parts)

    return mutate


def _parsed(part: bytes) -> Any:
    """The object or list that a part of an input is; None where it is neither."""
    try:
        value = json.loads(part)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _places(container: Any, depth: int = 0) -> Iterator[Place]:
    keys = container if isinstance(container, dict) else range(len(container))
    for key in keys:
        yield container, key
        if isinstance(container[key], dict | list) and depth < _DEEPEST:
            yield from _places(container[key], depth + 1)


def _change(root: list[Any], words: Sequence[str], dice: Random) -> None:
    places = list(_places(root))
    container, key = dice.choice(places[1:] if len(places) > 1 and dice.random() < 0.98 else places)
    other, another = dice.choice(places)
    match dice.randrange(7):
        case 0:
            container[key] = _fresh(words, dice)
        case 1 if container is not root:
            del container[key]
        case 2:
            container[key] = json.loads(json.dumps(other[another]))
        case 3 if isinstance(container, list) and container is not root:
            container[key:key] = [json.loads(json.dumps(container[key]))] * dice.choice((1, 1, 2, 30))
        case 4 if isinstance(container, dict):
            container[dice.choice(words) if words else _text(dice)] = container.pop(key)
        case 5:
            _add(container[key], words, dice)
        case _:
            container[key] = _altered(container[key], words, dice)


def _add(container: Any, words: Sequence[str], dice: Random) -> None:
    if isinstance(container, dict):
        container[dice.choice(words) if words and dice.random() < 0.9 else _text(dice)] = _fresh(words, dice)
    elif isinstance(container, list):
        container.insert(dice.randint(0, len(container)), _fresh(words, dice))


def _altered(value: Any, words: Sequence[str], dice: Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return dice.choice((value + 1, value - 1, -value, value * 256, dice.choice(_NUMBERS)))
    if isinstance(value, str) and value:
        at = dice.randrange(len(value))
        inserted = dice.choice((_text(dice), dice.choice("0123456789./:-, =;%\x00é")))
        return value[:at] + inserted + value[at + dice.randrange(3) :]
    return _fresh(words, dice)


def _fresh(words: Sequence[str], dice: Random) -> Any:
    if words and dice.random() < 0.5:
        return dice.choice(words)
    made: Any = dice.choice((None, True, False, {}, [], [[]], *_NUMBERS, *_TEXTS))
    return made.copy() if isinstance(made, dict | list) else made


def _text(dice: Random) -> str:
    return dice.choice(_TEXTS)
