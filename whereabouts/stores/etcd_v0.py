"""The layout of the Go plugin's etcd backend (up to its v0.5), read once and taken over into blocks.

Under ``/whereabouts/<range>`` stands a text of lines ``<address> <container ID>``; a plugin at work holds
a lock ``/whereabouts/<range>/<lease>`` with a lease of a minute. Pod, interface, node and time of an
allocation were not kept.

Taking over is safe to repeat, and to go on with after it was interrupted. A list whose every line is in
the blocks is moved to ``/whereabouts/v0/<range>``, on the condition that it still is the one that was
read: so it is taken over once, and nothing is lost that an old plugin writes in between. A line that
cannot be taken over stays where it is, in its list, and is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_network

from whereabouts.addresses import Address, AddressError, parse_address
from whereabouts.block import Block, BlockDamaged, BlockKey
from whereabouts.deadline import Deadline
from whereabouts.log import Log
from whereabouts.owners import Owner
from whereabouts.pool import PoolKey
from whereabouts.search import Outdated, pool_for
from whereabouts.store import Store
from whereabouts.stores import etcd_messages as messages
from whereabouts.stores.etcd_connection import Connection
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from whereabouts.commit import Change, Committer

PREFIX = "/whereabouts/"
KEPT = "/whereabouts/v0/"
"""Where lists stand that were taken over; nothing reads them."""


class OldList(NamedTuple):
    """The allocations of one range as the Go plugin left them.

    ``faults`` are sentences about lines that cannot be read. ``locked``: an old plugin is at work.
    """

    range: str
    revision: int
    text: bytes
    allocations: Sequence[tuple[Address, str]]
    """Addresses and container IDs."""
    faults: Sequence[str]
    locked: bool


class TakenOver(NamedTuple):
    """What became of the lists. ``faults`` are sentences about what was left where it is."""

    ranges: int
    """Lists that are finished with."""
    new: int
    """Allocations that are recorded now and were not before."""
    known: int
    """Allocations that were recorded before."""
    faults: Sequence[str]


class OldLists:
    """The lists of an etcd cluster in the old layout."""

    def __init__(self, connection: Connection) -> None:
        """The lists that ``connection`` leads to."""
        self._connection = connection

    def read(self, deadline: Deadline) -> list[OldList]:
        """All lists that have not been taken over yet, by range. Raises as a store's calls do."""
        start = PREFIX.encode()
        request = messages.transaction((), [messages.read(start, messages.end_of(start))])
        (found,) = self._connection.transact(request, deadline, writes=False).outcome.found
        pairs = {pair.key.decode(errors="replace"): pair for pair in found.pairs}
        lists = []
        for key, pair in pairs.items():
            range_text = key.removeprefix(PREFIX)
            if _is_network(range_text):
                locked = any(other.startswith(f"{key}/") for other in pairs)
                allocations, faults = _parse(key, pair.value)
                lists.append(OldList(range_text, pair.mod_revision, pair.value, allocations, faults, locked))
        return lists

    def finish(self, old: OldList, deadline: Deadline) -> bool:
        """Move a list to where nothing reads it; False if it is no longer the one that was read."""
        key = (PREFIX + old.range).encode()
        request = messages.transaction(
            [messages.unchanged(key, old.revision)],
            [messages.put((KEPT + old.range).encode(), old.text), messages.delete(key)],
            [messages.read(key)],
        )
        reply = self._connection.transact(request, deadline, writes=True)
        return reply.outcome.succeeded or (reply.lost and not reply.outcome.found[0].pairs)


def take_over(
    lists: OldLists, store: Store, committer: Committer, created: int, log: Log, deadline: Deadline
) -> TakenOver:
    """Record what the old lists hold in ``store``, as of ``created`` (seconds since 1970 UTC).

    Raises what ``store`` and ``committer`` raise; to call it again is to go on.
    """
    ranges = new = known = 0
    faults: list[str] = []
    for old in lists.read(deadline):
        if old.locked:
            faults.append(
                f"{PREFIX}{old.range}: an old plugin is at work there: stop it, and wait a minute "
                "until its lock has run out"
            )
            continue
        left = list(old.faults)
        for key, records in _by_block(old, created, store, log, deadline):
            try:
                outcome = _committed(committer, key, records, deadline)
            except BlockDamaged as damage:
                left.append(f"{PREFIX}{old.range}: {damage}")
                continue
            new += outcome.new
            known += outcome.known
            left += [f"{PREFIX}{old.range}: {fault}" for fault in outcome.faults]
        if not left and not lists.finish(old, deadline):
            left.append(f"{PREFIX}{old.range} was written meanwhile: run this again")
        ranges += not left
        faults += left
    return TakenOver(ranges, new, known, faults)


def _by_block(
    old: OldList, created: int, store: Store, log: Log, deadline: Deadline
) -> Iterator[tuple[BlockKey, dict[int, Owner]]]:
    """The records of a list by block. The pool is made first: it determines the space of the blocks."""
    range_text = str(ip_network(old.range, strict=False))
    space = pool_for(store, PoolKey("", range_text), True, deadline, log).pool.space
    blocks: dict[BlockKey, dict[int, Owner]] = {}
    for address, container_id in old.allocations:
        key = BlockKey.of(space, address)
        owner = Owner("", "", container_id, "", "", "", range_text, created)
        blocks.setdefault(key, {})[key.offset(address)] = owner
    return iter(blocks.items())


class _Recorded(NamedTuple):
    new: int
    known: int
    faults: Sequence[str]


def _committed(
    committer: Committer, key: BlockKey, records: dict[int, Owner], deadline: Deadline
) -> _Recorded:
    while True:
        try:
            return committer.commit(key, _record(records), deadline)
        except Outdated:
            # All old records are of the pod without a name, of which others may have been taken over before.
            deadline.remaining(f"block {key.name} is written by others all the time")


def _record(records: dict[int, Owner]) -> Change[_Recorded]:
    """Record those that are not there yet; who holds an address already keeps it."""

    def change(block: Block) -> tuple[Block, _Recorded]:
        new = known = 0
        faults = []
        for offset, owner in records.items():
            holder = block.owner(offset)
            if holder is None:
                block, new = block.with_owner(offset, owner), new + 1
            elif holder.container_id == owner.container_id:
                known += 1
            else:
                faults.append(
                    f"{block.key.address(offset)} of container {owner.container_id} is recorded for "
                    f"{holder.pod_ref or 'container ' + holder.container_id} in range {holder.range}"
                )
        return block, _Recorded(new, known, faults)

    return change


def _parse(key: str, text: bytes) -> tuple[list[tuple[Address, str]], list[str]]:
    """The allocations of a list, and what is wrong with its other lines."""
    allocations: dict[Address, str] = {}
    faults = []
    network = ip_network(key.removeprefix(PREFIX), strict=False)
    for number, line in enumerate(text.decode(errors="replace").split("\n"), 1):
        if not line:
            continue
        address_text, _, container_id = line.partition(" ")
        try:
            address = parse_address(address_text)
        except AddressError:
            faults.append(f"{key}: line {number} begins with no address: {line!r}")
            continue
        if not container_id or "\0" in container_id:
            faults.append(f"{key}: line {number} names no container: {line!r}")
        elif address not in network:
            faults.append(f"{key}: line {number}: {address} is outside the range")
        elif allocations.setdefault(address, container_id) != container_id:
            faults.append(f"{key}: line {number}: {address} stands there twice, for two containers")
    return list(allocations.items()), faults


def _is_network(text: str) -> bool:
    if "/" not in text:
        return False
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True
