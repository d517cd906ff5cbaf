"""What the controller counts, in Prometheus's terms."""

from __future__ import annotations

from collections.abc import Sequence
from time import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from whereabouts.audit import Audit
from whereabouts.controller.slicing import Sliced
from whereabouts.liveness import NODE_GONE, NODE_OUT_OF_SERVICE, NOT_REPORTED, POD_FINISHED, POD_GONE
from whereabouts.range_metrics import RangeCollector
from whereabouts.usage import RangeUse

_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)
_DATASTORE = "kubernetes"


class Metrics:
    """The controller's counters; one set a process.

    A counter exists from the start for every label that is known: of one that appears with its first count,
    Prometheus does not see that count.
    """

    def __init__(self) -> None:
        """Counters that all stand at zero."""
        self.registry = CollectorRegistry()
        self.leading = self._gauge("leading", "1 while this process does the work of the controller, else 0.")
        self.audits = self._counter(
            "audits",
            "Audits that ended, by result: whole, or partial where something could not be judged.",
            "result",
        )
        self.audit_seconds = Histogram(
            "whereabouts_controller_audit_duration_seconds",
            "Time that an audit took.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.audit_interval = self._gauge(
            "audit_interval_seconds", "From one audit to the next; 0: only at the times of the schedule."
        )
        self.last_audit = self._gauge(
            "last_audit_timestamp_seconds",
            "When the last audit ended that judged everything but damaged blocks, in Unix time.",
        )
        self.freed = self._counter("addresses_freed", "Addresses that were freed, by reason.", "reason")
        self.suspects = self._gauge(
            "suspect_addresses",
            "Addresses whose pod seems to be gone, and that wait for a second observation.",
        )
        self.oldest_suspect = self._gauge(
            "oldest_suspect_timestamp_seconds",
            "Since when the suspect address that waits longest is suspected, in Unix time; 0: there is none.",
        )
        self.waiting_for_operator = self._gauge(
            "addresses_waiting_for_operator",
            "Addresses of pods that are to be gone, on nodes of which nobody knows whether they run.",
        )
        self.failures = self._counter("failures", "Things that went wrong, by what was being done.", "task")
        self.allocations = self._gauge("allocations", "Addresses that the last audit found allocated.")
        self.watched_pods = self._gauge("watched_pods", "Pods that the controller knows of.")
        self.watched_nodes = self._gauge("watched_nodes", "Nodes that the controller knows of.")
        self.damaged = self._gauge("damaged_blocks", "Blocks that the last audit could not read.")
        self.conflicts = self._gauge(
            "conflicting_addresses", "Addresses that the last audit found recorded as given twice."
        )
        self.without_slice = self._gauge("nodes_without_slice", "Nodes without a slice of a pool.", "pool")
        self.slices = self._gauge(
            "slices", "Slices of a NodeSlicePool, by state: assigned or free.", "pool", "state"
        )
        self.bad_definitions = self._gauge(
            "bad_definitions", "NetworkAttachmentDefinitions that cannot be served as they are."
        )
        self.events = self._counter(
            "events",
            "Kubernetes Events, by outcome: posted, dropped since too many waited, failed at the API server.",
            "outcome",
        )
        self._ranges: Sequence[RangeUse] = ()
        self.registry.register(RangeCollector(lambda: {_DATASTORE: self._ranges}))
        for counter, known in (
            (self.audits, ("whole", "partial")),
            (self.freed, (POD_GONE, POD_FINISHED, NODE_GONE, NODE_OUT_OF_SERVICE, NOT_REPORTED)),
            (self.events, ("posted", "dropped", "failed")),
        ):
            for label in known:
                counter.labels(label)

    def looked(self, look: Audit, suspected_for: float | None) -> None:
        """What any look at the blocks came to, and for how many seconds somebody is suspected."""
        self.suspects.set(look.suspects)
        self.oldest_suspect.set(0 if suspected_for is None else time() - suspected_for)

    def audited(self, audit: Audit, seconds: float) -> None:
        """An audit that took so many seconds came to its end."""
        self.audit_seconds.observe(seconds)
        whole = len(audit.failures) <= len(audit.damaged)  # each damaged block is a failure, too
        self.audits.labels("whole" if whole else "partial").inc()
        if whole:
            self.last_audit.set(time())
        self.allocations.set(audit.records - audit.freed)
        self.waiting_for_operator.set(audit.waiting_for_operator)
        self.damaged.set(len(audit.damaged))
        self.conflicts.set(len(audit.conflicts))

    def ranges(self, rows: Sequence[RangeUse]) -> None:
        """How full the ranges in Kubernetes are. Agents do not tell: thousands would ask the same."""
        self._ranges = rows

    def sliced(self, sliced: Sliced) -> None:
        """What a pass over the node slices found."""
        self.without_slice.clear()
        self.slices.clear()
        for pool in sliced.pools:
            given = sum(bool(one.node) for one in pool.slices)
            self.without_slice.labels(pool.name).set(len(sliced.without.get(pool.name, ())))
            self.slices.labels(pool.name, "assigned").set(given)
            self.slices.labels(pool.name, "free").set(len(pool.slices) - given)
        self.bad_definitions.set(len(sliced.faults))

    def forget(self) -> None:
        """Another process leads and knows better: what this one saw would stand beside that for ever."""
        for gauge in (
            self.last_audit,
            self.suspects,
            self.oldest_suspect,
            self.waiting_for_operator,
            self.allocations,
            self.damaged,
            self.conflicts,
            self.bad_definitions,
        ):
            gauge.set(0)
        for watched in (self.watched_pods, self.watched_nodes):
            watched.set_function(lambda: 0)
        self.without_slice.clear()
        self.slices.clear()
        self._ranges = ()

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"whereabouts_controller_{name}", what, labels, registry=self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"whereabouts_controller_{name}", what, labels, registry=self.registry)
