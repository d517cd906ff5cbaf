"""Nodes, pods and NetworkAttachmentDefinitions in a cluster without kubelet and scheduler.

Each function speaks to the double and to a real API server alike, by their ``call``.
"""

import json
from collections.abc import Sequence
from typing import Any, Protocol

from .api_server import Reply

MERGE = "application/merge-patch+json"
NETWORK_STATUS = "k8s.v1.cni.cncf.io/network-status"


class Server(Protocol):
    """An API server, asked as its administrator."""

    def call(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> Reply: ...


def asked(server: Server, method: str, path: str, body: object = None, content_type: str = "") -> Any:
    """The body of an answer that has to be a success."""
    reply = server.call(method, path, body, content_type or "application/json")
    assert reply.status < 300, reply.body
    return reply.body


def create_node(server: Server, name: str, *, ready: bool = True, taints: Sequence[str] = ()) -> Any:
    content = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"taints": [{"key": key, "effect": "NoExecute"} for key in taints]},
        "status": {"conditions": [_ready(ready)]},
    }
    return asked(server, "POST", "/api/v1/nodes", content)


def set_ready(server: Server, name: str, ready: bool) -> None:
    patch = {"status": {"conditions": [_ready(ready)]}}
    asked(server, "PATCH", f"/api/v1/nodes/{name}/status", patch, MERGE)


def delete_node(server: Server, name: str) -> None:
    asked(server, "DELETE", f"/api/v1/nodes/{name}")


def _ready(ready: bool) -> dict[str, str]:
    return {"type": "Ready", "status": "True" if ready else "False"}


def network_status(*networks: Sequence[str]) -> str:
    """What Multus writes for networks with these addresses; the first is the default network."""
    return json.dumps(
        [
            {"name": f"default/n{index}", "interface": f"net{index}", "ips": list(ips), "default": not index}
            for index, ips in enumerate(networks)
        ]
    )


def create_pod(
    server: Server,
    namespace: str,
    name: str,
    *,
    node: str = "",
    phase: str = "",
    annotations: dict[str, str] | None = None,
    ips: Sequence[str] = (),
) -> Any:
    """A pod as the scheduler would have bound it to ``node`` and the kubelet would report it."""
    content = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {"containers": [{"name": "c", "image": "none"}], **({"nodeName": node} if node else {})},
    }
    created = asked(server, "POST", f"/api/v1/namespaces/{namespace}/pods", content)
    if phase or ips:
        created = set_pod_status(
            server, namespace, name, phase=phase or "Running", podIPs=[{"ip": ip} for ip in ips]
        )
    return created


def set_pod_status(server: Server, namespace: str, name: str, **status: Any) -> Any:
    return asked(
        server, "PATCH", f"/api/v1/namespaces/{namespace}/pods/{name}/status", {"status": status}, MERGE
    )


def annotate(server: Server, namespace: str, name: str, annotations: dict[str, str | None]) -> None:
    patch = {"metadata": {"annotations": annotations}}
    asked(server, "PATCH", f"/api/v1/namespaces/{namespace}/pods/{name}", patch, MERGE)


def delete_pod(server: Server, namespace: str, name: str, *, force: bool = True) -> None:
    """Delete a pod; without ``force`` one that is on a node stays until its kubelet says it is gone."""
    options = {"gracePeriodSeconds": 0} if force else None
    asked(server, "DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}", options)


def create_definition(server: Server, namespace: str, name: str, config: object) -> Any:
    """A NetworkAttachmentDefinition; ``config`` is text or becomes JSON."""
    text = config if isinstance(config, str) else json.dumps(config)
    content = {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name},
        "spec": {"config": text},
    }
    path = f"/apis/k8s.cni.cncf.io/v1/namespaces/{namespace}/network-attachment-definitions"
    return asked(server, "POST", path, content)


def events(server: Server, namespace: str) -> list[Any]:
    """The Kubernetes Events in a namespace."""
    found = asked(server, "GET", f"/api/v1/namespaces/{namespace}/events")["items"]
    return sorted(found, key=lambda event: int(event["metadata"]["resourceVersion"]))
