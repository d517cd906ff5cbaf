"""Freeing what attachments left that the runtime no longer knows: CNI GC, and the same for other lists.

A list of attachments is complete for what it speaks of, so what it does not list is free to go (CNI SPEC
1.1, GC). It says nothing about all else, and that is left alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from whereabouts.addresses import Address
from whereabouts.allocator import Allocator
from whereabouts.block import BlockKey, Space
from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.errors import WhereaboutsError
from whereabouts.liveness import CONFLICT
from whereabouts.owners import Owner
from whereabouts.store import Conflict, Store, StoredBlock, Unavailable, Unsettled
from whereabouts.values import NamedTuple

_FOR_NOW = (Unavailable, Conflict, Unsettled, DeadlineExceeded)


class Listing(NamedTuple):
    """The attachments that there are, and of which records the list speaks."""

    valid: Collection[tuple[str, str]]
    """Container IDs and interface names."""
    node: str | None = None
    """The node whose records it speaks of; None: those of all nodes."""
    network: str | None = None
    """The CNI network whose records it speaks of; None: those of all networks."""
    until: int | None = None
    """It speaks of records made up to this second since 1970; None: of all."""

    def misses(self, owner: Owner) -> bool:
        """Whether the list speaks of the record and does not have it.

        A record of an address that was given twice stays: no list tells which of the two is left.
        """
        return (
            (self.node is None or owner.node == self.node)
            and (self.network is None or owner.network == self.network)
            and (self.until is None or owner.created <= self.until)
            and not owner.container_id.startswith(CONFLICT)
            and not self._has(owner)
        )

    def _has(self, owner: Owner) -> bool:
        if owner.ifname:
            return (owner.container_id, owner.ifname) in self.valid
        # Taken over from a Go plugin of old, which knew no interfaces: it is of any of the container's.
        return any(owner.container_id == container_id for container_id, _ in self.valid)


class Collected(NamedTuple):
    """A record that was freed."""

    space: Space
    address: Address
    owner: Owner


class CollectFailed(WhereaboutsError):
    """Some records could not be judged or freed; all others were, and ``freed`` are those that were freed."""

    def __init__(self, freed: Sequence[Collected], failures: Sequence[str]) -> None:
        """Say what failed."""
        super().__init__(f"{len(freed)} freed, but not everything was looked at: {'; '.join(failures)}")
        self.freed = freed


class CollectUnfinished(CollectFailed, Unavailable):
    """All that failed, failed for now, with the store away or written by others: worth another try later."""


def collect(
    store: Store, allocator: Allocator, listing: Listing, deadline: Deadline, *, dry_run: bool = False
) -> list[Collected]:
    """Free the records that a list of attachments misses, each only as it was judged.

    ``dry_run`` only tells which. Raises :class:`CollectFailed` at the end if anything failed,
    :class:`CollectUnfinished` if nothing of that needs a person.
    """
    freed: list[Collected] = []
    failures: list[str] = []
    lasting = False
    for stored in store.blocks(deadline):
        if stored.block is None:
            failures.append(stored.damage)
            lasting = True
            continue
        stale = _missed(stored, listing)
        if stale and not dry_run:
            try:
                stale = _free(allocator, stored.key, stale, deadline)
            except WhereaboutsError as error:
                failures.append(str(error))
                lasting = lasting or not isinstance(error, _FOR_NOW)
                continue
        freed += stale
    if failures:
        raise (CollectFailed if lasting else CollectUnfinished)(freed, failures)
    return freed


def _missed(stored: StoredBlock, listing: Listing) -> list[Collected]:
    key = stored.key
    return [
        Collected(key.space, key.address(offset), owner)
        for offset, owner in stored.block or ()
        if listing.misses(owner)
    ]


def _free(
    allocator: Allocator, key: BlockKey, stale: Sequence[Collected], deadline: Deadline
) -> list[Collected]:
    judged = {(one.address, one.owner) for one in stale}
    return [
        Collected(key.space, *record)
        for record in allocator.free(key, lambda *record: record in judged, deadline)
    ]
