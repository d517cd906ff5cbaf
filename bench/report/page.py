"""The page: what it is about, the promises, a section for each module, and what was left out."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from bench.measured import Bar, curves, number

from . import campaign, glance, plots
from .markdown import anchor, table
from .run import FOLDER, Run, introduction, not_run
from .sections import section

INTRODUCTION = """# Results

`make bench-report` writes this page. It is of one run on one machine, and each figure stands above the
command that measures it; `make bench` prints what takes less than ten minutes of it. The servers, the
plugin and what it is compared with shared the processors. So **ratios count, milliseconds do not**, and
what is compared took turns. etcd and SQLite sync a
disk, but the API server's own etcd has its records in memory and syncs nothing.

- A *floor* is what a call cannot be faster than: an empty process, an fsync, one bare transaction or one bare
  conditional write (*bare PUT*) of as many bytes by the same client.
- A *peer* is another plugin that does the same work, where its binary is present: `host-local` where plugins
  lie, or by `WHEREABOUTS_BENCH_HOST_LOCAL`; the Go plugin by `WHEREABOUTS_BENCH_GO`; any other by
  `WHEREABOUTS_BENCH_PEER_<NAME>`, with what its configuration has under `ipam` in
  `WHEREABOUTS_BENCH_PEER_<NAME>_IPAM`, in which `{range}`, `{directory}` and `{kubeconfig}` are filled in.
- A *promise* is a number that has to hold on any machine: a ratio, or a time with much room.
- Rows are named by the tests that measured them. Numbers have three digits.
- Where a table has medians, what took turns stands beside: its median and, in brackets, how often that fits
  into the first one; behind a semicolon, of how many rounds it is. Where a table compares `whereabouts` with
  others, it has fastest rounds: the others' as multiples, and in brackets their bytes likewise."""


class Page(NamedTuple):
    """Text, and pictures by the names of their files."""

    text: str
    pictures: Mapping[str, str]


def page(run: Run, build: Path, folder: Path = FOLDER) -> Page:
    """``build``: where campaign and fuzzers left results; ``folder``: that of the benchmarks' modules."""
    sections = [
        section(introduction(module, folder), module, of, lambda curve: f"images/{plots.file_name(curve)}")
        for module, of in run.modules.items()
    ]
    attacked = [campaign.faults(build / "faults"), campaign.fuzzers(build / "fuzz")]
    parts = [INTRODUCTION, *_summary(run, folder), *sections, *attacked, _left_out(run, folder)]
    pictures = {
        plots.file_name(curve): plots.draw(curve) for of in run.modules.values() for curve in curves(of)
    }
    return Page("\n\n".join(part.strip("\n") for part in parts if part) + "\n", pictures)


def _summary(run: Run, folder: Path) -> Iterator[str]:
    yield f"## The machine\n\n{table(['', ''], _machine(run))}"
    yield f"## At a glance\n\n{glance.figures(run)}"
    rows = [
        [f"{_link(introduction(module, folder).heading)}: {bar.words}", *_kept(bar)]
        for module, of in run.modules.items()
        for one in of
        for bar in one.bars()
    ]
    if rows:
        yield f"## Promises\n\n{table(['', 'figure', 'promised', 'measured', ''], rows)}"


def _link(heading: str) -> str:
    return f"[{heading}](#{anchor(heading)})"


def _kept(bar: Bar) -> list[str]:
    measured = "" if bar.measured is None else number(bar.measured)
    return [bar.figure, bar.promise, measured, bar.verdict if bar.held else f"**{bar.verdict}**"]


def _machine(run: Run) -> Iterator[list[str]]:
    cpu = run.machine.get("cpu", {})
    if cpu:
        yield ["processors", f"{cpu.get('count', '?')} x {cpu.get('brand_raw', cpu.get('arch', '?'))}"]
    if run.machine:
        yield ["kernel", f"{run.machine.get('system', '?')} {run.machine.get('release', '?')}"]
        implementation = run.machine.get("python_implementation", "Python")
        yield [implementation, str(run.machine.get("python_version", "?"))]
    yield from ([name, version] for name, version in run.versions.items())
    yield ["date", run.date or "?"]
    yield ["commit", run.commit or "?"]
    if run.seconds:
        yield ["it took", f"{number(sum(run.seconds.values()) / 60)} minutes"]


def _left_out(run: Run, folder: Path) -> str:
    sentences = [
        *run.left_out,
        *(f"bench/{module}.py: no result in this run" for module in not_run(run, folder)),
    ]
    told = "\n".join(f"- {sentence}" for sentence in sentences) or "Nothing."
    return f"## What was left out\n\n{told}"
