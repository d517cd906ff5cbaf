"""A cluster of nodes and pods, each with an address of ours, in the double of the API server."""

import json
from ipaddress import ip_address
from typing import Any

from tests.api_double import ApiDouble
from whereabouts.block import BLOCK_SIZE, Block, BlockKey, Space
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.stores import kube_objects as objects

RANGE = "172.16.0.0/14"
FIRST = int(ip_address("172.16.0.0"))
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


def put(double: ApiDouble, namespace: str, plural: str, content: Any) -> None:
    """Store an object without asking whether it is as it should be."""
    metadata = content["metadata"]
    metadata |= {"uid": metadata.get("uid") or metadata["name"], "resourceVersion": "5"}
    if namespace:
        metadata["namespace"] = namespace
    double.objects[namespace, plural, metadata["name"]] = content


def fill(double: ApiDouble, namespace: str, nodes: int, pods: int) -> None:
    """``pods`` pods of 5 KB, spread over ``nodes`` nodes; their records in ``namespace``."""
    owners: dict[int, dict[int, Owner]] = {}
    for number in range(pods):
        address = FIRST + number + number // 255 + 1
        content = pod(number)
        metadata, node = content["metadata"], _node(number % nodes)
        networks = [{"name": "default/blue", "interface": "net1", "ips": [str(ip_address(address))]}]
        metadata["annotations"]["k8s.v1.cni.cncf.io/network-status"] = json.dumps(networks)
        content["spec"]["nodeName"] = node
        put(double, metadata["namespace"], "pods", content)
        ref, container = f"{metadata['namespace']}/{metadata['name']}", f"{number:064x}"
        owner = Owner(ref, metadata["uid"], container, "net1", node, "blue", RANGE, 1)
        owners.setdefault(address // BLOCK_SIZE, {})[address % BLOCK_SIZE] = owner
    for number in range(nodes):
        status = {"conditions": [{"type": "Ready", "status": "True"}]}
        put(double, "", "nodes", {"metadata": {"name": _node(number)}, "spec": {}, "status": status})
    for number, held in owners.items():
        block = Block(BlockKey(Space(), 4, number * BLOCK_SIZE), held)
        put(double, namespace, "addressblocks", objects.block_object(block, {}))
    pool = Pool(PoolKey("", RANGE), shared=True)
    annotations = {name: text for name, text in objects.pool_annotations(pool, 0).items() if text}
    put(double, namespace, "ippools", objects.new_pool(pool, annotations))


def _node(number: int) -> str:
    return f"worker-{number:04d}.cluster.example"
