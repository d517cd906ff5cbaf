"""A page of a list of pods, read for what tells whether they live, beside other ways to read it.

``bytes`` are the most that was allocated while the page was read.
"""

import json
import tracemalloc
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from whereabouts.cluster.parsing import pod_of
from whereabouts.cluster.reading import PAGE

CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
NOW = "2026-01-01T10:00:00Z"


def pod(number: int) -> Any:
    """A pod as a Deployment makes it: about 5 KB of JSON, half of it about who wrote which field."""
    address = f"10.244.{number >> 8 & 255}.{number & 255}"
    networks = [
        {"name": "cbr0", "interface": "eth0", "ips": [address], "default": True, "dns": {}},
        {"name": "default/blue", "interface": "net1", "ips": [f"172.16.{number >> 8}.{number & 255}"]},
    ]
    variables = [{"name": f"VARIABLE_{n}", "value": f"value {n} of the application"} for n in range(12)]
    fields: dict[str, Any] = {
        f'k:{{"name":"VARIABLE_{n}"}}': {".": {}, "f:name": {}, "f:value": {}} for n in range(12)
    }
    states: dict[str, Any] = {
        f'k:{{"type":"{name}"}}': {".": {}, "f:status": {}, "f:type": {}} for name in CONDITIONS
    }
    return {
        "metadata": {
            "name": f"app-{number % 50}-7d9c8b6f5-{number:05d}",
            "namespace": f"team-{number % 40}",
            "uid": f"00000000-0000-4000-8000-{number:012d}",
            "resourceVersion": str(10**8 + number),
            "creationTimestamp": NOW,
            "labels": {"app": f"app-{number % 50}", "pod-template-hash": "7d9c8b6f5"},
            "annotations": {"k8s.v1.cni.cncf.io/network-status": json.dumps(networks, indent=4)},
            "managedFields": [
                {"manager": manager, "operation": "Update", "time": NOW, "fieldsV1": {"f:spec": owned}}
                for manager, owned in (("kube-controller-manager", fields), ("kubelet", states))
            ],
        },
        "spec": {
            "nodeName": f"worker-{number % 1000:04d}.cluster.example",
            "containers": [
                {
                    "name": "main",
                    "image": "registry.example/app:1.2.3",
                    "env": variables,
                    "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
                }
            ],
        },
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": name, "status": "True", "lastProbeTime": None, "lastTransitionTime": NOW}
                for name in CONDITIONS
            ],
            "podIPs": [{"ip": address}],
            "containerStatuses": [
                {
                    "name": "main",
                    "state": {"running": {"startedAt": NOW}},
                    "lastState": {},
                    "ready": True,
                    "restartCount": 0,
                    "image": "registry.example/app:1.2.3",
                    "imageID": "registry.example/app@sha256:" + "a" * 64,
                }
            ],
        },
    }


PAGE_OF_PODS = json.dumps(
    {
        "kind": "PodList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "1"},
        "items": [pod(n) for n in range(PAGE)],
    },
    separators=(",", ":"),
).encode()


def only_what_is_needed() -> int:
    return sum(1 for _ in map(pod_of.read, pod_of.page(PAGE_OF_PODS).items))


def all_values() -> int:
    return len(json.loads(PAGE_OF_PODS)["items"])


def typed_models() -> int:
    client: Any = import_module("kubernetes.client")
    return len(client.ApiClient().deserialize(PAGE_OF_PODS.decode(), "V1PodList", "application/json").items)


READERS = {
    "whereabouts": only_what_is_needed,
    "json": all_values,
    "kubernetes": pytest.param(
        typed_models,
        marks=pytest.mark.skipif(find_spec("kubernetes") is None, reason="kubernetes is not installed"),
    ),
}


@pytest.mark.benchmark(group=f"a page of {PAGE} pods")
@pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())
def test_bench_a_page_of_pods(benchmark: BenchmarkFixture, read: Callable[[], int]) -> None:
    names = [name for name, reader in READERS.items() if read in (reader, *getattr(reader, "values", ()))]
    (benchmark.extra_info["entry"],) = names
    tracemalloc.start()
    assert read() == PAGE
    benchmark.extra_info["bytes"] = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert benchmark(read) == PAGE
