"""A machine with one embedded store that several agents and one-shot processes share."""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from whereabouts.block import Block, BlockDamaged, BlockKey, Space

from ..cni_calls import LONG
from . import process_faults as faults
from . import small_disk
from .clock import Clocks
from .fault import Fault
from .node import AgentNode
from .operating import collect, operate, problems
from .world import Attachment, Record, WithoutPods, records_of, started

NODES = ("node-a", "node-b", "node-c")
DISK = "256m"
"""The file system of the database: little enough to fill at once, and enough for a log that grows while an
agent that reads is stopped for two minutes."""


def missing() -> str:
    """What this machine lacks: nothing, for the world as such."""
    return ""


def open_world() -> "SqliteWorld":
    """A running world with an empty store."""
    return started(SqliteWorld())


class SqliteWorld(WithoutPods):
    """See :class:`~tests.campaign.world.World`."""

    name = "sqlite"

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="wbf-"))
        self._directory.chmod(0o755)
        self._disk = self._directory / "disk"
        self._disk.mkdir()
        self.left_out: list[str] = []
        failed = small_disk.mount(self._disk, DISK)
        if failed:
            self.left_out.append(failed)
        self._is_small = not failed
        self.database = self._disk / "whereabouts.db"
        self.ipam: Mapping[str, object] = {"local": {"path": str(self.database)}}
        self._clocks = Clocks(self._directory)
        self.left_out += self._clocks.left_out
        self.nodes = [self._node(name) for name in NODES]
        self._faults = self._make_faults()

    def _node(self, name: str) -> AgentNode:
        node = AgentNode(name, self._directory / name, allow=[self._disk])
        node.agent.environment |= self._clocks.environment(node.directory)
        return node

    def _make_faults(self) -> list[Fault]:
        made: list[Fault] = [
            *faults.on_agents(self.nodes),
            faults.write_locked(self.database),
            faults.snapshot_held(self.database),
        ]
        if self._clocks.made:
            made.append(faults.ClockJumped(self._clocks.made))
        if self._is_small:
            made.append(faults.DiskFull(self._disk, lambda: faults.truncate_log(self.database)))
        return made

    def start(self) -> None:
        """Start the agents."""
        for node in self.nodes:
            node.start()

    def faults(self) -> Sequence[Fault]:
        return self._faults

    # ---------------------------------------------------------------- the operator

    def repair(self, alive: Sequence[Attachment]) -> None:
        """``whereabouts reconcile`` with a list, or a GC call for each node and network.

        A list speaks of what was recorded before it was made. That cannot be told of records whose agent's
        clock was ahead: where there are such, the runtimes' GC it is.
        """
        if self._clocks.made:
            collect(self.nodes, self.ipam, alive)
        else:
            self._reconcile(alive)

    def _reconcile(self, alive: Sequence[Attachment]) -> None:
        listed = [{"containerID": one.container_id, "ifname": one.ifname} for one in alive]
        path = self._directory / "attachments.json"
        path.write_text(json.dumps(listed))
        options = ("--all-nodes", "--grace", "0", "--allow-empty", "--valid-attachments", str(path))
        said = operate("reconcile", "--local", str(self.database), *options)
        assert said.returncode == 0, f"whereabouts reconcile: {said.stderr}"

    # ------------------------------------------------------------- what is recorded

    def records(self) -> Iterator[Record]:
        for block in self._blocks([]):
            yield from records_of(block)

    def _blocks(self, damaged: list[str]) -> Iterator[Block]:
        """All blocks that can be read; sentences about the others go to ``damaged``."""
        query = "SELECT network_name, own_range, version, base, bitmap, owners, allocated FROM blocks"
        if not self.database.exists():
            return
        for network, own, version, base, bitmap, owners, allocated in self._read(query):
            key = BlockKey(Space(network, own), version, int.from_bytes(base))
            try:
                block = Block.from_halves(key, bitmap, owners)
            except BlockDamaged as error:
                damaged.append(str(error))
                continue
            if len(block) != allocated:
                damaged.append(f"block {key.name} counts {allocated} addresses, and has {len(block)}")
            yield block

    def _read(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.database, timeout=LONG)) as connection:
            return connection.execute(query).fetchall()

    def damage(self) -> Sequence[str]:
        damaged: list[str] = []
        list(self._blocks(damaged))
        damaged += [f"SQLite: {text}" for (text,) in self._read("PRAGMA integrity_check") if text != "ok"]
        found = problems(self._directory, self.ipam, "--local", str(self.database))
        return [*damaged, *self._index(), *found]

    def _index(self) -> Iterator[str]:
        """What the table of records has other than the blocks."""
        query = """SELECT name, offset, pod_ref, container_id, ifname
                   FROM records JOIN blocks ON blocks.rowid = block"""
        listed = set(self._read(query))
        stored = {
            (block.key.name, offset, owner.pod_ref, owner.container_id, owner.ifname)
            for block in self._blocks([])
            for offset, owner in block
        }
        for row in listed ^ stored:
            yield f"{row} stands in {'the index' if row in listed else 'a block'} only"

    def close(self) -> None:
        for fault in self._faults:
            fault.heal()
        for node in self.nodes:
            node.close()
        small_disk.unmount(self._disk)
        shutil.rmtree(self._directory, ignore_errors=True)
