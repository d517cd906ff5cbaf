"""The picture of a range as boxes and texts in their places, whatever file they go to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from whereabouts.addresses import address_of, text_of
from whereabouts.block import BLOCK_SIZE
from whereabouts.cells import Cell, Row, State, Window
from whereabouts.commands.map_text import MEANINGS, Picture, gap_text, row_label

COLOURS: Mapping[State, str] = {
    State.FREE: "#dbe9d8",
    State.USED: "#0072b2",
    State.BARRED: "#b8b8b8",
    State.STRAY: "#e69f00",
    State.SUSPECT: "#cc79a7",
    State.CONFLICT: "#d55e00",
    State.DAMAGED: "#000000",
}
"""By Okabe and Ito, which people tell apart who do not see all colours."""
TEXT_SIZE = 12
_MARGIN = 16
_LINE = 18
_CELL = 12
_GAP_BETWEEN = 2
_PITCH = _CELL + _GAP_BETWEEN
_CHARACTER = 7.3
"""Width of a character of TEXT_SIZE, or a little more."""


class Box(NamedTuple):
    """A filled rectangle; ``title`` is what it says when it is pointed at."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    title: str = ""


class Label(NamedTuple):
    """A text whose baseline begins at a point."""

    x: float
    y: float
    text: str
    bold: bool = False


class Drawing(NamedTuple):
    """Shapes on white, the later over the earlier, in a size in pixels."""

    width: int
    height: int
    title: str
    shapes: Sequence[Box | Label]


def lay_out(picture: Picture) -> Drawing:
    """Put everything in its place."""
    labels = [row_label(picture.window, row) for row in picture.rows]
    left = _MARGIN + _CHARACTER * (max(map(len, labels), default=0) + 1)
    shapes: list[Box | Label] = []
    y = float(_MARGIN + TEXT_SIZE)
    for number, line in enumerate(picture.headlines):
        shapes.append(Label(_MARGIN, y, line, bold=number == 0))
        y += _LINE
    for label, row in zip(labels, picture.rows, strict=True):
        baseline = y + _CELL - 2
        if isinstance(row, Row):
            shapes.append(Label(_MARGIN, baseline, label))
            for column, cell in enumerate(row.cells):
                shapes += _boxes(left + column * _PITCH, y, cell, picture.window)
        else:
            shapes.append(Label(_MARGIN, baseline, f"⋮ {gap_text(picture.window, row)}"))
        y += _PITCH if isinstance(row, Row) else _LINE
    y += _LINE + _GAP_BETWEEN
    for state in picture.states:
        shapes += [Box(_MARGIN, y - _CELL + 2, _CELL, _CELL, COLOURS[state])]
        shapes += [Label(_MARGIN + _LINE, y, _meaning(state, picture))]
        y += _LINE
    unit = "address" if picture.window.size == 1 else f"block of {BLOCK_SIZE} addresses"
    shapes.append(Label(_MARGIN, y, f"A box is one {unit}."))
    return Drawing(_width(shapes), int(y) + _MARGIN, picture.headlines[0], shapes)


def _meaning(state: State, picture: Picture) -> str:
    filled = state == State.USED and picture.window.size > 1
    return f"{MEANINGS[state]} (as high as it is full)" if filled else MEANINGS[state]


def _boxes(x: float, y: float, cell: Cell, window: Window) -> Iterator[Box]:
    state, title = cell.state, _title(cell, window)
    if state != State.USED:
        yield Box(x, y, _CELL, _CELL, COLOURS[state], title)
        return
    height = max(1.0, round(_CELL * cell.used / (cell.used + cell.counts[State.FREE]), 1))
    if height < _CELL:
        yield Box(x, y, _CELL, _CELL, COLOURS[State.FREE], title)
    yield Box(x, y + _CELL - height, _CELL, height, COLOURS[State.USED], title)


def _title(cell: Cell, window: Window) -> str:
    first = text_of(address_of(window.version, cell.first))
    if window.size == 1:
        return f"{first}: {MEANINGS[cell.state]}"
    counted = [f"{cell.counts[state]} {MEANINGS[state]}" for state in State if cell.counts[state]]
    return f"{first}: {', '.join(counted)}"


def _width(shapes: Sequence[Box | Label]) -> int:
    ends = [
        shape.x + (shape.width if isinstance(shape, Box) else len(shape.text) * _CHARACTER)
        for shape in shapes
    ]
    return int(max(ends)) + _MARGIN
