"""Networks as NetworkAttachmentDefinitions describe them, read without touching a file."""

import json
from typing import Any, NamedTuple

import pytest

from whereabouts.cluster.networks import DefinitionFiles, Network, Unreadable, read_networks


class Definition(NamedTuple):
    namespace: str
    name: str
    config: str


def definition(name: str, **ipam: Any) -> Definition:
    config = {"cniVersion": "1.0.0", "name": name, "ipam": {"type": "whereabouts", **ipam}}
    return Definition("default", name, json.dumps(config))


def read(*definitions: Definition, files: DefinitionFiles | None = None) -> tuple[Any, Any]:
    return read_networks(definitions, files or DefinitionFiles())


def test_networks_of_whereabouts_are_found_and_others_passed_over() -> None:
    others = Definition("default", "other", '{"ipam": {"type": "host-local"}}')
    none = Definition("default", "none", '{"type": "sriov"}')
    found, faults = read(others, definition("blue", range="10.0.0.0/24"), none)
    (network,) = found
    assert isinstance(network, Network)
    assert network.definition == "default/blue"
    assert str(network.config.ranges[0].range.network) == "10.0.0.0/24"
    assert network.config.datastore == "kubernetes"
    assert faults == []


@pytest.mark.parametrize("config", ["{", "[]", '{"plugins": 3}', '{"ipam": 3}'])
def test_a_definition_that_cannot_be_read_is_told_and_the_others_are_read(config: str) -> None:
    found, faults = read(
        Definition("a", "bad", config), definition("wrong", range="10.0.0.0/33"), definition("good")
    )
    assert [network.definition for network in found] == ["default/good"]
    assert [fault.definition for fault in faults] == ["a/bad", "default/wrong"]
    assert all(isinstance(fault, Unreadable) and fault.reason for fault in faults)


def test_a_definition_whose_configuration_is_on_the_nodes_is_passed_over() -> None:
    found, faults = read(Definition("a", "on-the-nodes", ""), definition("good"))
    assert [network.definition for network in found] == ["default/good"]
    assert faults == []


def test_no_path_that_a_definition_names_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr("os.open", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    paths = {"configuration_path": "/etc/shadow", "log_file": "/etc/shadow", "etcd_key_file": "/etc/shadow"}
    found, _ = read(definition("blue", range="10.0.0.0/24", **paths))
    assert len(found) == 1


def test_what_the_hosts_flat_file_says_holds_for_definitions() -> None:
    files = DefinitionFiles(b'{"range": "10.7.0.0/24"}')
    found, _ = read(definition("blue"), files=files)
    assert [str(one.range.network) for one in found[0].config.ranges] == ["10.7.0.0/24"]


def test_a_list_of_plugins_lends_its_name() -> None:
    plugins = [{"type": "tuning"}, {"type": "macvlan", "ipam": {"type": "whereabouts"}}]
    found, _ = read(Definition("default", "nad", json.dumps({"name": "listed", "plugins": plugins})))
    assert found[0].config.network == "listed"
