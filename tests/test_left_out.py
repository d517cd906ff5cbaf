"""The last lines of a run name what was left out, and why."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

INNER = """
import pytest

@pytest.mark.slow
@pytest.mark.parametrize("n", range(3))
def test_of_a_suite(n): pass

@pytest.mark.slow
def test_that_has_another_reason_too(): pytest.skip("no patience")

def test_that_skips_itself(): pytest.skip("not today")

def test_that_runs(): pass
"""


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    pytester.makeconftest("from tests.conftest import *")
    pytester.makepyfile(test_inner=INNER)
    return pytester


@pytest.mark.parametrize("options", [[], ["-n", "2", "-p", "no:benchmark"]], ids=["alone", "by two workers"])
def test_suites_and_single_tests_that_were_skipped_are_named_last(
    inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.delenv("HYPOTHESIS_PROFILE", raising=False)
    run = inner.runpytest_subprocess("--strict-markers", *options)
    run.assert_outcomes(passed=1, skipped=5)
    assert run.outlines[-3:-1] == [
        "left out: slow (4 tests): it takes minutes; HYPOTHESIS_PROFILE=ci runs it",
        "left out: test_inner.py (1 test): not today",
    ]


def test_a_run_that_left_nothing_out_says_so(inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPOTHESIS_PROFILE", "ci")
    run = inner.runpytest_subprocess("-k", "runs or of_a_suite")
    run.assert_outcomes(passed=4, deselected=2)
    assert run.outlines[-2] == "left out: nothing"
