"""The controller as a process against the size of the cluster: its memory, and CPU time of an audit.

Nodes, pods of 5 KB and as many allocations, behind the double of the API server, which is slow: the time on
the clock says nothing, the process's own CPU time does. That is of a second audit, the watches of the time
between included. Memory is the most that the process ever had resident (VmHWM), its start included.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.cluster_double import fill
from bench.server_metrics import cpu_seconds
from tests.api_double import api_double
from tests.api_server import ADMIN, kubeconfig
from tests.controller_process import Controller, running

LONG = 600.0
GLANCE = 0.25
"""Seconds between looks at the metrics: they cost the controller some CPU time themselves."""
SELDOM = 0.1
"""The same as a part of the time that was waited already."""
AUDITS = "whereabouts_controller_audits_total"


class Size(NamedTuple):
    """Of a cluster."""

    nodes: int
    pods: int


class Found(NamedTuple):
    """One controller."""

    audit_seconds: float
    """CPU time."""
    peak: float
    """MiB."""


def audited(controller: Controller) -> None:
    """Wait for the end of the next audit."""
    before, begun = controller.metric(AUDITS), time.monotonic()
    while controller.metric(AUDITS) <= before:
        waited = time.monotonic() - begun
        assert waited < LONG, f"no audit within {LONG:g} s"
        time.sleep(max(GLANCE, SELDOM * waited))


def found_of(size: Size, directory: Path, audit: Callable[[Callable[[], None]], None]) -> Found:
    """Start a controller. ``audit`` calls what it is given."""
    directory.mkdir()
    with api_double() as double:
        namespace = double.namespace()
        fill(double, namespace, *size)
        path = kubeconfig(directory / "kubeconfig", double.server, namespace, ADMIN, double.authority)
        with running(path, "--namespace", namespace, "--audit-interval", "1") as controller:
            if not controller.metric(AUDITS):
                audited(controller)
            before = controller.metric(AUDITS), cpu_seconds(controller.pid)
            audit(lambda: audited(controller))
            seconds = cpu_seconds(controller.pid) - before[1]
            audits = controller.metric(AUDITS) - before[0]
            assert controller.metric("whereabouts_controller_allocations") == size.pods
            assert controller.metric("whereabouts_controller_suspect_addresses") == 0
            return Found(seconds / audits, controller.peak_mebibytes())


def timed(benchmark: BenchmarkFixture) -> Callable[[Callable[[], None]], None]:
    """Has the benchmark time what it is given."""
    pedantic: Any = benchmark.pedantic
    return lambda audit: pedantic(audit, rounds=1)


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param((Size(100, 1_000), Size(300, 3_000)), id="up to 300 nodes"),
        pytest.param(
            (Size(100, 1_000), Size(300, 3_000), Size(1_000, 10_000), Size(1_000, 50_000)),
            id="up to 1,000 nodes",
            marks=pytest.mark.long,
        ),
    ],
)
def test_controller(benchmark: BenchmarkFixture, tmp_path: Path, sizes: Sequence[Size]) -> None:
    *others, largest = sizes
    points = {size: found_of(size, tmp_path / str(size.pods), lambda audit: audit()) for size in others}
    points[largest] = found_of(largest, tmp_path / str(largest.pods), timed(benchmark))
    benchmark.extra_info["figures"] = {
        name: number
        for size, one in points.items()
        for name, number in (
            (f"peak MiB, {size.nodes} nodes, {size.pods} pods", one.peak),
            (f"CPU seconds of an audit, {size.nodes} nodes, {size.pods} pods", one.audit_seconds),
        )
    }
    benchmark.extra_info["curve"] = {
        "title": "memory of the controller against pods with an address",
        "x": {"label": "pods", "log": True},
        "y": {"label": "MiB", "log": False},
        "series": {"peak": [[size.pods, one.peak] for size, one in points.items()]},
    }
