"""Pods, nodes and NetworkAttachmentDefinitions from the JSON of the API server: the needed fields only.

A cluster has tens of thousands of pods, and a pod has a hundred fields. What is kept of one is small, and
texts that many share, such as names of nodes, are kept once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from sys import intern
from typing import Any, NamedTuple

from whereabouts.addresses import Address, AddressError, parse_address
from whereabouts.liveness import Node, Pod

NETWORK_STATUS = ("k8s.v1.cni.cncf.io/network-status", "k8s.v1.cni.cncf.io/networks-status")
"""Annotations in which Multus says what a pod was given: the name of today, and that of its old releases."""
STATIC_POD_UIDS = ("kubernetes.io/config.mirror", "kubernetes.io/config.hash")
"""On the mirror of a static pod: the UID by which the kubelet and the container runtime know it."""
EVICTED_BY_TAINT = "DeletionByTaintManager"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
"""The taint that says of a node that it is off and that nothing runs on it."""


class AttachmentDefinition(NamedTuple):
    """A NetworkAttachmentDefinition."""

    namespace: str
    name: str
    uid: str
    config: str
    """The network configuration, JSON; empty where it is in a file on the nodes."""


def key_of(metadata: Any) -> str:
    """``namespace/name``, or the name of what is in no namespace."""
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def pod_of(content: Any) -> Pod:
    """A pod from its JSON."""
    metadata, status = content["metadata"], content.get("status") or {}
    annotations = metadata.get("annotations") or {}
    uids = [metadata["uid"], *(annotations.get(name) for name in STATIC_POD_UIDS)]
    return Pod(
        ref=key_of(metadata),
        uids=tuple(dict.fromkeys(filter(None, uids))),
        node=intern((content.get("spec") or {}).get("nodeName") or ""),
        phase=intern(status.get("phase") or ""),
        deleting=bool(metadata.get("deletionTimestamp")),
        disrupted=any(
            condition.get("type") == "DisruptionTarget"
            and condition.get("status") == "True"
            and condition.get("reason") == EVICTED_BY_TAINT
            for condition in status.get("conditions") or ()
        ),
        addresses=_addresses(annotations, status),
    )


def node_of(content: Any) -> Node:
    """A node from its JSON."""
    conditions = (content.get("status") or {}).get("conditions") or ()
    taints = (content.get("spec") or {}).get("taints") or ()
    return Node(
        name=intern(content["metadata"]["name"]),
        ready=any(
            condition.get("type") == "Ready" and condition.get("status") == "True" for condition in conditions
        ),
        out_of_service=any(taint.get("key") == OUT_OF_SERVICE for taint in taints),
    )


def definition_of(content: Any) -> AttachmentDefinition:
    """A NetworkAttachmentDefinition from its JSON."""
    metadata = content["metadata"]
    config = (content.get("spec") or {}).get("config") or ""
    return AttachmentDefinition(metadata["namespace"], metadata["name"], metadata["uid"], config)


def _addresses(annotations: Any, status: Any) -> frozenset[Address] | None:
    """All addresses that a pod is known to have; None where that is not known for all of its networks."""
    reports = [annotations[name] for name in NETWORK_STATUS if annotations.get(name)]
    if not reports:
        return None
    try:
        found = {address for report in reports for address in _reported(json.loads(report))}
        found |= {parse_address(entry["ip"], lenient=True) for entry in status.get("podIPs") or ()}
    except (AddressError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None
    return frozenset(found)


def _reported(networks: Any) -> Iterator[Address]:
    """The addresses in a network status, written with a prefix length or without one."""
    for network in networks:
        for text in network.get("ips") or ():
            yield parse_address(text.partition("/")[0], lenient=True)
