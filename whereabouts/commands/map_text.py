"""The picture of a range in characters, which differ by state, so that colours only help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from textwrap import wrap
from typing import NamedTuple

from whereabouts.addresses import address_of, text_of
from whereabouts.block import BLOCK_SIZE
from whereabouts.cells import Cell, Gap, Row, State, Window

MEANINGS: Mapping[State, str] = {
    State.FREE: "free",
    State.USED: "used",
    State.BARRED: "never given",
    State.STRAY: "used, but never given",
    State.SUSPECT: "suspect in the report",
    State.CONFLICT: "given twice",
    State.DAMAGED: "damaged",
}
"""What the legend says."""
_LONGEST_LABEL = {4: 15, 6: 39}
_MOST_COLUMNS = 128
_FEWEST_COLUMNS = 8
_TICKS = 16
_RESET = "\x1b[0m"
_COLOURS: Mapping[State, str] = {
    State.FREE: "\x1b[32m",
    State.USED: "\x1b[34m",
    State.BARRED: "\x1b[90m",
    State.STRAY: "\x1b[33m",
    State.SUSPECT: "\x1b[35m",
    State.CONFLICT: "\x1b[1;31m",
    State.DAMAGED: "\x1b[1;97;41m",
}


class Picture(NamedTuple):
    """A range as it is to be drawn."""

    headlines: Sequence[str]
    window: Window
    rows: Sequence[Row | Gap]

    @property
    def states(self) -> list[State]:
        """The states that occur, and those that every legend has."""
        seen = {cell.state for row in self.rows if isinstance(row, Row) for cell in row.cells}
        return sorted(seen | {State.FREE, State.USED})

    @property
    def partly(self) -> bool:
        """Whether a cell is partly used."""
        cells = (cell for row in self.rows if isinstance(row, Row) for cell in row.cells)
        return any(cell.state == State.USED and 0 < cell.eighths < 8 for cell in cells)


class Look(NamedTuple):
    """What a terminal can show."""

    width: int
    unicode: bool
    colour: bool

    @property
    def characters(self) -> Mapping[State, str]:
        """One for each state."""
        return dict(zip(State, "·█░+?!X" if self.unicode else ".#-+?!X", strict=True))

    @property
    def levels(self) -> str:
        """From a cell that is used a little to one that is used up."""
        return "▁▂▃▄▅▆▇█" if self.unicode else "1234567#"


def columns_for(width: int, version: int) -> int:
    """Cells of a row: a power of two for which a label and the cells fit into ``width``."""
    room = width - _LONGEST_LABEL[version] - 1
    columns = _MOST_COLUMNS
    while columns > max(room, _FEWEST_COLUMNS):
        columns //= 2
    return columns


def draw(picture: Picture, look: Look) -> Iterator[str]:
    """The lines of the picture."""
    for line in picture.headlines:
        yield from wrap(line, look.width)
    labels = [row_label(picture.window, row) for row in picture.rows]
    width = max((len(label) for label in labels), default=0)
    yield f"{'':{width}} {_ruler(picture)}".rstrip()
    for label, row in zip(labels, picture.rows, strict=True):
        yield (
            f"{label:{width}} {_cells(row, look)}"
            if isinstance(row, Row)
            else _gap(picture.window, row, look)
        )
    yield ""
    yield from _legend(picture, look)


def row_label(window: Window, row: Row | Gap) -> str:
    """What stands before a row: its first address. Nothing before a gap."""
    return text_of(address_of(window.version, row.cells[0].first)) if isinstance(row, Row) else ""


def _ruler(picture: Picture) -> str:
    """Numbers of cells in a row."""
    longest = max((len(row.cells) for row in picture.rows if isinstance(row, Row)), default=0)
    return "".join(f"+{tick}".ljust(_TICKS) for tick in range(0, longest, _TICKS))


def _cells(row: Row, look: Look) -> str:
    runs = groupby(row.cells, key=lambda cell: cell.state)
    return "".join(
        _coloured("".join(_character(cell, look) for cell in run), state, look) for state, run in runs
    )


def _character(cell: Cell, look: Look) -> str:
    state = cell.state
    return look.levels[cell.eighths - 1] if state == State.USED else look.characters[state]


def _coloured(text: str, state: State, look: Look) -> str:
    return f"{_COLOURS[state]}{text}{_RESET}" if look.colour else text


def gap_text(window: Window, gap: Gap) -> str:
    """What stands for rows that are left out."""
    return f"nothing recorded up to {text_of(address_of(window.version, gap.last))}"


def _gap(window: Window, gap: Gap, look: Look) -> str:
    return f"{'⋮' if look.unicode else ':'} {gap_text(window, gap)}"


def _legend(picture: Picture, look: Look) -> Iterator[str]:
    entries = [_entry(state, picture, look) for state in picture.states]
    unit = "address" if picture.window.size == 1 else f"block of {BLOCK_SIZE} addresses"
    entries.append((len(unit) + len("a cell is one "), f"a cell is one {unit}"))
    line, used = "", 0
    for length, text in entries:
        if line and used + 3 + length > look.width:
            yield line
            line, used = "", 0
        line, used = (f"{line}   {text}", used + 3 + length) if line else (text, length)
    yield line


def _entry(state: State, picture: Picture, look: Look) -> tuple[int, str]:
    """An entry of the legend with its length, in which colours do not count."""
    sign, meaning = look.characters[state], MEANINGS[state]
    if state == State.USED and picture.partly:
        sign, meaning = f"{look.levels[0]}..{look.levels[6]} {sign}", "partly and all used"
    return len(sign) + 1 + len(meaning), f"{_coloured(sign, state, look)} {meaning}"
