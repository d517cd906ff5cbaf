"""How the tests run: the effort of property tests, and suites that this machine may have to leave out.

``HYPOTHESIS_PROFILE`` is ``default`` (quick), ``ci`` (more examples, the same ones each time) or ``long``.
"""

import os
from collections import Counter
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from tests.cluster_servers import double as double
from tests.cluster_servers import namespace as namespace
from tests.cluster_servers import server as server
from tests.suites import SUITES

# Time limits of examples would fail on a busy machine, and say nothing about the code.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "ci", settings.get_profile("default"), max_examples=300, derandomize=True, print_blob=True
)
settings.register_profile("long", settings.get_profile("default"), max_examples=10_000, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure(config: pytest.Config) -> None:
    for name, suite in SUITES.items():
        config.addinivalue_line("markers", f"{name}: needs {suite.needs}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for name, suite in SUITES.items():
        if item.get_closest_marker(name) and (missing := suite.missing()):
            pytest.skip(missing)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> Generator[None]:
    yield
    reports = terminalreporter.stats.get("skipped", [])
    left_out = Counter((_suite_of(report), _reason(report)) for report in reports)
    for (suite, reason), count in sorted(left_out.items()):
        terminalreporter.write_line(
            f"left out: {suite} ({count} test{'s'[: count != 1]}): {reason}", yellow=True
        )
    if not left_out and exitstatus == pytest.ExitCode.OK:
        terminalreporter.write_line("left out: nothing")


def _suite_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The suite's marker, or the file of a test that skipped itself."""
    marked = (name for name in SUITES if name in getattr(report, "keywords", ()))
    return next(marked, report.nodeid.partition("::")[0])


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    assert isinstance(report.longrepr, tuple)
    return str(report.longrepr[2]).removeprefix("Skipped: ")
