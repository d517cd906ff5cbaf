"""Tables and other text for a terminal: the one place that knows its width and what may be written to it.

Texts in records come from whoever started a pod, so nothing that a terminal would take for a command gets
through. A table that is wider than the terminal has its widest columns shortened; one that goes to a file
or a pipe is never shortened.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TextIO

_GAP = "  "
_CUT = "…"
_NARROWEST = 8
"""No column is shortened below this: then a line is wider than the terminal after all."""


def terminal_width(stream: TextIO | None = None) -> int | None:
    """The columns of the terminal behind ``stream`` (default: standard output); None if there is none."""
    stream = stream or sys.stdout
    try:
        if not stream.isatty():
            return None
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def printable(text: str) -> str:
    """The text with what cannot be printed in it spelled out: ``\\x1b``."""
    return text if text.isprintable() else "".join(map(_spelled, text))


def _spelled(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


def table(
    headings: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numbers: Collection[str] = (),
    width: int | None = None,
) -> str:
    """Rows under headings, in columns; those of ``numbers`` are set to the right.

    An empty cell stands as ``-``. ``width`` is what :func:`terminal_width` gave.
    """
    cells = [tuple(headings), *(tuple(printable(str(cell)) or "-" for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if width is not None:
        widths = _fitting(widths, width)
    right = [heading in numbers for heading in headings]
    return "\n".join(_line(row, widths, right) for row in cells)


def _fitting(widths: Sequence[int], width: int) -> list[int]:
    """The widths, the widest made smaller until all fit."""
    fitting = list(widths)
    room = width - len(_GAP) * (len(fitting) - 1)
    while sum(fitting) > room and max(fitting) > _NARROWEST:
        fitting[fitting.index(max(fitting))] -= 1
    return fitting


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    aligned = []
    for cell, width, number in zip(row, widths, right, strict=True):
        shown = cell if len(cell) <= width else cell[: width - 1] + _CUT
        aligned.append(shown.rjust(width) if number else shown.ljust(width))
    return _GAP.join(aligned).rstrip()
