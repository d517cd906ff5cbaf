"""Why an address, why a range is full, and what the next ADD would give: read from the blocks themselves.

What is said is what holds now. An address that is free now may have been in use when a higher one was given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from whereabouts._bitmap import Bitmap
from whereabouts.addresses import Address
from whereabouts.block import BLOCK_SIZE, Block, BlockKey, Space
from whereabouts.deadline import Deadline
from whereabouts.findings import Record
from whereabouts.inspection import Suspect, Witness
from whereabouts.liveness import CONFLICT
from whereabouts.overview import records_in
from whereabouts.pool import Pool, view_of
from whereabouts.ranges import Range
from whereabouts.search import Search
from whereabouts.store import Store

HINTED, NO_ROOM, DAMAGED = "hinted", "no room", "damaged"


class Shares(NamedTuple):
    """What becomes of the addresses of a part of a range, for one configuration of it."""

    addresses: int
    edges: int
    """The network's first and last address."""
    outside: int
    """Below ``range_start`` or above ``range_end``."""
    excluded: int
    dot_zero: int
    """Those that end in ``.0`` and that nothing else takes out."""
    usable: int
    used: int
    """Of the usable ones, those that are used."""

    @property
    def free(self) -> int:
        """Of the usable ones, those that are not used."""
        return self.usable - self.used


def shares(configured: Range, first: int, last: int, used: int) -> Shares:
    """The shares of the addresses first..last of the range's network, of which ``used`` usable are used."""
    network = configured.network
    low, high = int(network.network_address), int(network.broadcast_address)
    edges = 0
    if configured.first > low:
        edges += first <= low <= last
    if configured.last < high and high > low:
        edges += first <= high <= last
    bounds = _length(max(first, configured.first), min(last, configured.last))
    inside = [(max(first, start), min(last, stop)) for start, stop in configured.usable]
    left = [(start, stop) for start, stop in inside if start <= stop]
    kept = sum(stop - start + 1 for start, stop in left)
    zeros = sum(stop // BLOCK_SIZE - (start - 1) // BLOCK_SIZE for start, stop in left)
    dot_zero = zeros if configured.dot_zero_barred else 0
    addresses = _length(first, last)
    return Shares(
        addresses, edges, addresses - edges - bounds, bounds - kept, dot_zero, kept - dot_zero, used
    )


def _length(first: int, last: int) -> int:
    return max(0, last - first + 1)


def used_of(store: Store, space: Space, configured: Range, last: int, deadline: Deadline) -> int:
    """How many usable addresses of the range up to ``last`` are used; those of damaged blocks all are."""
    count = 0
    start = configured.first // BLOCK_SIZE * BLOCK_SIZE
    for key, used in store.bitmaps(space, configured.version, start, last, deadline):
        usable = Bitmap(BLOCK_SIZE)
        usable.set_range(0, min(BLOCK_SIZE, max(0, last - key.base + 1)))
        for begin, end in configured.barred(key.base):
            usable.clear_range(begin, end)
        taken = usable if used is None else usable - (usable - used)
        count += taken.count()
    return count


# ------------------------------------------------------------------------ next


class Skipped(NamedTuple):
    """A block in which the next ADD would not look, or would find nothing. ``why`` is one of three words."""

    key: BlockKey
    why: str


class Next(NamedTuple):
    """What the next ADD of a new pod would be given."""

    address: Address | None
    lowest: Address | None
    """The lowest address that is free: another one where a hint leads past it."""
    skipped: Sequence[Skipped]
    """The blocks of the range below it, or all of them where there is none."""


class _Reading:
    """A store that nothing is written to, and whose hints are those that were read."""

    remembered_hints = None

    def __init__(self, store: Store) -> None:
        self.bitmaps = store.bitmaps


def next_address(store: Store, pool: Pool, configured: Range, deadline: Deadline) -> Next:
    """Search as ADD does, and write nothing."""
    address = _searched(store, pool, configured, deadline)
    lowest = address
    if pool.exhausted.get(view_of(configured)) is not None:
        lowest = _searched(store, Pool(pool.key, pool.shared), configured, deadline)
    return Next(address, lowest, list(_skipped(store, pool, configured, address, deadline)))


def _searched(store: Store, pool: Pool, configured: Range, deadline: Deadline) -> Address | None:
    search = Search(cast("Store", _Reading(store)), pool, configured, deadline)
    for key in search.candidates():
        stored = store.read_block(key, deadline, fresh=True)
        block = Block(key, {}) if stored is None else stored.block
        offset = None if block is None else block.lowest_free(configured.barred(key.base))
        if offset is not None:
            return key.address(offset)
    return None


def _skipped(
    store: Store, pool: Pool, configured: Range, address: Address | None, deadline: Deadline
) -> Iterator[Skipped]:
    start = configured.first // BLOCK_SIZE * BLOCK_SIZE
    last = configured.last if address is None else int(address) // BLOCK_SIZE * BLOCK_SIZE - 1
    stored = (
        dict(store.bitmaps(pool.space, configured.version, start, last, deadline)) if last >= start else {}
    )
    view = view_of(configured)
    base = configured.next_block(start)
    while base is not None and base <= last:
        key = BlockKey(pool.space, configured.version, base)
        if pool.first_unexhausted(view, base) != base:
            yield Skipped(key, HINTED)
        else:
            yield Skipped(key, DAMAGED if key in stored and stored[key] is None else NO_ROOM)
        base = configured.next_block(base + BLOCK_SIZE)


# ----------------------------------------------------------------------- ranges


class RangeAccount(NamedTuple):
    """Where the addresses of a range are."""

    pool: Pool
    shares: Shares
    holders: Mapping[str, int]
    """Used addresses of the whole range, by who has them; see :func:`account`."""
    suspects: Mapping[str, int]
    """How many of them have nobody behind them, by reason."""
    hinted: int
    """Blocks that this configuration's searches pass over."""


def account(
    store: Store, pool: Pool, configured: Range, witness: Witness | None, deadline: Deadline
) -> RangeAccount:
    """Account for every address of a range, as ``configured`` would give them.

    The holders are ``this range``, ``range ...`` for others of the space, ``conflict``, ``damaged block``.
    """
    first, last = int(configured.network.network_address), int(configured.network.broadcast_address)
    blocks = [
        stored
        for stored in store.blocks(deadline)
        if stored.key.space == pool.space
        and stored.key.version == configured.version
        and stored.key.base <= last
        and stored.key.base + BLOCK_SIZE > first
    ]
    records = [record for record in records_in(blocks) if first <= int(record.address) <= last]
    holders = Counter(_holder(record, pool) for record in records)
    for stored in blocks:
        if stored.block is None:
            there = _length(max(first, stored.key.base), min(last, stored.key.base + BLOCK_SIZE - 1))
            holders["damaged block"] += there
    suspects: Mapping[Record, Suspect] = {}
    if witness is not None:
        suspects = witness.suspects(records, deadline)
    used = used_of(store, pool.space, configured, configured.last, deadline)
    hints = pool.exhausted.get(view_of(configured))
    return RangeAccount(
        pool,
        shares(configured, first, last, used),
        holders,
        Counter(suspect.reason for suspect in suspects.values()),
        hints.count() if hints is not None else 0,
    )


def _holder(record: Record, pool: Pool) -> str:
    if record.owner.container_id.startswith(CONFLICT):
        return "conflict"
    mine = record.owner.range == pool.key.of_whole.range
    return "this range" if mine else f"range {record.owner.range}"


# ------------------------------------------------------------------------- pods


class PodAddress(NamedTuple):
    """An address of a pod, and what is below it in its range."""

    record: Record
    pool: Pool | None
    given: bool
    """Whether the range as it is configured now would give it."""
    below: Shares | None
    lowest: Address | None
    """The lowest address that is free now, where that is below it."""


def pod_address(
    store: Store, record: Record, pools: Collection[Pool], configured: Sequence[Range], deadline: Deadline
) -> PodAddress:
    """Explain one record. ``configured`` are the known configurations of its range, none if none is known."""
    pool = next((one for one in pools if _is_of(record, one)), None)
    if pool is None:
        return PodAddress(record, None, False, None, None)
    value = int(record.address)
    fitting = [one for one in configured if one.contains(value)]
    chosen = fitting[0] if fitting else (configured[0] if configured else _plain(pool.key.range, value))
    first = int(chosen.network.network_address)
    used = used_of(store, pool.space, chosen, value - 1, deadline) if value > first else 0
    below = shares(chosen, first, value - 1, used)
    lowest = None
    if below.free:
        lowest = _searched(store, Pool(pool.key, pool.shared), chosen, deadline)
        if lowest is not None and int(lowest) > value:
            lowest = None
    return PodAddress(record, pool, chosen.contains(value), below, lowest)


def _is_of(record: Record, pool: Pool) -> bool:
    return (
        pool.key.network_name == record.space.network_name
        and pool.key.range == record.owner.range
        and pool.space == record.space
    )


def _plain(text: str, value: int) -> Range:
    """The range as it is configured without bounds and excludes, in a form that gives the address."""
    plain = Range.parse(text, lenient=True)
    if not plain.contains(value):
        wide = Range.parse(text, enable_l3=True, allow_dot_zero=True)
        return wide if wide.contains(value) else plain
    return plain


def plain_range(pool: Pool) -> Range:
    """The pool's range as it is configured without bounds and excludes."""
    return Range.parse(pool.key.range, lenient=True)
