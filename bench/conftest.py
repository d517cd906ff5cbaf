"""Opens what several modules measure on, and ends a run with what it is for.

That is as :mod:`bench.measured` says, with what was left out and how long it took.

The ratios of groups are those of the fastest rounds: what else runs on the machine makes a round slower,
never faster. Where rivals took turns, medians are compared.
"""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from bench import datastores, machine, peers
from bench.datastores import Datastore, datastore
from bench.measured import Measured, measured
from bench.tables import summary
from tests.node_agent import Agent, agent_in_a_directory

# All files of benchmarks lie on the disk where etcd's do (tests.etcd_server.cluster): /tmp may be memory.
tempfile.tempdir = "/var/tmp"

_left_for_later = pytest.StashKey[int]()


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    """One that runs."""
    with agent_in_a_directory() as agent:
        agent.start()
        yield agent


@pytest.fixture(scope="module", params=datastores.NAMES)
def store(request: pytest.FixtureRequest) -> Iterator[Datastore]:
    """Each datastore, one after the other."""
    with datastore(request.param) as running:
        yield running


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("long"):
            item.config.stash[_left_for_later] = item.config.stash.get(_left_for_later, 0) + 1


# Behind the tables, so that it is what remains on the screen.
@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for heading, lines in summary(_measured(config)):
        if lines:
            terminalreporter.section(heading)
            for line in lines:
                terminalreporter.write_line(line, red=line.startswith("MISSED"))
    if seconds := _seconds(terminalreporter):
        _end(terminalreporter, seconds, config.stash.get(_left_for_later, 0))


def _end(terminalreporter: pytest.TerminalReporter, seconds: Mapping[str, float], later: int) -> None:
    """How long it took, and what is not in it."""
    terminalreporter.section("seconds of each module, and what was left out")
    for module, taken in seconds.items():
        terminalreporter.write_line(f"{taken:7.1f}  {module}")
    for sentence in _left_out(terminalreporter):
        terminalreporter.write_line(f"left out: {sentence}", yellow=True)
    if later:
        terminalreporter.write_line(f"left out: {later} that take long: make bench-report", yellow=True)


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    machine_info["cpu"].pop("flags", None)
    machine_info["versions"] = machine.versions()


def pytest_benchmark_update_json(
    config: pytest.Config, benchmarks: Sequence[Any], output_json: dict[str, Any]
) -> None:
    for benchmark in output_json["benchmarks"]:
        # Every round, and whatever a test is parametrised with: much, and nobody looks at it.
        benchmark["stats"].pop("data", None)
        benchmark["params"] = None
    terminal = config.pluginmanager.getplugin("terminalreporter")
    output_json["left_out"] = list(_left_out(terminal))
    output_json["seconds"] = _seconds(terminal)


def _measured(config: pytest.Config) -> list[Measured]:
    session: Any = getattr(config, "_benchmarksession", None)
    return [
        measured(benchmark.as_dict(include_data=False))
        for benchmark in (session.benchmarks if session else ())
        if not benchmark.has_error
    ]


def _seconds(terminalreporter: Any) -> dict[str, float]:
    """How long the tests of each module took, with what they needed."""
    seconds: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    return {module: round(taken, 1) for module, taken in sorted(seconds.items())}


def _left_out(terminalreporter: Any) -> Iterator[str]:
    reports = terminalreporter.stats.get("skipped", [])
    skipped = Counter((report.nodeid.partition("::")[0], _reason(report)) for report in reports)
    for (module, reason), count in sorted(skipped.items()):
        yield f"{module} ({count}): {reason}"
    yield from peers.absent()
    for outcome in ("failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            yield f"{report.nodeid}: {outcome}"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    assert isinstance(report.longrepr, tuple)
    return str(report.longrepr[2]).removeprefix("Skipped: ")
