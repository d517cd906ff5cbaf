"""ADD and DEL over a store: the lowest free address of each range, given once, and given back.

Invariants, whatever fails or runs at the same time:

* an address has at most one record, in the block that its space and value determine;
* a block changes only by a write conditional on the revision that was judged;
* an ADD that fails gives back what it had newly stored, or the runtime's DEL does;
* a range is called full only after its blocks themselves were looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from whereabouts.addresses import Address
from whereabouts.block import Block, BlockDamaged, BlockKey
from whereabouts.changes import Allocation, Assigned, assign, reassign, release
from whereabouts.commit import Committer
from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.errors import WhereaboutsError
from whereabouts.log import Log
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.ranges import Range
from whereabouts.search import Hints, Outdated, Search, pool_for
from whereabouts.store import Store, StoredPool, StoreError
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from whereabouts.slices import SliceRule

UNDO_SECONDS = 5.0
"""The time an ADD that failed has to give back what it had stored."""


class RangeFull(WhereaboutsError):
    """No address of the range is left; the text is the Go plugin's, which tools match on."""


class Demand(NamedTuple):
    """What a network configuration asks for: one address of each range, in order."""

    network_name: str
    shared: bool
    ranges: Sequence[Range]
    slices: Mapping[str, SliceRule] = {}
    """How ranges are cut into slices for nodes, by the texts of their networks."""
    borrow: bool = False
    """Whether a node whose slice is full takes addresses of the whole range."""

    def pool_key(self, configured: Range) -> PoolKey:
        """The pool of one of the ranges."""
        return PoolKey(self.network_name, str(configured.network))

    def slice_rule(self, configured: Range) -> SliceRule | None:
        """How one of the ranges is cut, if it is."""
        return self.slices.get(str(configured.network))


class GivenTwice(WhereaboutsError):
    """Ranges of one configuration overlap, and live in spaces that do not know of each other."""


class Attachment(NamedTuple):
    """An interface of a container on a CNI network (CNI SPEC, section 2, "Attachment")."""

    container_id: str
    ifname: str
    network: str


class Allocator:
    """Gives addresses and takes them back."""

    def __init__(self, store: Store, committer: Committer, log: Log) -> None:
        """An allocator whose changes go through ``committer`` into ``store``."""
        self._store = store
        self._committer = committer
        self._hints = Hints(store, log)
        self._log = log

    def add(self, demand: Demand, owner: Owner, deadline: Deadline) -> list[Address]:
        """Give ``owner`` (whose ``range`` is filled in here) an address of each range, in their order.

        A pod's interface that holds an address of a range keeps it. Of a range that is cut, an address of
        the slice of the owner's node is given. Raises :class:`RangeFull`,
        :class:`~whereabouts.node_slices.NoSlice`, :class:`~whereabouts.store.StoreError` or
        DeadlineExceeded; nothing newly given is kept then.
        """
        assigned: list[tuple[BlockKey, Assigned]] = []
        try:
            for configured in demand.ranges:
                assigned.append(self._add_one(demand, configured, owner, deadline))
            _refuse_twice(assigned)
        except BaseException:
            self._undo(assigned, deadline.grace(UNDO_SECONDS))
            raise
        return [given.address for _, given in assigned]

    def _add_one(
        self, demand: Demand, configured: Range, owner: Owner, deadline: Deadline
    ) -> tuple[BlockKey, Assigned]:
        key = demand.pool_key(configured)
        owner = owner._replace(range=key.range)
        while True:
            stored = pool_for(self._store, key, demand.shared, deadline, self._log)
            try:
                return self._kept(stored.pool, configured, owner, deadline) or self._given(
                    demand, stored, configured, owner, deadline
                )
            except Outdated:
                deadline.remaining(f"the hints of pool {key.name} change all the time")

    def _given(
        self, demand: Demand, stored: StoredPool, configured: Range, owner: Owner, deadline: Deadline
    ) -> tuple[BlockKey, Assigned]:
        """The lowest free address: of the node's slice where the range is cut, else of the range."""
        rule = demand.slice_rule(configured)
        if rule is None:
            return self._lowest(stored, configured, owner, deadline)
        from whereabouts.node_slices import Cut, claim, pool_of_slice, slice_of

        cut = Cut(configured, rule, owner.node)
        claims = self._store.claims_slices
        part = slice_of(self._store, cut, deadline, sure=not (demand.borrow or claims))
        if part is None and claims:
            part = claim(self._store, cut, stored.pool.space, deadline)
        if part is None and not demand.borrow:
            raise cut.none(self._store)
        if part is not None:
            of_slice = pool_of_slice(self._store, stored.pool, part, owner.node, deadline)
            try:
                return self._lowest(of_slice, configured.within(part), owner, deadline)
            except RangeFull:
                if not demand.borrow:
                    raise
        return self._lowest(stored, configured, owner, deadline)

    def _kept(
        self, pool: Pool, configured: Range, owner: Owner, deadline: Deadline
    ) -> tuple[BlockKey, Assigned] | None:
        for key in self._store.blocks_of_pod(owner.pod_ref, owner.ifname, deadline):
            if key.space != pool.space or key.version != configured.version:
                continue
            known = self._store.read_block(key, deadline)
            if known is None or (known.block is not None and not _holds(known.block, owner)):
                continue  # of another range; a store may remember, and need not be asked to be sure
            try:
                given = self._committer.commit(key, reassign(owner), deadline)
            except BlockDamaged as damage:
                self._log.error(f"{damage}; what it may hold for {owner.pod_ref} is left alone")
                continue
            if given is not None:
                if not configured.contains(int(given.address)):
                    self._log.verbose(
                        f"{owner.pod_ref} {owner.ifname} keeps {given.address}, "
                        f"which range {owner.range} as it is configured now would not give"
                    )
                return key, given
        return None

    def _lowest(
        self, stored: StoredPool, configured: Range, owner: Owner, deadline: Deadline
    ) -> tuple[BlockKey, Assigned]:
        revision, pool = stored
        search = Search(self._store, pool, configured, deadline, revision)
        try:
            for key in search.candidates():
                change = assign(owner, configured.barred(key.base), search.ensure_lowest)
                try:
                    given = self._committer.commit(key, change, deadline)
                except BlockDamaged as damage:
                    self._log.error(f"{damage}; its addresses count as used")
                    search.damaged.add(key.base)
                    continue
                if given is None or given.exhausted:
                    search.exhausted.add(key.base)
                if given is not None:
                    if not given.exhausted and pool.is_exhausted(key):
                        self._hints.correct(pool.key, key, deadline)
                    return key, given
        finally:
            self._hints.remember(configured, search, deadline)
        raise RangeFull(configured.full_message())

    def _undo(self, assigned: Sequence[tuple[BlockKey, Assigned]], deadline: Deadline) -> None:
        for key, given in assigned:
            if not given.new:
                continue
            mine = (given.address, given.owner)
            try:
                self.free(key, lambda *record, mine=mine: record == mine, deadline)
            except WhereaboutsError as error:
                self._log.error(f"{given.address} of an ADD that failed waits for its DEL: {error}")

    def free(
        self, key: BlockKey, judged: Callable[[Address, Owner], bool], deadline: Deadline
    ) -> list[Allocation]:
        """Free the allocations of a block for which ``judged`` is true, as they stand when it is written."""
        freed = self._release(key, judged, deadline)
        if freed:
            self._hints.forget(key, deadline)
        return freed

    def _release(
        self, key: BlockKey, judged: Callable[[Address, Owner], bool], deadline: Deadline
    ) -> list[Allocation]:
        while True:
            try:
                return self._committer.commit(key, release(judged), deadline)
            except Outdated:
                # This rests on no hints: an ADD that was to be stored by the same write did.
                deadline.remaining(f"block {key.name} is written by others all the time")

    def delete(
        self,
        demand: Demand,
        attachment: Attachment,
        reported: Collection[Address],
        deadline: Deadline,
    ) -> list[Allocation]:
        """Take back what the attachment holds; nothing there is a success.

        What it holds is every record of that container ID and interface that lies in one of the ranges
        or was made for the same CNI network (its ranges may have been edited since). ``reported`` are the
        addresses of the earlier result, if it came, that ranges gave: where they account for every range,
        and each of them lies in one, no search is needed. All blocks are tried before the first error is
        raised.
        """
        judged = self._held_by(demand, attachment)
        freed: list[Allocation] = []
        failures: list[WhereaboutsError] = []
        tried: set[BlockKey] = set()

        def free_in(keys: Iterable[BlockKey]) -> None:
            for key in keys:
                if key not in tried:
                    tried.add(key)
                    try:
                        freed.extend(self.free(key, judged, deadline))
                    except (StoreError, DeadlineExceeded, BlockDamaged) as error:
                        failures.append(error)

        free_in(self._blocks_of(demand, reported, deadline))
        if failures or not _accounts_for(reported, freed, demand):
            free_in(self._store.blocks_of_attachment(*attachment[:2], deadline))
        if failures:
            raise failures[0]
        return freed

    def _held_by(self, demand: Demand, attachment: Attachment) -> Callable[[Address, Owner], bool]:
        networks = [configured.network for configured in demand.ranges]

        def held(address: Address, record: Owner) -> bool:
            return record.belongs_to(attachment.container_id, attachment.ifname) and (
                record.network == attachment.network or any(address in one for one in networks)
            )

        return held

    def _blocks_of(
        self, demand: Demand, reported: Collection[Address], deadline: Deadline
    ) -> Iterator[BlockKey]:
        for configured in demand.ranges:
            here = [address for address in reported if address in configured.network]
            stored = self._store.read_pool(demand.pool_key(configured), deadline) if here else None
            if stored is not None:
                for address in here:
                    yield BlockKey.of(stored.pool.space, address)


def _holds(block: Block, owner: Owner) -> bool:
    return block.offset_held(owner.pod_ref, owner.ifname, owner.range) is not None


def _refuse_twice(assigned: Sequence[tuple[BlockKey, Assigned]]) -> None:
    """Pools that were created with spaces of their own keep them, whatever the configuration says now."""
    ranges: dict[Address, str] = {}
    for _, given in assigned:
        other = ranges.setdefault(given.address, given.owner.range)
        if other != given.owner.range:
            raise GivenTwice(
                f"ranges {other} and {given.owner.range} overlap, and a pool of theirs was created with "
                f"enable_overlapping_ranges: false: both gave {given.address}; ask for one of them only"
            )


def _accounts_for(reported: Collection[Address], freed: Collection[Allocation], demand: Demand) -> bool:
    """Whether what was freed where ``reported`` points is all that there can be.

    An address outside all ranges tells that a range was taken out since: only a search finds what it gave.
    """
    given_from = {record.range for _, record in freed}
    return (
        bool(demand.ranges)
        and all(str(one.network) in given_from for one in demand.ranges)
        and all(any(address in one.network for one in demand.ranges) for address in reported)
    )
