"""The picture of a range as PNG, drawn by Pillow, which brings a font along (extra ``png``)."""

from __future__ import annotations

import io
from importlib import import_module
from typing import Any

from whereabouts.commands.map_shapes import TEXT_SIZE, Box, lay_out
from whereabouts.commands.map_text import Picture
from whereabouts.config import ConfigError

_SCALE = 2
"""Pixels for one of the drawing, for screens and printers that have many."""


def as_png(picture: Picture) -> bytes:
    """The picture as the content of a file. Raises ConfigError where Pillow is missing."""
    image_module: Any
    try:
        image_module = import_module("PIL.Image")
        draw_module: Any = import_module("PIL.ImageDraw")
        font_module: Any = import_module("PIL.ImageFont")
    except ImportError as error:
        raise ConfigError(
            "--png needs Pillow, which is not installed: pip install 'whereabouts-ipam[png]' "
            "(--svg needs nothing)"
        ) from error
    drawing = lay_out(picture)
    image = image_module.new("RGB", (drawing.width * _SCALE, drawing.height * _SCALE), "#ffffff")
    canvas = draw_module.Draw(image)
    font = font_module.load_default(TEXT_SIZE * _SCALE)
    for shape in drawing.shapes:
        x, y = shape.x * _SCALE, shape.y * _SCALE
        if isinstance(shape, Box):
            corner = (x + shape.width * _SCALE - 1, y + shape.height * _SCALE - 1)
            canvas.rectangle((x, y, *corner), fill=shape.colour)
        else:
            canvas.text((x, y), shape.text, fill="#000000", font=font, anchor="ls")
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    return content.getvalue()
