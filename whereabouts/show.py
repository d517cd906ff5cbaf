"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from whereabouts.usage import Usage

_HEADINGS = ("NETWORK", "RANGE", "CAPACITY", "USED", "FREE")


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
