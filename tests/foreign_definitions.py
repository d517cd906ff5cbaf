"""Custom resource definitions of other projects, as far as this one's manifests use them."""

import time
from typing import Any

from .api_server import ApiServer

TEXT = {"type": "string"}
LABELS = {"type": "object", "additionalProperties": TEXT}


def _definition(group: str, version: str, kind: str, plural: str, spec: dict[str, Any]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            "apiVersion": TEXT,
            "kind": TEXT,
            "metadata": {"type": "object"},
            "spec": {"type": "object", "properties": spec},
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [
                {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            ],
        },
    }


NETWORK_ATTACHMENT_DEFINITION = _definition(
    "k8s.cni.cncf.io", "v1", "NetworkAttachmentDefinition", "network-attachment-definitions", {"config": TEXT}
)
POD_MONITOR = _definition(
    "monitoring.coreos.com",
    "v1",
    "PodMonitor",
    "podmonitors",
    {
        "jobLabel": TEXT,
        "selector": {"type": "object", "properties": {"matchLabels": LABELS}},
        "podMetricsEndpoints": {
            "type": "array",
            "items": {"type": "object", "properties": {"port": TEXT, "path": TEXT, "interval": TEXT}},
        },
    },
)

RULE = {
    "type": "object",
    "required": ["expr"],
    "properties": {
        "alert": TEXT,
        "record": TEXT,
        "expr": TEXT,
        "for": TEXT,
        "labels": LABELS,
        "annotations": LABELS,
    },
}
PROMETHEUS_RULE = _definition(
    "monitoring.coreos.com",
    "v1",
    "PrometheusRule",
    "prometheusrules",
    {
        "groups": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": TEXT, "rules": {"type": "array", "items": RULE}},
            },
        }
    },
)


def install_foreign_definitions(server: ApiServer) -> None:
    """Install them, unless they are there, and wait until they are served."""
    collection = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for content in (NETWORK_ATTACHMENT_DEFINITION, POD_MONITOR, PROMETHEUS_RULE):
        assert server.call("POST", collection, content).status in (201, 409)
        spec = content["spec"]
        path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
        end = time.monotonic() + 60
        while server.call("GET", path).status != 200:
            assert time.monotonic() < end, f"{path} is not served"
            time.sleep(0.05)
