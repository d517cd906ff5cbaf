"""The embedded store: one SQLite file on one machine, for any number of processes at once.

Write-ahead log with ``synchronous=FULL``: what a call reported is on the disk. Beside the blocks stand
two tables derived from them in the same transaction: which block holds records of which pod and of
which attachment. Nothing else is kept in memory, so every answer is fresh.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import suppress
from errno import EACCES, ELOOP, EPERM, EROFS

from whereabouts._bitmap import Bitmap
from whereabouts.addresses import BITS
from whereabouts.block import Block, BlockDamaged, BlockKey, Space, read_bitmap
from whereabouts.deadline import Deadline
from whereabouts.pool import Pool, PoolKey
from whereabouts.store import (
    Conflict,
    Judge,
    StoreDamaged,
    StoredBlock,
    StoredPool,
    StoredSlices,
    Unavailable,
)
from whereabouts.stores import sqlite_slices as slices
from whereabouts.values import TYPE_CHECKING

if TYPE_CHECKING:
    from whereabouts.slices import SlicePool

APPLICATION_ID = 0x57414950
SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE blocks (
  name TEXT NOT NULL PRIMARY KEY,
  network_name TEXT NOT NULL,
  own_range TEXT NOT NULL,
  version INTEGER NOT NULL,
  base BLOB NOT NULL,
  revision INTEGER NOT NULL,
  allocated INTEGER NOT NULL,
  bitmap BLOB NOT NULL,
  owners BLOB NOT NULL
);
CREATE UNIQUE INDEX blocks_in_order ON blocks (network_name, own_range, version, base);
CREATE TABLE records (
  block INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  pod_ref TEXT NOT NULL,
  container_id TEXT NOT NULL,
  ifname TEXT NOT NULL,
  PRIMARY KEY (block, offset)
) WITHOUT ROWID;
CREATE INDEX records_of_pod ON records (pod_ref, ifname);
CREATE INDEX records_of_attachment ON records (container_id, ifname);
CREATE TABLE pools (
  network_name TEXT NOT NULL,
  range TEXT NOT NULL,
  shared INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  exhausted TEXT NOT NULL,
  node TEXT NOT NULL,
  whole TEXT NOT NULL,
  PRIMARY KEY (network_name, range, node, whole)
);
"""
_WHOSE = (
    "SELECT user_version, application_id, EXISTS (SELECT 1 FROM sqlite_master)"
    " FROM pragma_user_version, pragma_application_id"
)
_KEY = "network_name, own_range, version, base"
_POOL = "revision, shared, exhausted, network_name, range, node, whole"
_OF_POOL = "network_name = ? AND range = ? AND node = ? AND whole = ?"
_TRANSIENT = {"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL", "SQLITE_INTERRUPT"}
_DAMAGED = {"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT"}
_NO_ROOM = {"SQLITE_FULL", "SQLITE_IOERR"}
"""A disk that is full, and a quota that is used up."""
_UNWRITTEN = (TypeError, ValueError, OverflowError, AttributeError)
"""What is raised of values in a row that are of types, or beyond bounds, that no store writes."""
_BUSY_PAUSE = 0.02
_LARGEST_REVISION = 2**63 - 1
LARGEST_LOG = 8 << 20
"""Bytes to which the log is cut when it begins anew: it grows while somebody reads, and would stay so."""
LISTED = 256
"""Blocks whose bitmaps are read at once."""


class SqliteStore:
    """A store in one file; see :class:`whereabouts.store.Store`. One connection, one thread at a time."""

    conflict_pause = 0.005
    concurrent = False
    claims_slices = True
    remembered_hints = None
    given_twice = ()

    def __init__(self, path: str, deadline: Deadline) -> None:
        """Open the file, which is created with its directories (0700) and schema where it is missing.

        Raises :class:`~whereabouts.store.Unavailable` or :class:`~whereabouts.store.StoreDamaged`.
        """
        self._path = path
        with self._translated(deadline):
            _create_file(path)
            # Absolute: SQLite takes ":memory:" and "file:..." for something else than names of files.
            self._connection = sqlite3.connect(
                os.path.abspath(path), isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(deadline)
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """See :class:`~whereabouts.store.Store`."""
        self._connection.close()

    # ------------------------------------------------------------------ blocks

    def read_block(self, key: BlockKey, deadline: Deadline, *, fresh: bool = False) -> StoredBlock | None:
        """See :class:`~whereabouts.store.Store`; always fresh."""
        query = "SELECT revision, bitmap, owners FROM blocks WHERE name = ?"
        with self._translated(deadline):
            row = self._connection.execute(query, (key.name,)).fetchone()
        if row is None:
            return None
        revision, bitmap, owners = row
        if not isinstance(revision, int) or not 0 < revision < _LARGEST_REVISION:
            raise _damaged(self._path, f"the revision of block {key.name} is {revision!r}")
        return StoredBlock.judged(
            key,
            revision,
            lambda: Block.from_halves(key, *_halves(key, bitmap, owners)),
            lambda: (("bitmap", _bytes(bitmap)), ("owners", _bytes(owners))),
        )

    def write_block(
        self, key: BlockKey, previous: StoredBlock | None, block: Block, deadline: Deadline
    ) -> StoredBlock:
        """See :class:`~whereabouts.store.Store`."""
        halves = (len(block), block.bitmap(), block.owners())
        with self._translated(deadline), self._transaction():
            if previous is None:
                revision = 1
                written = self._connection.execute(
                    "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    (key.name, *key.space, key.version, _sortable(key.base), revision, *halves),
                )
            else:
                revision = int(previous.revision) + 1
                written = self._connection.execute(
                    "UPDATE blocks SET revision = ?, allocated = ?, bitmap = ?, owners = ?"
                    " WHERE name = ? AND revision = ?",
                    (revision, *halves, key.name, previous.revision),
                )
            if written.rowcount != 1:
                raise Conflict(f"block {key.name} was written by another process")
            before = previous.trusted() if previous else Block(key, {})
            self._index(before, block)
        return StoredBlock(key, revision, block)

    def _index(self, before: Block, after: Block) -> None:
        (rowid,) = self._connection.execute(
            "SELECT rowid FROM blocks WHERE name = ?", (after.key.name,)
        ).fetchone()
        changes = after.changes_since(before)
        gone = [(rowid, offset) for offset, was, _ in changes if was is not None]
        come = [
            (rowid, offset, owner.pod_ref, owner.container_id, owner.ifname)
            for offset, _, owner in changes
            if owner is not None
        ]
        self._connection.executemany("DELETE FROM records WHERE block = ? AND offset = ?", gone)
        self._connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?)", come)

    def blocks(self, deadline: Deadline) -> Iterator[StoredBlock]:
        """See :class:`~whereabouts.store.Store`."""
        query = f"SELECT {_KEY} FROM blocks ORDER BY {_KEY}"  # noqa: S608
        with self._translated(deadline):
            rows = self._connection.execute(query).fetchall()
        with self._understood():
            keys = list(map(_block_key, rows))
        for key in keys:
            stored = self.read_block(key, deadline)
            if stored is not None:
                yield stored

    def learn(self, deadline: Deadline) -> Iterator[StoredBlock]:
        """See :class:`~whereabouts.store.Store`; there is nothing to keep."""
        return self.blocks(deadline)

    def bitmaps(
        self, space: Space, version: int, first: int, last: int, deadline: Deadline
    ) -> Iterator[tuple[BlockKey, Bitmap | None]]:
        """See :class:`~whereabouts.store.Store`."""
        query = (
            "SELECT base, bitmap FROM blocks WHERE network_name = ? AND own_range = ? AND version = ?"
            " AND base BETWEEN ? AND ? ORDER BY base LIMIT ?"
        )
        while True:
            # Each part to its end: with a query under way the connection would go on reading, and write
            # upon, the file as it was when that began.
            with self._translated(deadline):
                values = (*space, version, _sortable(first), _sortable(last), LISTED)
                rows = self._connection.execute(query, values).fetchall()
            with self._understood():
                keys = [_block_key((*space, version, base)) for base, _ in rows]
            for key, (_, bitmap) in zip(keys, rows, strict=True):
                yield key, read_bitmap(bitmap) if isinstance(bitmap, bytes) else None
            if len(rows) < LISTED:
                return
            first = keys[-1].base + 1

    def blocks_of_pod(self, pod_ref: str, ifname: str, deadline: Deadline) -> Collection[BlockKey]:
        """See :class:`~whereabouts.store.Store`; none is missing here."""
        return self._blocks_where("pod_ref = ? AND ifname = ?", (pod_ref, ifname), deadline)

    def blocks_of_attachment(
        self, container_id: str, ifname: str, deadline: Deadline
    ) -> Collection[BlockKey]:
        """See :class:`~whereabouts.store.Store`."""
        condition = "container_id = ? AND ifname IN (?, '')"
        return self._blocks_where(condition, (container_id, ifname), deadline)

    def _blocks_where(
        self, condition: str, values: tuple[str, str], deadline: Deadline
    ) -> Collection[BlockKey]:
        query = (
            f"SELECT {_KEY} FROM blocks WHERE rowid IN (SELECT block FROM records WHERE {condition})"  # noqa: S608
            f" ORDER BY {_KEY}"
        )
        with self._translated(deadline), self._understood():
            return [_block_key(row) for row in self._connection.execute(query, values)]

    # ------------------------------------------------------------------- pools

    def hints_hold(self, pool: StoredPool) -> bool:
        """See :class:`~whereabouts.store.Store`; nothing is known here but what was read."""
        return True

    def read_pool(self, key: PoolKey, deadline: Deadline) -> StoredPool | None:
        """See :class:`~whereabouts.store.Store`."""
        found = self._pools_where(_OF_POOL, tuple(key), deadline)
        return found[0] if found else None

    def create_pool(self, pool: Pool, deadline: Deadline) -> StoredPool:
        """See :class:`~whereabouts.store.Store`."""
        network_name, text, node, whole = pool.key
        values = (network_name, text, pool.shared, 1, pool.hints(), node, whole)
        with self._translated(deadline), self._transaction():
            self._connection.execute(
                "INSERT INTO pools VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", values
            )
        stored = self.read_pool(pool.key, deadline)
        if stored is None:
            raise Unavailable(f"{self._path}: pool {pool.key.name} was deleted while it was being made")
        return stored

    def write_pool(
        self, previous: StoredPool, pool: Pool, deadline: Deadline, *, exhausted: Judge | None = None
    ) -> None:
        """See :class:`~whereabouts.store.Store`."""
        with self._translated(deadline), self._transaction():
            written = self._connection.execute(
                f"UPDATE pools SET revision = revision + 1, shared = ?, exhausted = ? WHERE {_OF_POOL}"  # noqa: S608
                " AND revision = ?",
                (pool.shared, pool.hints(), *pool.key, previous.revision),
            )
            if written.rowcount != 1:
                raise Conflict(f"pool {pool.key.name} was written by another process")

    def pools(
        self, deadline: Deadline, network_name: str | None = None, *, hinted: bool = False
    ) -> Collection[StoredPool]:
        """See :class:`~whereabouts.store.Store`."""
        condition = "exhausted != ''" if hinted else "node = ''"
        if network_name is None:
            return self._pools_where(condition, (), deadline)
        return self._pools_where(f"{condition} AND network_name = ?", (network_name,), deadline)

    def _pools_where(self, condition: str, values: tuple[str, ...], deadline: Deadline) -> list[StoredPool]:
        query = f"SELECT {_POOL} FROM pools WHERE {condition} ORDER BY network_name, range, node, whole"  # noqa: S608
        with self._translated(deadline), self._understood():
            return [_stored_pool(*row) for row in self._connection.execute(query, values)]

    # ------------------------------------------------------------------ slices

    def read_slices(self, name: str, deadline: Deadline, *, fresh: bool = False) -> StoredSlices | None:
        """See :class:`~whereabouts.store.Store`; always fresh."""
        with self._translated(deadline), self._understood():
            found = slices.read(self._connection, name)
        return found[0] if found else None

    def slice_pools(self, deadline: Deadline) -> Iterator[StoredSlices]:
        """See :class:`~whereabouts.store.Store`."""
        with self._translated(deadline), self._understood():
            found = slices.read(self._connection)
        yield from found

    def create_slices(self, pool: SlicePool, deadline: Deadline) -> StoredSlices:
        """See :class:`~whereabouts.store.Store`."""
        with self._translated(deadline), self._transaction():
            return slices.create(self._connection, pool)

    def write_slices(self, previous: StoredSlices, pool: SlicePool, deadline: Deadline) -> StoredSlices:
        """See :class:`~whereabouts.store.Store`."""
        with self._translated(deadline), self._transaction():
            return slices.write(self._connection, previous, pool)

    def delete_slices(self, previous: StoredSlices, deadline: Deadline) -> None:
        """See :class:`~whereabouts.store.Store`."""
        with self._translated(deadline), self._transaction():
            slices.delete(self._connection, previous)

    # -------------------------------------------------------------- connection

    def _prepare(self, deadline: Deadline) -> None:
        """Bring a new file to WAL and the present schema; refuse a file that is something else."""
        while True:
            try:
                self._set_timeout(deadline)
                self._schema_version()  # before anything is written to a file of somebody else
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
                self._connection.execute(f"PRAGMA journal_size_limit = {LARGEST_LOG}")
                if self._schema_version() == 0:
                    self._create_schema()
                break
            except sqlite3.OperationalError as error:
                # Two processes that turn a new file to WAL at once: SQLite does not wait for that lock.
                if _primary(error) not in _TRANSIENT:
                    raise
                deadline.pause(_BUSY_PAUSE, f"{self._path} is locked by another process")
        version = self._schema_version()
        if version != SCHEMA_VERSION:
            raise StoreDamaged(
                f"{self._path} has schema version {version}, this program knows {SCHEMA_VERSION}: "
                "use the version of whereabouts that wrote it, or another local.path"
            )

    def _schema_version(self) -> int:
        version, application, tables = self._connection.execute(_WHOSE).fetchone()
        if application != APPLICATION_ID and (application or version or tables):
            raise StoreDamaged(f"{self._path} is the database of another program: choose another local.path")
        return int(version)

    def _create_schema(self) -> None:
        with self._transaction():
            if self._schema_version() == 0:
                for statement in (*_SCHEMA.split(";"), slices.SCHEMA):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _set_timeout(self, deadline: Deadline) -> None:
        left = deadline.remaining(f"{self._path} is locked by another process")
        self._connection.execute(f"PRAGMA busy_timeout = {max(1, min(int(left * 1000), 2**31 - 1))}")

    def _transaction(self) -> _Transaction:
        return _Transaction(self._connection)

    def _translated(self, deadline: Deadline) -> _Translated:
        """Bound what SQLite may wait, and put its errors in the words of this project."""
        translated = _Translated(self._path)
        if hasattr(self, "_connection"):
            with translated:
                self._set_timeout(deadline)
        return translated

    def _understood(self) -> _Translated:
        """Say that the file is damaged where a row has what nobody wrote."""
        return _Translated(self._path, _UNWRITTEN)


class _Transaction:
    """Everything or nothing. IMMEDIATE: the write lock is taken where waiting for it is still possible."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        except sqlite3.Error as failure:
            error = failure
            raise
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error) and _primary(error) in _NO_ROOM:
                self._reuse_log()

    def _reuse_log(self) -> None:
        """Let the log begin anew, if nobody reads in it, so that the next write need not make it longer.

        SQLite does so behind a commit. One that has no room never gets there, and of a log that somebody
        read in until it filled the disk, all its room would be out of use for good.
        """
        with suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


class _Translated:
    """Puts SQLite's errors in the words of this project, and those that say that a row is ``unwritten``."""

    __slots__ = ("_path", "_unwritten")

    def __init__(self, path: str, unwritten: tuple[type[Exception], ...] = ()) -> None:
        self._path = path
        self._unwritten = unwritten

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (sqlite3.Error, OSError)):
            raise _translate(self._path, error) from error
        if isinstance(error, self._unwritten):
            raise _damaged(self._path, f"a row that nobody wrote: {error}") from error
        if isinstance(error, UnicodeDecodeError):  # Python's, of the text of an error of SQLite's
            raise _damaged(self._path, str(error)) from error


def _create_file(path: str) -> None:
    """Make the file 0600 before SQLite would make it with the process's umask; its log takes that over.

    It is made without being opened: a process that closes a file loses all its POSIX locks on it, those of
    SQLite's other connections too (sqlite.org/howtocorrupt.html, 2.2). Another process that closes the
    database then takes itself for the last one, and deletes the log that is still written to.
    """
    _make_directory(os.path.dirname(os.path.abspath(path)))
    with suppress(FileExistsError):
        os.mknod(path, 0o600)
    if os.path.islink(path):
        raise OSError(ELOOP, "it is a symbolic link, which is not followed")


def _make_directory(path: str) -> None:
    """Make the directory and those above it, each 0700: :func:`os.makedirs` leaves those to the umask."""
    if not os.path.isdir(path):
        _make_directory(os.path.dirname(path))
        with suppress(FileExistsError):  # a file: opening what should lie in it says so
            os.mkdir(path, 0o700)


def _primary(error: Exception) -> str:
    """The name of SQLite's primary result code: SQLITE_BUSY for SQLITE_BUSY_SNAPSHOT."""
    return "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])


def _translate(path: str, error: Exception) -> Unavailable | StoreDamaged:
    name = _primary(error)
    if name in _DAMAGED:
        return _damaged(path, str(error))
    if name in _TRANSIENT:
        return Unavailable(f"{path} is locked by another process: {error}")
    if name == "SQLITE_FULL":
        return Unavailable(f"{path} cannot grow, the disk is full: make room on it")
    forbidden = isinstance(error, OSError) and error.errno in (EACCES, EPERM, EROFS)
    if name in ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM") or forbidden:
        return Unavailable(
            f"{path} cannot be opened for writing ({error}): look at its owner, mode and mount"
        )
    return Unavailable(f"{path}: {error}")


def _damaged(path: str, reason: str) -> StoreDamaged:
    return StoreDamaged(
        f"{path} is damaged ({reason}): stop its users, keep a copy, and restore it from a backup "
        "or with sqlite3's .recover"
    )


def _halves(key: BlockKey, *halves: object) -> Iterator[bytes]:
    for half in halves:
        if not isinstance(half, bytes):
            raise BlockDamaged(f"block {key.name}: there is {type(half).__name__} in the place of bytes")
        yield half


def _bytes(value: object) -> bytes:
    """What a damaged file may have in place of bytes, as bytes."""
    return value if isinstance(value, bytes) else str(value).encode()


def _sortable(base: int) -> bytes:
    return base.to_bytes(16)


def _block_key(row: tuple[str, str, int, bytes]) -> BlockKey:
    network_name, own_range, version, base = row
    key = BlockKey(Space(network_name, own_range), version, int.from_bytes(base))
    if version not in BITS or key.base >= 1 << BITS[version]:
        raise ValueError(f"no address of a family {version!r} is {key.base}")
    return key


def _stored_pool(revision: int, shared: int, hints: str, *key: str) -> StoredPool:
    return StoredPool(revision, Pool.with_hints(PoolKey(*key), bool(shared), hints))
