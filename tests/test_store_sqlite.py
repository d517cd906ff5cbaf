"""The contract over the embedded store, and what is its own: files, processes, damage."""

import os
import resource
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from whereabouts.block import BlockKey
from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.store import StoreDamaged, Unavailable
from whereabouts.stores.sqlite import LISTED, SqliteStore

from .store_contract import KEY, SOON, StoreContract, add, allocations, block_with, demand, pod, slices

BEHIND = KEY._replace(base=KEY.base + 256)


class TestSqlite(StoreContract):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Callable[[], SqliteStore]:
        return lambda: SqliteStore(str(tmp_path / "whereabouts.db"), Deadline(SOON))


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "whereabouts.db"
    before = os.umask(0)
    try:
        store = SqliteStore(str(path), Deadline(SOON))
        store.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))
    finally:
        os.umask(before)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert [stat.S_IMODE(made.stat().st_mode) for made in (path.parent, path.parent.parent)] == [0o700] * 2
    store.close()


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "w.db").symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(Unavailable, match="symbolic link"):
        SqliteStore(str(tmp_path / "w.db"), Deadline(SOON))
    assert not (tmp_path / "elsewhere.db").exists()


def test_a_second_connection_leaves_the_first_its_locks(tmp_path: Path) -> None:
    """Else a process that closes the database deletes the log under those that write to it."""
    path = str(tmp_path / "w.db")
    first = SqliteStore(path, Deadline(SOON))
    stored = first.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))
    second = SqliteStore(path, Deadline(SOON))
    run = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA user_version'); c.close()"
    subprocess.run([sys.executable, "-c", run, path], check=True)
    assert (tmp_path / "w.db-wal").exists()
    first.write_block(KEY, stored, block_with(KEY, 1, 2), Deadline(SOON))
    third = SqliteStore(path, Deadline(SOON))
    found = third.read_block(KEY, Deadline(SOON))
    assert found is not None
    assert found.trusted() == block_with(KEY, 1, 2)
    for store in (first, second, third):
        store.close()


def test_what_was_reported_is_in_the_log_before_the_call_returns(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "w.db"), Deadline(SOON))
    (mode,) = store._connection.execute("PRAGMA journal_mode").fetchone()
    (synchronous,) = store._connection.execute("PRAGMA synchronous").fetchone()
    assert (mode, synchronous) == ("wal", 2)
    store.close()


def test_a_listing_that_is_not_read_to_its_end_leaves_reads_fresh_and_writes_possible(tmp_path: Path) -> None:
    mine, other = (SqliteStore(str(tmp_path / "w.db"), Deadline(SOON)) for _ in range(2))
    mine.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))
    mine.write_block(BEHIND, None, block_with(BEHIND, 1), Deadline(SOON))
    listing = mine.bitmaps(KEY.space, 4, KEY.base, BEHIND.base, Deadline(SOON))
    assert next(listing)[0] == KEY
    before = other.read_block(KEY, Deadline(SOON))
    other.write_block(KEY, before, block_with(KEY, 1, 2), Deadline(SOON))
    stored = mine.read_block(KEY, Deadline(SOON))
    assert stored is not None
    assert stored.block == block_with(KEY, 1, 2)
    mine.write_block(KEY, stored, block_with(KEY, 1, 2, 3), Deadline(SOON))
    assert [key for key, _ in listing] == [BEHIND]
    mine.close()
    other.close()


def test_a_listing_of_many_blocks_is_whole_and_in_order(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "w.db"), Deadline(SOON))
    keys = [BlockKey(KEY.space, 4, KEY.base + 256 * n) for n in range(2 * LISTED + 1)]
    store._connection.execute("PRAGMA synchronous = OFF")
    for key in keys:
        store.write_block(key, None, block_with(key, 1), Deadline(SOON))
    for last in (keys[-1].base, keys[LISTED - 1].base, keys[LISTED].base):
        listed = [key for key, _ in store.bitmaps(KEY.space, 4, KEY.base, last, Deadline(SOON))]
        assert listed == [key for key in keys if key.base <= last]
    store.close()


def test_a_log_that_filled_the_disk_is_used_again_when_nobody_reads_in_it_any_more(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "w.db"), Deadline(SOON))
    store.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))
    reader = sqlite3.connect(tmp_path / "w.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM blocks").fetchall()
    with no_file_larger_than(400_000):
        assert write_until_it_fails(store, 200) < 200
        reader.close()
        assert write_until_it_fails(store, 10) == 0
        assert write_until_it_fails(store, 10) == 10
    store.close()


def write_until_it_fails(store: SqliteStore, most: int) -> int:
    """Write a block again and again; how often that was done."""
    with suppress(Unavailable):
        for number in range(most):
            previous = store.read_block(KEY, Deadline(SOON))
            store.write_block(KEY, previous, block_with(KEY, number), Deadline(SOON))
        return most
    return number


def test_a_log_that_grew_while_somebody_read_gives_its_room_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whereabouts.stores.sqlite.LARGEST_LOG", 100_000)
    store = SqliteStore(str(tmp_path / "w.db"), Deadline(SOON))
    store.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))
    reader = sqlite3.connect(tmp_path / "w.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM blocks").fetchall()
    assert write_until_it_fails(store, 200) == 200
    log = tmp_path / "w.db-wal"
    assert log.stat().st_size > 1_000_000
    reader.close()
    store._connection.execute("PRAGMA wal_checkpoint").fetchall()
    assert write_until_it_fails(store, 1) == 1
    assert log.stat().st_size <= 100_000
    store.close()


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Let files of this process grow up to so many bytes; what is written behind them fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_locked_file_is_waited_for_until_the_deadline(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "w.db"), Deadline(SOON))
    holder = sqlite3.connect(tmp_path / "w.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises((Unavailable, DeadlineExceeded), match="locked by another process"):
        store.write_block(KEY, None, block_with(KEY, 1), Deadline(0.1))
    holder.execute("COMMIT")
    store.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))
    holder.close()
    store.close()


@pytest.mark.parametrize("content", [b"not a database" * 400, b"\0" * 8192])
def test_a_file_that_is_no_database_is_named_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.db"
    path.write_bytes(content)
    with pytest.raises(StoreDamaged, match=r"w\.db is damaged .* restore it"):
        SqliteStore(str(path), Deadline(SOON))
    assert path.read_bytes() == content


@pytest.mark.parametrize("mark", ["user_version = 1", "user_version = 0", "application_id = 7"])
def test_another_programs_database_is_left_alone(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "w.db"
    with sqlite3.connect(path) as other:
        other.execute(f"PRAGMA {mark}")
        other.execute("CREATE TABLE theirs (a)")
    other.close()
    content = path.read_bytes()
    with pytest.raises(StoreDamaged, match="database of another program"):
        SqliteStore(str(path), Deadline(SOON))
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", [":memory:", "file:w.db?mode=memory"])
def test_every_path_is_a_file_whatever_sqlite_takes_it_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        store = SqliteStore(name, Deadline(SOON))
        assert add(store, demand("10.0.0.0/24"), pod(number)) == [f"10.0.0.{number}"]
        store.close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "w.db")
    SqliteStore(path, Deadline(SOON)).close()
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(StoreDamaged, match="schema version 99, this program knows 1"):
        SqliteStore(path, Deadline(SOON))


def test_a_path_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "w.db").mkdir()
    with pytest.raises(Unavailable, match=r"w\.db"):
        SqliteStore(str(tmp_path / "w.db"), Deadline(SOON))
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match=r"file"):
        SqliteStore(str(tmp_path / "file" / "w.db"), Deadline(SOON))


def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "w.db"), Deadline(SOON))
    wanted = demand("10.0.0.0/16")
    add(store, wanted, pod(0))
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    given = 1
    with suppress(Unavailable):
        while given < 2000:
            add(store, wanted, pod(given))
            given += 1
    with pytest.raises(Unavailable, match="the disk is full: make room on it"):
        add(store, wanted, pod(given))
    store._connection.execute("PRAGMA max_page_count = 1000000")
    assert len(allocations(store)) == given
    assert add(store, wanted, pod(given)) == [f"10.0.0.{given + 1}"]
    store.close()


@pytest.mark.parametrize("half", ["bitmap = 'text'", "owners = 5", "bitmap = X'00', owners = 1.5"])
def test_a_block_with_something_else_than_bytes_is_damaged(tmp_path: Path, half: str) -> None:
    store = SqliteStore(str(tmp_path / "w.db"), Deadline(SOON))
    add(store, demand("10.0.0.0/22"), pod(1))
    store._connection.execute(f"UPDATE blocks SET {half}")
    (stored,) = store.blocks(Deadline(SOON))
    assert stored.block is None
    assert [name for name, _ in stored.raw] == ["bitmap", "owners"]
    assert add(store, demand("10.0.0.0/22"), pod(2)) == ["10.0.1.1"]
    store.close()


@pytest.mark.parametrize(
    "row",
    [
        *("blocks SET base = 'text'", "blocks SET base = zeroblob(20) || 'a'", "blocks SET version = 5"),
        *("blocks SET revision = 'text'", f"blocks SET revision = {2**63 - 1}"),
        *("pools SET exhausted = X'ff'", "pools SET range = 'no network'", "slices SET slices = X'00'"),
    ],
)
def test_a_row_that_no_store_writes_is_damage(tmp_path: Path, row: str) -> None:
    store = SqliteStore(str(tmp_path / "w.db"), Deadline(SOON))
    add(store, demand("10.0.0.0/24"), pod(1))
    store.create_slices(slices("s", "10.0.0.0/16", "/24"), Deadline(SOON))
    store._connection.execute(f"UPDATE {row}")
    with pytest.raises(StoreDamaged, match=r"w\.db is damaged .* restore it"):
        _ = (
            list(store.blocks(Deadline(SOON))),
            store.pools(Deadline(SOON)),
            list(store.slice_pools(Deadline(SOON))),
        )
    store.close()


def test_a_schema_that_is_no_text_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    SqliteStore(str(path), Deadline(SOON)).close()
    content = path.read_bytes()
    for at in (content.index(b"CREATE TABLE blocks"), content.index(b"CREATE TABLE pools")):
        path.write_bytes(content[:at] + b"\xfc" * 6 + content[at + 6 :])
        with pytest.raises(StoreDamaged, match=r"w\.db is damaged .* restore it"):
            SqliteStore(str(path), Deadline(SOON))


def test_a_damaged_block_is_never_written_over_and_counts_as_used(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "w.db"), Deadline(SOON))
    wanted = demand("10.0.0.0/22")
    add(store, wanted, pod(1))
    store._connection.execute("UPDATE blocks SET owners = zeroblob(40)")
    assert add(store, wanted, pod(2)) == ["10.0.1.1"]
    assert add(store, wanted, pod(3)) == ["10.0.1.2"]
    (owners,) = store._connection.execute("SELECT owners FROM blocks WHERE name = '10.0.0.0'").fetchone()
    assert owners == bytes(40)
    stored = store.read_block(KEY._replace(base=KEY.base & ~0x1FFFF), Deadline(SOON))
    assert stored is not None
    assert stored.block is None
    store.close()
