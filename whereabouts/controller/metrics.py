"""What the controller counts, in Prometheus's terms."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from whereabouts.controller.slicing import Sliced

_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)


class Metrics:
    """The controller's counters; one set a process."""

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
        self.last_audit = self._gauge(
            "last_audit_timestamp_seconds", "When the last audit ended that judged everything, in Unix time."
        )
        self.freed = self._counter("addresses_freed", "Addresses that were freed, by reason.", "reason")
        self.suspects = self._gauge(
            "suspect_addresses",
            "Addresses whose pod seems to be gone, and that wait for a second observation.",
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
        self.events_dropped = self._counter("events_dropped", "Kubernetes Events that were not posted.")

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

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"whereabouts_controller_{name}", what, labels, registry=self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"whereabouts_controller_{name}", what, labels, registry=self.registry)
