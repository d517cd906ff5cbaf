"""The controller as a process in a big cluster: CPU time and memory, with its watches and its audits.

1,000 nodes, 50,000 pods of 5 KB and as many allocations, behind the double of the API server, which is slow:
the time on the clock says nothing, the process's own CPU time does. ``peak`` is VmHWM in MiB.
"""

import json
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.test_bench_cluster import pod
from tests.api_double import ApiDouble, api_double
from tests.api_server import ADMIN, kubeconfig
from tests.controller_process import Controller, running, until
from whereabouts.block import BLOCK_SIZE, Block, BlockKey, Space
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.stores import kube_objects as objects

NODES, PODS = 1_000, 50_000
RANGE = "172.16.0.0/14"
FIRST = int(ip_address("172.16.0.0"))
AUDITS = 1
LONG = 300.0


def put(double: ApiDouble, namespace: str, plural: str, content: Any) -> None:
    metadata = content["metadata"]
    metadata |= {"uid": metadata.get("uid") or metadata["name"], "resourceVersion": "5"}
    if namespace:
        metadata["namespace"] = namespace
    double.objects[namespace, plural, metadata["name"]] = content


def fill(double: ApiDouble, namespace: str) -> None:
    owners: dict[int, dict[int, Owner]] = {}
    for number in range(PODS):
        address = FIRST + number + number // 255 + 1
        content = pod(number)
        metadata, node = content["metadata"], f"worker-{number % NODES:04d}.cluster.example"
        networks = [{"name": "default/blue", "interface": "net1", "ips": [str(ip_address(address))]}]
        metadata["annotations"]["k8s.v1.cni.cncf.io/network-status"] = json.dumps(networks)
        put(double, metadata["namespace"], "pods", content)
        ref, container = f"{metadata['namespace']}/{metadata['name']}", f"{number:064x}"
        owner = Owner(ref, metadata["uid"], container, "net1", node, "blue", RANGE, 1)
        owners.setdefault(address // BLOCK_SIZE, {})[address % BLOCK_SIZE] = owner
    for number in range(NODES):
        status = {"conditions": [{"type": "Ready", "status": "True"}]}
        name = f"worker-{number:04d}.cluster.example"
        put(double, "", "nodes", {"metadata": {"name": name}, "spec": {}, "status": status})
    for number, held in owners.items():
        block = Block(BlockKey(Space(), 4, number * BLOCK_SIZE), held)
        put(double, namespace, "addressblocks", objects.block_object(block, {}))
    pool = Pool(PoolKey("", RANGE), shared=True)
    annotations = {name: text for name, text in objects.pool_annotations(pool, 0).items() if text}
    put(double, namespace, "ippools", objects.new_pool(pool, annotations))


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with api_double() as double:
        namespace = double.namespace()
        fill(double, namespace)
        path = kubeconfig(tmp_path / "kubeconfig", double.server, namespace, ADMIN, double.authority)
        with running(path, "--namespace", namespace, "--audit-interval", "1") as controller:
            yield controller


def test_a_controller_of_fifty_thousand_allocations(
    benchmark: BenchmarkFixture, controller: Controller
) -> None:
    seconds: list[float] = []

    def audit() -> None:
        audits, before = controller.metric("whereabouts_controller_audits_total"), controller.cpu_seconds()
        until(lambda: controller.metric("whereabouts_controller_audits_total") > audits, LONG)
        seconds.append(controller.cpu_seconds() - before)

    pedantic: Any = benchmark.pedantic
    pedantic(audit, rounds=AUDITS)
    assert controller.metric("whereabouts_controller_allocations") == PODS
    assert controller.metric("whereabouts_controller_suspect_addresses") == 0
    benchmark.extra_info["figures"] = {
        "CPU seconds of an audit": median(seconds),
        "peak MiB": controller.peak_mebibytes(),
    }
