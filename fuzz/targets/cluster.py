"""Pods, nodes and definitions of networks as the API server writes them, alone, in lists and in watches.

An input is JSON; of what a pod or a definition says in texts, tenants may write anything. There is a value,
which can be kept and taken out again, or the answer counts as damaged.
"""

import json
from typing import Any

from fuzz.json_mutation import mutator
from fuzz.target import Target
from fuzz.targets.config import WORDS as CONFIG_WORDS
from whereabouts.cluster.forms import Form
from whereabouts.cluster.networks import DefinitionFiles, read_networks
from whereabouts.cluster.parsing import (
    OUT_OF_SERVICE,
    AttachmentDefinition,
    definition_of,
    node_of,
    pod_of,
)
from whereabouts.cluster.watching import Watch
from whereabouts.errors import WhereaboutsError
from whereabouts.store import StoreDamaged

FORMS: tuple[Form[Any], ...] = (pod_of, node_of, definition_of)


def check(data: bytes) -> None:
    """Read it as an object, as a page of a list, and as a line of a watch."""
    for form in FORMS:
        _check_object(form, data)
        _check_page(form, data)
        _check_event(form, data)


def _check_object(form: Form[Any], data: bytes) -> None:
    try:
        content = form.parse(data)
    except StoreDamaged:
        return
    value = form.read(content)
    packed = form.pack(value)
    assert form.pack(form.unpack(content.metadata.key, packed)) == packed
    if isinstance(value, AttachmentDefinition):
        _check_definition(value)


def _check_definition(definition: AttachmentDefinition) -> None:
    networks, faults = read_networks([definition], DefinitionFiles())
    assert len(networks) + len(faults) <= 1
    for fault in faults:
        assert fault.reason.encode()


def _check_page(form: Form[Any], data: bytes) -> None:
    try:
        page = form.page(data)
    except StoreDamaged:
        return
    for content in page.items:
        form.pack(form.read(content))


def _check_event(form: Form[Any], data: bytes) -> None:
    """A line of a watch is one change, or a reason to begin the watch again."""
    watch: Watch[Any] = Watch(None, "/x", form, revision="1")  # type: ignore[arg-type]  # nothing is asked for
    try:
        changes = list(watch._follow(_Lines(data)))  # type: ignore[arg-type]
    except WhereaboutsError:
        return
    assert len(changes) <= 1


class _Lines:
    """A watch's stream of one line."""

    def __init__(self, line: bytes) -> None:
        self._lines = [line]

    def __iter__(self) -> Any:
        return iter(self._lines)


def _seed(**content: Any) -> bytes:
    metadata = {
        "namespace": "ns",
        "name": "p",
        "uid": "u",
        "resourceVersion": "5",
        **content.pop("metadata", {}),
    }
    return json.dumps({"metadata": metadata, **content}).encode()


_STATUS = json.dumps(
    [{"name": "cbr0", "default": True}, {"name": "ns/blue", "ips": ["10.0.0.1", "fd00::1/64"]}]
)
_POD = _seed(
    metadata={
        "annotations": {
            "k8s.v1.cni.cncf.io/network-status": _STATUS,
            "k8s.v1.cni.cncf.io/networks-status": "[]",
            "kubernetes.io/config.mirror": "m",
            "kubernetes.io/config.hash": "h",
        },
        "deletionTimestamp": "2026-01-01T00:00:00Z",
    },
    spec={"nodeName": "node-1"},
    status={
        "phase": "Running",
        "podIPs": [{"ip": "10.244.0.5"}],
        "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}],
    },
)
_NODE = _seed(
    spec={"taints": [{"key": OUT_OF_SERVICE}]}, status={"conditions": [{"type": "Ready", "status": "True"}]}
)
_IPAM = {"type": "whereabouts", "range": "10.0.0.0/16", "node_slice_size": "/24"}
_DEFINITION = _seed(
    spec={"config": json.dumps({"cniVersion": "1.0.0", "name": "n", "type": "m", "ipam": _IPAM})}
)
_LIST_OF = _seed(spec={"config": json.dumps({"name": "n", "plugins": [{"type": "m", "ipam": _IPAM}]})})


def _page(*contents: bytes) -> bytes:
    return json.dumps(
        {"metadata": {"resourceVersion": "9", "continue": "c"}, "items": [*map(json.loads, contents)]}
    ).encode()


def _event(kind: str, content: bytes) -> bytes:
    return json.dumps({"type": kind, "object": json.loads(content)}).encode()


SEEDS = (
    *(_POD, _NODE, _DEFINITION, _LIST_OF, _page(_POD, _POD), _page(_NODE), _page(_DEFINITION, _LIST_OF)),
    *(
        _event("ADDED", _POD),
        _event("MODIFIED", _NODE),
        _event("DELETED", _DEFINITION),
        _event("BOOKMARK", _POD),
    ),
    _event("ERROR", b'{"code": 410, "message": "too old"}'),
)
WORDS = (
    *(
        "metadata",
        "namespace",
        "name",
        "uid",
        "resourceVersion",
        "annotations",
        "deletionTimestamp",
        "spec",
        "status",
    ),
    *(
        "nodeName",
        "phase",
        "podIPs",
        "ip",
        "conditions",
        "type",
        "reason",
        "taints",
        "key",
        "config",
        "items",
        "continue",
    ),
    *(
        "k8s.v1.cni.cncf.io/network-status",
        "k8s.v1.cni.cncf.io/networks-status",
        "kubernetes.io/config.mirror",
    ),
    *(
        "ADDED",
        "MODIFIED",
        "DELETED",
        "BOOKMARK",
        "ERROR",
        "object",
        "code",
        "message",
        _STATUS,
        *CONFIG_WORDS[::3],
    ),
)
TARGET = Target(
    check,
    SEEDS,
    [*(word for word in WORDS if len(word) < 60), "\\ud800", "\\u0000"],
    mutator(WORDS),
    largest=8192,
)
