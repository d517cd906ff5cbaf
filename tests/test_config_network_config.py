"""The text of a NetworkAttachmentDefinition: one configuration, or a list of plugins."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.config_cases import NO_FILES
from whereabouts.config import ConfigError, NotOurs, load
from whereabouts.config.network_config import NetworkConfig, read_network_config

IPAM = {"type": "whereabouts", "range": "10.0.0.0/24"}
OURS = {"type": "macvlan", "ipam": IPAM}
TUNING = {"type": "tuning"}
OTHER = {"type": "bridge", "ipam": {"type": "host-local"}}


def read(value: Any) -> NetworkConfig:
    return read_network_config(json.dumps(value).encode(), "nad")


def test_single_configuration_is_taken_as_it_is() -> None:
    config = {"name": "net", "cniVersion": "1.0.0", **OURS}
    assert read(config) == NetworkConfig(config, "net", "1.0.0")
    assert read({**config, "plugins": "ignored"}).network == "net"


@pytest.mark.parametrize("plugins", [[OURS], [TUNING, OURS], [OTHER, OURS, TUNING], [None, 5, {}, OURS]])
def test_plugin_with_our_ipam_is_found_wherever_it_stands_in_a_list(plugins: list[Any]) -> None:
    assert read({"name": "net", "cniVersion": "1.0.0", "plugins": plugins}) == (OURS, "net", "1.0.0")


def test_name_and_version_are_those_of_the_list() -> None:
    plugin = {**OURS, "name": "inner", "cniVersion": "0.2.0"}
    assert read({"name": "net", "cniVersion": "1.0.0", "plugins": [plugin]})[1:] == ("net", "1.0.0")
    assert read({"plugins": [plugin]})[1:] == ("inner", "0.2.0")


def test_configuration_without_a_name_has_that_of_its_attachment_definition() -> None:
    assert read(OURS)[1:] == ("nad", "")
    assert read({"plugins": [OURS]})[1:] == ("nad", "")


def test_what_is_found_can_be_loaded() -> None:
    found = read({"name": "net", "plugins": [TUNING, OURS]})
    config = load(found.config, network=found.network, cni_version=found.cni_version, files=NO_FILES)
    assert config.network == "net"
    assert str(config.ranges[0].range.network) == "10.0.0.0/24"


@pytest.mark.parametrize("plugins", [[], [TUNING], [OTHER, TUNING], [{"ipam": "whereabouts"}]])
def test_list_without_our_ipam_is_not_ours(plugins: list[Any]) -> None:
    with pytest.raises(NotOurs):
        read({"name": "net", "plugins": plugins})


def test_configuration_without_ipam_is_not_ours() -> None:
    for config in ({}, TUNING, OTHER):
        with pytest.raises(NotOurs):
            load(read(config).config, network="nad", files=NO_FILES)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b'{"plugins": {}}', b'{"name": 5}', b'{"plugins": [{"ipam": {"type": 5}}]}']
)
def test_text_that_is_no_configuration_is_one_kind_of_error(text: bytes) -> None:
    with pytest.raises(ConfigError):
        read_network_config(text, "nad")


@given(st.binary(max_size=60))
def test_any_bytes_give_a_configuration_or_one_kind_of_error(text: bytes) -> None:
    with suppress(ConfigError):
        read_network_config(text, "nad")
