"""``whereabouts export`` and ``whereabouts import``: 100,000 allocations in an embedded store.

The store lies on a disk, and the import syncs each of its commits. A map is drawn of all these blocks, too.
"""

from ipaddress import ip_address
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.store_contract import SOON
from tests.test_owners import typical
from whereabouts.block import BLOCK_SIZE, Block, BlockKey, Space
from whereabouts.cli import main
from whereabouts.deadline import Deadline
from whereabouts.pool import Pool, PoolKey
from whereabouts.stores.sqlite import SqliteStore

BLOCKS = 391
RANGE = "10.0.0.0/8"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("transfer") / "whereabouts.db"
    store = SqliteStore(str(path), Deadline(SOON))
    store._connection.execute("PRAGMA synchronous = OFF")
    store.create_pool(Pool(PoolKey("", RANGE), shared=True), Deadline(SOON))
    for index in range(BLOCKS):
        key = BlockKey(Space(), 4, int(ip_address("10.0.0.0")) + BLOCK_SIZE * index)
        owners = [owner._replace(range=RANGE) for owner in typical(BLOCK_SIZE, seed=index)]
        store.write_block(key, None, Block(key, dict(enumerate(owners))), Deadline(SOON))
    store.close()
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
