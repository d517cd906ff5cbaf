"""How the tests run: the effort of property tests, and suites that this machine may have to leave out.

``HYPOTHESIS_PROFILE`` is ``default`` (quick), ``ci`` (more examples, the same ones each time) or ``long``.
"""

import os
from collections import Counter
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from tests.api_server import stop_api_server
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

SLOW = (
    "test_campaign_kubernetes",
    "test_campaign_etcd",
    "test_campaign_sqlite",
    "test_store_kubernetes_server",
    "test_deploy_access",
    "test_controller",
    "test_store_kubernetes",
    "test_reconcile_schedules",
    "test_packaging",
    "test_bitmap_model",
)
"""Modules that take a minute or so of the profile ``ci``, the longest first. ``make test`` gives each module
to one of its processes: one that began such a module last would keep the others waiting."""


def pytest_configure(config: pytest.Config) -> None:
    for name, suite in SUITES.items():
        config.addinivalue_line("markers", f"{name}: needs {suite.needs}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(SLOW)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def pytest_sessionfinish() -> None:
    # Not left to the end of the process: pytest-xdist kills its workers when that takes ten seconds.
    stop_api_server()


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
