"""What remains on the screen behind pytest-benchmark's own tables: ratios, figures, curves and promises."""

from collections.abc import Iterable, Iterator, Sequence

from bench.measured import BASE, Bar, Measured, curves, groups, number, ratio


def summary(of: Sequence[Measured]) -> Iterator[tuple[str, list[str]]]:
    """Headings and their lines."""
    yield (
        "medians in ms of what took turns; in brackets the ratio of the first to each other, and its rounds",
        list(_beside(of)),
    )
    yield "figures", list(_figures(of))
    yield f"ratios: time (and bytes) of each, {BASE} = 1", list(_ratios(of))
    yield "curves", list(_curves(of))
    yield "promises", list(_bars(bar for one in of for bar in one.bars()))


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows as lines whose cells stand below each other: the first to the left, all others to the right."""
    rows = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _beside(of: Iterable[Measured]) -> Iterator[str]:
    for one in of:
        others = [f"{name} {turns.words(one.median)}" for name, turns in one.beside.items()]
        others += [f"{name} failed: {reason}" for name, reason in one.failed.items()]
        if others:
            yield f"{one.words} {number(one.median * 1e3)}  {'  '.join(others)}"


def _figures(of: Iterable[Measured]) -> Iterator[str]:
    for one in of:
        if one.figures:
            yield one.words
            yield from aligned([f"  {name}", number(value)] for name, value in one.figures.items())


def _ratios(of: Iterable[Measured]) -> Iterator[str]:
    comparable = groups(of)
    width = max(map(len, comparable), default=0)
    for group, entries in comparable.items():
        base, *others = entries.items()
        ratios = "  ".join(f"{name} {ratio(other, base[1])}" for name, other in others)
        yield f"{group:{width}}  {ratios}"


def _curves(of: Iterable[Measured]) -> Iterator[str]:
    for curve in curves(of):
        yield f"{curve.title}: {curve.y.label}"
        yield from aligned(["  " + first, *others] for first, *others in curve.rows())


def _bars(bars: Iterable[Bar]) -> Iterator[str]:
    for bar in bars:
        told = f", is {number(bar.measured)}" if bar.measured is not None else ""
        yield f"{bar.verdict}: {bar.words}: {bar.figure}: {bar.promise}{told}"
