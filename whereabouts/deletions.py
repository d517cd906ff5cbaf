"""What pods that were deleted may have left, found without going through all blocks.

A record is where its pod reported its addresses, or where the last audit saw records of the pod. What is in
neither place the next audit finds.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from ipaddress import ip_network
from itertools import islice

from whereabouts.addresses import Network
from whereabouts.block import BlockKey, Space
from whereabouts.deadline import Deadline
from whereabouts.liveness import GONE_SECONDS, Pod
from whereabouts.owners import Owner
from whereabouts.roster import PodIndex
from whereabouts.store import Store
from whereabouts.values import NamedTuple

MOST_REPORTED = 64
"""Addresses of one pod that are followed. Whoever may change a pod may have it report ten thousand, each in
a block of its own, and each block is asked for; the last audit knows where records are."""


class Deletion(NamedTuple):
    """A pod that was seen to be deleted, and when."""

    pod: Pod
    at: float


class Left(NamedTuple):
    """A record that a deleted pod has left."""

    key: BlockKey
    offset: int
    owner: Owner
    at: float
    """When the pod was seen to be deleted."""


class Deletions:
    """Pods that were deleted, in the order of their ends, until DEL has had its time."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        """Nothing was deleted yet. ``store`` has the records; ``clock`` tells seconds."""
        self._store = store
        self._clock = clock
        self._waiting: deque[Deletion] = deque()
        self._networks: Collection[tuple[Space, Network]] = ()
        self._networks_read = float("-inf")
        self.index = PodIndex()
        """Where the last audit saw records."""

    def note(self, pod: Pod) -> None:
        """A pod was deleted just now; may be called from any thread."""
        self._waiting.append(Deletion(pod, self._clock()))

    def next_due(self) -> float | None:
        """When the first of them is to be followed."""
        for deletion in tuple(self._waiting)[:1]:
            return deletion.at + GONE_SECONDS
        return None

    def follow(
        self, now: float, deadline: Deadline, failed: Callable[[str, Exception], None]
    ) -> Iterator[Left]:
        """What those that are due at ``now`` have left. ``failed`` is told what could not be looked at."""
        due = []
        while self._waiting and self._waiting[0].at + GONE_SECONDS <= now:
            due.append(self._waiting.popleft())
        if not due:
            return
        try:
            self._read_networks(deadline)
        except Exception as error:
            failed("pools cannot be listed; what deleted pods left in new ones waits for an audit", error)
        deleted = {deletion.pod.ref: deletion for deletion in due}
        for key, offsets in self._places(due).items():
            try:
                yield from self._found(key, offsets, deleted, deadline)
            except Exception as error:
                failed(f"block {key.name}; what deleted pods left there waits for an audit", error)

    def _read_networks(self, deadline: Deadline) -> None:
        """Read the pools, unless it was done after all that is due was deleted, hence after it was given."""
        now = self._clock()
        if now - self._networks_read > GONE_SECONDS:
            pools = [stored.pool for stored in self._store.pools(deadline)]
            self._networks = {(pool.space, ip_network(pool.key.range)) for pool in pools}
            self._networks_read = now

    def _places(self, deletions: Collection[Deletion]) -> dict[BlockKey, set[int]]:
        """The offsets at which the pods may have left records, by block."""
        places: dict[BlockKey, set[int]] = defaultdict(set)
        for pod, _ in deletions:
            for key, offset in self.index.places_of(pod.ref):
                places[key].add(offset)
            reported = tuple(islice(pod.addresses or (), MOST_REPORTED))
            for space, network in self._networks:
                for address in reported:
                    if address in network:
                        key = BlockKey.of(space, address)
                        places[key].add(key.offset(address))
        return places

    def _found(
        self, key: BlockKey, offsets: set[int], deleted: Mapping[str, Deletion], deadline: Deadline
    ) -> Iterator[Left]:
        """The bitmap first: mostly DEL has come, and nothing is left."""
        for _, used in self._store.bitmaps(key.space, key.version, key.base, key.base, deadline):
            if used is None or any(map(used.test, offsets)):
                stored = self._store.read_block(key, deadline, fresh=True)
                for offset, owner in stored.trusted() if stored else ():
                    deletion = deleted.get(owner.pod_ref)
                    if deletion is not None and owner.pod_uid in (*deletion.pod.uids, ""):
                        yield Left(key, offset, owner, deletion.at)
