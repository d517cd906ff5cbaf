"""The picture of a range as a table of HTML: a row's first address, and its cells as a strip of boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from whereabouts.block import BLOCK_SIZE
from whereabouts.cells import Cell, Row, State
from whereabouts.commands.map_shapes import COLOURS
from whereabouts.commands.map_text import MEANINGS, Picture, gap_text, row_label
from whereabouts.controller.markup import Markup, element, markup

_MEANINGS: Mapping[State, str] = {**MEANINGS, State.SUSPECT: "suspect"}
_IN_THE_DARK: Mapping[State, str] = {
    State.FREE: "#31452f",
    State.USED: "#56a9dd",
    State.BARRED: "#6a6f76",
    State.DAMAGED: "#ffffff",
}
"""Where the colours of other pictures would not do on a dark ground."""
_CELL = 12
_PITCH = _CELL + 2


def colours(*, dark: bool) -> str:
    """CSS variables with a colour for each state."""
    chosen = {**COLOURS, **_IN_THE_DARK} if dark else COLOURS
    return "".join(f"--{_name(state)}:{colour};" for state, colour in chosen.items())


def rules() -> str:
    """CSS for boxes of each state."""
    return "".join(f".{_name(state)}{{fill:var(--{_name(state)})}}" for state in State)


def _name(state: State) -> str:
    return state.name.lower()


def as_html(picture: Picture, caption: str) -> Markup:
    """The picture: remarks, the table, and a legend."""
    return markup(
        (element("p", line) for line in picture.headlines),
        element(
            "table",
            element("caption", caption),
            element("tbody", _rows(picture)),
            class_="map",
        ),
        _legend(picture),
    )


def _rows(picture: Picture) -> Iterator[Markup]:
    window = picture.window
    for row in picture.rows:
        if isinstance(row, Row):
            label = element("th", row_label(window, row), scope="row")
            yield element("tr", label, element("td", _strip(row.cells, window.columns)))
        else:
            yield element("tr", element("td", f"⋮ {gap_text(window, row)}", colspan=2))


def _strip(cells: Sequence[Cell], columns: int) -> Markup:
    """The cells of a row, side by side; what they are in words for who does not see them."""
    paths: dict[State, list[str]] = {}
    for column, cell in enumerate(cells):
        for state, height in _fills(cell):
            box = f"M{column * _PITCH} {_CELL - height:g}h{_CELL}v{height:g}h-{_CELL}z"
            paths.setdefault(state, []).append(box)
    counts = [sum(cell.counts[state] for cell in cells) for state in State]
    said = ", ".join(f"{counts[state]} {_MEANINGS[state]}" for state in State if counts[state])
    return element(
        "svg",
        element("title", said),
        (element("path", d="".join(boxes), class_=_name(state)) for state, boxes in sorted(paths.items())),
        viewBox=f"0 0 {columns * _PITCH - 2} {_CELL}",
        role="img",
        class_="strip",
    )


def _fills(cell: Cell) -> Iterator[tuple[State, float]]:
    """What a cell is filled with, and how high; the later over the earlier."""
    state = cell.state
    if state != State.USED:
        yield state, _CELL
        return
    height = max(1.0, round(_CELL * cell.used / (cell.used + cell.counts[State.FREE]), 1))
    if height < _CELL:
        yield State.FREE, _CELL
    yield State.USED, height


def _legend(picture: Picture) -> Markup:
    block_wise = picture.window.size > 1
    unit = f"block of {BLOCK_SIZE} addresses" if block_wise else "address"
    entries = []
    for state in picture.states:
        filled = " (as high as it is full)" if state == State.USED and block_wise else ""
        box = element("path", d=f"M0 0h{_CELL}v{_CELL}h-{_CELL}z", class_=_name(state))
        swatch = element("svg", box, viewBox=f"0 0 {_CELL} {_CELL}", class_="swatch", aria_hidden="true")
        entries.append(element("li", swatch, " ", _MEANINGS[state], filled))
    return element("ul", entries, element("li", f"A box is one {unit}."), class_="legend")
