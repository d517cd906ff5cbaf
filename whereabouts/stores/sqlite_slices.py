"""The table of node slices of the embedded store: one row a range."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from os import urandom

from whereabouts.store import Conflict, StoredSlices
from whereabouts.values import TYPE_CHECKING

if TYPE_CHECKING:
    from whereabouts.slices import SlicePool

SCHEMA = """
CREATE TABLE slices (
  name TEXT NOT NULL PRIMARY KEY,
  range TEXT NOT NULL,
  slice_size TEXT NOT NULL,
  slices TEXT NOT NULL,
  revision INTEGER NOT NULL
)"""


def read(connection: sqlite3.Connection, name: str | None = None) -> Sequence[StoredSlices]:
    """The pools of one name (one or none), or all of them, by name."""
    from whereabouts.slices import SlicePool, parse_slices

    query = (
        "SELECT name, range, slice_size, slices, revision FROM slices WHERE coalesce(name = ?, TRUE)"
        " ORDER BY name"
    )
    return [
        StoredSlices(revision, SlicePool(name, text, size, parse_slices(slices)))
        for name, text, size, slices, revision in connection.execute(query, (name,))
    ]


def create(connection: sqlite3.Connection, pool: SlicePool) -> StoredSlices:
    """Write a new row. Raises Conflict."""
    revision = int.from_bytes(urandom(7))  # not that of a row of this name that was deleted
    written = connection.execute(
        "INSERT INTO slices VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", (*_values(pool), revision)
    )
    _require(written, pool.name)
    return StoredSlices(revision, pool)


def write(connection: sqlite3.Connection, previous: StoredSlices, pool: SlicePool) -> StoredSlices:
    """Write a row if it still is ``previous``. Raises Conflict."""
    written = connection.execute(
        "UPDATE slices SET revision = revision + 1, range = ?, slice_size = ?, slices = ?"
        " WHERE name = ? AND revision = ?",
        (*_values(pool)[1:], pool.name, previous.revision),
    )
    _require(written, pool.name)
    return StoredSlices(int(previous.revision) + 1, pool)


def delete(connection: sqlite3.Connection, previous: StoredSlices) -> None:
    """Delete a row if it still is ``previous``. Raises Conflict."""
    name = previous.pool.name
    deleted = connection.execute(
        "DELETE FROM slices WHERE name = ? AND revision = ?", (name, previous.revision)
    )
    if read(connection, name):
        _require(deleted, name)


def _values(pool: SlicePool) -> tuple[str, str, str, str]:
    from whereabouts.slices import print_slices

    return pool.name, pool.range, pool.slice_size, print_slices(pool.slices)


def _require(done: sqlite3.Cursor, name: str) -> None:
    if done.rowcount != 1:
        raise Conflict(f"the slices {name} were written by another process")
