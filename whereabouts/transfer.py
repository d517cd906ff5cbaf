"""Taking the content of a datastore out, and putting it into another one, which may hold something already.

To put it in is to add what does not contradict what is there: nothing is overwritten and nothing is freed, so
that it can be done again after it was cut off at any point.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from whereabouts.block import BLOCK_SIZE, Block, BlockDamaged, BlockKey
from whereabouts.commit import DirectCommitter, block_of
from whereabouts.deadline import Deadline
from whereabouts.export_format import Damaged, Entry, LeftOut
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.search import Outdated
from whereabouts.slices import SlicePool
from whereabouts.store import Conflict, NameTaken, Store, Unsettled
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from whereabouts.commit import Change


def content_of(store: Store, deadline: Deadline) -> Iterator[Pool | SlicePool | Block | Damaged]:
    """Everything that a store holds, pools first; each block as of one moment, but not all as of the same."""
    for stored in store.pools(deadline):
        if stored.pool.key.node:
            continue  # of a slice: it has nothing but hints
        yield Pool(stored.pool.key, stored.pool.shared)
    for slices in store.slice_pools(deadline):
        yield slices.pool
    for block in store.blocks(deadline):
        if block.block is None:
            yield Damaged(block.key, block.damage, block.raw)
        elif len(block.block):
            yield block.block


class _Added(NamedTuple):
    new: int
    known: int
    conflicts: list[str]


def _joined(theirs: SlicePool, ours: SlicePool) -> tuple[SlicePool, int, list[str]]:
    """Their slices with those of our nodes that contradict none; how many were the same; the others."""
    if [one.range for one in theirs.slices] != [one.range for one in ours.slices]:
        cuts = f"into {len(theirs.slices)} slices of {theirs.range}"
        of_file = f"into {len(ours.slices)} of {ours.range}"
        problem = (
            f"the slices {ours.name} are cut {cuts} here, and in the file {of_file}: {{}} has {{}} there"
        )
        return theirs, 0, [problem.format(one.node, one.range) for one in ours.slices if one.node]
    settled = {one.node for one in theirs.slices}
    slices, known, problems = [], 0, []
    for mine, one in zip(ours.slices, theirs.slices, strict=True):
        if mine.node and mine.node == one.node:
            known += 1
        elif mine.node and not one.node and mine.node not in settled:
            one = mine
        elif mine.node:
            holder = f"has {one.node} here" if one.node else "has nobody here, and its node another slice"
            problems.append(f"slice {one.range} of {ours.name} {holder}, and in the file {mine.node}")
        slices.append(one)
    return theirs._replace(slices=tuple(slices)), known, problems


class Importer:
    """Puts entries into a store, the pools before the blocks, and counts what became of them."""

    def __init__(self, store: Store, *, dry_run: bool = False, hold_damaged_at: int | None = None) -> None:
        """An importer; with ``dry_run`` it only looks.

        ``hold_damaged_at``, in seconds since 1970 UTC, has every free address of a damaged block recorded as
        of then as held by nobody, so that none is given to a pod while another may be using it.
        """
        self._store = store
        self._committer = DirectCommitter(store)
        self._dry_run = dry_run
        self._hold_damaged_at = hold_damaged_at
        self._pools: dict[PoolKey, Pool] = {}
        """Of the file."""
        self._theirs: dict[PoolKey, Pool | None] = {}
        """Of the store, as they are when the file's have been put in."""
        self.new_pools = self.known_pools = 0
        self.new_slices = self.known_slices = 0
        """Slices of nodes."""
        self.new = self.known = self.conflicts = self.left_out = 0

    def add(self, entry: Entry, deadline: Deadline) -> list[str]:
        """Put one entry in; sentences about what was not put in.

        Raises what the store raises; everything may be put in again then.
        """
        if isinstance(entry, Pool):
            problems = self._add_pool(entry, deadline)
        elif isinstance(entry, SlicePool):
            problems = self._add_slices(entry, deadline)
        elif isinstance(entry, Block):
            problems = self._add_block(entry, deadline)
        elif isinstance(entry, Damaged):
            problems = self._add_damaged(entry, deadline)
        elif isinstance(entry, LeftOut):
            self.left_out += 1
            return [f"not in the file: {entry.what}: {entry.reason}"]
        else:
            problems = []
        return problems

    def _add_pool(self, pool: Pool, deadline: Deadline) -> list[str]:
        self._pools[pool.key] = pool
        try:
            there = self._their_pool(pool.key, deadline)
            new = there is None
            if there is None and not self._dry_run:
                there = self._theirs[pool.key] = self._store.create_pool(pool, deadline).pool
        except NameTaken as error:
            self.conflicts += 1
            return [str(error)]
        if there is None or there.shared == pool.shared:
            self.new_pools += new
            self.known_pools += not new
            return []
        self.conflicts += 1
        return [
            f"range {pool.key.range} of network_name {pool.key.network_name!r} is used here with "
            f"enable_overlapping_ranges: {_flag(there)}, and in the file with {_flag(pool)}: "
            "its addresses cannot be put in"
        ]

    def _add_slices(self, pool: SlicePool, deadline: Deadline) -> list[str]:
        held = sum(bool(one.node) for one in pool.slices)
        while True:
            stored = self._store.read_slices(pool.name, deadline, fresh=True)
            joined = None if stored is None else _joined(stored.pool, pool)
            after, known, problems = joined or (pool, 0, [])
            try:
                if self._dry_run or (stored is not None and after == stored.pool):
                    pass
                elif stored is None:
                    self._store.create_slices(pool, deadline)
                else:
                    self._store.write_slices(stored, after, deadline)
                break
            except (Conflict, Unsettled):
                what = f"the slices {pool.name} are written by others all the time"
                deadline.pause(self._store.conflict_pause, what)
        self.new_slices += held - known - len(problems)
        self.known_slices += known
        self.conflicts += len(problems)
        return problems

    def _add_block(self, block: Block, deadline: Deadline) -> list[str]:
        ranges = {owner.range for owner in block.holders()}
        barred = {text for text in ranges if self._contradicts(block.key, text, deadline)}
        refused = sum(owner.range in barred for owner in block.holders())
        self.conflicts += refused
        problems = []
        if refused:
            problems.append(
                f"{refused} addresses of block {block.key.cidr} are of {', '.join(sorted(barred))} of "
                f"{_space(block.key)}, which lives in another space here"
            )
        records = {offset: owner for offset, owner in block if owner.range not in barred}
        return problems + self._record(block.key, records, deadline)

    def _contradicts(self, key: BlockKey, range_text: str, deadline: Deadline) -> bool:
        """Whether the range lives in another space here than where the file has its record."""
        pool_key = PoolKey(key.space.network_name, range_text)
        if not range_text:
            return False
        try:
            theirs, ours = self._their_pool(pool_key, deadline), self._pools.get(pool_key)
        except NameTaken:
            return True
        if theirs is None or (ours is not None and ours.shared == theirs.shared):
            return False
        return theirs.space != key.space

    def _their_pool(self, key: PoolKey, deadline: Deadline) -> Pool | None:
        if key not in self._theirs:
            stored = self._store.read_pool(key, deadline)
            self._theirs[key] = None if stored is None else stored.pool
        return self._theirs[key]

    def _add_damaged(self, damaged: Damaged, deadline: Deadline) -> list[str]:
        self.left_out += 1
        if self._hold_damaged_at is None:
            return [
                f"block {damaged.key.cidr} of {_space(damaged.key)} is damaged in the file: its addresses "
                "may be given again here, unless --hold-damaged keeps them from it"
            ]
        holder = Owner("", "", f"damaged: {damaged.key.name}", "", "", "", "", self._hold_damaged_at)
        problems = self._record(damaged.key, dict.fromkeys(range(BLOCK_SIZE), holder), deadline)
        held = f"block {damaged.key.cidr} of {_space(damaged.key)} is damaged in the file"
        return [f"{held}: its addresses are kept from being given", *problems]

    def _record(self, key: BlockKey, records: Mapping[int, Owner], deadline: Deadline) -> list[str]:
        if not records:
            return []
        try:
            added = self._commit(key, _adding(records), deadline)
        except BlockDamaged as damage:
            self.conflicts += len(records)
            return [f"{damage}: none of its addresses can be put in"]
        self.new += added.new
        self.known += added.known
        self.conflicts += len(added.conflicts)
        return added.conflicts

    def _commit(self, key: BlockKey, change: Change[_Added], deadline: Deadline) -> _Added:
        if self._dry_run:
            return change(block_of(key, self._store.read_block(key, deadline, fresh=True)))[1]
        while True:
            try:
                return self._committer.commit(key, change, deadline)
            except Outdated:
                deadline.remaining(f"block {key.name} is written by others all the time")


def _adding(records: Mapping[int, Owner]) -> Change[_Added]:
    """Record what is not recorded yet; who holds an address keeps it."""

    def change(block: Block) -> tuple[Block, _Added]:
        there = dict(block)
        new = {offset: owner for offset, owner in records.items() if offset not in there}
        others = [
            offset for offset in records if offset in there and not _same(records[offset], there[offset])
        ]
        conflicts = [_conflict(block.key, at, records[at], there[at]) for at in others]
        added = _Added(len(new), len(records) - len(new) - len(others), conflicts)
        return (Block(block.key, {**there, **new}) if new else block), added

    return change


def _same(one: Owner, other: Owner) -> bool:
    """Whether two records are of one attachment of one pod."""
    return one.pod_ref == other.pod_ref and other.belongs_to(one.container_id, one.ifname)


def _conflict(key: BlockKey, offset: int, ours: Owner, theirs: Owner) -> str:
    return (
        f"{key.address(offset)} of {_space(key)} is held here by {_holder(theirs)}, and in the file by "
        f"{_holder(ours)}"
    )


def _holder(owner: Owner) -> str:
    interface = f" {owner.ifname}" if owner.ifname else ""
    return f"{owner.pod_ref or 'nobody'}{interface} (container {owner.container_id or 'unknown'})"


def _space(key: BlockKey) -> str:
    own = f", range {key.space.own_range}" if key.space.own_range else ""
    return f"network_name {key.space.network_name!r}{own}"


def _flag(pool: Pool) -> str:
    return "true" if pool.shared else "false"
