"""The manifests say what the programs take, and give them no more than they need."""

import argparse
from importlib import import_module
from typing import Any

import pytest

import whereabouts
from whereabouts.agent import command as agent
from whereabouts.agent.framing import DEFAULT_SOCKET
from whereabouts.config.flat_file import FLAT_FILES
from whereabouts.controller.cron import DEFAULT, Cron
from whereabouts.controller.schedule import CRON_FILE
from whereabouts.install import command as install

from .api_server import CRDS
from .deployment import (
    BASE,
    CHART,
    DEPLOY,
    Manifest,
    containers,
    documents,
    of_kind,
    options,
    pod_templates,
    uninstaller,
    written,
)

kubernetes_validate: Any = import_module("kubernetes_validate")

OBJECTS = written()
TEMPLATES = pod_templates([*OBJECTS, uninstaller()])
CONTAINERS = {
    f"{workload}/{container['name']}": container
    for workload, template in TEMPLATES.items()
    for container in containers(template)
}
AGENT, CONTROLLER = (CONTAINERS[f"{name}/whereabouts"] for name in ("whereabouts", "whereabouts-controller"))


def _mounts(container: Manifest, template: Manifest) -> dict[str, tuple[Any, bool]]:
    """Volumes by where a container has them, and whether it may only read there."""
    volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
    return {
        mount["mountPath"]: (volumes[mount["name"]], mount.get("readOnly", False))
        for mount in container["volumeMounts"]
    }


# ------------------------------------------------------------------ they fit the programs


def _parsed(container: Manifest) -> argparse.Namespace:
    """What a program reads on a container's command line."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command")
    modules = [agent, install]
    if container["args"][0] == "controller":
        modules = [pytest.importorskip("whereabouts.controller.command")]
    for module in modules:
        module.register(commands)
    return parser.parse_args(container["args"])


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_every_container_starts_a_command_with_options_that_it_has(container: Manifest) -> None:
    if container["name"] == "done":
        return
    assert _parsed(container).command == container["args"][0]
    assert "command" not in container, "the image's entry point is the program"


def test_the_agents_container_sees_what_was_installed_where_it_looks_for_it() -> None:
    mounts = _mounts(AGENT, TEMPLATES["whereabouts"])
    (place,) = (path for path in mounts if f"{path}/whereabouts.conf" in FLAT_FILES)
    volume, read_only = mounts[place]
    assert read_only
    # whereabouts.conf names the kubeconfig by its path on the host.
    assert volume["hostPath"]["path"] == place
    assert f"--allow-directory={place}" in AGENT["args"]


def test_the_agents_socket_and_its_embedded_store_are_on_the_host() -> None:
    mounts = _mounts(AGENT, TEMPLATES["whereabouts"])
    for place in (DEFAULT_SOCKET.rpartition("/")[0], "/var/lib/cni/whereabouts"):
        volume, read_only = mounts[place]
        assert volume["hostPath"] == {"path": place, "type": "DirectoryOrCreate"}
        assert not read_only


def test_what_installs_sees_the_hosts_directories_below_host_and_the_agent_does_not() -> None:
    template = TEMPLATES["whereabouts"]
    host = {"/host/opt/cni/bin": "/opt/cni/bin", "/host/etc/cni/net.d": "/etc/cni/net.d"}
    for name in ("whereabouts/install", "whereabouts/token", "whereabouts-uninstall/uninstall"):
        mounts = _mounts(CONTAINERS[name], TEMPLATES[name.partition("/")[0]])
        settings, read_only = mounts.pop("/settings")
        assert settings["secret"] == {"secretName": "whereabouts-settings", "optional": True}
        assert read_only
        assert {place: volume["hostPath"]["path"] for place, (volume, _) in mounts.items()} == host
    assert not host.keys() & _mounts(AGENT, template).keys()


def test_the_controllers_cron_expression_is_mounted_where_it_is_read() -> None:
    folder, _, file = CRON_FILE.rpartition("/")
    volume, read_only = _mounts(CONTROLLER, TEMPLATES["whereabouts-controller"])[folder]
    assert read_only
    assert f"--cron-file={CRON_FILE}" in CONTROLLER["args"]
    assert volume["configMap"] == {
        "name": "whereabouts-config",
        "items": [{"key": "cron-expression", "path": file}],
    }
    (config,) = of_kind(OBJECTS, "ConfigMap")
    assert config["metadata"]["name"] == "whereabouts-config"
    assert config["data"] == {"cron-expression": DEFAULT}
    Cron(DEFAULT)


def test_a_stopping_agent_is_given_the_time_that_it_takes() -> None:
    seconds = _parsed(AGENT).drain_seconds
    assert TEMPLATES["whereabouts"]["spec"]["terminationGracePeriodSeconds"] >= seconds + 5


@pytest.mark.parametrize("name", ["whereabouts/whereabouts", "whereabouts-controller/whereabouts"])
def test_probes_ask_where_the_program_serves_them(name: str) -> None:
    container = CONTAINERS[name]
    (port,) = options(container, "--metrics-port")
    ports = {entry["name"]: entry["containerPort"] for entry in container.get("ports", ())}
    probes = {"livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    for probe, path in probes.items():
        asked = container[probe]["httpGet"]
        assert asked["path"] == path
        assert str(ports.get(asked["port"], asked["port"])) == port
        # On the host's network the agent listens on the loopback only.
        assert asked.get("host") == ("127.0.0.1" if container is AGENT else None)


def test_every_image_and_version_is_that_of_the_package() -> None:
    for folder in (BASE, DEPLOY / "uninstall"):
        (kustomization,) = documents((folder / "kustomization.yaml").read_text())
        (image,) = kustomization["images"]
        assert image["newTag"] == whereabouts.__version__
    assert {container["image"] for container in CONTAINERS.values()} == {image["name"]}
    (chart,) = documents((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == whereabouts.__version__
    (values,) = documents((CHART / "values.yaml").read_text())
    assert values["image"]["repository"] == image["name"]


def test_the_kustomization_lists_every_file() -> None:
    for folder, file in ((BASE, "kustomization.yaml"), (CRDS, "Kustomization")):
        (kustomization,) = documents((folder / file).read_text())
        listed = {name for name in kustomization["resources"] if name.endswith(".yaml")}
        assert listed == {path.name for path in folder.glob("*.yaml")} - {file}


# ------------------------------------------------------------------ names of the Go plugin's manifests


def test_workloads_have_the_names_and_labels_of_the_go_plugins() -> None:
    (daemon_set,) = of_kind(OBJECTS, "DaemonSet")
    assert daemon_set["metadata"]["name"] == "whereabouts"
    labels = {"tier": "node", "app": "whereabouts", "name": "whereabouts"}
    assert daemon_set["spec"]["template"]["metadata"]["labels"] == labels
    # Cannot be changed in an object that exists.
    assert daemon_set["spec"]["selector"] == {"matchLabels": {"name": "whereabouts"}}
    (deployment,) = of_kind(OBJECTS, "Deployment")
    assert deployment["metadata"]["name"] == "whereabouts-controller"
    assert deployment["spec"]["selector"] == {"matchLabels": {"app": "whereabouts-controller"}}


@pytest.mark.parametrize("workload", ["whereabouts", "whereabouts-uninstall"])
def test_a_daemonset_runs_on_every_linux_node_whatever_its_taints(workload: str) -> None:
    spec = TEMPLATES[workload]["spec"]
    assert {"operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]
    assert {"operator": "Exists", "effect": "NoExecute"} in spec["tolerations"]
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert spec["priorityClassName"] == "system-node-critical"
    assert spec["hostNetwork"]


# ------------------------------------------------------------------ no more than is needed


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_no_container_is_privileged_or_can_become_it(container: Manifest) -> None:
    security = container["securityContext"]
    assert "privileged" not in security
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"]["drop"] == ["ALL"]
    # Only what writes into directories of the host that may belong to somebody else.
    writing = container["name"] in ("install", "token", "uninstall")
    added = ["DAC_OVERRIDE"] if writing else []
    assert security["capabilities"].get("add", []) == added


def test_every_pod_has_a_seccomp_profile_and_the_controllers_is_not_root() -> None:
    for template in TEMPLATES.values():
        assert template["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert TEMPLATES["whereabouts-controller"]["spec"]["securityContext"]["runAsNonRoot"] is True
    assert "hostNetwork" not in TEMPLATES["whereabouts-controller"]["spec"]
    assert not any("hostPath" in volume for volume in TEMPLATES["whereabouts-controller"]["spec"]["volumes"])


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_every_container_says_what_it_needs_and_how_much_memory_it_may_take(container: Manifest) -> None:
    resources = container["resources"]
    assert resources["requests"].keys() == {"cpu", "memory"}
    assert resources["limits"].keys() == {"memory"}, "a limit on the CPU would slow pods' starts"


def _rules(kind: str) -> dict[str, list[Manifest]]:
    return {role["metadata"]["name"]: role["rules"] for role in of_kind(OBJECTS, kind)}


def test_no_role_has_wildcards_or_reads_secrets() -> None:
    for rules in [*_rules("Role").values(), *_rules("ClusterRole").values()]:
        for rule in rules:
            assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
            assert "secrets" not in rule["resources"]
            assert "configmaps" not in rule["resources"]


def test_node_agents_may_do_nothing_outside_their_namespace() -> None:
    bindings = of_kind(OBJECTS, "ClusterRoleBinding")
    accounts = [subject["name"] for binding in bindings for subject in binding["subjects"]]
    assert accounts == ["whereabouts-controller"]


def test_in_the_whole_cluster_the_controller_only_reads_and_posts_events() -> None:
    (rules,) = _rules("ClusterRole").values()
    for rule in rules:
        (resource,) = rule["resources"]
        if resource == "events":
            assert set(rule["verbs"]) <= {"create", "patch"}
        else:
            assert resource in ("pods", "nodes", "network-attachment-definitions")
            assert set(rule["verbs"]) <= {"get", "list", "watch"}


# ------------------------------------------------------------------ offline validation


@pytest.mark.parametrize("version", ["1.27", "1.30", "1.33", "1.36"])
def test_every_manifest_has_the_schema_of_kubernetes(version: str) -> None:
    definitions = [document for path in CRDS.glob("*.yaml") for document in documents(path.read_text())]
    services = documents((DEPLOY / "components/metrics/services.yaml").read_text())
    for content in [*OBJECTS, *definitions, *services, uninstaller()]:
        kubernetes_validate.validate(content, version, strict=True)
