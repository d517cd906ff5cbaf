"""Node slices in etcd: one key a range, written by a transaction that compares its revision."""

from __future__ import annotations

from collections.abc import Iterator

from whereabouts.deadline import Deadline
from whereabouts.slices import SlicePool
from whereabouts.store import Conflict, StoredSlices
from whereabouts.stores import etcd_messages as messages
from whereabouts.stores import etcd_values as values
from whereabouts.stores.etcd_connection import Connection
from whereabouts.stores.etcd_keys import Keys
from whereabouts.stores.slice_memory import SliceMemory

NAMES_AT_ONCE = 1024
"""Keys in one answer. Values are read one by one: one may be a megabyte."""


class EtcdSlices:
    """The pools of slices under one prefix; see :class:`whereabouts.store.Store`."""

    def __init__(self, keys: Keys, connection: Connection) -> None:
        """Slices under ``keys``."""
        self._keys = keys
        self._connection = connection
        self._memory = SliceMemory()

    def read(self, name: str, deadline: Deadline, *, fresh: bool = False) -> StoredSlices | None:
        """See :meth:`~whereabouts.store.Store.read_slices`."""
        known = None if fresh else self._memory.get(name)
        return known or self._read_key(self._keys.slices(name), deadline)

    def _read_key(self, key: bytes, deadline: Deadline) -> StoredSlices | None:
        request = messages.transaction((), [messages.read(key)])
        (found,) = self._connection.transact(request, deadline, writes=False).outcome.found
        return self._seen(found)

    def _seen(self, found: messages.Found) -> StoredSlices | None:
        for pair in found.pairs:
            return self._memory.remember(
                StoredSlices(pair.mod_revision, values.read_slices(pair.key, pair.value))
            )
        return None

    def all(self, deadline: Deadline) -> Iterator[StoredSlices]:
        """See :meth:`~whereabouts.store.Store.slice_pools`."""
        start = self._keys.slices("")
        end, more = messages.end_of(start), True
        while more:
            read = messages.read(start, end, limit=NAMES_AT_ONCE, keys_only=True)
            request = messages.transaction((), [read])
            ((pairs, more),) = self._connection.transact(request, deadline, writes=False).outcome.found
            for pair in pairs:
                stored = self._read_key(pair.key, deadline)
                if stored is not None:
                    yield stored
                start = pair.key + b"\0"

    def put(self, pool: SlicePool, revision: int, deadline: Deadline) -> StoredSlices:
        """Write a pool if its key is at ``revision``, 0 where there is none. Raises Conflict, Unsettled."""
        key, value = self._keys.slices(pool.name), values.write_slices(pool)
        request = messages.transaction(
            [messages.unchanged(key, revision)], [messages.put(key, value)], [messages.read(key)]
        )
        self._memory.forget(pool.name)
        reply = self._connection.transact(request, deadline, writes=True)
        if reply.outcome.succeeded:
            return self._memory.remember(StoredSlices(reply.outcome.revision, pool))
        stored = self._seen(reply.outcome.found[0])
        if reply.lost and stored is not None and stored.pool == pool:
            return stored
        raise Conflict(f"the slices {pool.name} were written by another process")

    def delete(self, previous: StoredSlices, deadline: Deadline) -> None:
        """See :meth:`~whereabouts.store.Store.delete_slices`."""
        key = self._keys.slices(previous.pool.name)
        request = messages.transaction(
            [messages.unchanged(key, int(previous.revision))], [messages.delete(key)], [messages.read(key)]
        )
        self._memory.forget(previous.pool.name)
        reply = self._connection.transact(request, deadline, writes=True)
        if not reply.outcome.succeeded and reply.outcome.found[0].pairs:
            raise Conflict(f"the slices {previous.pool.name} were written by another process")
