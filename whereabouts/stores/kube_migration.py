"""Moving a whole namespace from the Go plugin's objects to blocks, and back.

Both ways can be begun again after a death at any point: what was done already is found to be so. Nobody may
give or free addresses while objects are moved *back*, because the Go plugin does not look at blocks.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_interface, ip_network
from operator import itemgetter

from whereabouts.addresses import Address
from whereabouts.block import BlockDamaged, BlockKey
from whereabouts.changes import release
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline
from whereabouts.liveness import CONFLICT
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.slices import Slice
from whereabouts.store import Conflict, Unsettled
from whereabouts.stores import kube_objects as objects
from whereabouts.stores.kube_objects import BLOCKS, POOLS, RESERVATIONS
from whereabouts.stores.kube_pool_keys import PoolKeys
from whereabouts.stores.kube_reservations import Reservations, unaccounted
from whereabouts.stores.kube_upstream import (
    LARGEST_OFFSET,
    allocation,
    allocations_of,
    reservation,
    reservation_name,
    same_holder,
)
from whereabouts.stores.kubernetes import KubernetesStore
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

LARGEST_MAP = 1_300_000
"""Bytes of JSON that the allocations of a pool may have: etcd takes 1.5 MiB with everything around them."""

Held = dict[tuple[PoolKey, Address], Owner]


class Moved(NamedTuple):
    """What became, or would become, of a pool's allocations, or why nothing did."""

    pool: str
    allocations: int
    problem: str = ""


def to_blocks(
    store: KubernetesStore, deadline: Deadline, *, dry_run: bool = False, late: bool = False
) -> Iterator[Moved]:
    """Adopt every pool of the Go plugin that is not adopted yet, and what it wrote into others since.

    ``late``: only the latter, so that pools which only the Go plugin uses stay its own.
    """
    keys = PoolKeys(store.resources, deadline)
    for content in list(store.resources.list(POOLS, deadline)):
        name, key = content["metadata"]["name"], keys.of(content)
        if late and not objects.is_ours(content):
            continue
        if key is None:
            yield Moved(name, 0, "its name does not follow from its range: nobody would look for it there")
            continue
        found = allocations_of(key, content, 0)
        left = len((content.get("spec") or {}).get("allocations") or {}) - len(found)
        problem = f"{left} entries cannot be read and stay in its map" if left else ""
        if found and not dry_run:
            clashes = len(store.clashes)
            store.adopt(key, deadline)
            problem = "; ".join(
                [*([problem] if problem else []), *(clash.sentence() for clash in store.clashes[clashes:])]
            )
        if found or problem:
            yield Moved(name, len(found), problem)


def to_upstream(store: KubernetesStore, deadline: Deadline, *, dry_run: bool = False) -> Iterator[Moved]:
    """Write every pool of ours as the Go plugin writes it, and take its records out of the blocks.

    A pool that the Go plugin could not hold is left as it is, with the reason. An address in the slice of a
    node goes into that slice's pool, whoever borrowed it, so that the Go plugin does not give it there.
    """
    keys = PoolKeys(store.resources, deadline)
    contents = [
        (key, content)
        for content in store.resources.list(POOLS, deadline)
        if (key := keys.of(content)) is not None
    ]
    held = _at_home(_held(store, deadline), _assigned(keys, [key for key, _ in contents]))
    for key, content in contents:
        mine = held.get(key, {})
        if objects.is_ours(content):
            yield _move_back(store, key, content, mine, deadline, dry_run)
        elif not dry_run:
            # Marked as the Go plugin's already: a migration that died left records behind.
            _empty_blocks(store, Pool(key, shared=True), _in_map(key, content, mine), deadline)
            _empty_blocks(store, Pool(key, shared=False), _in_map(key, content, mine), deadline)


def repair_reservations(store: KubernetesStore, deadline: Deadline, *, dry_run: bool = False) -> list[str]:
    """Delete reservations of addresses that nobody holds; their names.

    They are left by processes that died between two writes. One that an ADD makes just now looks the same:
    see :mod:`whereabouts.stores.kube_repair`.
    """
    stale = stale_reservations(store, deadline)
    if dry_run:
        return [name for name, _ in stale]
    return list(delete_reservations(store, stale, deadline))


def stale_reservations(store: KubernetesStore, deadline: Deadline) -> list[tuple[str, str]]:
    """Name and revision of the reservations of addresses that nobody holds.

    The Go plugin writes its pool before its reservation, so what was listed before pools are read has its
    record there by then; ours are made before their records.
    """
    listed = list(Reservations(store.resources).listed(deadline))
    held = {
        (stored.key.space.network_name, stored.key.address(offset))
        for stored in store.blocks(deadline)
        if not stored.key.space.own_range  # such spaces have no reservations
        for offset, _ in stored.trusted()
    }
    keys = PoolKeys(store.resources, deadline)
    for content in store.resources.list(POOLS, deadline):
        if (key := keys.of(content)) is not None:
            there = allocations_of(key, content, 0).values()
            held.update((key.network_name, address) for address, _ in there)
    return list(unaccounted(listed, held))


def delete_reservations(
    store: KubernetesStore, named: Iterable[tuple[str, str]], deadline: Deadline
) -> Iterator[str]:
    """Delete reservations by name and revision; the names of those that nobody took over meanwhile."""
    for name, revision in named:
        with suppress(Conflict, Unsettled):
            store.resources.delete(RESERVATIONS, name, deadline, revision=revision)
            yield name


def _held(store: KubernetesStore, deadline: Deadline) -> Held:
    """Everything that is recorded in blocks, by pool and address."""
    held: Held = {}
    for stored in store.blocks(deadline):
        for offset, owner in stored.trusted():
            key = PoolKey(stored.key.space.network_name, owner.range or stored.key.space.own_range)
            held[key, stored.key.address(offset)] = owner
    return held


Parts = Mapping[PoolKey, Sequence[tuple[int, int, PoolKey]]]
"""The pools of slices by the pools of their ranges: first and last address of each, and its key."""


def _assigned(keys: PoolKeys, pools: Sequence[PoolKey]) -> Parts:
    """Those of the slices that nodes have just now."""
    now = {(pool.range, one) for pool in keys.slices for one in pool.slices}
    parts = defaultdict(list)
    for key in pools:
        if key.node and (key.whole, Slice(key.range, key.node)) in now:
            network = ip_network(key.range)
            bounds = int(network.network_address), int(network.broadcast_address)
            parts[key.of_whole].append((*bounds, key))
    return {whole: sorted(found) for whole, found in parts.items()}


def _at_home(held: Held, parts: Parts) -> dict[PoolKey, dict[Address, Owner]]:
    """Records by the pool that the Go plugin would have them in."""
    homes: dict[PoolKey, dict[Address, Owner]] = defaultdict(dict)
    for (whole, address), owner in held.items():
        slices, value = parts.get(whole, ()), int(address)
        at = bisect_right(slices, value, key=itemgetter(0)) - 1
        in_slice = at >= 0 and value <= slices[at][1]
        homes[slices[at][2] if in_slice else whole][address] = owner
    return homes


def _move_back(
    store: KubernetesStore,
    key: PoolKey,
    content: Any,
    mine: dict[Address, Owner],
    deadline: Deadline,
    dry_run: bool,
) -> Moved:
    name = content["metadata"]["name"]
    base = int(ip_interface(content["spec"]["range"]).ip)
    entries = {str(int(address) - base): allocation(owner) for address, owner in mine.items()}
    problem = _not_for_upstream(name, entries, mine)
    if problem or dry_run:
        return Moved(name, len(mine), problem)
    pool = objects.read_pool(key, content["metadata"])
    if pool.shared:
        _reserve_all(store, key, mine, deadline)
    patch = {
        "metadata": {
            "resourceVersion": content["metadata"]["resourceVersion"],
            "annotations": dict.fromkeys(objects.OF_POOL),
        },
        "spec": {"allocations": entries},
    }
    try:
        store.resources.merge(POOLS, name, patch, deadline)
    except (Conflict, Unsettled) as error:
        return Moved(name, 0, f"somebody writes it at the same time; stop that and begin again ({error})")
    store.remembered_hints.forget(key)
    _empty_blocks(store, pool, mine, deadline)
    return Moved(name, len(mine))


def _not_for_upstream(name: str, entries: dict[str, Any], mine: dict[Address, Owner]) -> str:
    """Why the Go plugin could not hold these allocations; empty if it can."""
    if name.endswith(".encoded"):
        return "the Go plugin has no valid name for a range that begins with ::"
    beyond = [offset for offset in entries if not 0 <= int(offset) <= LARGEST_OFFSET]
    if beyond:
        return f"{len(beyond)} addresses are too far from the range's first one for the Go plugin"
    twice = [str(address) for address, owner in mine.items() if owner.container_id.startswith(CONFLICT)]
    if twice:
        return f"{', '.join(twice)} was given to two pods: release it first"
    size = len(json.dumps(entries))
    if size > LARGEST_MAP:
        return f"{len(entries)} allocations are {size} bytes, and etcd takes no object of that size"
    return ""


def _reserve_all(
    store: KubernetesStore, key: PoolKey, mine: dict[Address, Owner], deadline: Deadline
) -> None:
    for address, owner in mine.items():
        name = reservation_name(key.network_name, address)
        if name is not None:
            try:
                store.resources.create(RESERVATIONS, reservation(name, owner, {}), deadline)
            except (Conflict, Unsettled):
                continue  # it was there, or is now


def _in_map(key: PoolKey, content: Any, mine: dict[Address, Owner]) -> dict[Address, Owner]:
    """Those records that the pool's map has as well."""
    there = dict(allocations_of(key, content, 0).values())
    return {
        address: owner
        for address, owner in mine.items()
        if address in there and same_holder(owner, there[address])
    }


def _empty_blocks(store: KubernetesStore, pool: Pool, mine: dict[Address, Owner], deadline: Deadline) -> None:
    """Take records out of their blocks, as they were read, and delete blocks that are empty then."""
    committer = DirectCommitter(store)
    for key in sorted({BlockKey.of(pool.space, address) for address in mine}):
        try:
            committer.commit(key, release(lambda address, owner: mine.get(address) == owner), deadline)
        except BlockDamaged:
            continue
        stored = store.read_block(key, deadline, fresh=True)
        if stored is not None and stored.block is not None and len(stored.block) == 0:
            try:
                store.resources.delete(BLOCKS, key.name, deadline, revision=str(stored.revision))
            except (Conflict, Unsettled):
                continue
