"""What the controller counts, in Prometheus's terms."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

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
        self.without_slice = self._gauge("nodes_without_slice", "Nodes without a slice.", "pool")
        self.slices = self._gauge(
            "slices", "Slices of a NodeSlicePool, by state: assigned or free.", "pool", "state"
        )
        self.events_dropped = self._counter("events_dropped", "Kubernetes Events that were not posted.")

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"whereabouts_controller_{name}", what, labels, registry=self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"whereabouts_controller_{name}", what, labels, registry=self.registry)
