"""Curves as SVG: readable by whoever does not tell colours, and the same bytes for the same numbers."""

import io
import re
from collections.abc import Sequence
from itertools import cycle, pairwise
from math import log
from typing import Any

from bench.measured import Curve

# Of Okabe and Ito, who chose them for eyes that do not tell red from green; the orange darker and without the
# yellow, to be read on white. Dashes and marks tell the lines apart by themselves.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#B87A00", "#56B4E9")
MARKS = "os^Dvx+"
DASHES = ("-", "--", "-.", ":")
SETTINGS: Any = {
    "svg.hashsalt": "whereabouts",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
GAP = 0.055
"""Between labels, as a part of the height of the axes."""
APART = 0.09
"""Marks of the x axis, as a part of its length."""
Points = Sequence[tuple[float, float]]


def file_name(curve: Curve) -> str:
    """What its picture is called."""
    words = f"{curve.module.removeprefix('test_bench_')} {curve.title}".lower()
    return f"results-{re.sub(r'[^a-z0-9]+', '-', words).strip('-')}.svg"


def draw(curve: Curve) -> str:
    """The picture, as the text of an SVG. A logarithmic axis leaves out what is not above 0."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(8.0, 4.5), layout="constrained")
        axes = figure.add_subplot()
        _label(axes, curve)
        ends = [
            (name, points[-1], _line(axes, points, style))
            for style, (name, series) in zip(_styles(), curve.series.items(), strict=False)
            if (points := _drawable(curve, series))
        ]
        _name(axes, ends)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    return re.sub(r"[ \t]+$", "", written.getvalue(), flags=re.MULTILINE)


def _styles() -> Any:
    return zip(cycle(COLOURS), cycle(MARKS), cycle(DASHES), strict=False)


def _drawable(curve: Curve, series: Points) -> Points:
    return [(x, y) for x, y in series if (x > 0 or not curve.x.log) and (y > 0 or not curve.y.log)]


def _label(axes: Any, curve: Curve) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogFormatter, NullLocator

    def plain(value: float, _: object) -> str:
        return f"{value:,.10g}"

    class PlainLog(LogFormatter):
        """Names as many places as there is room for, without powers of ten."""

        def __call__(self, x: float, pos: int | None = None) -> str:
            return plain(x, pos) if super().__call__(x, pos) else ""

    axes.set_title(curve.title, loc="left", fontsize=12)
    for axis, dimension in ((curve.x, axes.xaxis), (curve.y, axes.yaxis)):
        dimension.set_label_text(axis.label)
        if axis.log:
            axes.set(**{f"{dimension.axis_name}scale": "log"})
            dimension.set_minor_formatter(PlainLog(minor_thresholds=(1, 0.4)))
        dimension.set_major_formatter(FuncFormatter(plain))
    if places := _own_places(curve):
        axes.xaxis.set_major_locator(FixedLocator(places))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(visible=True, color="#dddddd", linewidth=0.7)


def _own_places(curve: Curve) -> list[float]:
    """Where points are, if the axis is logarithmic, and they are far enough from each other to be named."""
    places = sorted({x for series in curve.series.values() for x, _ in _drawable(curve, series)})
    if not curve.x.log or len(places) < 2:
        return []
    apart = min(log(second / first) for first, second in pairwise(places))
    return places if apart > APART * log(places[-1] / places[0]) else []


def _line(axes: Any, points: Points, style: tuple[str, str, str]) -> str:
    colour, mark, dashes = style
    xs, ys = zip(*points, strict=True)
    axes.plot(xs, ys, color=colour, marker=mark, linestyle=dashes, markersize=5, linewidth=1.8, clip_on=False)
    return colour


def _name(axes: Any, ends: Sequence[tuple[str, tuple[float, float], str]]) -> None:
    """Put the name of each line where it ends, at the right, and a line of points to it where that is far."""
    if axes.get_yscale() != "log":
        axes.set_ylim(bottom=0)
    axes.figure.draw_without_rendering()  # and so settle the limits
    placed = [
        (axes.transAxes.inverted().transform(axes.transData.transform(end)), name, end, colour)
        for name, end, colour in ends
    ]
    below = -1.0
    for (_, height), name, end, colour in sorted(placed, key=lambda one: float(one[0][1])):
        below = max(height, below + GAP)
        axes.annotate(
            name,
            xy=end,
            xytext=(1.03, below),
            textcoords="axes fraction",
            color=colour,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "linestyle": ":"},
        )
