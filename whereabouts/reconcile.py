"""Freeing what dead pods left, and never what a live one has.

A record is freed after these steps, and whatever is not known at one of them ends in keeping it:

1. it is *observed* that nobody seems to live behind it: by an audit, which goes through all blocks, or by an
   event that says that a pod or a node was deleted;
2. it is observed again, after the time that the rule asks for (see :mod:`whereabouts.liveness`), in the same
   record, for the same reason. Any look in between that says otherwise begins this anew. Where time itself is
   the evidence, the first observation is made in a pod that was read alone, too, because lists may be behind;
3. pod and nodes are read once more, as they are now, and the record is judged by that;
4. it is freed if, in the write itself, it still is the record that was judged.

Step 4 is as strong as a write on the very revision that was judged, and it does not starve in a block that
others write all the time. What was judged is a property of the record alone: who it was made for, in which
container. Whoever comes to live at the address later has another container and so another record, and what
happens elsewhere in the block says nothing about this one. The write itself is on condition of the revision
in which the record was compared.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from time import monotonic

from whereabouts.allocator import Allocator
from whereabouts.audit import Audit, Freed, Tally
from whereabouts.block import BlockKey
from whereabouts.changes import Allocation
from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.deletions import Deletions
from whereabouts.liveness import (
    CONFLICT,
    GONE_SECONDS,
    NODE_GONE,
    Node,
    Pod,
    Suspicion,
    judge,
    nodes_asked_for,
    waits_for_operator,
)
from whereabouts.owners import Owner
from whereabouts.roster import PodIndex, Roster
from whereabouts.store import Store, StoredBlock
from whereabouts.suspects import Suspect, Suspects
from whereabouts.values import Protocol

READ_SECONDS = 10.0
"""The longest that one pod or node may take to be read, so that it does not keep the others waiting."""
RETRY_SECONDS = 5.0
"""After what could not be read or written, before it is tried again."""
_NEVER = float("inf")


class Cluster(Protocol):
    """Who lives. Every method may raise :class:`~whereabouts.errors.WhereaboutsError`."""

    def pods(self, deadline: Deadline) -> Iterator[Pod]:
        """All pods; some may come twice, and what is said of them may be a little old."""

    def pod(self, ref: str, deadline: Deadline) -> Pod | None:
        """The pod as it is now; None only where it is certain that there is none."""

    def nodes(self, deadline: Deadline) -> Mapping[str, Node]:
        """All nodes by name, perhaps as they were a little ago."""

    def node(self, name: str, deadline: Deadline) -> Node | None:
        """The node as it is now; None only where it is certain that there is none."""


class Reconciler:
    """Looks for records of dead pods in one store, and frees them.

    :meth:`pod_deleted` and :meth:`node_deleted` may be called from any thread, all else from one.
    """

    def __init__(
        self,
        store: Store,
        cluster: Cluster,
        allocator: Allocator,
        freed: Callable[[Freed], None] = lambda _: None,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """A reconciler of ``store``, all of whose pods are in ``cluster``, that frees through ``allocator``.

        ``freed`` is told of each record after it was freed. ``clock`` gives seconds, from any point on.
        """
        self._store = store
        self._cluster = cluster
        self._allocator = allocator
        self._freed = freed
        self._clock = clock
        self._suspects = Suspects()
        self._deletions = Deletions(store, clock)
        self._node_events: deque[tuple[str, float]] = deque()
        self._nodes_deleted: dict[str, float] = {}
        self._audit_due = _NEVER

    # ------------------------------------------------------------------ events

    def pod_deleted(self, pod: Pod) -> None:
        """A pod was deleted or has come to its end; ``pod`` is what was known of it last.

        A first observation of the records that it has left, in :data:`GONE_SECONDS` from now.
        """
        self._deletions.note(pod)

    def node_deleted(self, name: str) -> None:
        """A node is no more. A first observation for all records of its pods."""
        self._node_events.append((name, self._clock()))

    def due_in(self) -> float | None:
        """Seconds until :meth:`look_again` has something to do; None if there is nothing to wait for."""
        self._take_node_events()
        dues = (self._suspects.next_due(), self._deletions.next_due(), self._audit_due)
        due = min((due for due in dues if due is not None), default=_NEVER)
        return None if due == _NEVER else max(0.0, due - self._clock())

    def suspects(self) -> list[tuple[BlockKey, int, Suspect]]:
        """The records that wait for another look, by block and offset."""
        return list(self._suspects)

    def suspected_for(self) -> float | None:
        """For how many seconds the record that waits longest has been suspected; None if there is none."""
        since = min((suspect.since for *_, suspect in self._suspects), default=None)
        return None if since is None else self._clock() - since

    # ------------------------------------------------------------------- looks

    def audit(self, deadline: Deadline) -> Audit:
        """Look at every record, and free those whose time has come.

        Raises what the lists of pods and nodes raise: then nothing was judged. All other failures are in
        the result.
        """
        begun = self._clock()
        tally = Tally()
        self._take_node_events()
        pods = Roster(self._cluster.pods(deadline))
        nodes = self._cluster.nodes(deadline)  # after the pods: a pod that was seen has its node here
        index = PodIndex()
        seen: set[BlockKey] = set()
        try:
            for stored in self._store.blocks(deadline):
                seen.add(stored.key)
                self._look_at(stored, pods, nodes, index, tally)
        except Exception as error:
            tally.failed("the list of blocks was cut short", error)
        else:
            self._suspects.forget_blocks_but(seen)
            index.sort()
            self._deletions.index = index
            self._nodes_looked_for(begun)
        del pods
        self._settle(begun, deadline, tally)
        return tally.result(len(self._suspects))

    def look_again(self, deadline: Deadline) -> Audit:
        """Look at what is due since the last look, and at what events told of; nothing else is read.

        Where a node was deleted this is an audit: its pods may be anywhere.
        """
        now = self._clock()
        self._take_node_events()
        if self._audit_due <= now:
            self._audit_due = now + RETRY_SECONDS  # if it comes to nothing
            return self.audit(deadline)
        tally = Tally()
        for left in self._deletions.follow(now, deadline, tally.failed):
            suspicion = judge(left.key.address(left.offset), left.owner, None, {})
            if suspicion is not None:
                self._suspects.observe(left.key, left.offset, left.owner, suspicion, left.at)
        self._settle(now, deadline, tally)
        return tally.result(len(self._suspects))

    # ------------------------------------------------------- first observation

    def _look_at(
        self,
        stored: StoredBlock,
        pods: Roster,
        nodes: Mapping[str, Node],
        index: PodIndex,
        tally: Tally,
    ) -> None:
        tally.blocks += 1
        if stored.block is None:
            self._suspects.keep_only(stored.key, ())
            tally.failures.append(stored.damage)
            tally.damaged.append(stored.key)
            return
        tally.records += len(stored.block)
        index.add(stored.block)
        suspected = set()
        for offset, owner in stored.block:
            if owner.container_id.startswith(CONFLICT):
                tally.conflicts.append((stored.key, (stored.key.address(offset), owner)))
            pod = pods.get(owner.pod_ref)
            suspicion = judge(stored.key.address(offset), owner, pod, nodes)
            if suspicion is not None:
                since = self._observed_at(suspicion)
                self._suspects.observe(stored.key, offset, owner, suspicion, since)
                suspected.add(offset)
            else:
                tally.waiting_for_operator += waits_for_operator(pod, nodes)
        self._suspects.keep_only(stored.key, suspected)

    def _observed_at(self, suspicion: Suspicion) -> float:
        """When a record was seen to be nobody's: now, or when its node was seen being deleted."""
        if suspicion.reason == NODE_GONE:
            return self._nodes_deleted.get(suspicion.node, self._clock())
        return self._clock()

    def _take_node_events(self) -> None:
        while self._node_events:
            name, at = self._node_events.popleft()
            self._nodes_deleted[name] = at
            self._audit_due = min(self._audit_due, at + GONE_SECONDS)

    def _nodes_looked_for(self, begun: float) -> None:
        """An audit that began at ``begun`` has seen the records of pods on all nodes deleted until then."""
        for name, at in tuple(self._nodes_deleted.items()):
            if at + GONE_SECONDS <= begun:
                del self._nodes_deleted[name]
        self._audit_due = min(self._nodes_deleted.values(), default=_NEVER) + GONE_SECONDS

    # ------------------------------------------- second observation, live read, write

    def _settle(self, now: float, deadline: Deadline, tally: Tally) -> None:
        """Free the records that are due at ``now``, if they still are what they were taken for."""
        for key, suspects in self._suspects.due(now):
            try:
                deadline.remaining("records of dead pods are left for the next look")
            except DeadlineExceeded as error:
                tally.failures.append(str(error))
                return
            dead = self._confirmed(key, suspects, deadline, tally)
            if dead:
                self._free(key, dead, deadline, tally)

    def _confirmed(
        self, key: BlockKey, suspects: Mapping[int, Suspect], deadline: Deadline, tally: Tally
    ) -> dict[Allocation, str]:
        """Those of a block's suspects that are found dead once more and for long enough, and why."""
        live = _LiveReads(self._cluster, deadline)
        dead = {}
        for offset, suspect in suspects.items():
            owner, address = suspect.owner, key.address(offset)
            try:
                suspicion = judge(address, owner, *live.of(owner))
            except Exception as error:
                tally.failed(f"{address} of {owner.pod_ref} is kept", error)
                self._suspects.postpone(key, offset, self._clock() + RETRY_SECONDS)
                continue
            now = self._clock()
            if suspicion is None:
                self._suspects.clear(key, offset)
            elif self._suspects.observe(key, offset, owner, suspicion, now, live=True).due <= now:
                dead[address, owner] = suspicion.reason
        return dead

    def _free(self, key: BlockKey, dead: Mapping[Allocation, str], deadline: Deadline, tally: Tally) -> None:
        """Free the records that still are as they were judged; none of them is a suspect any more."""
        offsets = [key.offset(address) for address, _ in dead]
        try:
            freed = self._allocator.free(key, lambda *record: record in dead, deadline)
        except Exception as error:
            tally.failed(f"block {key.name}", error)
            tally.unfreed.extend(dead)
            for offset in offsets:
                self._suspects.postpone(key, offset, self._clock() + RETRY_SECONDS)
            return
        for offset in offsets:
            self._suspects.clear(key, offset)
        tally.freed += len(freed)
        for address, owner in freed:
            try:
                self._freed(Freed(address, owner, dead[address, owner], key.space))
            except Exception as error:
                tally.failed(f"{address} of {owner.pod_ref} is free, but that could not be told", error)


class _LiveReads:
    """What is asked of the cluster for one write: each pod and node once."""

    def __init__(self, cluster: Cluster, deadline: Deadline) -> None:
        self._cluster = cluster
        self._deadline = deadline
        self._pods: dict[str, Pod | None] = {}
        self._nodes: dict[str, Node | None] = {}

    def of(self, owner: Owner) -> tuple[Pod | None, Mapping[str, Node]]:
        """The pod of a record's name, and the nodes that its judgement depends on."""
        ref = owner.pod_ref
        if ref not in self._pods:
            self._pods[ref] = self._cluster.pod(ref, self._deadline.within(READ_SECONDS))
        pod = self._pods[ref]
        for name in nodes_asked_for(owner, pod) - self._nodes.keys():
            self._nodes[name] = self._cluster.node(name, self._deadline.within(READ_SECONDS))
        return pod, {name: node for name, node in self._nodes.items() if node is not None}
