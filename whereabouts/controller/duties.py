"""The controller's duties, and when each is due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event as Flag
from time import monotonic, time
from typing import Any, NamedTuple

from whereabouts.addresses import Address
from whereabouts.allocator import Allocator
from whereabouts.audit import Audit, Freed
from whereabouts.cluster import events
from whereabouts.cluster.events import EventRecorder
from whereabouts.cluster.networks import DefinitionFiles
from whereabouts.cluster.parsing import definition_of, node_of, pod_of
from whereabouts.cluster.reading import DEFINITIONS, NODES, PODS, KubernetesCluster
from whereabouts.cluster.watching import Change, Synced, Watch
from whereabouts.commit import DirectCommitter
from whereabouts.controller.board import Board
from whereabouts.controller.complaints import Complaints
from whereabouts.controller.metrics import Metrics
from whereabouts.controller.schedule import Schedule
from whereabouts.controller.slicing import Slicer
from whereabouts.controller.work import Follower, Task, Work
from whereabouts.deadline import Deadline
from whereabouts.errors import WhereaboutsError
from whereabouts.liveness import FINISHED, Node, Pod
from whereabouts.log import Log
from whereabouts.pool import PoolKey
from whereabouts.reconcile import Reconciler
from whereabouts.store import Store
from whereabouts.stores.kube_adoption import CONFLICT_REASON
from whereabouts.stores.kube_api import ApiClient
from whereabouts.stores.kube_events import WARNING, Event
from whereabouts.stores.kube_migration import to_blocks
from whereabouts.stores.kube_repair import ReservationRepair
from whereabouts.stores.kube_status import CONFLICT, DAMAGED, EXHAUSTED, Audited, write_status
from whereabouts.stores.kubernetes import KubernetesStore

AUDIT_DEADLINE = 300.0
SLICES_DEADLINE = 60.0
STATUS_DEADLINE = 120.0
SHARE_DEADLINE = 120.0
LOOK_DEADLINE = 60.0
CUT_REST = 2.0
"""The least between two passes over node slices: definitions may change all the time, each by its owner."""
CUT_RETRY = 10.0
"""After a pass that failed."""
MOST_FAILURES = 20
"""Failures of one look that are logged one by one."""

REASONS = {EXHAUSTED: "IPRangeExhausted", CONFLICT: CONFLICT_REASON, DAMAGED: "AddressBlockDamaged"}
"""The reasons of Kubernetes Events on pools, by the conditions that become true."""


class Settings(NamedTuple):
    """What an operator chose."""

    audit_seconds: float
    """Between two audits; 0: only at the times of the schedule."""
    namespace: str
    """Of the custom resources."""
    schedule: Callable[[], str]
    """Reads the cron expression."""


class Duties:
    """Everything that the controller does while it leads."""

    def __init__(
        self,
        api: ApiClient,
        store: Store,
        settings: Settings,
        metrics: Metrics,
        log: Log,
        may_go_on: Callable[[], bool],
        board: Board | None = None,
    ) -> None:
        """Duties for the cluster behind ``api``, whose addresses are in ``store``.

        ``board`` is told what the status page shows.
        """
        self._board = board
        self._store = store
        self._metrics = metrics
        self._log = log
        self._events = EventRecorder(
            api, log, counted=lambda outcome, number: metrics.events.labels(outcome).inc(number)
        )
        self._cluster = KubernetesCluster(api)
        self._reconciler = Reconciler(
            store, self._cluster, Allocator(store, DirectCommitter(store), log), self._freed
        )
        self._audit_seconds = settings.audit_seconds
        metrics.audit_interval.set(settings.audit_seconds)
        self._audit_at = monotonic()
        self._schedule = Schedule(settings.schedule, log, datetime.now(UTC))
        self._slicer = Slicer(store, self._cluster, DefinitionFiles())
        self._recut = Flag()
        self._cut_rests_until = monotonic()
        self._repair: ReservationRepair | None = None
        if isinstance(store, KubernetesStore) and store.coexists:
            self._repair = ReservationRepair(store)
        self._complaints = Complaints(self._events.record, settings.namespace, log)
        tasks = [
            Task("look again", self._look_is_due, self._look_again),
            Task("cut node slices", self._cut_is_due, self._cut),
            Task("audit", self._audit_is_due, self._audit),
        ]
        if board is not None:
            tasks.append(Task("read for the status page", board.due, self._look_for_page))
        pods, nodes = Watch(api, PODS, pod_of, log), Watch(api, NODES, node_of, log)
        metrics.watched_pods.set_function(lambda: len(pods))
        metrics.watched_nodes.set_function(lambda: len(nodes))
        followers = [
            Follower(pods, self._pod_changed),
            Follower(nodes, self._node_changed),
            Follower(Watch(api, DEFINITIONS, definition_of, log), self._definition_changed),
        ]
        for name in (*(task.name for task in tasks), "judge"):
            metrics.failures.labels(name)
        self.work = Work(tasks, followers, self._task_failed, log, may_go_on)

    def close(self) -> None:
        """Let go of what the duties hold, after the work has ended."""
        self._events.close()
        self._store.close()

    # ------------------------------------------------------------------ watches

    def _pod_changed(self, change: Change[Pod] | Synced) -> None:
        if isinstance(change, Change) and (change.kind == "deleted" or change.value.phase in FINISHED):
            self._reconciler.pod_deleted(change.value)

    def _node_changed(self, change: Change[Node] | Synced) -> None:
        if isinstance(change, Change) and change.kind != "modified":
            self._recut.set()
            if change.kind == "deleted":
                self._reconciler.node_deleted(change.key)

    def _definition_changed(self, change: Change[Any] | Synced) -> None:
        self._recut.set()

    # -------------------------------------------------------------------- tasks

    def _look_is_due(self) -> bool:
        return self._reconciler.due_in() == 0

    def _look_again(self) -> None:
        self._told(self._reconciler.look_again(Deadline(LOOK_DEADLINE)))

    def _audit_is_due(self) -> bool:
        by_cron = self._schedule.due(datetime.now(UTC))
        return by_cron or (self._audit_seconds > 0 and monotonic() >= self._audit_at)

    def _audit(self) -> None:
        begun = monotonic()
        self._audit_at = begun + self._audit_seconds
        try:
            audit = self._reconciler.audit(Deadline(AUDIT_DEADLINE))
        except WhereaboutsError as error:
            if self._board is not None:
                self._board.audit_failed(error, monotonic() - begun)
            raise
        self._told(audit)
        seconds = monotonic() - begun
        self._metrics.audited(audit, seconds)
        if self._board is not None:
            self._board.audited(audit, seconds)
        self._log.debug(f"audit: {audit}")
        self._recut.set()  # for slices that are free now, and where an event was lost
        try:
            self._tell_pools(audit)
        finally:
            self._share_with_upstream()

    def _tell_pools(self, audit: Audit) -> None:
        """Bring the status of pools up to date, and tell what has got worse."""
        if not isinstance(self._store, KubernetesStore):
            return
        conflicts: dict[PoolKey, list[Address]] = {}
        for block, (address, owner) in audit.conflicts:
            key = PoolKey(block.space.network_name, owner.range)
            conflicts.setdefault(key, []).append(address)
        audited = Audited(time(), conflicts)
        uses, troubles = write_status(self._store, audited, Deadline(STATUS_DEADLINE))
        self._metrics.ranges(uses)
        for pool, kind, message in troubles:
            self._log.error(f"pool {pool}: {message}")
            regarding = events.pool(pool, self._store.resources.namespace)
            self._events.record(Event(regarding, REASONS[kind], message, WARNING))

    def _share_with_upstream(self) -> None:
        """Where nodes run the Go plugin: take over what it gave in our ranges, and mend its reservations."""
        if not isinstance(self._store, KubernetesStore) or self._repair is None:
            return
        deadline = Deadline(SHARE_DEADLINE)
        for moved in to_blocks(self._store, deadline, late=True):
            problem = f"; {moved.problem}" if moved.problem else ""
            told = self._log.error if problem else self._log.verbose
            told(f"pool {moved.pool}: {moved.allocations} addresses of the Go plugin adopted{problem}")
        for name in self._repair.look(deadline):
            self._log.verbose(f"reservation {name} was nobody's, and is deleted")

    def _cut_is_due(self) -> bool:
        return self._recut.is_set() and monotonic() >= self._cut_rests_until

    def _cut(self) -> None:
        self._recut.clear()
        begun = monotonic()
        try:
            sliced = self._slicer.sync(Deadline(SLICES_DEADLINE))
        except WhereaboutsError:
            self._cut_again()
            raise
        now = monotonic()
        self._cut_rests_until = now + max(CUT_REST, now - begun)
        self._metrics.sliced(sliced)
        self._complaints.about(sliced)
        if self._board is not None:
            self._board.sliced(sliced)
        for failure in sliced.failures:
            self._cut_again()
            self._task_failed("cut node slices")
            self._log.error(failure)

    def _cut_again(self) -> None:
        self._recut.set()
        self._cut_rests_until = monotonic() + CUT_RETRY

    def _look_for_page(self) -> None:
        if self._board is not None:
            self._board.look(self._store, self._reconciler.suspects(), Deadline(STATUS_DEADLINE))

    # ------------------------------------------------------------------ telling

    def _told(self, look: Audit) -> None:
        self._metrics.looked(look, self._reconciler.suspected_for())
        for failure in look.failures[:MOST_FAILURES]:
            self._log.error(failure)
        if len(look.failures) > len(look.damaged):  # those are counted as they are
            self._task_failed("judge")
        self._tell_unfreed(look)
        if len(look.failures) > MOST_FAILURES:
            self._log.error(f"{len(look.failures) - MOST_FAILURES} more failures are not shown")

    def _tell_unfreed(self, look: Audit) -> None:
        for _, owner in look.unfreed:
            message = f"failed to garbage collect addresses for pod {owner.pod_ref}"
            regarding = events.pod(owner.pod_ref, owner.pod_uid)
            self._events.record(Event(regarding, events.NOT_FREED, message, WARNING))

    def _freed(self, freed: Freed) -> None:
        address, owner, reason, _ = freed
        self._metrics.freed.labels(reason).inc()
        self._log.verbose(f"freed {address} of {owner.pod_ref} {owner.ifname}: {reason}")
        message = f"successful cleanup of IP address [{address}] from network {owner.network}"
        self._events.record(Event(events.pod(owner.pod_ref, owner.pod_uid), events.FREED, message))

    def _task_failed(self, task: str) -> None:
        self._metrics.failures.labels(task).inc()
