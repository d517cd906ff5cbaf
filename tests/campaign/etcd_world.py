"""Nodes that keep their records in an etcd cluster of three members, over a network that fails."""

import json
import shutil
import tempfile
import time
from base64 import b64decode
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from whereabouts.block import Block, BlockDamaged, BlockKey, read_bitmap
from whereabouts.stores import etcd_values
from whereabouts.stores.etcd_keys import DEFAULT_PREFIX, Keys, block_name

from ..cutting_proxy import CuttingProxy
from ..etcd_server import LOOPBACK, EtcdServer, free_port, text
from ..suites import SUITES
from . import process_faults as processes
from . import server_faults as servers
from . import small_disk
from .clock import Clocks
from .fault import Fault
from .network_faults import on_connections
from .node import AgentNode
from .operating import collect, misled, problems
from .world import Attachment, Record, WithoutPods, records_of, started

NODES = ("node-a", "node-b", "node-c")
DISK = "640m"
"""The file system of one member: its logs are 64 MB each, and it has up to four."""
OPTIONS = (
    "--auto-compaction-mode=revision",
    "--auto-compaction-retention=2000",
    "--snapshot-count=5000",
    "--max-wals=1",
    "--max-snapshots=1",
)
SETTLING_SECONDS = 20.0


def missing() -> str:
    """What this machine lacks; empty if it is nothing."""
    return SUITES["etcd"].missing() or ""


def open_world() -> "EtcdWorld":
    """A running world with an empty store."""
    return started(EtcdWorld())


class EtcdWorld(WithoutPods):
    """See :class:`~tests.campaign.world.World`."""

    name = "etcd"

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="wbe-"))
        self._directory.chmod(0o755)
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
        self._data = Path(tempfile.mkdtemp(prefix="wbe-", dir=memory))
        self.left_out: list[str] = []
        peers = {f"m{number}": f"http://{LOOPBACK}:{free_port()}" for number in range(3)}
        self._members = [EtcdServer(self._data / name, name, peers, *OPTIONS) for name in peers]
        self._is_small = self._mount(self._members[-1].folder)
        self._cluster = servers.Cluster(self._members)
        self._proxies = [CuttingProxy(int(one.host.rpartition(":")[2])) for one in self._members]
        hosts = ",".join(f"http://{LOOPBACK}:{proxy.port}" for proxy in self._proxies)
        self.ipam: Mapping[str, object] = {"datastore": "etcd", "etcd_host": hosts}
        self._clocks = Clocks(self._directory)
        self.left_out += self._clocks.left_out
        self.nodes = [self._node(name) for name in NODES]
        self._faults = self._make_faults()

    def _mount(self, folder: Path) -> bool:
        """Give a member a small file system of its own, if that can be."""
        folder.mkdir()
        failed = small_disk.mount(folder, DISK)
        if failed:
            self.left_out.append(failed)
        return not failed

    def _node(self, name: str) -> AgentNode:
        node = AgentNode(name, self._directory / name)
        node.agent.environment |= self._clocks.environment(node.directory)
        return node

    def _make_faults(self) -> list[Fault]:
        cluster = self._cluster
        made: list[Fault] = [
            *processes.on_agents(self.nodes),
            *(processes.ClockJumped(self._clocks.made) for _ in self._clocks.made[:1]),
            *on_connections(self._proxies),
            servers.MemberKilled(cluster),
            servers.LeaderStopped(cluster),
            servers.QuorumLost(cluster),
            servers.AllStopped(cluster),
            servers.NoSpace(cluster),
        ]
        if self._is_small:
            made.append(servers.MemberDiskFull(self._members[-1], cluster))
        return made

    def start(self) -> None:
        """Start cluster and agents."""
        for member in self._members:
            member.start()
        self._cluster.await_leader()
        for node in self.nodes:
            node.start()

    def faults(self) -> Sequence[Fault]:
        return self._faults

    def repair(self, alive: Sequence[Attachment]) -> None:
        """The runtimes' GC: a list of attachments speaks of a time, which clocks that jump cannot tell."""
        collect(self.nodes, self.ipam, alive)

    # ------------------------------------------------------------- what is recorded

    def records(self) -> Iterator[Record]:
        for block in self._blocks([]).values():
            yield from records_of(block)

    def _blocks(self, damaged: list[str]) -> Mapping[bytes, Block]:
        """All blocks that can be read, by what keys say of them; sentences about others go to ``damaged``."""
        beginning = KEYS.blocks()
        found: dict[bytes, Block] = {}
        for name, value in self._pairs(beginning).items():
            try:
                found[name] = etcd_values.read_block(self._key(name), value)
            except (BlockDamaged, ValueError) as error:
                damaged.append(str(error))
        return found

    def _key(self, name: bytes) -> BlockKey:
        key = KEYS.block_at(KEYS.blocks() + name, KEYS.blocks())
        if key is None:
            raise ValueError(f"the key {name!r} names no block")
        return key

    def _pairs(self, beginning: bytes) -> Mapping[bytes, bytes]:
        """Values by what their keys have behind their ``beginning``, as the first member knows them."""
        message = {"key": text(beginning), "range_end": text(beginning[:-1] + bytes([beginning[-1] + 1]))}
        return {
            b64decode(pair["key"])[len(beginning) :]: b64decode(pair.get("value", ""))
            for pair in self._members[0].call("/v3/kv/range", message).get("kvs", [])
        }

    def misled(self) -> Collection[str]:
        return misled(self._directory, self.ipam, "--config", self._flat_file())

    def damage(self) -> Sequence[str]:
        damaged: list[str] = []
        blocks = self._blocks(damaged)
        check = problems(self._directory, self.ipam, "--config", self._flat_file())
        return [*damaged, *self._derived(blocks), *self._members_differ(), *check]

    def _flat_file(self) -> str:
        path = self._directory / "whereabouts.conf"
        path.write_text(json.dumps(self.ipam))
        return str(path)

    def _derived(self, blocks: Mapping[bytes, Block]) -> Iterator[str]:
        """Where the keys beside the blocks say other than the blocks."""
        bitmaps = self._pairs(KEYS.bitmaps())
        for name in blocks.keys() | bitmaps.keys():
            said = list(read_bitmap(bitmaps[name]) or ()) if name in bitmaps else None
            stored = [offset for offset, _ in blocks[name]] if name in blocks else None
            if said != stored:
                yield f"the bitmap of {name!r} says {said}, the block {stored}"
        for kind in ("attachments", "pods"):
            listed = set(self._pairs(f"{DEFAULT_PREFIX}{kind}/".encode()))
            needed = {key.removeprefix(f"{DEFAULT_PREFIX}{kind}/".encode()) for key in _index(kind, blocks)}
            for name in listed ^ needed:
                yield f"{kind}: {name!r} stands in {'the index' if name in listed else 'a block'} only"

    def _members_differ(self) -> Iterator[str]:
        """Whether the members of etcd itself agree, once each has what was written."""
        end = time.monotonic() + SETTLING_SECONDS
        while len(found := {json.dumps(self._hash(member)) for member in self._members}) > 1:
            if time.monotonic() > end:
                yield f"the members of etcd do not agree: {sorted(found)}"
                return
            time.sleep(0.2)

    def _hash(self, member: EtcdServer) -> Any:
        end = DEFAULT_PREFIX[:-1] + "0"
        message = {
            "key": text(DEFAULT_PREFIX.encode()),
            "range_end": text(end.encode()),
            "serializable": True,
        }
        return member.call("/v3/kv/range", message).get("kvs", [])

    def close(self) -> None:
        for node in self.nodes:
            node.close()
        for proxy in self._proxies:
            proxy.stop()
        for member in self._members:
            member.kill()
        small_disk.unmount(self._members[-1].folder)
        for folder in (self._directory, self._data):
            shutil.rmtree(folder, ignore_errors=True)


KEYS = Keys(DEFAULT_PREFIX)


def _index(kind: str, blocks: Mapping[bytes, Block]) -> Iterator[bytes]:
    """The keys that lead to the records of these blocks."""
    for block in blocks.values():
        for _, owner in block:
            if kind == "attachments":
                yield KEYS.attachment(owner.container_id, owner.ifname) + block_name(block.key)
            else:
                yield KEYS.pod(owner.pod_ref, owner.ifname) + block_name(block.key)
