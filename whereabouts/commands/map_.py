"""``whereabouts map``: a range as a picture, in the terminal or in a file."""

from __future__ import annotations

import argparse
import os
import sys

from whereabouts.commands import arguments, datastore, evidence
from whereabouts.commands.map_reading import SIZES, read_picture
from whereabouts.commands.map_text import Look, draw
from whereabouts.commands.new_file import replacing
from whereabouts.commands.tables import terminal_width

PLAIN_WIDTH = 80
"""Columns where the output is no terminal, and of pictures in files."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "map",
        help="draw a range: which addresses are used, free, never given, or a problem",
        description="Draws a range, or a part of one. Small ranges have a cell for every address, large ones "
        "for every block of 256; where nothing is recorded, rows of large ranges are left out.",
    )
    datastore.add_options(parser)
    parser.add_argument("range", type=arguments.network, metavar="RANGE", help="a range, or a network in one")
    parser.add_argument("--network", default="", metavar="NAME", help="the range's network_name")
    parser.add_argument(
        "--cells", choices=sorted(SIZES), help="what a cell is (default: by the range's size)"
    )
    parser.add_argument("--report", metavar="FILE", help="of whereabouts check: shows what it has found")
    evidence.add_network_options(parser)
    parser.add_argument("--svg", metavar="FILE", help="draw into this file, as SVG")
    parser.add_argument("--png", metavar="FILE", help="draw into this file, as PNG")
    parser.set_defaults(run=run, cluster=None, valid_attachments=None, node=None)


def run(chosen: argparse.Namespace) -> int:
    """Draw the range."""
    width = terminal_width() or PLAIN_WIDTH
    with datastore.opened(chosen) as store:
        picture = read_picture(chosen, store, PLAIN_WIDTH if chosen.svg or chosen.png else width)
    if chosen.svg:
        from whereabouts.commands.map_svg import as_svg

        with replacing(chosen.svg) as file:
            file.write(as_svg(picture).encode())
    if chosen.png:
        from whereabouts.commands.map_png import as_png

        content = as_png(picture)
        with replacing(chosen.png) as file:
            file.write(content)
    if not chosen.svg and not chosen.png:
        for line in draw(picture, Look(width, _speaks_unicode(), _wants_colour())):
            print(line)
    return 0


def _wants_colour() -> bool:
    """By the rule of https://no-color.org."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _speaks_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") in ("utf8", "utf16")
