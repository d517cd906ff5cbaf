"""Pods, nodes and NetworkAttachmentDefinitions from the JSON of the API server: the needed fields only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from sys import intern
from typing import Any, NamedTuple

from msgspec import Struct, field

from whereabouts.addresses import Address, AddressError, parse_address
from whereabouts.cluster.forms import Anything, Form, Metadata
from whereabouts.liveness import Node, Pod
from whereabouts.roster import packed, unpacked

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


# ------------------------------------------------------------------------ pods


class _PodAnnotations(Struct):
    """Where Multus says what a pod was given, today and in its old releases; and of the mirror of a static
    pod the UID by which the kubelet and the container runtime know that pod."""

    network_status: str = field(name="k8s.v1.cni.cncf.io/network-status", default="")
    networks_status: str = field(name="k8s.v1.cni.cncf.io/networks-status", default="")
    config_mirror: str = field(name="kubernetes.io/config.mirror", default="")
    config_hash: str = field(name="kubernetes.io/config.hash", default="")


class _PodMetadata(Metadata, rename="camel"):
    annotations: _PodAnnotations | None = None
    deletion_timestamp: str | None = None


class _Condition(Struct):
    type: str = ""
    status: str = ""
    reason: str | None = None


class _PodSpec(Struct):
    node: str | None = field(name="nodeName", default=None)


class _PodIp(Struct):
    ip: str = ""


class _PodStatus(Struct):
    phase: str | None = None
    conditions: list[_Condition] | None = None
    ips: list[_PodIp] | None = field(name="podIPs", default=None)


class _PodObject(Struct):
    metadata: _PodMetadata
    spec: _PodSpec | None = None
    status: _PodStatus | None = None


def _pod(content: _PodObject) -> Pod:
    metadata = content.metadata
    annotations = metadata.annotations or _PodAnnotations()
    status = content.status or _PodStatus()
    uids = (metadata.uid, annotations.config_mirror, annotations.config_hash)
    return Pod(
        ref=metadata.key,
        uids=tuple(dict.fromkeys(filter(None, uids))),
        node=intern((content.spec and content.spec.node) or ""),
        phase=intern(status.phase or ""),
        deleting=bool(metadata.deletion_timestamp),
        disrupted=any(
            (one.type, one.status, one.reason) == ("DisruptionTarget", "True", EVICTED_BY_TAINT)
            for one in status.conditions or ()
        ),
        addresses=_addresses(
            [text for text in (annotations.network_status, annotations.networks_status) if text],
            [one.ip for one in status.ips or ()],
        ),
    )


def _addresses(reports: Sequence[str], ips: Sequence[str]) -> frozenset[Address] | None:
    """All addresses that a pod is known to have; None where that is not known for all of its networks."""
    if not reports:
        return None
    try:
        texts = {text for report in reports for text in _reported(json.loads(report))}
        return frozenset(parse_address(text, lenient=True) for text in texts.union(ips))
    except (AddressError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def _reported(networks: Any) -> Iterator[str]:
    """The addresses in a network status, written with a prefix length or without one.

    Raises ValueError for a network without any: some plugins do not report those that they have. Those of the
    default network are in the pod's status as well.
    """
    for network in networks:
        ips = network.get("ips") or ()
        if not ips and not network.get("default"):
            raise ValueError("a network without addresses")
        for text in ips:
            yield text.partition("/")[0]


pod_of = Form(_PodObject, _pod, packed, unpacked)
"""Of a pod: what tells whether it lives, and its addresses."""


# ----------------------------------------------------------------------- nodes


class _Taint(Struct):
    key: str = ""


class _NodeSpec(Struct):
    taints: list[_Taint] | None = None


class _NodeStatus(Struct):
    conditions: list[_Condition] | None = None


class _NodeObject(Struct):
    metadata: Metadata
    spec: _NodeSpec | None = None
    status: _NodeStatus | None = None


def _node(content: _NodeObject) -> Node:
    conditions = (content.status and content.status.conditions) or ()
    taints = (content.spec and content.spec.taints) or ()
    return Node(
        name=intern(content.metadata.name),
        ready=any((one.type, one.status) == ("Ready", "True") for one in conditions),
        out_of_service=any(taint.key == OUT_OF_SERVICE for taint in taints),
    )


node_of = Form(_NodeObject, _node)
"""Of a node: whether something can run there."""


# ----------------------------------------------------------------- definitions


def _definition(content: Anything) -> AttachmentDefinition:
    """Nothing is taken for granted: the definition of the kind is not Kubernetes' own."""
    spec = content.spec if isinstance(content.spec, dict) else {}
    config = spec.get("config")
    metadata = content.metadata
    return AttachmentDefinition(
        metadata.namespace, metadata.name, metadata.uid, config if isinstance(config, str) else ""
    )


definition_of = Form(Anything, _definition)
"""Of a NetworkAttachmentDefinition: its configuration."""
