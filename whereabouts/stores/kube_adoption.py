"""Taking over an IPPool of the Go plugin: its allocations become owners in blocks.

First the blocks are written, each on condition of its revision. Then the pool, on condition that its map
still is the one that was read, is marked and its map emptied in one write. Whoever dies in between leaves the
old state, which is still valid, and blocks that say the same: the next one goes through the map again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_network
from time import time

from whereabouts.addresses import Address
from whereabouts.block import Block, BlockDamaged, BlockKey
from whereabouts.changes import release
from whereabouts.commit import Committer
from whereabouts.deadline import Deadline
from whereabouts.errors import WhereaboutsError
from whereabouts.liveness import CONFLICT
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.store import Conflict, Unsettled
from whereabouts.stores import kube_objects as objects
from whereabouts.stores.kube_events import WARNING, Event, Regarding, post
from whereabouts.stores.kube_objects import POOLS, RESERVATIONS
from whereabouts.stores.kube_resources import Resources
from whereabouts.stores.kube_upstream import (
    allocations_of,
    holder_of,
    merged,
    reserved_address,
    same_holder,
)
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

    from whereabouts.commit import Change

_PAUSE = 0.02
"""The longest wait before the first repetition of a write that met a conflict, in seconds."""
CONFLICT_REASON = "IPAddressConflict"

Records = Mapping[str, tuple[Address, Owner]]


class Clash(NamedTuple):
    """An address that was given twice, once by each plugin."""

    address: Address
    ours: Owner
    theirs: Owner

    def sentence(self) -> str:
        """What an operator reads."""
        return (
            f"{self.address} is used by {self.ours.pod_ref} {self.ours.ifname}, and the Go plugin gave it to "
            f"{self.theirs.pod_ref} {self.theirs.ifname}: delete one of the pods, then release the address"
        )


class Adoption:
    """Moves the allocations of the Go plugin into blocks."""

    def __init__(
        self, resources: Resources, committer: Committer, report: Callable[[str, Clash], None]
    ) -> None:
        """Write blocks through ``committer``; tell ``report`` of addresses given twice, and in which pool."""
        self._resources = resources
        self._committer = committer
        self._report = report

    def adopt(self, key: PoolKey, shared: bool | None, deadline: Deadline) -> Pool | None:
        """Adopt a pool, and give it; None if there is none of that name.

        ``shared`` is what the first configuration that uses it says of overlapping ranges. Where it is None,
        the Go plugin's reservations tell: they are made only for ranges that may overlap.
        """
        name = objects.pool_name(key)
        before: Records = {}
        pause = _PAUSE
        while True:
            content = self._resources.get(POOLS, name, deadline)
            if content is None:
                return None
            now = int(time())
            records: Records = allocations_of(key, content, now)
            if objects.is_ours(content) and not records:
                return objects.read_pool(key, content["metadata"])
            pool = self._pool(key, content, shared, records, deadline)
            if records and not objects.is_ours(content) and objects.adopted_as(content) is None:
                self._settle(pool, content, deadline)
                continue
            vanished = [record for offset, record in before.items() if offset not in records]
            self._give_back(pool, vanished, deadline)
            records = self._take_over(pool, records, deadline)
            if objects.is_ours(content) and not records:
                return pool
            if not objects.is_ours(content) and pool.shared and not key.node:
                self._honour(pool, {address for address, _ in records.values()}, now, deadline)
            try:
                self._mark(pool, content, records, deadline)
                return pool
            except (Conflict, Unsettled):
                before = records
                deadline.pause(pause, f"IPPool {name} is written by others all the time")
                pause = min(2 * pause, 1.0)

    def _pool(
        self, key: PoolKey, content: Any, shared: bool | None, records: Records, deadline: Deadline
    ) -> Pool:
        if objects.is_ours(content):
            return objects.read_pool(key, content["metadata"])
        begun_as = objects.adopted_as(content)
        if begun_as is not None:
            return Pool(key, begun_as)
        if shared is None:
            addresses = {address for address, _ in records.values()}
            shared = not records or any(address in addresses for address, _ in self._reserved(key, deadline))
        return Pool(key, shared)

    # ------------------------------------------------------------------ blocks

    def _take_over(self, pool: Pool, records: Records, deadline: Deadline) -> Records:
        """Write records into blocks; those that are there now. All of a damaged block counts as used."""
        taken = dict(records)
        for block, mine in _by_block(pool, records.values()).items():
            try:
                clashes = self._committer.commit(block, take_over(mine), deadline)
            except BlockDamaged:
                addresses = {address for address, _ in mine}
                taken = {name: one for name, one in taken.items() if one[0] not in addresses}
                continue
            for clash in clashes:
                self._report(objects.pool_name(pool.key), clash)
        return taken

    def _give_back(self, pool: Pool, records: Sequence[tuple[Address, Owner]], deadline: Deadline) -> None:
        """What the Go plugin freed while we were at it."""
        for block, mine in _by_block(pool, records).items():
            gone = dict(mine)

            def freed(address: Address, owner: Owner, gone: Mapping[Address, Owner] = gone) -> bool:
                return address in gone and owner._replace(created=0) == gone[address]._replace(created=0)

            try:
                self._committer.commit(block, release(freed), deadline)
            except BlockDamaged:
                continue

    # ------------------------------------------------------------ reservations

    def _honour(self, pool: Pool, known: set[Address], now: int, deadline: Deadline) -> None:
        """Take over what is reserved in the range without an allocation in this pool."""
        network = ip_network(pool.key.range)
        held = {
            str(address): (address, holder_of(content, pool.key.range, now))
            for address, content in self._reserved(pool.key, deadline)
            if address in network and address not in known
        }
        self._take_over(pool, held, deadline)

    def honour(self, pool: Pool, deadline: Deadline) -> None:
        """Take over what is reserved in a range and has no record; once for all pools of its slices."""
        network, now = ip_network(pool.key.range), int(time())
        held = [
            (address, holder_of(content, pool.key.range, now))
            for address, content in self._reserved(pool.key, deadline)
            if address in network
        ]
        for block, mine in _by_block(pool, held).items():
            with suppress(BlockDamaged):
                self._committer.commit(block, fill(mine), deadline)

    def _reserved(self, key: PoolKey, deadline: Deadline) -> Iterator[tuple[Address, Any]]:
        for content in self._resources.list(RESERVATIONS, deadline):
            address = reserved_address(key.network_name, content["metadata"]["name"])
            if address is not None:
                yield address, content

    # -------------------------------------------------------------------- pool

    def _settle(self, pool: Pool, content: Any, deadline: Deadline) -> None:
        """Say into which space the records will go, before the first goes there: who goes on after us has to
        agree, or records would stay in two spaces. Whether it was said shows when the pool is read again."""
        patch = {
            "metadata": {
                "resourceVersion": content["metadata"]["resourceVersion"],
                "annotations": {
                    **objects.slice_annotations(pool.key),
                    objects.ADOPTING: "true" if pool.shared else "false",
                },
            }
        }
        try:
            self._resources.merge(POOLS, content["metadata"]["name"], patch, deadline)
        except (Conflict, Unsettled):
            deadline.pause(_PAUSE, f"IPPool {pool.key.name} is written by others all the time")

    def _mark(self, pool: Pool, content: Any, records: Records, deadline: Deadline) -> None:
        """Mark the pool as ours and take what was adopted out of its map."""
        withdrawn = objects.read_withdrawn(content["metadata"])
        patch = {
            "metadata": {
                "resourceVersion": content["metadata"]["resourceVersion"],
                "managedFields": objects.NO_MANAGED_FIELDS,
                "annotations": {**objects.pool_annotations(pool, withdrawn), objects.ADOPTING: None},
            },
            "spec": {"allocations": dict.fromkeys(records)},
        }
        self._resources.merge(POOLS, content["metadata"]["name"], patch, deadline)


def take_over(records: Sequence[tuple[Address, Owner]]) -> Change[list[Clash]]:
    """Record the Go plugin's holders in a block; the outcome lists the addresses that others hold."""

    def change(block: Block) -> tuple[Block, list[Clash]]:
        clashes = []
        for address, theirs in records:
            offset = block.key.offset(address)
            ours = block.owner(offset)
            if ours is None:
                block = block.with_owner(offset, theirs)
            elif ours.container_id.startswith(CONFLICT):
                continue
            elif not same_holder(ours, theirs):
                clashes.append(Clash(address, ours, theirs))
                block = block.with_owner(offset, _claimed_twice(ours, theirs))
            elif merged(ours, theirs) != ours:
                block = block.with_owner(offset, merged(ours, theirs))
        return block, clashes

    return change


def fill(records: Sequence[tuple[Address, Owner]]) -> Change[None]:
    """Record holders of addresses that nobody has a record of."""

    def change(block: Block) -> tuple[Block, None]:
        for address, theirs in records:
            offset = block.key.offset(address)
            if block.owner(offset) is None:
                block = block.with_owner(offset, theirs)
        return block, None

    return change


def _claimed_twice(ours: Owner, theirs: Owner) -> Owner:
    claims = " and ".join(f"{owner.pod_ref} {owner.ifname} {owner.container_id}" for owner in (ours, theirs))
    return ours._replace(pod_ref="", pod_uid="", ifname="", container_id=CONFLICT + claims)


def _by_block(
    pool: Pool, records: Iterable[tuple[Address, Owner]]
) -> dict[BlockKey, list[tuple[Address, Owner]]]:
    found: dict[BlockKey, list[tuple[Address, Owner]]] = defaultdict(list)
    for address, owner in records:
        found[BlockKey.of(pool.space, address)].append((address, owner))
    return found


def post_event(resources: Resources, pool: str, clash: Clash, deadline: Deadline) -> None:
    """Tell of a clash by an event on the pool; once, whoever notices it. A failure is passed over."""
    regarding = Regarding(objects.API_VERSION, "IPPool", pool, resources.namespace)
    event = Event(regarding, CONFLICT_REASON, clash.sentence(), WARNING)
    name = f"{pool}.{str(clash.address).replace(':', '-')}.conflict"
    try:
        post(resources.api, event, "whereabouts", name, deadline.grace(2.0))
    except WhereaboutsError:
        return
