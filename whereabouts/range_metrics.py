"""How full ranges are, in Prometheus's terms: the same metrics, whoever exports them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from whereabouts.usage import RangeUse

LABELS = ("datastore", "network", "range")


class RangeCollector:
    """The ranges of datastores, asked for when metrics are read."""

    def __init__(self, uses: Callable[[], Mapping[str, Sequence[RangeUse]]]) -> None:
        """Ask ``uses`` at each reading; its keys name datastores."""
        self._uses = uses

    def collect(self) -> Iterator[Metric]:
        """What a registry calls at each reading."""
        capacity, used, free = (
            GaugeMetricFamily(f"whereabouts_range_{name}_addresses", what, labels=LABELS)
            for name, what in (
                ("capacity", "Addresses of a range that can be given."),
                ("used", "Addresses of a range that are used, those of damaged blocks included."),
                ("free", "Addresses of a range that are left."),
            )
        )
        for datastore, rows in self._uses().items():
            for row in rows:
                labels = [datastore, row.pool.key.network_name, row.pool.key.range]
                capacity.add_metric(labels, row.capacity)
                used.add_metric(labels, row.used)
                free.add_metric(labels, row.free)
        yield from (capacity, used, free)
