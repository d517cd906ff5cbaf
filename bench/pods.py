"""Pods as clusters have them: what is measured with owners that repeat one another is too good."""

import hashlib
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import NamedTuple

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


class Filled(NamedTuple):
    """A range that was filled with pods from its first address on, as its searches would have left it."""

    range: Range
    used: int
    network_name: str = ""
    nodes: int = NODES

    def blocks(self) -> Iterator[Block]:
        """Its blocks, the last of which may have room."""
        space, text = Space(self.network_name), str(self.range.network)
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
        return holder(number, str(self.range.network), self.network_name, nodes=self.nodes)

    def address(self, number: int) -> IPv4Address:
        """That address."""
        block, offset = divmod(number, IN_A_BLOCK)
        return IPv4Address(self.range.first // BLOCK_SIZE * BLOCK_SIZE + block * BLOCK_SIZE + 1 + offset)

    def pool(self) -> Pool:
        """Its pool, which calls the full blocks exhausted."""
        pool = Pool(PoolKey(self.network_name, str(self.range.network)), shared=True)
        start, full = self.range.first // BLOCK_SIZE * BLOCK_SIZE, self.used // IN_A_BLOCK
        if not full:
            return pool
        view, front = view_of(self.range), start + full * BLOCK_SIZE
        return pool.with_exhausted(view, range(start, front, BLOCK_SIZE)).with_front(view, front)
