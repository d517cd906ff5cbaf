"""What is kept of the JSON of pods, nodes and NetworkAttachmentDefinitions."""

import json
from ipaddress import ip_address
from typing import Any

import pytest

from whereabouts.cluster.forms import Form
from whereabouts.cluster.parsing import AttachmentDefinition, definition_of, node_of, pod_of
from whereabouts.liveness import Node, Pod
from whereabouts.store import StoreDamaged

STATUS, OLD_STATUS = "k8s.v1.cni.cncf.io/network-status", "k8s.v1.cni.cncf.io/networks-status"


def read(form: Form[Any], content: Any) -> Any:
    """What is read of an object; its version is not of interest here."""
    metadata = {"uid": "u", "resourceVersion": "1", **content["metadata"]}
    return form.read(form.parse(json.dumps({**content, "metadata": metadata}).encode()))


def pod(annotations: dict[str, str] | None = None, **status: Any) -> Pod:
    metadata = {"namespace": "ns", "name": "p", "annotations": annotations}
    found = read(pod_of, {"metadata": metadata, "spec": {"nodeName": "n"}, "status": status})
    assert isinstance(found, Pod)
    return found


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


@pytest.mark.parametrize("networks", ["[]", '[{"name": "a", "default": true}]'])
def test_a_readable_annotation_without_networks_says_that_there_are_no_addresses(networks: str) -> None:
    assert pod({STATUS: networks}).addresses == frozenset()


@pytest.mark.parametrize(
    "network", ['{"name": "a"}', '{"name": "a", "ips": null}', '{"name": "a", "ips": []}']
)
def test_where_a_network_reports_no_address_the_pods_addresses_are_not_known(network: str) -> None:
    """Some plugins do not report what they have: that is not evidence of having nothing."""
    assert pod({STATUS: f'[{{"name": "b", "ips": ["10.9.0.1"]}}, {network}]'}).addresses is None


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


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"spec": None, "status": None},
        {"spec": {}, "status": {}},
        {"spec": {"nodeName": None}, "status": {"phase": None, "conditions": None, "podIPs": None}},
    ],
)
def test_a_pod_that_has_hardly_begun_can_be_read(content: Any) -> None:
    metadata = {"namespace": "ns", "name": "p", "annotations": None, "deletionTimestamp": None}
    assert read(pod_of, {"metadata": metadata, **content}) == Pod("ns/p", ("u",), "", "", False, False, None)
    metadata["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    assert read(pod_of, {"metadata": metadata, **content}).deleting


def test_names_of_nodes_are_kept_once() -> None:
    content = {"metadata": {"name": "p"}, "spec": {"nodeName": "node-1"}}
    assert read(pod_of, content).node is read(pod_of, content).node


def test_what_is_no_pod_is_an_error_and_not_a_pod_without_anything() -> None:
    for text in (b"", b"{", b"{}", b'{"metadata": {"name": "p"}}', b'{"metadata": {"name": 3}}'):
        with pytest.raises(StoreDamaged, match="cannot be read"):
            pod_of.parse(text)


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
    assert read(node_of, {"metadata": {"name": "n"}, **content}) == node


@pytest.mark.parametrize(
    ("content", "config"),
    [
        ({}, ""),
        ({"spec": None}, ""),
        ({"spec": 3}, ""),
        ({"spec": {}}, ""),
        ({"spec": {"config": {"type": "macvlan"}}}, ""),
        ({"spec": {"config": "{}"}}, "{}"),
    ],
)
def test_a_definition_without_a_configuration_has_an_empty_one(content: Any, config: str) -> None:
    metadata = {"namespace": "ns", "name": "d"}
    found = read(definition_of, {"metadata": metadata, **content})
    assert found == AttachmentDefinition("ns", "d", "u", config)


@pytest.mark.parametrize(
    "annotations",
    [None, {STATUS: "[]"}, {STATUS: reported("10.0.0.1", "fd00::1")}, {"kubernetes.io/config.hash": "other"}],
)
def test_a_pod_that_was_packed_is_the_same_again(annotations: dict[str, str] | None) -> None:
    before = pod(annotations, phase="Running")
    assert pod_of.unpack("ns/p", pod_of.pack(before)) == before


def test_equal_pods_are_packed_alike_whatever_order_their_addresses_came_in() -> None:
    ips = [f"10.0.{n}.1" for n in range(50)]
    one, other = pod({STATUS: reported(*ips)}), pod({STATUS: reported(*reversed(ips))})
    assert pod_of.pack(one) == pod_of.pack(other)
