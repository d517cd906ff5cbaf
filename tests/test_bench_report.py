"""The page of results, from the few numbers of a made-up run."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.measured import measured
from bench.report.__main__ import main
from bench.report.glance import BEGIN, END, SHOWN, Shown
from bench.tables import summary
from tests.documents import ROOT

CURVE = {
    "title": "Things in parallel",
    "x": {"label": "things at once", "log": True},
    "y": {"label": "things a second", "log": False},
}
README = f"# A project\n\n{BEGIN}\nold\n{END}\n\nThe end.\n"
MODULE = '"""Things that are done: as many as there are.\n\nThey are done one after another.\n"""\n'


def benchmark(name: str, median: float = 0.002, **extra: Any) -> dict[str, Any]:
    stats = {"median": median, "min": median, "rounds": 7}
    group = extra.pop("group", None)
    return {"fullname": f"bench/{name}", "group": group, "stats": stats, "extra_info": extra}


def curve(name: str, series: dict[str, Any]) -> dict[str, Any]:
    return benchmark(f"test_bench_things.py::{name}", curve={**CURVE, "series": series})


RUN: dict[str, Any] = {
    "datetime": "2026-01-02T03:04:05+00:00",
    "commit_info": {"id": "0123456789abcdef", "dirty": True},
    "machine_info": {"cpu": {"count": 2, "brand_raw": "Some CPU"}, "versions": {"etcd": "3.5.1"}},
    "left_out": ["no Go plugin: name it by WHEREABOUTS_BENCH_GO"],
    "seconds": {"bench/test_bench_things.py": 90.0},
    "benchmarks": [
        benchmark("test_bench_things.py::test_one", beside={"floor": [0.001, 9], "host-local": [0.008, 3]}),
        benchmark("test_bench_things.py::test_many[3-a]", figures={"MiB": 12.345, "requests": 3.0}),
        benchmark(
            "test_bench_things.py::test_promises",
            beside={"bare PUT": 0.0005},
            figures={"things a second": 412.0},
            bar=[
                {"figure": "things a second", "at_least": 500},
                {"figure": "bare PUT", "at_most": 4},
                {"figure": "of a peer that is absent", "at_most": 1},
            ],
        ),
        benchmark("test_bench_things.py::test_failing", failed={"host-local": "it has no such range"}),
        curve("test_curve[a]", {"a": [[1, 10], [4, 30.5]]}),
        curve("test_curve[b]", {"b": [[1, 5], [16, 7]]}),
        benchmark("test_bench_codec.py::test_encode[a]", 0.004, group="all", entry="whereabouts", bytes=10),
        benchmark("test_bench_codec.py::test_encode[b]", 0.01, group="all", entry="zlib", bytes=25),
    ],
}
CAMPAIGN: list[dict[str, Any]] = [
    {
        "world": "etcd",
        "seed": 7,
        "date": "2026-01-02T03:04:05+00:00",
        "minutes": 20.5,
        "calls": 1234,
        "adds": 600,
        "faults": {"kill a member": 9, "cut the network": 4},
        "slowest_seconds": 11.2,
        "deadline_seconds": 30.0,
        "violations": 0,
    }
]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for folder in ("bench", "docs/images", "build/bench"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "bench/test_bench_things.py").write_text(MODULE)
    return tmp_path


@pytest.fixture
def report(checkout: Path) -> Callable[..., str]:
    """Writes the page from a run, and returns it."""

    def write(run: dict[str, Any] = RUN) -> str:
        results = checkout / "build/bench/results.json"
        results.write_text(json.dumps(run))
        assert main([str(results), "--root", str(checkout)]) == 0
        return (checkout / "docs/results.md").read_text()

    return write


def without_curves() -> dict[str, Any]:
    """Of these a page can be made without matplotlib."""
    return {**RUN, "benchmarks": [one for one in RUN["benchmarks"] if "curve" not in one["extra_info"]]}


# ---------------------------------------------------------------------------- the page


def test_a_module_is_introduced_by_its_docstring(report: Callable[..., str]) -> None:
    page = report(without_curves())
    assert "## Things that are done\n\nAs many as there are.\n\nThey are done one after another.\n" in page


def test_each_table_of_figures_has_the_command_that_measures_it(report: Callable[..., str]) -> None:
    page = report(without_curves())
    sections = page.partition("## codec")[2].partition("## The fault campaign")[0]
    blocks = re.split(r"```console needs-checkout\n\$ (.*?)\n```\n", sections, flags=re.DOTALL)
    told = dict(zip(blocks[1::2], blocks[0::2], strict=False))
    functions = {
        function: text for command, text in told.items() for function in re.findall(r"::(\w+)", command)
    }
    assert functions.keys() == {"test_one", "test_many", "test_promises", "test_failing", "test_encode"}
    for text in told.values():
        assert "| --- |" in text
    assert "| --- |" not in blocks[-1]


def test_medians_stand_beside_what_took_turns_with_ratios(report: Callable[..., str]) -> None:
    page = report(without_curves())
    assert "|  | median, ms | rounds | floor | host-local |" in page
    assert "| one | 2 | 7 | 1 (2; 9) | 8 (0.250; 3) |" in page


def test_entries_of_a_group_are_told_as_multiples_with_their_bytes(report: Callable[..., str]) -> None:
    page = report(without_curves())
    assert "|  | whereabouts, ms | zlib |" in page
    assert "| all | 4 | 2.50 (2.50) |" in page


def test_figures_are_told_with_their_units(report: Callable[..., str]) -> None:
    page = report(without_curves())
    assert "| many | 3-a |\n| --- | ---: |\n| MiB | 12.3 |\n| requests | 3 |" in page


def test_a_promise_is_told_to_be_held_missed_or_not_measured(report: Callable[..., str]) -> None:
    page = report(without_curves())
    assert "promises: things a second: at least 500: **MISSED**, 412" in page
    assert "promises: median, bare PUT = 1: at most 4: **held**, 4" in page
    assert "promises: of a peer that is absent: at most 1: **not measured**" in page
    assert (
        "[Things that are done](#things-that-are-done): promises | things a second | at least 500 | 412 |"
        in page
    )


def test_who_could_not_do_it_is_told_with_the_reason(report: Callable[..., str]) -> None:
    assert "failing: host-local: it has no such range" in report(without_curves())


def test_absent_peers_and_modules_without_a_result_are_told(
    checkout: Path, report: Callable[..., str]
) -> None:
    (checkout / "bench/test_bench_other.py").write_text("")
    left_out = report(without_curves()).partition("## What was left out")[2]
    assert "no Go plugin: name it by WHEREABOUTS_BENCH_GO" in left_out
    assert "bench/test_bench_other.py: no result in this run" in left_out


def test_the_machine_is_told(report: Callable[..., str]) -> None:
    page = report(without_curves())
    for row in (
        "processors | 2 x Some CPU",
        "etcd | 3.5.1",
        "commit | 0123456789ab and changes",
        "date | 2026-01-02",
    ):
        assert f"| {row} |" in page
    assert "| it took | 1.50 minutes |" in page


def test_a_run_of_an_older_version_has_a_page(report: Callable[..., str]) -> None:
    page = report({"benchmarks": [benchmark("test_bench_gone.py::test_it")]})
    assert "## gone\n" in page
    assert "| it | 2 | 7 |" in page


# --------------------------------------------------------------------- what was attacked


def test_a_campaign_is_told_with_its_faults_and_how_to_repeat_it(
    checkout: Path, report: Callable[..., str]
) -> None:
    (checkout / "build/faults").mkdir()
    (checkout / "build/faults/some.json").write_text(json.dumps(CAMPAIGN))
    page = report(without_curves())
    assert "In 20.5 minutes of all worlds together: **no violations**." in page
    assert "| etcd, seed 7 | 20.5 | 1,234 | 600 | 11.2 | 30 | 0 |" in page
    assert "cut the network 4, kill a member 9" in page
    assert "It ended at 2026-01-02T03:04:05+00:00; the commit was unknown." in page
    assert "$ make faults WORLD=etcd SEED=7 MINUTES=20.5" in page


def test_violations_of_a_campaign_are_told(checkout: Path, report: Callable[..., str]) -> None:
    (checkout / "build/faults").mkdir()
    (checkout / "build/faults/some.json").write_text(json.dumps([{**CAMPAIGN[0], "violations": 2}]))
    assert "**2 violations**" in report(without_curves())


def test_that_there_was_no_campaign_is_told(report: Callable[..., str]) -> None:
    assert "It was not run for this page." in report(without_curves())


def test_fuzzers_have_a_table_where_they_left_results(checkout: Path, report: Callable[..., str]) -> None:
    assert "## The fuzzers" not in report(without_curves())
    (checkout / "build/fuzz").mkdir()
    (checkout / "build/fuzz/some.json").write_text(json.dumps([{"target": "codec", "inputs": 1000}]))
    assert "| target | inputs |\n| --- | ---: |\n| codec | 1,000 |" in report(without_curves())


# ----------------------------------------------------------------- the README, and files


def test_the_readme_has_figures_between_its_marks_and_is_else_as_it_was(
    checkout: Path, report: Callable[..., str]
) -> None:
    node = "test_bench_calls.py::test_call[SQLite-agent-ADD]"
    page = report({"benchmarks": [benchmark(node, beside={"host-local": 0.008})]})
    row = "| ADD on one machine: multiple of host-local's | 0.250 |"
    written = (checkout / "README.md").read_text()
    assert row in page
    assert row in written
    assert written.startswith(f"# A project\n\n{BEGIN}\n\n|")
    assert written.endswith(f"|\n\n{END}\n\nThe end.\n")


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: shown.words)
def test_what_the_readme_shows_is_measured_by_a_test_that_exists(shown: Shown) -> None:
    module, _, name = shown.node.partition("::")
    assert f"def {name.partition('[')[0]}(" in (ROOT / "bench" / module).read_text()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"benchmarks": [{}]}'])
def test_what_is_no_result_changes_nothing_and_is_named(
    checkout: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    results = checkout / "results.json"
    results.write_text(content)
    assert main([str(results), "--root", str(checkout)]) == 1
    assert f"{results} is not what pytest --benchmark-json writes" in capsys.readouterr().err
    assert not (checkout / "docs/results.md").exists()
    assert (checkout / "README.md").read_text() == README


# ---------------------------------------------------------------------------- the plots


@pytest.mark.plots
def test_a_curve_of_several_tests_is_one_picture_and_one_table(
    checkout: Path, report: Callable[..., str]
) -> None:
    page = report()
    path = "images/results-things-things-in-parallel.svg"
    assert f"![Things in parallel: things a second against things at once]({path})" in page
    assert (
        "| things at once | a | b |\n| --- | ---: | ---: |\n| 1 | 10 | 5 |\n| 4 | 30.5 |  |\n| 16 |  | 7 |"
        in page
    )
    assert "bench/test_bench_things.py::test_curve\n" in page
    words = {"".join(text.itertext()).strip() for text in texts(checkout / "docs" / path)}
    assert words >= {"Things in parallel", "things at once", "things a second", "a", "b", "1", "4", "16"}


@pytest.mark.plots
def test_the_same_numbers_make_the_same_files(checkout: Path, report: Callable[..., str]) -> None:
    def written() -> dict[Path, bytes]:
        report()
        return {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()}

    assert written() == written()


@pytest.mark.plots
def test_pictures_of_curves_that_are_gone_are_removed(checkout: Path, report: Callable[..., str]) -> None:
    others = checkout / "docs/images/architecture.svg"
    others.write_text("not of the report")
    report()
    report(without_curves())
    assert list((checkout / "docs/images").iterdir()) == [others]


@pytest.mark.plots
def test_points_that_a_logarithmic_axis_cannot_show_are_left_out(
    checkout: Path, report: Callable[..., str]
) -> None:
    report({"benchmarks": [curve("test_curve", {"a": [[0, 1], [1, 2]], "nothing": [[0, 1]], "none": []})]})
    (picture,) = (checkout / "docs/images").iterdir()
    words = {"".join(text.itertext()).strip() for text in texts(picture)}
    assert "a" in words
    assert "nothing" not in words


def texts(picture: Path) -> list[ElementTree.Element]:
    return list(ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}text"))


# ----------------------------------------------------------------------- on the terminal


def test_the_terminal_has_curves_and_promises() -> None:
    told = dict(summary([measured(one) for one in RUN["benchmarks"]]))
    assert "MISSED: promises: things a second: at least 500, is 412" in told["promises"]
    assert "not measured: promises: of a peer that is absent: at most 1" in told["promises"]
    assert told["curves"][:3] == [
        "Things in parallel: things a second",
        "  things at once     a  b",
        "  1                 10  5",
    ]
    assert any("one 2  floor 1 (2; 9)" in line for line in next(iter(told.values())))
