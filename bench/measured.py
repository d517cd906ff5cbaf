"""What benchmarks left: a time each, and in ``extra_info`` what to compare it with and what else was found.

``entry``, ``bytes``
    The name of what is measured, and how much memory or text it took. Those of a group are compared with the
    one whose entry is ``whereabouts``.
``beside``
    Of what took turns with it, floors and peers: names, and of each the median in seconds and how many
    rounds that is of, as :func:`turns` makes it of these; of an older run the median alone.
``failed``
    Names and reasons of those that could not.
``figures``
    Names, with units, and numbers of what is not a time on the clock.
``curve``
    ``{"title": str, "x": {"label": str, "log": bool}, "y": likewise, "series": {name: [[x, y], …]}}``. Curves
    of a module that have title and axes in common are one.
``bar``
    ``[{"figure": name of a figure or of one beside, "at_most" or "at_least": number}, …]``: promises. Of one
    beside it is the ratio of the own median to its.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

BASE = "whereabouts"


class Bar(NamedTuple):
    """A promise, and what came of it."""

    words: str
    figure: str
    limit: float
    least: bool
    """Whether it is the least that is promised; else it is the most."""
    measured: float | None

    @property
    def held(self) -> bool | None:
        """None: it was not measured."""
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.least else self.measured <= self.limit

    @property
    def promise(self) -> str:
        return f"at {'least' if self.least else 'most'} {number(self.limit)}"

    @property
    def verdict(self) -> str:
        return {True: "held", False: "MISSED", None: "not measured"}[self.held]


class Axis(NamedTuple):
    label: str
    log: bool


class Curve(NamedTuple):
    """Numbers over numbers, to be drawn."""

    module: str
    title: str
    x: Axis
    y: Axis
    series: Mapping[str, Sequence[tuple[float, float]]]
    functions: Sequence[str]
    """The tests it comes from."""

    def rows(self) -> Iterator[list[str]]:
        """As a table: a heading, then a row for each ``x``."""
        yield [self.x.label, *self.series]
        points = {name: dict(pairs) for name, pairs in self.series.items()}
        for x in sorted({x for pairs in points.values() for x in pairs}):
            yield [number(x), *(number(pairs[x]) if x in pairs else "" for pairs in points.values())]


class Turns(NamedTuple):
    """What one that took turns took."""

    median: float
    rounds: int | None
    """None: the run does not tell."""

    def words(self, own: float) -> str:
        """Its median in ms; in brackets how often that fits into the own one, and its rounds."""
        if not self.median:
            return "0"
        rounds = "" if self.rounds is None else f"; {self.rounds}"
        return f"{number(self.median * 1e3)} ({number(own / self.median)}{rounds})"


class Measured(NamedTuple):
    """One benchmark, with times in seconds."""

    node: str
    """The test: ``bench/test_bench_x.py::test_y[z]``."""
    group: str
    median: float
    fastest: float
    rounds: int
    extra: Mapping[str, Any]

    @property
    def module(self) -> str:
        return self.node.partition("::")[0].rpartition("/")[2].removesuffix(".py")

    @property
    def function(self) -> str:
        return self.node.partition("::")[2].partition("[")[0]

    @property
    def case(self) -> str:
        """Its parameters, as pytest names them."""
        return self.node.partition("[")[2].removesuffix("]")

    @property
    def words(self) -> str:
        """What its name says."""
        said = self.function.removeprefix("test_").replace("_", " ")
        return f"{said} ({self.case})" if self.case else said

    @property
    def entry(self) -> str | None:
        entry: str | None = self.extra.get("entry")
        return entry

    @property
    def beside(self) -> Mapping[str, Turns]:
        found: Mapping[str, Any] = self.extra.get("beside", {})
        return {
            name: Turns(*told) if isinstance(told, list) else Turns(told, None)
            for name, told in found.items()
        }

    @property
    def failed(self) -> Mapping[str, str]:
        failed: Mapping[str, str] = self.extra.get("failed", {})
        return failed

    @property
    def figures(self) -> Mapping[str, float]:
        figures: Mapping[str, float] = self.extra.get("figures", {})
        return figures

    def value(self, figure: str) -> float | None:
        """A figure, or the ratio of the own median to that of one beside."""
        if figure in self.figures:
            return self.figures[figure]
        other = self.beside.get(figure)
        return self.median / other.median if other and other.median else None

    def bars(self) -> Iterator[Bar]:
        for bar in self.extra.get("bar", ()):
            least = "at_least" in bar
            limit = bar["at_least" if least else "at_most"]
            figure = bar["figure"]
            named = f"median, {figure} = 1" if figure in self.beside.keys() - self.figures.keys() else figure
            yield Bar(self.words, named, limit, least, self.value(figure))


def turns(seconds: Sequence[float]) -> list[float]:
    """What ``beside`` has of one that took so many seconds, turn by turn."""
    return [median(seconds), len(seconds)]


def measured(benchmark: Mapping[str, Any]) -> Measured:
    """Of what pytest-benchmark says of one, in its JSON or in the run."""
    stats = benchmark["stats"]
    return Measured(
        benchmark["fullname"],
        benchmark.get("group") or "",
        stats["median"],
        stats["min"],
        stats["rounds"],
        benchmark.get("extra_info", {}),
    )


def groups(of: Iterable[Measured]) -> dict[str, dict[str, Measured]]:
    """Entries by groups: those of which one is :data:`BASE`, which comes first, and which have others."""
    found: dict[str, dict[str, Measured]] = defaultdict(dict)
    for one in of:
        if one.entry is not None:
            found[one.group][one.entry] = one
    return {
        group: {BASE: entries.pop(BASE), **entries}
        for group, entries in found.items()
        if BASE in entries and len(entries) > 1
    }


def curves(of: Iterable[Measured]) -> list[Curve]:
    """All curves, put together within a module where they are one."""
    series: dict[tuple[str, str, Axis, Axis], dict[str, dict[float, float]]] = {}
    functions: dict[tuple[str, str, Axis, Axis], dict[str, None]] = defaultdict(dict)
    for one in of:
        if curve := one.extra.get("curve"):
            key = (one.module, curve["title"], Axis(**curve["x"]), Axis(**curve["y"]))
            functions[key][one.function] = None
            lines = series.setdefault(key, {})
            for name, points in curve["series"].items():
                lines.setdefault(name, {}).update((x, y) for x, y in points)
    return [
        Curve(*key, {name: sorted(points.items()) for name, points in lines.items()}, list(functions[key]))
        for key, lines in series.items()
    ]


def ratio(other: Measured, base: Measured) -> str:
    """How often the fastest round, and in brackets the bytes, of ``base`` another takes."""
    time = number(other.fastest / base.fastest)
    if not base.extra.get("bytes") or "bytes" not in other.extra:
        return time
    return f"{time} ({number(other.extra['bytes'] / base.extra['bytes'])})"


def number(value: float) -> str:
    """To read: three digits that count, no powers of ten."""
    if value == 0 or value != value or value in (float("inf"), float("-inf")):
        return f"{value:g}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if float(value).is_integer():
        return f"{value:.0f}"
    return f"{value:#.3g}" if abs(value) >= 1e-4 else f"{value:.2g}"
