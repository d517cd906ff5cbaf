"""Stores as they are after many ADDs, written block by block: a million calls would take too long."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from bench.pods import Contents
from whereabouts.block import Block
from whereabouts.deadline import Deadline
from whereabouts.store import Store, Unsettled
from whereabouts.stores import kube_objects as objects
from whereabouts.stores.etcd import EtcdStore
from whereabouts.stores.kube_objects import BLOCKS, POOLS, Marks
from whereabouts.stores.kubernetes import KubernetesStore
from whereabouts.stores.sqlite import SqliteStore

SECONDS = 600.0
WRITERS = 8


def load(store: Store, contents: Contents) -> None:
    """Fill an open store that has nothing of the range."""
    if isinstance(store, SqliteStore):
        _load_sqlite(store, contents)
    elif isinstance(store, EtcdStore):
        _load_etcd(store, contents)
    elif isinstance(store, KubernetesStore):
        _load_kubernetes(store, contents)
    else:
        raise TypeError(f"no way is known to fill a {type(store).__name__}")


def load_file(path: Path, contents: Contents) -> None:
    """Make and fill the file of an embedded store."""
    store = SqliteStore(str(path), Deadline(SECONDS))
    _load_sqlite(store, contents)
    store.close()


def _load_sqlite(store: SqliteStore, contents: Contents) -> None:
    """Fill a file. The indexes are made at the end, all at once."""
    deadline, execute = Deadline(SECONDS), store._connection.execute
    execute("PRAGMA synchronous = OFF")
    indexes = execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'records'")
    made_by_hand = [(name, sql) for name, sql in indexes.fetchall() if sql]
    for name, _ in made_by_hand:
        execute(f"DROP INDEX {name}")
    for block in contents.blocks():
        store.write_block(block.key, None, block, deadline)
    store.create_pool(contents.pool(), deadline)
    for _, sql in made_by_hand:
        execute(sql)
    execute("PRAGMA wal_checkpoint(TRUNCATE)")
    execute("PRAGMA synchronous = FULL")


def _load_etcd(store: EtcdStore, contents: Contents) -> None:
    """Fill a prefix of etcd."""
    deadline = Deadline(SECONDS)
    for block in contents.blocks():
        store.write_block(block.key, None, block, deadline)
    store.create_pool(contents.pool(), deadline)


def _load_kubernetes(store: KubernetesStore, contents: Contents) -> None:
    """Fill a namespace, several writers at once. Blocks are flagged as who calls them exhausted does."""
    deadline, pool = Deadline(SECONDS), contents.pool()
    name = objects.pool_name(pool.key)

    def create(block: Block) -> None:
        marks = {name: Marks(0, 1)} if pool.is_exhausted(block.key) else {}
        with suppress(Unsettled):  # it was sent again, and is there: nobody else writes here
            store.resources.create(BLOCKS, objects.block_object(block, marks), deadline)

    with ThreadPoolExecutor(WRITERS) as writers:
        for _ in writers.map(create, contents.blocks()):
            pass
    annotations = {key: text for key, text in objects.pool_annotations(pool, 0).items() if text}
    store.resources.create(POOLS, objects.new_pool(pool, annotations), deadline)
