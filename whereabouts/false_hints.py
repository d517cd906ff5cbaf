"""Hints that are wrong: blocks that a pool calls exhausted, and which have room."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from ipaddress import ip_network
from itertools import groupby
from typing import NamedTuple

from whereabouts.block import Block, BlockKey
from whereabouts.deadline import Deadline
from whereabouts.findings import Finding
from whereabouts.pool import Pool, PoolKey, view_of
from whereabouts.ranges import Range, RangeError
from whereabouts.store import Store

_SHOWN = 4

Configured = Mapping[PoolKey, Sequence[Range]]
"""The ranges that are known to be configured, by the pools that they use."""


class FalseHint(NamedTuple):
    """A block that a view of a pool calls exhausted without reason."""

    pool: PoolKey
    view: str
    block: BlockKey


def false_hints(
    pools: Collection[Pool], blocks: Mapping[BlockKey, Block | None], configured: Configured
) -> list[FalseHint]:
    """What the hints of ``pools`` say, compared with ``blocks``: all that are stored; None are damaged.

    A view is known by what it may give: that of a configuration that is known, or of the range without bounds
    and excludes. Of others it is only sure that a block in which nothing is used has room.
    """
    found = []
    for pool in pools:
        ranges = _by_view(pool, configured)
        version = ip_network(pool.key.range).version
        for view in sorted(pool.exhausted):
            for base in pool.exhausted_beyond(Pool(pool.key, pool.shared), view):
                key = BlockKey(pool.space, version, base)
                block = blocks[key] if key in blocks else Block(key, {})
                if block is not None and _has_room(block, ranges.get(view)):
                    found.append(FalseHint(pool.key, view, key))
    return found


def still_false(
    store: Store, hints: Collection[FalseHint], configured: Configured, deadline: Deadline
) -> list[FalseHint]:
    """Those of the hints that are wrong for sure, whatever is served at the same time.

    Each block is read between two readings of its pool, and only a pool that did not change in between was
    wrong while the block had room.
    """
    before = {stored.pool.key: stored for stored in store.pools(deadline, hinted=True)}
    keys = {hint.block for hint in hints}
    read = {key: store.read_block(key, deadline, fresh=True) for key in sorted(keys)}
    after = {stored.pool.key: stored for stored in store.pools(deadline, hinted=True)}
    unchanged = [
        stored.pool
        for key, stored in sorted(before.items())
        if key in after and after[key].revision == stored.revision
    ]
    blocks = {key: stored.block for key, stored in read.items() if stored is not None}
    return [hint for hint in false_hints(unchanged, blocks, configured) if hint in hints]


def as_findings(hints: Sequence[FalseHint]) -> Iterator[Finding]:
    """A finding for each view of each pool."""
    for (pool, view), group in groupby(sorted(hints), lambda hint: (hint.pool, hint.view)):
        cidrs = [str(hint.block.cidr) for hint in group]
        more = f" and {len(cidrs) - _SHOWN} more" if len(cidrs) > _SHOWN else ""
        shown = ", ".join(cidrs[:_SHOWN]) + more
        message = f"pool {pool.name} calls blocks exhausted which have room: {shown}"
        yield Finding("false-hint", message, pool.network_name, place=f"{pool.name} {view}")


def _by_view(pool: Pool, configured: Configured) -> dict[str, Range]:
    ranges = [*_usual(pool.key.range), *configurations(pool.key, configured)]
    return {view_of(one): one for one in ranges}


def configurations(key: PoolKey, configured: Configured) -> list[Range]:
    """The known configurations of a pool's range; of a node's slice, what they give of it."""
    ranges = configured.get(key.of_whole, ())
    return [one.within(ip_network(key.range)) for one in ranges] if key.whole else list(ranges)


def _usual(text: str) -> Iterator[Range]:
    """The range as it is configured without bounds and excludes."""
    for enable_l3 in (False, True):
        for allow_dot_zero in (False, True):
            try:
                yield Range.parse(text, enable_l3=enable_l3, allow_dot_zero=allow_dot_zero)
            except RangeError:
                continue


def _has_room(block: Block, configured: Range | None) -> bool:
    if configured is None:
        return len(block) == 0
    return block.lowest_free(configured.barred(block.key.base)) is not None
