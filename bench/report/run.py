"""What one run of the benchmarks left in pytest-benchmark's JSON, and what there is to be run."""

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.measured import Measured, measured

FOLDER = Path(__file__).parents[1]
FIRST = (
    *("calls", "parallel", "bursts", "occupancy", "scale", "lowest", "churn", "cost", "simulation"),
    *("kubernetes", "etcd", "memory", "controller"),
)
"""Whole calls stand in front of parts of the program; what is not named here follows by name."""


class Run(NamedTuple):
    """The run, whose parts may be missing where an older version of the benchmarks wrote it."""

    date: str
    commit: str
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    left_out: Sequence[str]
    seconds: Mapping[str, float]
    modules: Mapping[str, Sequence[Measured]]
    """Benchmarks of each module that has any, in the order of the page."""


class Module(NamedTuple):
    """How a module of benchmarks introduces itself."""

    heading: str
    text: str


def load(path: Path) -> Run:
    """Raises OSError, and ValueError with a sentence for what is not such a file."""
    try:
        content = json.loads(path.read_text())
        return _run(content)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} is not what pytest --benchmark-json writes ({what})") from error


def _run(content: Mapping[str, Any]) -> Run:
    commit = content.get("commit_info", {})
    machine = content.get("machine_info", {})
    modules: dict[str, list[Measured]] = {}
    for benchmark in content["benchmarks"]:
        one = measured(benchmark)
        modules.setdefault(one.module, []).append(one)
    return Run(
        date=content.get("datetime", "")[:10],
        commit=str(commit.get("id") or "")[:12] + (" and changes" if commit.get("dirty") else ""),
        machine=machine,
        versions=machine.get("versions", {}),
        left_out=content.get("left_out", []),
        seconds=content.get("seconds", {}),
        modules={name: modules[name] for name in sorted(modules, key=_place)},
    )


def _place(module: str) -> tuple[int, str]:
    subject = module.removeprefix("test_bench_")
    return (FIRST.index(subject) if subject in FIRST else len(FIRST), subject)


def introduction(module: str, folder: Path = FOLDER) -> Module:
    """From its docstring: what is before a colon in the first line is the heading, the rest is the text."""
    path = folder / f"{module}.py"
    doc = ast.get_docstring(ast.parse(path.read_text())) if path.exists() else None
    if not doc:
        return Module(module.removeprefix("test_bench_").replace("_", " "), "")
    first, _, rest = doc.partition("\n")
    heading, colon, subject = first.partition(": ")
    begin = f"{subject[:1].upper()}{subject[1:].rstrip('.')}." if colon else ""
    return Module(heading.rstrip("."), "\n\n".join(filter(None, [begin, rest.strip()])))


def not_run(run: Run, folder: Path = FOLDER) -> Iterator[str]:
    """Modules that this version has and the run has nothing of."""
    for path in sorted(folder.glob("test_bench_*.py")):
        if path.stem not in run.modules:
            yield path.stem
