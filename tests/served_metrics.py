"""Every metric that agent and controller serve, with each of its labels: what queries may ask for."""

from collections.abc import Iterator
from itertools import chain

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from whereabouts.agent import metrics as agent
from whereabouts.controller import metrics as controller
from whereabouts.pool import Pool, PoolKey
from whereabouts.range_metrics import RangeCollector
from whereabouts.usage import RangeUse

USE = RangeUse(Pool(PoolKey("", "10.0.0.0/24"), True), 254, 3, 1, 0, None)


def agents_registry() -> CollectorRegistry:
    """An agent's registry, with a sample for every metric."""
    metrics = agent.Metrics()
    metrics.registry.register(RangeCollector(lambda: {"local": [USE]}))
    metrics.registry.register(agent.TwiceCollector(lambda: {"local": 0}))
    _fill(metrics)
    return metrics.registry


def controllers_registry() -> CollectorRegistry:
    """A controller's."""
    metrics = controller.Metrics()
    metrics.ranges([USE])
    _fill(metrics)
    return metrics.registry


def _fill(metrics: object) -> None:
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase) and metric._labelnames:
            metric.labels(*("x" for _ in metric._labelnames))


def exposed(registry: CollectorRegistry) -> str:
    """What Prometheus reads."""
    return generate_latest(registry).decode()


def families() -> Iterator[Metric]:
    """The metrics of both."""
    for registry in (agents_registry(), controllers_registry()):
        yield from text_string_to_metric_families(exposed(registry))


def series() -> dict[str, set[str]]:
    """The labels of every series that can be asked for, by its name."""
    found: dict[str, set[str]] = {}
    for sample in chain.from_iterable(family.samples for family in families()):
        found.setdefault(sample.name, set()).update(sample.labels)
    return found
