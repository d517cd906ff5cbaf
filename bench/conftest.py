"""Ends a run with what it is for: how often the time, and the bytes, of ``whereabouts`` each other takes.

A benchmark takes part when its ``extra_info`` has an ``entry``, the name of what is measured; those of a
group are compared. ``bytes`` in the ``extra_info`` are compared too. The ratios are those of the fastest
rounds: what else runs on the machine makes a round slower, never faster.

Where a benchmark's rivals took turns with it, its ``extra_info`` has ``beside``: their names and medians in
seconds. Then medians are compared. ``figures`` are printed as they are.
"""

from collections import defaultdict
from typing import Any

import pytest

BASE = "whereabouts"


# Behind the tables, so that it is what remains on the screen.
@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    session: Any = getattr(config, "_benchmarksession", None)
    groups: dict[str, dict[str, Any]] = defaultdict(dict)
    for benchmark in session.benchmarks if session else ():
        if "entry" in benchmark.extra_info and not benchmark.has_error:
            groups[benchmark.group][benchmark.extra_info["entry"]] = benchmark
    _write_beside(terminalreporter, session)
    _write_figures(terminalreporter, session)
    comparable = {group: entries for group, entries in groups.items() if BASE in entries and len(entries) > 1}
    if not comparable:
        return
    terminalreporter.section(f"ratios: time (and bytes) of each, {BASE} = 1")
    width = max(map(len, comparable))
    for group, entries in comparable.items():
        base = entries.pop(BASE)
        ratios = "  ".join(f"{name} {_ratio(other, base)}" for name, other in entries.items())
        terminalreporter.write_line(f"{group:{width}}  {ratios}")


def _write_beside(terminalreporter: pytest.TerminalReporter, session: Any) -> None:
    """The medians of benchmarks whose rivals took turns with them."""
    timed = [one for one in (session.benchmarks if session else ()) if "beside" in one.extra_info]
    if not timed:
        return
    terminalreporter.section("medians in ms of what took turns, and the ratio of the first to each other")
    for benchmark in timed:
        own = benchmark["median"]
        others = "  ".join(
            f"{name} {seconds * 1e3:.2f} ({own / seconds:.2f})"
            for name, seconds in benchmark.extra_info["beside"].items()
        )
        terminalreporter.write_line(f"{benchmark.name} {own * 1e3:.2f}  {others}")


def _write_figures(terminalreporter: pytest.TerminalReporter, session: Any) -> None:
    """What is not a time on the clock, such as memory."""
    told = [one for one in (session.benchmarks if session else ()) if "figures" in one.extra_info]
    if told:
        terminalreporter.section("figures")
    for benchmark in told:
        figures = "  ".join(
            f"{name} {number:.4g}" for name, number in benchmark.extra_info["figures"].items()
        )
        terminalreporter.write_line(f"{benchmark.name}  {figures}")


def _ratio(other: Any, base: Any) -> str:
    time = f"{other['min'] / base['min']:.2f}"
    if not base.extra_info.get("bytes") or "bytes" not in other.extra_info:
        return time
    return f"{time} ({other.extra_info['bytes'] / base.extra_info['bytes']:.2f})"
