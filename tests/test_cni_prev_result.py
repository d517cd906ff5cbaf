"""prevResult in the forms of all versions: strict for CHECK, as much as can be read for DEL."""

import json
from ipaddress import ip_address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whereabouts.cni.errors import CniError
from whereabouts.cni.prev_result import PrevResult, prev_result, prev_result_if_any
from whereabouts.cni.results import IPConfig, Result, print_result
from whereabouts.cni.versions import SUPPORTED

V4, V6 = ip_interface("10.0.0.5/8"), ip_interface("fd00::5/64")


@pytest.mark.parametrize("version", SUPPORTED)
def test_own_result_is_read_back_in_every_version(version: str) -> None:
    result = Result(ips=(IPConfig(V4, ip_address("10.0.0.1")), IPConfig(V6)))
    config = {"prevResult": json.loads(print_result(result, version))}
    assert prev_result(config) == (V4, V6)
    assert prev_result_if_any(config) == PrevResult("whole", (V4, V6), "")


def test_addresses_of_other_plugins_are_read_too() -> None:
    result = {
        "interfaces": [{"name": "net1", "sandbox": "/run/netns/blue"}],
        "ips": [
            {"address": "10.0.0.5/8", "interface": 0, "gateway": "10.0.0.1"},
            {"address": "192.0.2.1/32", "interface": 7},
        ],
    }
    assert prev_result({"prevResult": result}) == (V4, ip_interface("192.0.2.1/32"))


def test_keys_are_found_with_other_capitals() -> None:
    assert prev_result({"PrevResult": {"IPs": [{"Address": "10.0.0.5/8"}]}}) == (V4,)


@pytest.mark.parametrize("result", [{}, {"ips": None}, {"ips": []}, {"dns": {}}])
def test_result_without_addresses_is_whole(result: dict[str, object]) -> None:
    assert prev_result_if_any({"prevResult": result}) == PrevResult("whole", (), "")


@pytest.mark.parametrize("config", [{}, {"prevResult": None}])
def test_missing_result_fails_check_but_not_del(config: dict[str, object]) -> None:
    assert prev_result_if_any(config) == PrevResult("absent", (), "")
    with pytest.raises(CniError, match="missing prevResult") as caught:
        prev_result(config)
    assert caught.value.code == 7


def bad_address(text: str) -> str:
    return f'key "address": "{text}" is not an address with a prefix length'


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        ([], "expected an object, found a list"),
        ({"ips": {}}, "ips: expected a list, found an object"),
        ({"ips": ["10.0.0.5/8"]}, "ips[0]: expected an object, found a string"),
        ({"ips": [{}]}, "ips[0]: " + bad_address("")),
        ({"ips": [{"address": 5}]}, 'ips[0]: key "address": expected a string, found a number'),
        ({"ips": [{"address": "10.0.0.5"}]}, "ips[0]: " + bad_address("10.0.0.5")),
        ({"ips": [{"address": "10.0.0.5/33"}]}, "ips[0]: " + bad_address("10.0.0.5/33")),
        (
            {"ips": [{"address": "10.0.0.5/255.0.0.0"}]},
            "ips[0]: " + bad_address("10.0.0.5/255.0.0.0"),
        ),
        ({"ips": [{"address": "fe80::1%eth0/64"}]}, "ips[0]: " + bad_address("fe80::1%eth0/64")),
        ({"ip4": 1}, "ip4: expected an object, found a number"),
    ],
)
def test_damaged_result_fails_check_but_not_del(result: object, problem: str) -> None:
    assert prev_result_if_any({"prevResult": result}) == PrevResult("damaged", (), problem)
    with pytest.raises(CniError) as caught:
        prev_result({"prevResult": result})
    assert (caught.value.code, caught.value.msg) == (7, f"could not parse prevResult: {problem}")


def test_del_gets_what_can_be_read_of_a_damaged_result() -> None:
    entries = [{"address": "x"}, {"address": "10.0.0.5/8"}, {"address": "y"}]
    found = prev_result_if_any({"prevResult": {"ips": entries}})
    assert found == PrevResult("damaged", (V4,), "ips[0]: " + bad_address("x"))


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=8) | st.sampled_from(["10.0.0.5/8", "fd00::5/64"]),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.sampled_from(["ips", "ip4", "ip6", "address", "ip"]), children, max_size=3)
    ),
)


@given(JSON)
def test_any_result_is_read_without_failure_for_del(result: object) -> None:
    found = prev_result_if_any({"prevResult": result})
    assert (found.problem != "") == (found.state == "damaged")
