"""``whereabouts check`` over 100,000 allocations in an embedded store: what is looked at, and how fast.

Its report has to be there within five seconds, with nothing wrong and with a fault of every hundredth record,
which is looked at twice. ``show`` prints the ranges of the same store.
"""

import json
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.loading import load_file
from bench.pods import Filled
from whereabouts.cli import main
from whereabouts.ranges import Range

ALLOCATIONS = 100_000
FILLED = Filled(Range.parse("10.0.0.0/8"), ALLOCATIONS)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("check") / "whereabouts.db"
    load_file(path, FILLED)
    return path


def attachments(path: Path, *, but_every: int = 0) -> str:
    listed = [
        {"containerID": FILLED.owner(number).container_id, "ifname": "net1"}
        for number in range(ALLOCATIONS)
        if not but_every or number % but_every
    ]
    path.write_text(json.dumps(listed))
    return str(path)


def test_clean(benchmark: BenchmarkFixture, database: Path, tmp_path: Path) -> None:
    arguments = ["check", "--local", str(database), "--valid-attachments", attachments(tmp_path / "all.json")]
    assert benchmark.pedantic(main, (arguments,), rounds=3) == 0  # type: ignore[no-untyped-call]


def test_with_a_thousand_leaks(benchmark: BenchmarkFixture, database: Path, tmp_path: Path) -> None:
    listed = attachments(tmp_path / "some.json", but_every=100)
    report = tmp_path / "report.json"
    arguments = ["check", "--local", str(database), "--valid-attachments", listed, "--report", str(report)]
    assert benchmark.pedantic(main, (arguments,), rounds=3) == 1  # type: ignore[no-untyped-call]
    assert json.loads(report.read_text())["problems"] == ALLOCATIONS // 100


def test_show(benchmark: BenchmarkFixture, database: Path) -> None:
    assert benchmark.pedantic(main, (["show", "--local", str(database)],), rounds=3) == 0  # type: ignore[no-untyped-call]
