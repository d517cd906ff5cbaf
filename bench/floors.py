"""Floors: the least that a call has to do, by which its time on this machine is judged.

Each is a callable that does it once. Writes carry a block of as many addresses of like pods as the calls
beside them have, and are conditional on nobody else having written, as all writes of addresses are.
"""

import itertools
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

from bench.execution import execute
from bench.pods import holder
from tests.store_contract import SOON
from whereabouts.block import Block, BlockKey, Space
from whereabouts.deadline import Deadline
from whereabouts.stores import etcd_messages as messages
from whereabouts.stores import etcd_values as values
from whereabouts.stores import kube_objects as objects
from whereabouts.stores.etcd import EtcdStore
from whereabouts.stores.kube_objects import BLOCKS
from whereabouts.stores.kubernetes import KubernetesStore

_numbers = itertools.count()


def block_of(used: int) -> Block:
    """A block with so many addresses, in a space of its own."""
    key = BlockKey(Space(f"bare-{next(_numbers)}"), 4, 0x0A000000)
    return Block(key, {1 + number: holder(number, "10.0.0.0/16") for number in range(used)})


def empty_process() -> None:
    """A process that ends, linked with the C library as usual: a program without it starts sooner."""
    execute("/bin/true")


def empty_interpreter() -> None:
    """A process in Python that ends."""
    execute(sys.executable, "-c", "pass")


class Fsync:
    """A page appended to a file, and on the disk."""

    def __init__(self, directory: Path) -> None:
        self._file = os.open(directory / "fsync", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def __call__(self) -> None:
        os.write(self._file, b"\xa5" * 4096)
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)


class BareSqlite:
    """One row replaced on condition of its revision, over an open connection; then it is on the disk."""

    def __init__(self, directory: Path, block: Block) -> None:
        self._connection = sqlite3.connect(directory / "bare.db", isolation_level=None)
        self._value = block.owners()
        self._revision = 1
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"):
            self._connection.execute(statement)
        self._connection.execute("CREATE TABLE blocks (name TEXT PRIMARY KEY, revision INTEGER, value BLOB)")
        self._connection.execute("INSERT INTO blocks VALUES ('bare', 1, ?)", (self._value,))

    def __call__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        done = self._connection.execute(
            "UPDATE blocks SET revision = ?, value = ? WHERE name = 'bare' AND revision = ?",
            (self._revision + 1, self._value, self._revision),
        )
        self._connection.execute("COMMIT")
        assert done.rowcount == 1
        self._revision += 1

    def close(self) -> None:
        self._connection.close()


class BareTransaction:
    """One etcd transaction, which compares one key and writes it, over the connection of a store."""

    def __init__(self, store: EtcdStore, block: Block) -> None:
        self._connection = store.connection
        self._key = f"/{block.key.space.network_name}".encode()
        self._value = values.write_block(block)
        self._revision = 0  # it is not there yet
        self()

    def __call__(self) -> None:
        unchanged = messages.unchanged(self._key, self._revision)
        request = messages.transaction(
            [unchanged], [messages.put(self._key, self._value)], [messages.read(self._key)]
        )
        outcome = self._connection.transact(request, Deadline(SOON), writes=True).outcome
        assert outcome.succeeded
        self._revision = outcome.revision


class BarePut:
    """One object of the API server replaced on condition of its version, over the connection of a store."""

    def __init__(self, store: KubernetesStore, block: Block) -> None:
        self._resources = store.resources
        self._name = block.key.name
        created = self._resources.create(BLOCKS, objects.block_object(block, {}), Deadline(SOON))
        self._content: Any = objects.block_object(block, {}, created)
        self._version = created["resourceVersion"]
        self._count = 0

    def __call__(self) -> None:
        self._count += 1  # a write that changes nothing is none
        self._content["spec"]["allocated"] = self._count % 256
        self._content["metadata"]["resourceVersion"] = self._version
        written = self._resources.replace(BLOCKS, self._name, self._content, Deadline(SOON))
        self._version = written["resourceVersion"]
