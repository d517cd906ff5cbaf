"""Peers of the benchmarks are found by the environment, and what is wrong with that is said."""

import json
import sys

import pytest

from bench.peers import NotUsable, absent, on_api_server, on_one_machine, present

PROGRAM = sys.executable
NOTHING = {"CNI_PATH": ""}


def names(environment: dict[str, str]) -> set[str]:
    return {peer.name for peer in present(environment)}


def test_any_plugin_can_be_named_with_what_its_configuration_is() -> None:
    ipam = {"type": "x", "ranges": [{"cidr": "{range}"}], "state": "{directory}/state", "mtu": 9}
    environment = {
        "WHEREABOUTS_BENCH_PEER_OUR_OWN": PROGRAM,
        "WHEREABOUTS_BENCH_PEER_OUR_OWN_IPAM": json.dumps(ipam),
    }
    (peer,) = (peer for peer in on_one_machine(environment) if peer.name == "our-own")
    assert peer.ipam("10.0.0.0/16", "/d") == {
        "type": "x",
        "ranges": [{"cidr": "10.0.0.0/16"}],
        "state": "/d/state",
        "mtu": 9,
    }


def test_a_plugin_that_asks_for_a_kubeconfig_is_compared_on_an_api_server() -> None:
    environment = {
        "WHEREABOUTS_BENCH_PEER_X": PROGRAM,
        "WHEREABOUTS_BENCH_PEER_X_IPAM": '{"type": "x", "config": "{kubeconfig}"}',
        "WHEREABOUTS_BENCH_GO": PROGRAM,
    }
    assert {peer.name for peer in on_api_server(environment)} == {"Go plugin", "x"}
    for peer in on_api_server(environment):
        assert "/k" in json.dumps(peer.ipam("10.0.0.0/16", "/d", "/k"))


def test_a_plugin_without_a_configuration_is_an_error_that_names_the_variable() -> None:
    environment = {"WHEREABOUTS_BENCH_PEER_X": PROGRAM}
    with pytest.raises(NotUsable, match="WHEREABOUTS_BENCH_PEER_X_IPAM"):
        present(environment)
    for text in ("{", "[]", '{"range": "x"}'):
        with pytest.raises(NotUsable, match="WHEREABOUTS_BENCH_PEER_X_IPAM"):
            present(environment | {"WHEREABOUTS_BENCH_PEER_X_IPAM": text})


def test_what_is_named_and_not_there_is_told_and_left_out() -> None:
    environment = {"WHEREABOUTS_BENCH_GO": "/not/there", "WHEREABOUTS_BENCH_HOST_LOCAL": PROGRAM}
    assert names(environment) == {"host-local"}
    assert absent(environment) == ["WHEREABOUTS_BENCH_GO names /not/there, which is no program"]


def test_what_is_not_named_is_told_with_the_variable_that_names_it() -> None:
    assert "no Go plugin: name it by WHEREABOUTS_BENCH_GO" in absent({})
    assert absent({"WHEREABOUTS_BENCH_GO": PROGRAM, "WHEREABOUTS_BENCH_HOST_LOCAL": PROGRAM}) == []
