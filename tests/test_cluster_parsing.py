"""What is kept of the JSON of pods, nodes and NetworkAttachmentDefinitions."""

import json
from ipaddress import ip_address
from typing import Any

import pytest

from whereabouts.cluster.parsing import NETWORK_STATUS, AttachmentDefinition, definition_of, node_of, pod_of
from whereabouts.liveness import Node, Pod

STATUS, OLD_STATUS = NETWORK_STATUS


def pod(annotations: dict[str, str] | None = None, **status: Any) -> Pod:
    metadata = {"namespace": "ns", "name": "p", "uid": "u", "annotations": annotations}
    return pod_of({"metadata": metadata, "spec": {"nodeName": "n"}, "status": status})


def reported(*ips: str, **more: Any) -> str:
    return json.dumps([{"name": "default/blue", "ips": list(ips), **more}])


def addresses(*texts: str) -> frozenset[Any]:
    return frozenset(map(ip_address, texts))


def test_a_pod_has_the_addresses_of_all_its_networks() -> None:
    networks = json.loads(reported("10.0.0.1", default=True)) + json.loads(reported("10.0.1.1", "fd00::1"))
    found = pod({STATUS: json.dumps(networks)}, phase="Running", podIPs=[{"ip": "10.9.0.1"}])
    assert found == Pod(
        ref="ns/p",
        uids=("u",),
        node="n",
        phase="Running",
        deleting=False,
        disrupted=False,
        addresses=addresses("10.0.0.1", "10.0.1.1", "fd00::1", "10.9.0.1"),
    )


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1/24", "10.0.0.1"),
        ("10.0.0.01", "10.0.0.1"),
        ("FD00:0:0:0::01", "fd00::1"),
        ("fd00::1/64", "fd00::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
    ],
)
def test_addresses_are_read_however_they_are_written(text: str, address: str) -> None:
    assert pod({STATUS: reported(text)}).addresses == addresses(address)


def test_both_spellings_of_the_annotation_are_read() -> None:
    assert pod({OLD_STATUS: reported("10.0.0.1")}).addresses == addresses("10.0.0.1")
    both = {STATUS: reported("10.0.0.1"), OLD_STATUS: reported("10.0.0.2")}
    assert pod(both).addresses == addresses("10.0.0.1", "10.0.0.2")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "null", "3", '"10.0.0.1"', "[3]", "[null]", "{}x", '{"ips": ["10.0.0.1"]}', "[" * 50_000),
        *('[{"ips": "10.0.0.1"}]', '[{"ips": [3]}]', '[{"ips": {"10.0.0.1": 3}}, {"ips": 3}]'),
        *(reported("10.0.0.256"), reported("10.0.0.1", "fe80::1%eth0"), reported("10.0.0.1", "")),
    ],
)
def test_what_cannot_be_read_as_a_whole_says_nothing_about_addresses(text: str) -> None:
    assert pod({STATUS: text}, podIPs=[{"ip": "10.9.0.1"}]).addresses is None
    if text:
        assert pod({STATUS: text, OLD_STATUS: reported("10.0.0.1")}).addresses is None


def test_without_the_annotation_nothing_is_known_about_addresses() -> None:
    assert pod(podIPs=[{"ip": "10.9.0.1"}]).addresses is None


@pytest.mark.parametrize("networks", ["[]", '[{"name": "a"}]', '[{"name": "a", "ips": null}]'])
def test_a_readable_annotation_without_addresses_says_that_there_are_none(networks: str) -> None:
    assert pod({STATUS: networks}).addresses == frozenset()


def test_a_mirror_pod_has_the_uids_of_its_static_pod_too() -> None:
    annotations = {"kubernetes.io/config.mirror": "hash", "kubernetes.io/config.hash": "hash"}
    assert pod(annotations).uids == ("u", "hash")
    assert pod({**annotations, "kubernetes.io/config.hash": "other"}).uids == ("u", "hash", "other")


@pytest.mark.parametrize(
    ("condition", "disrupted"),
    [
        ({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}, True),
        ({"type": "DisruptionTarget", "status": "False", "reason": "DeletionByTaintManager"}, False),
        ({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}, False),
        ({"type": "DisruptionTarget", "status": "True"}, False),
        ({"type": "Ready", "status": "True", "reason": "DeletionByTaintManager"}, False),
    ],
)
def test_only_the_taint_manager_disrupts(condition: dict[str, str], disrupted: bool) -> None:
    assert pod(conditions=[{"type": "PodScheduled", "status": "True"}, condition]).disrupted is disrupted


def test_a_pod_that_has_hardly_begun_can_be_read() -> None:
    metadata = {"namespace": "ns", "name": "p", "uid": "u", "deletionTimestamp": "2030-01-01T00:00:00Z"}
    assert pod_of({"metadata": metadata, "spec": {}, "status": {}}) == Pod(
        "ns/p", ("u",), "", "", True, False, None
    )
    assert pod_of({"metadata": metadata}).deleting


def test_names_of_nodes_are_kept_once() -> None:
    texts = [json.dumps({"metadata": {"name": "p", "uid": "u"}, "spec": {"nodeName": "node-1"}})] * 2
    first, second = (pod_of(json.loads(text)).node for text in texts)
    assert first is second


@pytest.mark.parametrize(
    ("content", "node"),
    [
        ({}, Node("n", False, False)),
        ({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, Node("n", True, False)),
        ({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}, Node("n", False, False)),
        (
            {"spec": {"taints": [{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]}},
            Node("n", False, True),
        ),
        ({"spec": {"taints": [{"key": "node.kubernetes.io/unreachable"}]}}, Node("n", False, False)),
    ],
)
def test_a_node_is_ready_or_out_of_service(content: Any, node: Node) -> None:
    assert node_of({"metadata": {"name": "n"}, **content}) == node


def test_a_definition_without_a_configuration_has_an_empty_one() -> None:
    metadata = {"namespace": "ns", "name": "d", "uid": "u"}
    assert definition_of({"metadata": metadata}) == AttachmentDefinition("ns", "d", "u", "")
    assert definition_of({"metadata": metadata, "spec": {"config": "{}"}}).config == "{}"
