"""A look at the datastore for the status page: each block is read once, and what is kept of it is small."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from time import time
from typing import NamedTuple

from whereabouts.addresses import text_of
from whereabouts.block import BlockKey, Space
from whereabouts.cells import (
    MOST_ROWS,
    Gap,
    Givable,
    Recorded,
    State,
    Window,
    choose_size,
    recorded,
    rows_of,
)
from whereabouts.commands.map_text import Picture
from whereabouts.controller.status_facts import Collected, Problem, View
from whereabouts.deadline import Deadline
from whereabouts.liveness import CONFLICT
from whereabouts.pool import Pool, PoolKey
from whereabouts.ranges import Range
from whereabouts.store import Store, StoredBlock
from whereabouts.suspects import Suspect
from whereabouts.usage import RangeUse, uses_of

MOST_PICTURES = 16
"""Ranges that are drawn."""
COLUMNS = 32
"""Cells of a row."""

Suspected = Sequence[tuple[BlockKey, int, Suspect]]
"""Records that seem to be nobody's, by block and offset."""


class Configured(NamedTuple):
    """What definitions say of ranges."""

    ranges: Mapping[PoolKey, Sequence[Range]]
    known: bool
    """Whether these are all."""


def read_view(store: Store, configured: Configured, suspected: Suspected, deadline: Deadline) -> View:
    """Look at everything. Raises what the store raises."""
    pools = [stored.pool for stored in store.pools(deadline)]
    sketches = [_Sketch(pool, configured) for pool in pools[:MOST_PICTURES]]
    reading = _Reading(sketches, suspected)
    uses = uses_of(pools, store, deadline, nodes=True, seen=reading.take)
    problems = [*reading.problems(), *_full(uses).problems()]
    return View(time(), uses, {sketch.key: sketch.picture() for sketch in sketches}, problems)


class _Reading:
    """Blocks as they come by."""

    def __init__(self, sketches: Sequence[_Sketch], suspected: Suspected) -> None:
        self._sketches: dict[Space, list[_Sketch]] = {}
        for sketch in sketches:
            self._sketches.setdefault(sketch.space, []).append(sketch)
        self._suspects = Collected("suspect")
        self._conflicts = Collected("conflict")
        self._damaged = Collected("damaged-block")
        self._marked: dict[BlockKey, dict[int, State]] = {}
        for key, offset, suspect in suspected:
            owner = suspect.owner
            where = f" on {owner.node}" if owner.node else ""
            message = f"{owner.pod_ref} {owner.ifname}{where}: {suspect.suspicion.reason}"
            self._suspects.add(text_of(key.address(offset)), message)
            self._marked.setdefault(key, {})[key.base + offset] = State.SUSPECT

    def take(self, stored: StoredBlock) -> None:
        """Note what is wrong with a block, and draw it."""
        key = stored.key
        if stored.block is None:
            self._damaged.add(str(key.cidr), stored.damage)
        for offset, owner in stored.block or ():
            if owner.container_id.startswith(CONFLICT):
                claims = owner.container_id.removeprefix(CONFLICT)
                self._conflicts.add(text_of(key.address(offset)), f"by {claims}")
        for sketch in self._sketches.get(key.space, ()):
            sketch.take(stored, self._marked.get(key, {}))

    def problems(self) -> Iterator[Problem]:
        """What was noted."""
        for collected in (self._suspects, self._conflicts, self._damaged):
            yield from collected.problems()


def _full(uses: Sequence[RangeUse]) -> Collected:
    full = Collected("full-range")
    for use in uses:
        if not use.free:
            name = f" of network_name {use.pool.key.network_name}" if use.pool.key.network_name else ""
            full.add(use.pool.key.range, f"{use.used} of {use.capacity} addresses{name} are used")
    return full


class _Sketch:
    """The picture of a range in the making: blocks, packed, of as many rows as are drawn."""

    def __init__(self, pool: Pool, configured: Configured) -> None:
        self.key, self.space = pool.key, pool.space
        network = ip_network(pool.key.range)
        first, last = int(network.network_address), int(network.broadcast_address)
        self._window = Window(network.version, first, last, choose_size(last - first + 1, COLUMNS), COLUMNS)
        ranges = configured.ranges.get(pool.key)
        self._known = configured.known and ranges is not None
        self._givable = Givable(ranges or [Range.parse(pool.key.range, lenient=True)], known=self._known)
        self._blocks: list[tuple[int, bytes | None]] = []
        self._rows: set[int] = set()
        self._end: int | None = None
        """The last row that is drawn, where there would be more."""

    def take(self, stored: StoredBlock, marked: Mapping[int, State]) -> None:
        """Draw a block, if it belongs here. Blocks come in order."""
        window, key = self._window, stored.key
        first, last = max(key.base, window.first), min(int(key.cidr.broadcast_address), window.last)
        if key.version != window.version or first > last or self._end is not None:
            return
        packed = _packed(key.base, recorded(stored, marked))
        if packed == b"":
            return
        row = window.row_of(first)
        if row not in self._rows and len(self._rows) == MOST_ROWS:
            self._end = max(self._rows)
            return
        self._rows.add(row)
        self._blocks.append((key.base, packed))

    def picture(self) -> Picture:
        """What was drawn."""
        window, remarks = self._window, []
        whole = window.rows <= MOST_ROWS
        if self._end is not None:
            window = window._replace(last=window.bounds(self._end)[1])
            remarks.append(f"Only the first {MOST_ROWS} rows with records are drawn.")
        blocks = ((base, _unpacked(base, packed)) for base, packed in self._blocks)
        rows = list(rows_of(window, blocks, self._givable, whole=whole))
        if not remarks and any(isinstance(row, Gap) for row in rows):
            remarks.append("Only the parts with records are drawn.")
        if not self._known:
            remarks.append("Not all of its configurations are known; what they exclude may not show.")
        return Picture(remarks, window, rows)


def _packed(base: int, content: Recorded) -> bytes | None:
    """Offset and state of each address, a byte each."""
    if content is None:
        return None
    return bytes(number for address, state in content.items() for number in (address - base, state))


def _unpacked(base: int, packed: bytes | None) -> Recorded:
    if packed is None:
        return None
    offsets, states = packed[::2], packed[1::2]
    return {base + offset: State(state) for offset, state in zip(offsets, states, strict=True)}
