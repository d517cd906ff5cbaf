"""What the agent counts, in Prometheus's terms."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric

from whereabouts.agent.leftovers import Leftovers
from whereabouts.store import Conflict, Store, Unavailable, Unsettled

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The agent's own counters; one set a process."""

    def __init__(self) -> None:
        """Counters that all stand at zero."""
        self.registry = CollectorRegistry()
        self.ready = Gauge(
            "whereabouts_agent_ready",
            "1 while the agent serves calls, 0 while it starts or stops.",
            registry=self.registry,
        )
        self.calls = Counter(
            "whereabouts_calls",
            "CNI calls that were answered, by command and by CNI error code (0: success).",
            ["command", "code"],
            registry=self.registry,
        )
        self.call_seconds = Histogram(
            "whereabouts_call_duration_seconds",
            "Time from accepting a CNI call to its answer.",
            ["command"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.store_requests = Counter(
            "whereabouts_store_requests",
            "Requests to the datastore, by verb and outcome.",
            ["verb", "outcome"],
            registry=self.registry,
        )
        self.group_size = Histogram(
            "whereabouts_commit_group_size",
            "Changes of a block that were stored by one write.",
            buckets=_SIZES,
            registry=self.registry,
        )
        self.found_at_start = Gauge(
            "whereabouts_addresses_found_at_start",
            "Addresses that were recorded for this node when the agent started: all, and those given before "
            "the machine was booted.",
            ["given"],
            registry=self.registry,
        )

    def found(self, leftovers: Leftovers) -> None:
        """Note what was there when the agent started."""
        self.found_at_start.labels("any_time").set(leftovers.recorded)
        if leftovers.before_boot is not None:
            self.found_at_start.labels("before_boot").set(leftovers.before_boot)

    def answered(self, command: str, stdout: bytes, status: int, seconds: float) -> None:
        """Count one call."""
        known = command if command in ("ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION") else "other"
        self.calls.labels(known, str(json.loads(stdout)["code"]) if status else "0").inc()
        self.call_seconds.labels(known).observe(seconds)


class MeasuredStore:
    """A store whose requests are counted; everything else is the store's."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        """Count the requests to ``store``."""
        self._store = store
        self._requests = metrics.store_requests

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if not callable(attribute) or name == "close":
            return attribute
        measured = self._measured(name, attribute)
        setattr(self, name, measured)
        return measured

    def _measured(self, verb: str, request: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*args: Any, **kwargs: Any) -> Any:
            outcome = "error"
            try:
                result = request(*args, **kwargs)
                outcome = "ok"
                return result
            except Conflict:
                outcome = "conflict"
                raise
            except Unsettled:
                outcome = "unsettled"
                raise
            except Unavailable:
                outcome = "unavailable"
                raise
            finally:
                self._requests.labels(verb, outcome).inc()

        return measured


class TwiceCollector:
    """Addresses that two pods were given, asked for when metrics are read."""

    def __init__(self, given_twice: Callable[[], Mapping[str, int]]) -> None:
        """Ask ``given_twice`` at each reading; its keys name datastores."""
        self._given_twice = given_twice

    def collect(self) -> Iterator[Metric]:
        """What a registry calls at each reading."""
        twice = GaugeMetricFamily(
            "whereabouts_addresses_given_twice",
            "Addresses that this agent found given by a Go plugin as well.",
            labels=["datastore"],
        )
        for datastore, count in self._given_twice().items():
            twice.add_metric([datastore], count)
        yield twice
