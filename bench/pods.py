"""Pods as clusters have them: what is measured with owners that repeat one another is too good."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from whereabouts.block import BLOCK_SIZE, Block, BlockKey, Space
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey, view_of
from whereabouts.ranges import Range

NODES = 40
IN_A_BLOCK = BLOCK_SIZE - 1
"""Addresses of a block that are given: not the one that ends in .0."""


def holder(number: int, *, nodes: int = NODES, cluster: str = "") -> Owner:
    """An owner with the names and digests of a real pod: nothing in it repeats but node and network.

    Of each ``number`` another one; ``cluster`` makes those of one place others than those of another.
    """
    digest = hashlib.sha256(f"{cluster}{number}".encode()).hexdigest()
    uid = f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
    return Owner(
        f"team-a/web-{digest[:10]}-{digest[10:15]}",
        uid,
        digest,
        "net1",
        f"node-{number % nodes}",
        "macvlan",
        "",
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
        space = Space(self.network_name)
        for first in range(0, self.used, IN_A_BLOCK):
            key = BlockKey(
                space, 4, self.range.first // BLOCK_SIZE * BLOCK_SIZE + first // IN_A_BLOCK * BLOCK_SIZE
            )
            last = min(first + IN_A_BLOCK, self.used)
            yield Block(key, {1 + number - first: self.owner(number) for number in range(first, last)})

    def owner(self, number: int) -> Owner:
        """Who has the address that was given after ``number`` others."""
        text = str(self.range.network)
        return holder(number, nodes=self.nodes, cluster=f"{self.network_name} {text} ")._replace(range=text)

    def pool(self) -> Pool:
        """Its pool, which calls the full blocks exhausted."""
        pool = Pool(PoolKey(self.network_name, str(self.range.network)), shared=True)
        start, full = self.range.first // BLOCK_SIZE * BLOCK_SIZE, self.used // IN_A_BLOCK
        if not full:
            return pool
        view, front = view_of(self.range), start + full * BLOCK_SIZE
        return pool.with_exhausted(view, range(start, front, BLOCK_SIZE)).with_front(view, front)
