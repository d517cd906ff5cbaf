"""GC: freeing what attachments left that the runtime no longer knows (CNI SPEC 1.1, GC)."""

from __future__ import annotations

from collections.abc import Collection

from whereabouts.allocator import Allocator
from whereabouts.changes import Allocation
from whereabouts.deadline import Deadline
from whereabouts.errors import WhereaboutsError
from whereabouts.store import Store


class CollectFailed(WhereaboutsError):
    """Some records could not be judged or freed; all others were."""


def collect(
    store: Store,
    allocator: Allocator,
    node: str,
    network: str,
    valid: Collection[tuple[str, str]],
    deadline: Deadline,
) -> list[Allocation]:
    """Free this node's allocations for ``network`` whose attachment is not in ``valid``.

    ``valid`` holds (container ID, interface name). Records of other nodes, of other networks, and those
    that do not say where they belong are left alone: the runtime's list does not speak of them. A record
    is freed only as it was judged. Raises :class:`CollectFailed` at the end if anything failed.
    """
    freed: list[Allocation] = []
    failures: list[str] = []
    for stored in store.blocks(deadline):
        if stored.block is None:
            failures.append(stored.damage)
            continue
        stale = {
            (stored.key.address(offset), owner)
            for offset, owner in stored.block
            if owner.node == node
            and owner.network == network
            and (owner.container_id, owner.ifname) not in valid
        }
        if stale:
            try:
                freed += allocator.free(stored.key, lambda *record, stale=stale: record in stale, deadline)
            except WhereaboutsError as error:
                failures.append(str(error))
    if failures:
        raise CollectFailed(f"{len(freed)} freed, but not everything was looked at: {'; '.join(failures)}")
    return freed
