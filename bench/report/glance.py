"""The few figures that stand in the README too, which has no others."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from bench.measured import number

from .markdown import table
from .run import Run

BEGIN, END = "<!-- written by make bench-report -->", "<!-- end of what it wrote -->"
HEADING = ["on one machine, in one run", "measured"]


class Shown(NamedTuple):
    """A figure, or the ratio to one beside, of a test that ``make bench`` runs, in words."""

    node: str
    figure: str
    words: str


_CALL = "test_bench_calls.py::test_call"
_COST = "test_bench_cost.py"
SHOWN = (
    Shown(
        f"{_CALL}[Kubernetes-agent-ADD]",
        "bare PUT",
        "ADD on an API server, with its process: multiple of the bare write",
    ),
    Shown(f"{_CALL}[Kubernetes-agent-ADD]", "Go plugin", "ADD on an API server: multiple of the Go plugin's"),
    Shown(f"{_CALL}[SQLite-agent-ADD]", "host-local", "ADD on one machine: multiple of host-local's"),
    Shown(
        "test_bench_parallel.py::test_parallel_adds[Kubernetes-16]",
        "ADDs a second, 64 at once, one agent",
        "ADDs a second on an API server, 64 at once by one agent",
    ),
    Shown(
        "test_bench_bursts.py::test_a_thousand_adds_for_exactly_a_thousand_addresses_on_ten_nodes",
        "seconds for all ADDs",
        "seconds for 1,000 ADDs at once, of ten nodes, that take all of 1,000 addresses",
    ),
    Shown(
        "test_bench_lowest.py::test_search[a million of a 12]",
        "µs for the lowest free address",
        "microseconds to find the lowest free address among a million",
    ),
    Shown(
        f"{_COST}::test_calls_one_after_another[Kubernetes]",
        "requests an ADD",
        "requests to the API server for an ADD",
    ),
    Shown(
        f"{_COST}::test_bursts_of_64_by_one_agent[Kubernetes]",
        "requests an ADD",
        "and for an ADD of 64 at once",
    ),
)


def figures(run: Run) -> str:
    """A table of those that were measured."""
    return table(HEADING, _rows(run))


def readme(text: str, run: Run) -> str:
    """The README with these figures between its marks. Raises ValueError where it has none."""
    marked = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not marked.search(text):
        raise ValueError(f"no lines {BEGIN} and {END} to write between")
    return marked.sub(lambda _: f"{BEGIN}\n\n{figures(run)}\n\n{END}", text)


def _rows(run: Run) -> Iterator[list[str]]:
    found = {one.node: one for module in run.modules.values() for one in module}
    for shown in SHOWN:
        one = found.get(f"bench/{shown.node}")
        if one is not None and (value := one.value(shown.figure)) is not None:
            yield [shown.words, number(value)]
