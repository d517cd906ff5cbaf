"""The section of one module: what its docstring says, its tables, plots and promises, and how to get them."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from bench.measured import BASE, Curve, Measured, curves, groups, number, ratio

from .markdown import command, table
from .run import Module

PYTEST = ".venv/bin/python -m pytest"
WIDEST = 6
"""Columns of cases that a table of figures has at most."""


Piece = tuple[str, tuple[str, ...]]
"""Figures, and the tests that measure them."""


def section(about: Module, module: str, of: Sequence[Measured], picture: Callable[[Curve], str]) -> str:
    """``picture`` tells the path of a curve's picture."""
    parts = [f"## {about.heading}", about.text]
    for functions, pieces in groupby([*_tables(of), *_plots(of, picture)], key=itemgetter(1)):
        parts += [*(text for text, _ in pieces), how_to(module, functions)]
    bars = [
        f"- {bar.words}: {bar.figure}: {bar.promise}: **{bar.verdict}**"
        + (f", {number(bar.measured)}" if bar.measured is not None else "")
        for one in of
        for bar in one.bars()
    ]
    parts += ["Promised:\n\n" + "\n".join(bars)] if bars else []
    failures = [f"- {one.words}: {name}: {reason}" for one in of for name, reason in one.failed.items()]
    parts += ["Could not do it:\n\n" + "\n".join(failures)] if failures else []
    return "\n\n".join(filter(None, parts)) + "\n"


def how_to(module: str, functions: Iterable[str]) -> str:
    """The command that measures these."""
    return command(f"{PYTEST} {' '.join(f'bench/{module}.py::{function}' for function in functions)}")


def _tables(of: Sequence[Measured]) -> Iterator[Piece]:
    compared = {id(one) for entries in groups(of).values() for one in entries.values()}
    for function in dict.fromkeys(one.function for one in of):
        entries = groups(one for one in of if one.function == function)
        if entries:
            yield _of_groups(entries), (function,)
    rest = [one for one in of if id(one) not in compared]
    for beside in dict.fromkeys(tuple(one.beside) for one in rest):
        timed = [one for one in rest if tuple(one.beside) == beside]
        yield _beside(timed, beside), tuple(dict.fromkeys(one.function for one in timed))
    for function in dict.fromkeys(one.function for one in of if one.figures):
        for text in _figures([one for one in of if one.function == function and one.figures]):
            yield text, (function,)


def _of_groups(found: Mapping[str, Mapping[str, Measured]]) -> str:
    """A row for each group, a column for each entry of any of them."""
    names = list(dict.fromkeys(name for entries in found.values() for name in entries))[1:]
    rows = []
    for group, entries in found.items():
        base = entries[BASE]
        others = [ratio(entries[name], base) if name in entries else "" for name in names]
        rows.append([group, number(base.fastest * 1e3), *others])
    return table(["", f"{BASE}, ms", *names], rows)


def _beside(timed: Sequence[Measured], beside: Sequence[str]) -> str:
    """Medians: the own one, and what took turns. Much beside few gets a row each, else a column."""
    lines = [["", "median, ms", "rounds", *beside]]
    for one in timed:
        turns = (one.beside[name].words(one.median) for name in beside)
        lines.append([one.words, number(one.median * 1e3), str(one.rounds), *turns])
    if len(beside) > max(3, len(timed)):
        lines = [list(column) for column in zip(*lines, strict=True)]
    heading, *rows = lines
    return table(heading, rows)


def _figures(of: Sequence[Measured]) -> Iterator[str]:
    """A row for each figure, a column for each case; a table for as many cases as fit beside each other."""
    for start in range(0, len(of), WIDEST):
        some = of[start : start + WIDEST]
        names = dict.fromkeys(name for one in some for name in one.figures)
        rows = [
            [name, *(number(one.figures[name]) if name in one.figures else "" for one in some)]
            for name in names
        ]
        subject = some[0].function.removeprefix("test_").replace("_", " ")
        yield table([subject, *(one.case for one in some)] if some[0].case else ["", subject], rows)


def _plots(of: Sequence[Measured], picture: Callable[[Curve], str]) -> Iterator[Piece]:
    for curve in curves(of):
        described = _plain(f"{curve.title}: {curve.y.label} against {curve.x.label}")
        heading, *rows = curve.rows()
        drawn = f"![{described}]({picture(curve)})"
        told = f"{curve.y.label[:1].upper()}{curve.y.label[1:]}:"
        yield "\n\n".join([drawn, told, table(heading, rows)]), tuple(curve.functions)


def _plain(text: str) -> str:
    """Without what Markdown would take for its own."""
    return re.sub(r"[\[\]`*]", "", text)
