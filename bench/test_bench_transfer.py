"""``whereabouts export`` and ``whereabouts import``: 100,000 allocations in an embedded store.

The store lies on a disk, and the import syncs each of its commits. A map is drawn of all these blocks, too.
"""

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.loading import load_file
from bench.pods import Filled
from whereabouts.cli import main
from whereabouts.ranges import Range

ALLOCATIONS = 100_000


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("transfer") / "whereabouts.db"
    load_file(path, Filled(Range.parse("10.0.0.0/8"), ALLOCATIONS))
    return path


def test_export(benchmark: BenchmarkFixture, database: Path, tmp_path: Path) -> None:
    arguments = ["export", "--local", str(database), str(tmp_path / "backup.jsonl")]
    assert benchmark.pedantic(main, (arguments,), rounds=3) == 0  # type: ignore[no-untyped-call]


def test_import_into_an_empty_store(benchmark: BenchmarkFixture, database: Path, tmp_path: Path) -> None:
    backup = str(tmp_path / "backup.jsonl")
    assert main(["export", "--local", str(database), backup]) == 0
    arguments = ["import", "--local", str(tmp_path / "imported.db"), backup]
    assert benchmark.pedantic(main, (arguments,), rounds=1) == 0  # type: ignore[no-untyped-call]


def test_map_by_blocks(benchmark: BenchmarkFixture, database: Path) -> None:
    arguments = ["map", "--local", str(database), "10.0.0.0/15"]
    assert benchmark.pedantic(main, (arguments,), rounds=3) == 0  # type: ignore[no-untyped-call]
