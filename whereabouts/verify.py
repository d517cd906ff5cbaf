"""CHECK and STATUS: is what was given still recorded, and could an ADD be served?"""

from __future__ import annotations

from collections.abc import Collection

from whereabouts.addresses import Address
from whereabouts.allocator import Demand
from whereabouts.block import BlockKey, Space
from whereabouts.deadline import Deadline
from whereabouts.errors import WhereaboutsError
from whereabouts.owners import Owner
from whereabouts.pool import Pool
from whereabouts.ranges import Range
from whereabouts.search import Search
from whereabouts.store import Store


class CheckFailed(WhereaboutsError):
    """The records and the previous result of an attachment do not agree (CNI SPEC, CHECK)."""


class RangeExhausted(WhereaboutsError):
    """An ADD could not be served, because a range has no address left (CNI SPEC, STATUS)."""


def check(
    store: Store,
    demand: Demand,
    container_id: str,
    ifname: str,
    reported: Collection[Address],
    deadline: Deadline,
) -> None:
    """Compare the addresses that an earlier ADD reported with the records, both ways.

    ``reported`` may hold addresses of other plugins: those that no range would give are passed over. Raises
    :class:`CheckFailed` with everything that is wrong.
    """
    faults: list[str] = []
    recorded = _recorded(store, container_id, ifname, deadline)
    for configured in demand.ranges:
        pool = _pool(store, demand, configured, deadline)
        mine = {address for (space, address) in recorded if space == pool.space}
        of_range = {address for address in mine if recorded[pool.space, address].range == pool.key.range}
        here = [
            address
            for address in reported
            if address in configured.network and (address in mine or configured.contains(int(address)))
        ]
        faults += [_who_has(store, pool, address, deadline) for address in here if address not in mine]
        faults += [
            f"{address} is recorded for {ifname}, but prevResult does not have it"
            for address in sorted(of_range.difference(here))
        ]
        if not here and not of_range:
            faults.append(f"no address of range {pool.key.range} is recorded for {ifname} of {container_id}")
    if faults:
        raise CheckFailed("; ".join(faults))


def _recorded(
    store: Store, container_id: str, ifname: str, deadline: Deadline
) -> dict[tuple[Space, Address], Owner]:
    recorded = {}
    for key in store.blocks_of_attachment(container_id, ifname, deadline):
        stored = store.read_block(key, deadline, fresh=True)
        for offset, owner in stored.trusted() if stored else ():
            if owner.belongs_to(container_id, ifname):
                recorded[key.space, key.address(offset)] = owner
    return recorded


def _who_has(store: Store, pool: Pool, address: Address, deadline: Deadline) -> str:
    key = BlockKey.of(pool.space, address)
    stored = store.read_block(key, deadline, fresh=True)
    owner = stored.trusted().owner(key.offset(address)) if stored else None
    if owner is None:
        return f"{address} is in prevResult, but it is not recorded: another pod may be given it"
    return f"{address} is in prevResult, but it is recorded for {owner.pod_ref} {owner.ifname}"


def _pool(store: Store, demand: Demand, configured: Range, deadline: Deadline) -> Pool:
    key = demand.pool_key(configured)
    stored = store.read_pool(key, deadline)
    return Pool(key, demand.shared) if stored is None else stored.pool


def status(store: Store, demand: Demand, deadline: Deadline, node: str = "") -> None:
    """Whether an ADD could be given an address of each range; of one that is cut, on ``node``.

    Raises :class:`RangeExhausted` naming ranges and slices without, and
    :class:`~whereabouts.node_slices.NoSlice`.
    """
    full = []
    for configured in demand.ranges:
        pool = _pool(store, demand, configured, deadline)
        part = _part(store, demand, configured, node, deadline)
        if not _any_room(store, pool, part, deadline) and (
            part is configured or not demand.borrow or not _any_room(store, pool, configured, deadline)
        ):
            full.append(str((configured if demand.borrow else part).network))
    if full:
        raise RangeExhausted(f"no address is left in {', '.join(full)}")


def _part(store: Store, demand: Demand, configured: Range, node: str, deadline: Deadline) -> Range:
    """What an ADD would look through first: the node's slice, or the range."""
    rule = demand.slice_rule(configured)
    if rule is None:
        return configured
    from whereabouts.node_slices import Cut, slice_of

    cut = Cut(configured, rule, node)
    part = slice_of(store, cut, deadline)
    if part is not None:
        return configured.within(part)
    if store.claims_slices or demand.borrow:
        return configured
    raise cut.none(store)


def _any_room(store: Store, pool: Pool, configured: Range, deadline: Deadline) -> bool:
    search = Search(store, pool, configured, deadline)
    return any(_has_room(store, key, configured, deadline) for key in search.candidates())


def _has_room(store: Store, key: BlockKey, configured: Range, deadline: Deadline) -> bool:
    stored = store.read_block(key, deadline, fresh=True)
    if stored is None:
        return True
    return stored.block is not None and stored.block.lowest_free(configured.barred(key.base)) is not None
