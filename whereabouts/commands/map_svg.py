"""The picture of a range as SVG 1.1: text that any browser shows, without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from whereabouts.commands.map_shapes import TEXT_SIZE, Box, Drawing, Label, lay_out
from whereabouts.commands.map_text import Picture


def as_svg(picture: Picture) -> str:
    """The picture as the content of a file."""
    return "\n".join(_lines(lay_out(picture))) + "\n"


def _lines(drawing: Drawing) -> Iterator[str]:
    size = f'width="{drawing.width}" height="{drawing.height}" viewBox="0 0 {drawing.width} {drawing.height}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="monospace" font-size="{TEXT_SIZE}">'
    yield f"<title>{escape(drawing.title)}</title>"
    yield '<rect width="100%" height="100%" fill="#ffffff"/>'
    for shape in drawing.shapes:
        yield _box(shape) if isinstance(shape, Box) else _label(shape)
    yield "</svg>"


def _box(box: Box) -> str:
    place = f'x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" fill="{box.colour}"'
    return f"<rect {place}><title>{escape(box.title)}</title></rect>" if box.title else f"<rect {place}/>"


def _label(label: Label) -> str:
    weight = ' font-weight="bold"' if label.bold else ""
    return f'<text x="{label.x:g}" y="{label.y:g}"{weight}>{escape(label.text)}</text>'
