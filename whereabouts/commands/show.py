"""``whereabouts show``: what an operator sees of a datastore."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from whereabouts.commands import datastore
from whereabouts.deadline import Deadline
from whereabouts.usage import Usage, usage

_HEADINGS = ("NETWORK", "RANGE", "CAPACITY", "USED", "FREE")


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("show", help="list the ranges with used and free addresses")
    datastore.add_options(parser)
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Print the table of ranges."""
    with datastore.opened(datastore.configured(chosen)) as store:
        print(ranges_table(usage(store, Deadline.none())))
    return 0


def ranges_table(rows: Sequence[Usage]) -> str:
    """The ranges, a line each: how many addresses there are, how many are used and how many are left."""
    cells: list[tuple[str, ...]] = [_HEADINGS]
    for row in rows:
        cells.append((row.network_name or "-", row.range, f"{row.capacity}", f"{row.used}", f"{row.free}"))
    return _aligned(cells)


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for network, text_range, *numbers in rows:
        aligned = [network.ljust(widths[0]), text_range.ljust(widths[1])]
        aligned += [number.rjust(width) for number, width in zip(numbers, widths[2:], strict=True)]
        lines.append("  ".join(aligned))
    return "\n".join(lines)
