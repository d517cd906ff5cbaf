"""How often the controller's duties ask the API server, whatever happens in the cluster."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from whereabouts.controller import duties
from whereabouts.controller.cron import DEFAULT
from whereabouts.controller.duties import Duties, Settings
from whereabouts.controller.metrics import Metrics
from whereabouts.log import SILENT
from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kube_api import ApiClient
from whereabouts.stores.kubernetes import KubernetesStore

from .api_double import ApiDouble, api_double
from .api_double_requests import Asked, Fault
from .api_server import ADMIN, kubeconfig
from .cluster_objects import create_definition
from .controller_process import until

SOON = 30.0
A_WHILE = 1.9
"""Seconds in which a pass at every look of the working thread would be three or more."""


@pytest.fixture(autouse=True)
def long_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no slow moment makes a pass of the next rest one of this."""
    monkeypatch.setattr(duties, "CUT_REST", 60.0)


@contextmanager
def working(double: ApiDouble, namespace: str, folder: Path) -> Iterator[None]:
    """The duties at work."""
    source = from_kubeconfig(kubeconfig(folder / "config", double.server, namespace, ADMIN, double.authority))
    api = ApiClient(source)
    settings = Settings(600.0, namespace, lambda: DEFAULT)
    working = Duties(api, KubernetesStore(source), settings, Metrics(), SILENT, lambda: True)
    working.work.start()
    try:
        yield
    finally:
        working.work.stop(SOON)
        working.close()
        api.close()


def passes(double: ApiDouble) -> int:
    """Passes over node slices so far."""
    return sum(asked.lists and "nodeslicepools" in asked.path for asked in double.asked)


def test_a_pass_over_node_slices_that_is_refused_is_not_tried_again_at_once(tmp_path: Path) -> None:
    with api_double() as double:

        def refuse(asked: Asked) -> Fault | None:
            return Fault(403) if "nodeslicepools" in asked.path else None

        double.fault = refuse
        with working(double, double.namespace(), tmp_path):
            until(lambda: passes(double), SOON)
            time.sleep(A_WHILE)
            assert passes(double) == 1


def test_definitions_that_change_all_the_time_are_read_now_and_then(tmp_path: Path) -> None:
    with api_double() as double:
        namespace = double.namespace()
        with working(double, namespace, tmp_path):
            until(lambda: passes(double), SOON)
            end = time.monotonic() + A_WHILE
            before, number = passes(double), 0
            while time.monotonic() < end:
                create_definition(double, namespace, f"net-{number}", {"type": "bridge"})
                number += 1
                time.sleep(0.05)
            assert passes(double) <= before + 1
