"""What the picture of a range shows, read from datastore, configurations and report."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network

from whereabouts.addresses import Network
from whereabouts.block import BLOCK_SIZE
from whereabouts.cells import (
    MOST_ROWS,
    Gap,
    Givable,
    Recorded,
    Row,
    State,
    Window,
    blocks_between,
    choose_size,
    recorded,
    rows_of,
)
from whereabouts.commands import datastore, evidence
from whereabouts.commands.map_marks import read_marks
from whereabouts.commands.map_text import Picture, columns_for
from whereabouts.commands.progress import Progress
from whereabouts.commands.tables import printable
from whereabouts.config import ConfigError
from whereabouts.deadline import Deadline
from whereabouts.pool import Pool
from whereabouts.ranges import Range
from whereabouts.store import Store, StoreError
from whereabouts.stores.opening import store_name

SIZES = {"address": 1, "block": BLOCK_SIZE}
"""What a cell may be: how many addresses."""


def read_picture(chosen: argparse.Namespace, store: Store, width: int) -> Picture:
    """Read what the options of ``whereabouts map`` ask for, to be drawn in ``width`` columns."""
    deadline = Deadline.none()
    pool = _pool(store, chosen.network, chosen.range, deadline)
    ranges, remarks = _configurations(chosen, store, pool, deadline)
    marked: Mapping[int, State] = {}
    if chosen.report:
        marked = read_marks(chosen.report, store_name(datastore.configured(chosen)), pool)
    window = _window(chosen.range, SIZES.get(chosen.cells), columns_for(width, chosen.range.version))
    blocks = _blocks(store, pool, window, marked, deadline)
    givable = Givable(ranges or [Range.parse(pool.key.range, lenient=True)], known=not remarks)
    rows = list(rows_of(window, blocks, givable, whole=window.rows <= MOST_ROWS))
    return Picture(_headlines(pool, chosen.range, rows) + remarks, window, rows)


def _pool(store: Store, network_name: str, wanted: Network, deadline: Deadline) -> Pool:
    """The pool of this range, else of the smallest one that it is a part of."""
    listed = [stored.pool for stored in store.pools(deadline, network_name)]
    pools = [pool for pool in listed if not pool.key.node]  # a slice is a part of its range
    around = [pool for pool in pools if _has(ip_network(pool.key.range), wanted)]
    if not around:
        there = ", ".join(pool.key.range for pool in pools) or "none"
        raise ConfigError(f"no range of network_name {network_name!r} has {wanted}; its ranges are: {there}")
    return max(around, key=lambda pool: ip_network(pool.key.range).prefixlen)


def _has(network: Network, part: Network) -> bool:
    return (
        network.version == part.version
        and part.network_address in network
        and (part.prefixlen >= network.prefixlen)
    )


def _window(wanted: Network, size: int | None, columns: int) -> Window:
    first, last = int(wanted.network_address), int(wanted.broadcast_address)
    size = size or choose_size(last - first + 1, columns)
    return Window(wanted.version, first, last, size, columns)


def _blocks(
    store: Store,
    pool: Pool,
    window: Window,
    marked: Mapping[int, State],
    deadline: Deadline,
) -> Iterator[tuple[int, Recorded]]:
    with Progress() as progress:
        found = blocks_between(store, pool.space, window.version, window.first, window.last, deadline)
        for number, stored in enumerate(found, 1):
            progress.say(f"{number} blocks read")
            yield stored.key.base, recorded(stored, marked)


def _headlines(pool: Pool, wanted: Network, rows: Sequence[Row | Gap]) -> list[str]:
    name = f" of network_name {printable(pool.key.network_name)}" if pool.key.network_name else ""
    part = "" if str(wanted) == pool.key.range else f", a part of {pool.key.range}"
    cells = [cell for row in rows if isinstance(row, Row) for cell in row.cells]
    gaps = [row for row in rows if isinstance(row, Gap)]
    used = sum(cell.used for cell in cells)
    free = sum(cell.counts[State.FREE] for cell in cells) + sum(gap.free for gap in gaps)
    lines = [f"{wanted}{name}{part}: {used} used, {free} free"]
    if gaps:
        lines.append("Only the parts with records are drawn.")
    return lines


def _configurations(
    chosen: argparse.Namespace, store: Store, pool: Pool, deadline: Deadline
) -> tuple[Sequence[Range], list[str]]:
    """The configurations of a pool that are known, and what is not known of them."""
    config = datastore.configured(chosen)
    with evidence.gathered(chosen, config, store) as known:
        try:
            found = evidence.networks(chosen, config, known, deadline)
            ranges, unknown = found.ranges.get(pool.key, []), found.unknown
        except StoreError as error:
            ranges, unknown = [], [f"NetworkAttachmentDefinitions cannot be read ({error})"]
    remarks = [f"Not known: {printable(fault)}." for fault in unknown]
    if not ranges:
        remarks.append("Not known: a configuration of the range (--netconf); what it excludes does not show.")
    return ranges, remarks
