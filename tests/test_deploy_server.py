"""A real API server takes the manifests, and its admission thinks of the pods what they were made for."""

import json
from pathlib import Path
from typing import Any

import pytest

from .api_server import ApiServer, api_server
from .deployment import (
    BASE,
    CHART,
    COMPONENTS,
    DEPLOY,
    Manifest,
    by_name,
    kustomized,
    of_kind,
    overlay,
    pod_templates,
)
from .foreign_definitions import install_foreign_definitions

pytestmark = pytest.mark.apiserver

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture(scope="module")
def server() -> ApiServer:
    server = api_server()
    install_foreign_definitions(server)
    return server


def _dry_run(server: ApiServer, path: Path, objects: list[Manifest], *options: str) -> list[str]:
    """The names of the objects that the server would make."""
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    apply = ("apply", "--dry-run=server", "--validate=strict", "--server-side", "--force-conflicts")
    return server.kubectl(*apply, "--output=name", f"--filename={path}", *options).split()


def test_the_server_takes_the_base(server: ApiServer, tmp_path: Path) -> None:
    objects = kustomized(BASE)
    assert len(_dry_run(server, tmp_path / "all.json", objects)) == len(objects) == 16


def test_the_server_takes_the_base_with_every_component(server: ApiServer, tmp_path: Path) -> None:
    objects = kustomized(overlay(tmp_path, namespace="kube-system", components=("alerts", "coexist")))
    assert len(_dry_run(server, tmp_path / "all.json", objects)) == len(objects) == 22
    assert set(COMPONENTS) == {path.name for path in (DEPLOY / "components").iterdir()}


def test_the_server_takes_what_uninstalls(server: ApiServer, tmp_path: Path) -> None:
    (content,) = kustomized(DEPLOY / "uninstall")
    assert _dry_run(server, tmp_path / "one.json", [content]) == ["daemonset.apps/whereabouts-uninstall"]


@pytest.mark.parametrize("sample", sorted((DEPLOY / "samples").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_server_takes_the_samples(server: ApiServer, sample: Path) -> None:
    apply = ("apply", "--dry-run=server", "--validate=strict", f"--namespace={server.namespace()}")
    assert server.kubectl(*apply, "--output=name", f"--filename={sample}")


def test_in_another_namespace_nothing_is_left_in_kube_system(server: ApiServer, tmp_path: Path) -> None:
    objects = kustomized(overlay(tmp_path, namespace=server.namespace(), components=("alerts", "coexist")))
    assert "kube-system" not in json.dumps(objects)
    assert len(_dry_run(server, tmp_path / "all.json", objects)) == len(objects)


def test_every_name_that_an_object_mentions_is_there() -> None:
    objects = by_name(kustomized(BASE))
    for content in objects.values():
        kind, namespace = content["kind"], content["metadata"].get("namespace", "")
        if kind.endswith("Binding"):
            role = content["roleRef"]
            assert (role["kind"], namespace if role["kind"] == "Role" else "", role["name"]) in objects
            for subject in content["subjects"]:
                assert ("ServiceAccount", subject["namespace"], subject["name"]) in objects
        if kind in ("DaemonSet", "Deployment"):
            spec = content["spec"]["template"]["spec"]
            assert ("ServiceAccount", namespace, spec["serviceAccountName"]) in objects
            for volume in spec["volumes"]:
                if "configMap" in volume:
                    assert ("ConfigMap", namespace, volume["configMap"]["name"]) in objects


def _pod(template: Manifest, **spec: Any) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one"},
        "spec": {**template["spec"], "serviceAccountName": "default", **spec},
    }


def test_the_controllers_pod_keeps_the_restricted_pod_security_standard(server: ApiServer) -> None:
    template = pod_templates(kustomized(BASE))["whereabouts-controller"]
    namespace = server.namespace()
    path = f"/api/v1/namespaces/{namespace}"
    labelled = server.call(
        "PATCH", path, {"metadata": {"labels": RESTRICTED}}, "application/merge-patch+json"
    )
    assert labelled.status == 200
    reply = server.call("POST", f"{path}/pods?dryRun=All", _pod(template))
    assert reply.status == 201, reply.body
    root = _pod(template, securityContext={})
    assert server.call("POST", f"{path}/pods?dryRun=All", root).status == 403, "the standard is not enforced"


def test_the_agents_pod_is_admitted_where_nothing_is_enforced(server: ApiServer) -> None:
    template = pod_templates(kustomized(BASE))["whereabouts"]
    path = f"/api/v1/namespaces/{server.namespace()}/pods?dryRun=All"
    reply = server.call("POST", path, _pod(template))
    assert reply.status == 201, reply.body


def test_the_disruption_budget_is_for_the_controllers_pods() -> None:
    objects = kustomized(BASE)
    (budget,) = of_kind(objects, "PodDisruptionBudget")
    labels = pod_templates(objects)["whereabouts-controller"]["metadata"]["labels"]
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (deployment,) = of_kind(objects, "Deployment")
    assert deployment["spec"]["replicas"] > budget["spec"]["maxUnavailable"]


def test_the_charts_definitions_are_those_of_the_manifests() -> None:
    assert (CHART / "crds").resolve() == DEPLOY / "crds"


def _of_the_go_plugin(namespace: str) -> Manifest:
    """The Go plugin's DaemonSet as far as it differs from ours."""
    labels = {"tier": "node", "app": "whereabouts", "name": "whereabouts"}
    mounts = {"cnibin": "/host/opt/cni/bin", "cni-net-dir": "/host/etc/cni/net.d"}
    container = {
        "name": "whereabouts",
        "image": "example/whereabouts:latest",
        "command": ["/bin/sh"],
        "args": ["-c", "/install-cni.sh"],
        "resources": {"limits": {"cpu": "100m", "memory": "200Mi"}},
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in mounts.items()],
    }
    spec = {
        "hostNetwork": True,
        "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}],
        "containers": [container],
        "volumes": [
            {"name": name, "hostPath": {"path": path.removeprefix("/host")}} for name, path in mounts.items()
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "whereabouts", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": {"name": "whereabouts"}},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


@pytest.mark.parametrize("options", [(), ("--server-side", "--force-conflicts")], ids=["client", "server"])
def test_nothing_of_the_go_plugins_daemonset_is_left_when_ours_is_applied_over_it(
    options: tuple[str, ...], server: ApiServer, tmp_path: Path
) -> None:
    namespace, path = server.namespace(), tmp_path / "daemonset.json"
    (ours,) = of_kind(kustomized(overlay(tmp_path, namespace=namespace)), "DaemonSet")
    for content, how in ((_of_the_go_plugin(namespace), ()), (ours, options)):
        path.write_text(json.dumps(content))
        server.kubectl("apply", f"--filename={path}", *how)
    spec = json.loads(server.kubectl("-n", namespace, "get", "daemonset", "whereabouts", "-o", "json"))[
        "spec"
    ]
    left = spec["template"]["spec"]
    expected = ours["spec"]["template"]["spec"]
    assert [container["name"] for container in left["containers"]] == ["whereabouts", "token"]
    for container, wanted in zip(left["containers"], expected["containers"], strict=True):
        for field in ("command", "args", "image", "resources", "volumeMounts"):
            assert container.get(field) == wanted.get(field), field
    assert left["tolerations"] == expected["tolerations"]
    volumes = {volume["name"]: volume for volume in left["volumes"]}
    assert volumes.keys() == {volume["name"] for volume in expected["volumes"]}
