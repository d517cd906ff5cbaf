"""The forms that commands print in, for people and for programs: ``-o table|wide|json|yaml|name``."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from whereabouts.commands.tables import printable

FORMATS = ("table", "wide", "json", "yaml", "name")


def add_option(parser: argparse.ArgumentParser, formats: Sequence[str] = FORMATS) -> None:
    """Add ``-o``; the first of ``formats`` is the default."""
    parser.add_argument(
        "-o", "--output", choices=formats, default=formats[0], help=f"how to print (default: {formats[0]})"
    )


def document(value: object, form: str) -> str:
    """A value made of mappings, sequences, texts, numbers and None, as ``json`` or ``yaml``."""
    if form == "json":
        return json.dumps(value, indent=2)
    return "\n".join(_yaml(value))


_PLAIN_KEY = re.compile(r"[a-z][a-z0-9_]*")
_WORDS = ("true", "false", "null", "yes", "no", "y", "n", "on", "off")
"""Texts that some reader of YAML takes for something else."""


def _key(key: object) -> str:
    """A key without quotes, where YAML takes it for nothing but a text."""
    plain = isinstance(key, str) and _PLAIN_KEY.fullmatch(key) and key not in _WORDS
    return str(key) if plain else _scalar(key)


def _yaml(value: object) -> Iterator[str]:
    """Lines of block-style YAML 1.2; texts stand in double quotes: none is taken for something else."""
    if isinstance(value, Mapping) and value:
        for key, member in value.items():
            first, *rest = _yaml(member)
            if _is_block(member):
                yield f"{_key(key)}:"
                yield from (f"  {line}" for line in (first, *rest))
            else:
                yield f"{_key(key)}: {first}"
    elif _is_block(value):
        assert isinstance(value, (list, tuple))  # noqa: S101  # follows from _is_block
        for member in value:
            first, *rest = _yaml(member)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    else:
        yield _scalar(value)


def _is_block(value: object) -> bool:
    return isinstance(value, (Mapping, list, tuple)) and len(value) > 0


def _scalar(value: object) -> str:
    """JSON's form, which is YAML's: with characters beyond 16 bits written out, not as two halves."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def print_lines(lines: Iterable[str]) -> None:
    """Print texts, a line each, without what a terminal would take for a command."""
    for line in lines:
        print(printable(line))


def complain(sentence: str) -> None:
    """Say on standard error what is not as it should be."""
    sys.stdout.flush()  # in the order in which it was said, where both go to one place
    sys.stderr.write(f"whereabouts: {printable(sentence)}\n")


def counted(number: int, noun: str, more: str = "s") -> str:
    """``1 block``, ``2 blocks``."""
    return f"{number} {noun}{more if number != 1 else ''}"
