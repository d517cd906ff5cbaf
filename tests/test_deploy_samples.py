"""Every sample is taken by the code that reads it: by the plugin, and by the node agent of the DaemonSet."""

import json
from collections.abc import Mapping

import pytest

from whereabouts.agent.trust import TrustedFiles
from whereabouts.cluster.networks import DefinitionFiles, read_networks
from whereabouts.config import Config, load
from whereabouts.config.network_config import read_network_config

from .config_cases import MemoryFiles, flat
from .deployment import DEPLOY, Manifest, containers, documents, options, pod_templates, written

SAMPLES = {
    content["metadata"]["name"]: content
    for path in sorted((DEPLOY / "samples").glob("*.yaml"))
    for content in documents(path.read_text())
}
INSTALLED = flat(
    datastore="kubernetes",
    configuration_path="/etc/cni/net.d/whereabouts.d",
    kubernetes={"kubeconfig": "/etc/cni/net.d/whereabouts.d/whereabouts.kubeconfig"},
)


def loaded(sample: Manifest, files: MemoryFiles) -> Config:
    text, name = sample["spec"]["config"], sample["metadata"]["name"]
    config, network, version = read_network_config(text.encode(), name)
    return load(config, network=network, cni_version=version, files=files)


@pytest.fixture(params=SAMPLES.values(), ids=list(SAMPLES))
def sample(request: pytest.FixtureRequest) -> Manifest:
    content = request.param
    assert isinstance(content, dict)
    return content


def test_a_sample_is_taken_as_it_is_on_a_node_that_was_installed(sample: Manifest) -> None:
    config = loaded(sample, INSTALLED)
    assert config.ranges
    assert config.datastore == ("etcd" if sample["metadata"]["name"] == "etcd" else "kubernetes")


def test_a_sample_says_nothing_that_is_not_understood(sample: Manifest) -> None:
    assert loaded(sample, INSTALLED).warnings == ()


def test_a_sample_names_no_file_that_the_agent_of_the_daemonset_would_refuse(sample: Manifest) -> None:
    named = MemoryFiles(INSTALLED.contents)
    loaded(sample, named)
    (agent,) = (one for one in containers(pod_templates(written())["whereabouts"]) if "agent" in one["args"])
    for key, path in named.asked_for:
        TrustedFiles(options(agent, "--allow-directory")).admit(key, path)


def test_the_controller_reads_every_sample(sample: Manifest) -> None:
    class Definition:
        namespace = "default"
        name = sample["metadata"]["name"]
        config = sample["spec"]["config"]

    networks, faults = read_networks([Definition()], DefinitionFiles())
    assert [network.definition for network in networks] == [f"default/{Definition.name}"]
    assert faults == []


def test_a_sample_is_called_as_its_network(sample: Manifest) -> None:
    config = json.loads(sample["spec"]["config"])
    assert config["name"] == sample["metadata"]["name"]
    assert config["type"] == "macvlan"


def test_there_is_a_sample_of_everything_that_ranges_can_be() -> None:
    configs = {name: loaded(content, INSTALLED) for name, content in SAMPLES.items()}
    families = {name: [one.range.version for one in config.ranges] for name, config in configs.items()}
    assert families["ipv6"] == [6]
    assert families["dual-stack"] == [4, 6]
    assert families["several-ranges"] == [4, 4]
    assert configs["exclude"].ranges[0].range.excludes
    assert {configs[name].network_name for name in ("red", "blue")} == {"red", "blue"}
    keys: Mapping[str, Mapping[str, object]] = {
        name: json.loads(content["spec"]["config"])["ipam"] for name, content in SAMPLES.items()
    }
    assert "node_slice_size" in keys["node-slices"]
    assert keys["borrow"]["node_slice_borrow"] is True
