"""The Helm chart makes what the plain manifests are, and takes the values of the Go plugin's chart."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .api_server import ADMIN, api_server
from .deployment import BASE, CHART, Manifest, Name, by_name, documents, kustomized, overlay, yaml
from .foreign_definitions import install_foreign_definitions

pytestmark = [pytest.mark.helm, pytest.mark.apiserver]

HELMS_LABELS = {
    "helm.sh/chart",
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
}

UPSTREAM_VALUES: dict[str, Any] = {
    "image": {
        "repository": "ghcr.io/k8snetworkplumbingwg/whereabouts",
        "pullPolicy": "IfNotPresent",
        "tag": "v0.8.0",
    },
    "updateStrategy": "RollingUpdate",
    "imagePullSecrets": [],
    "nameOverride": "",
    "fullnameOverride": "",
    "namespaceOverride": "kube-system",
    "successfulJobsHistoryLimit": 0,
    "serviceAccount": {"create": True, "annotations": {}},
    "podAnnotations": {},
    "podSecurityContext": {},
    "securityContext": {"privileged": True},
    "resources": {
        "requests": {"cpu": "100m", "memory": "50Mi"},
        "limits": {"cpu": "100m", "memory": "50Mi"},
    },
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {},
    "priorityClassName": "",
    "cniConf": {"confDir": "/etc/cni/net.d", "binDir": "/opt/cni/bin"},
    "nodeSliceController": {"enabled": True, "priorityClassName": ""},
    "reconciler": {
        "logLevel": "debug",
        "resources": {
            "requests": {"cpu": "100m", "memory": "50Mi"},
            "limits": {"cpu": "100m", "memory": "50Mi"},
        },
    },
}
"""Every value that the Go plugin's chart has, as it is there."""


def _helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["helm", *arguments], capture_output=True, text=True, check=False)


def rendered(folder: Path, release: str = "whereabouts", **values: Any) -> list[Manifest]:
    """What the chart makes of these values, with its definitions."""
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    # As the manifests' objects; Helm itself has the definitions apart.
    run = _helm("template", release, CHART, "--include-crds", "--namespace=default", f"--values={file}")
    assert run.returncode == 0, run.stderr
    return documents(run.stdout)


def _without_helms_labels(objects: dict[Name, Manifest]) -> dict[Name, Manifest]:
    for name, content in objects.items():
        if name.kind != "CustomResourceDefinition":
            labels = content["metadata"].pop("labels")
            assert labels.keys() >= HELMS_LABELS, name
            own = {key: value for key, value in labels.items() if key not in HELMS_LABELS}
            if own:
                content["metadata"]["labels"] = own
    return objects


def _assert_equal(chart: list[Manifest], manifests: list[Manifest]) -> None:
    ours, theirs = _without_helms_labels(by_name(chart)), by_name(manifests)
    assert ours.keys() == theirs.keys()
    for name, content in theirs.items():
        assert ours[name] == content, name


def test_with_its_own_values_the_chart_makes_the_plain_manifests(tmp_path: Path) -> None:
    _assert_equal(rendered(tmp_path), kustomized(BASE))


def test_with_metrics_it_makes_what_the_components_do(tmp_path: Path) -> None:
    metrics = {"enabled": True, "podMonitor": True, "alerts": True}
    _assert_equal(
        rendered(tmp_path, metrics=metrics),
        kustomized(overlay(tmp_path, namespace="kube-system", components=("alerts",))),
    )


def test_alerts_ask_for_the_daemonset_by_the_name_that_it_has(tmp_path: Path) -> None:
    metrics = {"enabled": True, "podMonitor": True, "alerts": True}
    objects = by_name(rendered(tmp_path, fullnameOverride="ipam", metrics=metrics))
    assert Name("DaemonSet", "kube-system", "ipam") in objects
    rules = json.dumps(objects[Name("PrometheusRule", "kube-system", "ipam")])
    assert r"kube_daemonset_status_number_unavailable{daemonset=\"ipam\"}" in rules


def test_with_the_status_page_it_makes_what_the_component_does(tmp_path: Path) -> None:
    _assert_equal(
        rendered(tmp_path, statusPage={"enabled": True}),
        kustomized(overlay(tmp_path, namespace="kube-system", components=("status-page",))),
    )


def test_with_the_setting_to_coexist_it_makes_what_the_component_does(tmp_path: Path) -> None:
    chart = rendered(tmp_path, settings={"coexist_with_upstream": True})
    (daemon_set,) = (content for content in chart if content["kind"] == "DaemonSet")
    del daemon_set["spec"]["template"]["metadata"]["annotations"]["checksum/settings"]
    manifests = kustomized(overlay(tmp_path, namespace="kube-system", components=("coexist",)))
    for content in (*chart, *manifests):
        if content["kind"] == "Secret":
            content["stringData"] = {name: json.loads(text) for name, text in content["stringData"].items()}
    _assert_equal(chart, manifests)


def test_helm_finds_nothing_to_object_to() -> None:
    run = _helm("lint", "--strict", CHART)
    assert run.returncode == 0, run.stdout


def test_values_of_the_go_plugins_chart_are_taken_and_followed(tmp_path: Path) -> None:
    objects = by_name(rendered(tmp_path, **UPSTREAM_VALUES))
    agent = objects[Name("DaemonSet", "kube-system", "whereabouts")]["spec"]["template"]["spec"]
    for container in [*agent["initContainers"], *agent["containers"]]:
        assert container["image"] == "ghcr.io/k8snetworkplumbingwg/whereabouts:v0.8.0"
        assert container["securityContext"] == {"privileged": True}
    assert agent["containers"][0]["resources"] == UPSTREAM_VALUES["resources"]
    assert "priorityClassName" not in agent
    controller = objects[Name("Deployment", "kube-system", "whereabouts-controller")]
    container = controller["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"] == UPSTREAM_VALUES["reconciler"]["resources"]
    assert "--log-level=debug" in container["args"]


EVERYTHING: dict[str, Any] = {
    "image": {"repository": "registry.example/whereabouts", "tag": "v9", "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "registry"}],
    "fullnameOverride": "ipam",
    "namespaceOverride": "",
    "serviceAccount": {"create": False, "name": "given", "annotations": {}},
    "updateStrategy": "OnDelete",
    "podAnnotations": {"note": "x"},
    "affinity": {"nodeAffinity": {}},
    "nodeSelector": {},
    "tolerations": [],
    "cniConf": {"confDir": "/var/lib/rancher/cni/net.d", "binDir": "/var/lib/rancher/cni/bin"},
    "settings": {"datastore": "etcd", "etcd_host": "10.0.0.7:2379", "etcd_password": "it's"},
    "agent": {"logLevel": "debug", "allowDirectories": ["/var/log/whereabouts"]},
    "cronExpression": "@hourly",
    "controller": {
        "replicas": 3,
        "podAnnotations": {"note": "why"},
        "podDisruptionBudget": False,
        "soleCluster": True,
    },
    "nodeSliceController": {"priorityClassName": "system-node-critical"},
    "reconciler": {"logLevel": "error"},
    "metrics": {"enabled": True},
}


@pytest.mark.parametrize(
    "values",
    [
        {},
        # The test's server was not started with --allow-privileged.
        {**UPSTREAM_VALUES, "securityContext": {}},
        EVERYTHING,
        {"controller": {"enabled": False}},
        {"controller": {"enabled": False}, "metrics": {"enabled": True, "podMonitor": True, "alerts": True}},
    ],
    ids=["own", "upstream", "everything", "no controller", "no controller but metrics"],
)
def test_the_server_takes_what_the_chart_makes(values: dict[str, Any], tmp_path: Path) -> None:
    server = api_server()
    install_foreign_definitions(server)
    objects = rendered(tmp_path, release="another", **values)
    (tmp_path / "all.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    apply = ("apply", "--dry-run=server", "--validate=strict", "--server-side", "--force-conflicts")
    names = server.kubectl(*apply, "--output=name", f"--filename={tmp_path}/all.json").split()
    assert len(names) == len(objects)


def test_every_value_that_is_given_reaches_its_place(tmp_path: Path) -> None:
    objects = by_name(rendered(tmp_path, release="another", **EVERYTHING))
    assert {name.namespace for name in objects} == {"", "default"}
    assert not any(name.kind in ("ServiceAccount", "PodDisruptionBudget") for name in objects)
    bindings = {name: content for name, content in objects.items() if name.kind.endswith("Binding")}
    for name, binding in bindings.items():
        role = binding["roleRef"]
        assert Name(role["kind"], name.namespace, role["name"]) in objects
        (subject,) = binding["subjects"]
        assert subject["name"] in ("given", "given-controller")
        assert subject["namespace"] == "default"
    daemon_set = objects[Name("DaemonSet", "default", "ipam")]["spec"]
    assert daemon_set["updateStrategy"] == {"type": "OnDelete"}
    agent = daemon_set["template"]["spec"]
    assert agent["serviceAccountName"] == "given"
    assert agent["imagePullSecrets"] == [{"name": "registry"}]
    folder = "/var/lib/rancher/cni/net.d/whereabouts.d"
    mounts = {mount["mountPath"]: mount["name"] for mount in agent["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume.get("hostPath", {}).get("path") for volume in agent["volumes"]}
    # The kubeconfig is named by its path on the host, whereabouts.conf is looked for where it always is.
    assert mounts[folder] == mounts["/etc/cni/net.d/whereabouts.d"] == "installed"
    assert volumes["installed"] == folder
    assert volumes[mounts["/var/log/whereabouts"]] == "/var/log/whereabouts"
    assert agent["containers"][0]["args"][2:] == [
        f"--allow-directory={folder}",
        "--log-level=debug",
        "--allow-directory=/var/log/whereabouts",
        "--metrics-host=$(NODE_IP)",
    ]
    for container in (agent["initContainers"][0], agent["containers"][1]):
        environment = {entry["name"]: entry.get("value") for entry in container["env"]}
        places = {mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] != "settings"}
        assert places == {environment["CNI_CONF_DIR"], environment["CNI_BIN_DIR"]}
        assert places == {f"/host{EVERYTHING['cniConf'][name]}" for name in ("confDir", "binDir")}
    settings = objects[Name("Secret", "default", "ipam-settings")]["stringData"]["whereabouts.conf"]
    assert json.loads(settings) == EVERYTHING["settings"]
    assert volumes.keys() >= {"settings"}
    controller = objects[Name("Deployment", "default", "ipam-controller")]["spec"]
    assert controller["replicas"] == 3
    # The records are not in the cluster: the controller is told where.
    (container,) = controller["template"]["spec"]["containers"]
    assert {"--config=/settings/whereabouts.conf", "--sole-cluster"} <= set(container["args"])
    assert "/settings" in [mount["mountPath"] for mount in container["volumeMounts"]]
    assert controller["template"]["spec"]["priorityClassName"] == "system-node-critical"
    assert objects[Name("ConfigMap", "default", "ipam-config")]["data"] == {"cron-expression": "@hourly"}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"image": {"tga": "v1"}}, "tga"),
        ({"replicas": 2}, "replicas"),
        ({"controller": {"replicas": 0}}, "replicas"),
        ({"cniConf": {"confDir": "etc/cni"}}, "confDir"),
        ({"agent": {"logLevel": "loud"}}, "logLevel"),
        ({"metrics": {"podMonitor": True}}, "metrics.enabled"),
        ({"metrics": {"alerts": True}}, "metrics.enabled"),
        ({"settings": {"datastore": "etcd"}}, "controller.soleCluster"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name"),
    ],
)
def test_a_wrong_value_is_named(values: dict[str, Any], named: str, tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    run = _helm("template", "whereabouts", CHART, f"--values={tmp_path}/values.yaml")
    assert run.returncode != 0
    assert named in run.stderr


def test_helm_installs_upgrades_and_uninstalls_and_its_notes_tell_what_is_off(tmp_path: Path) -> None:
    server = api_server()
    access = [
        f"--kube-apiserver={server.server}",
        f"--kube-ca-file={server.authority}",
        f"--kube-token={ADMIN}",
        f"--namespace={server.namespace()}",
    ]
    values = ["--set=namespaceOverride=,fullnameOverride=by-helm"]
    first = _helm("install", "w", CHART, *values, *access)
    assert first.returncode == 0, first.stderr
    assert "helm show crds" in first.stdout
    assert "controller is off" not in first.stdout
    second = _helm("upgrade", "w", CHART, *values, "--set=controller.enabled=false", *access)
    assert second.returncode == 0, second.stderr
    assert "controller is off" in second.stdout
    assert _helm("uninstall", "w", *access).returncode == 0
    reply = server.call("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/by-helm-controller")
    assert reply.status == 404
    shown = by_name(documents(_helm("show", "crds", CHART).stdout))
    definitions = {name for name in by_name(kustomized(BASE)) if name.kind == "CustomResourceDefinition"}
    assert shown.keys() == definitions
