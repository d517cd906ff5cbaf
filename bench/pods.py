"""Pods as clusters have them: what is measured with owners that repeat one another is too good."""

import hashlib
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_network
from math import ceil, log2
from typing import NamedTuple, Protocol

from whereabouts.block import BLOCK_SIZE, Block, BlockKey, Space
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey, view_of
from whereabouts.ranges import Range

NODES = 40
IN_A_BLOCK = BLOCK_SIZE - 1
"""Addresses of a block that are given: not the one that ends in .0."""


def holder(number: int, range_: str = "", network_name: str = "", *, nodes: int = NODES) -> Owner:
    """An owner with the names and digests of a real pod: nothing in it repeats but node and network.

    Another one for each number, range and network name.
    """
    digest = hashlib.sha256(f"{network_name} {range_} {number}".encode()).hexdigest()
    uid = f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
    return Owner(
        f"team-a/web-{digest[:10]}-{digest[10:15]}",
        uid,
        digest,
        "net1",
        f"node-{number % nodes}",
        "macvlan",
        range_,
        1_700_000_000 + number,
    )


def lowest(text: str) -> Iterator[int]:
    """The addresses of a range of IPv4 in the order in which they are given, up to the network's last one."""
    whole = ip_network(text.rpartition("-")[2], strict=False)
    return (int(address) for address in whole.hosts() if address.packed[-1])


class Contents(Protocol):
    """What a store has of one range."""

    @property
    def text(self) -> str:
        """The range, as configurations name it."""

    def blocks(self) -> Iterator[Block]:
        """Blocks with addresses."""

    def pool(self) -> Pool:
        """The range's pool."""


class Filled(NamedTuple):
    """A range that was filled with pods from its first address on, as its searches would have left it."""

    range: Range
    used: int
    network_name: str = ""
    nodes: int = NODES

    @property
    def text(self) -> str:
        return str(self.range.network)

    def blocks(self) -> Iterator[Block]:
        """Its blocks, the last of which may have room."""
        space, text = Space(self.network_name), self.text
        for first in range(0, self.used, IN_A_BLOCK):
            key = BlockKey.of(space, self.address(first))
            last = min(first + IN_A_BLOCK, self.used)
            owners = {
                1 + number - first: holder(number, text, self.network_name, nodes=self.nodes)
                for number in range(first, last)
            }
            yield Block(key, owners)

    def owner(self, number: int) -> Owner:
        """Who has the address that was given after ``number`` others."""
        return holder(number, self.text, self.network_name, nodes=self.nodes)

    def address(self, number: int) -> IPv4Address:
        """That address."""
        block, offset = divmod(number, IN_A_BLOCK)
        return IPv4Address(self.range.first // BLOCK_SIZE * BLOCK_SIZE + block * BLOCK_SIZE + 1 + offset)

    def pool(self) -> Pool:
        """Its pool, which calls the full blocks exhausted."""
        pool = Pool(PoolKey(self.network_name, self.text), shared=True)
        start, full = self.range.first // BLOCK_SIZE * BLOCK_SIZE, self.used // IN_A_BLOCK
        if not full:
            return pool
        view, front = view_of(self.range), start + full * BLOCK_SIZE
        return pool.with_exhausted(view, range(start, front, BLOCK_SIZE)).with_front(view, front)


class Sliced(NamedTuple):
    """A range with a block for each node, which has some pods there."""

    nodes: int
    pods_of_a_node: int

    @property
    def text(self) -> str:
        """A range that is as small as it can be."""
        return f"10.0.0.0/{24 - ceil(log2(self.nodes))}"

    def blocks(self) -> Iterator[Block]:
        """One for each node."""
        first = int(IPv4Address("10.0.0.0"))
        for node in range(self.nodes):
            owners = {
                1 + pod: holder(node + self.nodes * pod, self.text, nodes=self.nodes)
                for pod in range(self.pods_of_a_node)
            }
            yield Block(BlockKey(Space(), 4, first + node * BLOCK_SIZE), owners)

    def pool(self) -> Pool:
        """Without hints: no block is full."""
        return Pool(PoolKey("", self.text), shared=True)
