"""Static addresses, routes and DNS: what is reported besides the addresses of ranges."""

from ipaddress import ip_address, ip_interface
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.config_cases import loaded
from whereabouts.cni.args import CniArgs
from whereabouts.cni.results import IPConfig, Route
from whereabouts.config import ConfigError

NO_ARGS = CniArgs()


def refusal(ipam: dict[str, Any], args: CniArgs = NO_ARGS, version: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(ipam, args=args, cni_version=version)
    return str(caught.value)


def test_static_addresses_keep_their_host_bits_and_order() -> None:
    ipam = {
        "addresses": [
            {"address": "10.9.0.5/24", "gateway": "10.9.0.1"},
            {"address": "fd00::5/64", "gateway": ""},
            {"address": "::ffff:10.8.0.5/120"},
        ]
    }
    args = CniArgs(ip=("10.7.0.05/24",))
    assert loaded(ipam, args=args, cni_version="1.0.0").static == (
        IPConfig(ip_interface("10.9.0.5/24"), ip_address("10.9.0.1")),
        IPConfig(ip_interface("fd00::5/64")),
        IPConfig(ip_interface("10.8.0.5/24")),
        IPConfig(ip_interface("10.7.0.5/24")),
    )


def test_gateway_of_the_arguments_goes_to_every_static_address_whose_subnet_holds_it() -> None:
    ipam = {"addresses": [{"address": "10.9.0.5/24", "gateway": "10.9.0.1"}, {"address": "fd00::5/64"}]}
    args = CniArgs(ip=("10.9.0.6/25", "10.8.0.6/24"), gateway=("10.9.0.254", "fd00::1", "10.8.0.1"))
    gateways = [str(one.gateway) for one in loaded(ipam, args=args, cni_version="1.0.0").static]
    assert gateways == ["10.9.0.254", "fd00::1", "None", "10.8.0.1"]


hosts = st.sampled_from(["10.9.0", "10.8.255"]).flatmap(
    lambda start: st.integers(0, 255).map(lambda last: f"{start}.{last}")
) | st.integers(0, 0xFFFF).map(lambda last: f"fd00::{last:x}")


@given(st.lists(st.tuples(hosts, st.integers(8, 32)), max_size=8), st.lists(hosts, max_size=8))
def test_of_several_gateways_of_the_arguments_the_last_in_the_subnet_counts(
    addresses: list[tuple[str, int]], gateways: list[str]
) -> None:
    texts = [f"{host}/{prefixlen}" for host, prefixlen in addresses]
    args = CniArgs(ip=tuple(texts), gateway=tuple(gateways))
    expected = [
        next((one for one in map(ip_address, reversed(gateways)) if one in ip_interface(text).network), None)
        for text in texts
    ]
    assert [one.gateway for one in loaded({}, args=args, cni_version="1.0.0").static] == expected


@pytest.mark.parametrize(
    ("ipam", "message"),
    [
        (
            {"addresses": [{"address": "10.9.0.5"}]},
            'invalid CIDR in addresses 10.9.0.5: invalid CIDR address: 10.9.0.5 (key "addresses[0].address")',
        ),
        (
            {"addresses": [{"address": "10.9.0.5/24"}, {}]},
            'invalid CIDR in addresses : invalid CIDR address:  (key "addresses[1].address")',
        ),
        (
            {"addresses": [{"address": "10.9.0.5/24", "gateway": "10.9.0.01"}]},
            'invalid IP address: 10.9.0.01 (key "addresses[0].gateway")',
        ),
        (
            {"addresses": [{"address": "10.9.0.5/24", "gateway": "fd00::1"}]},
            "addresses[0]: gateway fd00::1 is not of the family of address 10.9.0.5/24",
        ),
        ({"routes": [{"gw": "10.0.0.1"}]}, 'invalid CIDR address:  (key "routes[0].dst")'),
        (
            {"routes": [{"dst": "::/0"}, {"dst": "010.0.0.0/8"}]},
            'invalid CIDR address: 010.0.0.0/8 (key "routes[1].dst")',
        ),
        (
            {"routes": [{"dst": "0.0.0.0/0", "gw": "x"}]},
            'invalid IP address: x (key "routes[0].gw")',
        ),
    ],
)
def test_mistakes_name_key_and_value(ipam: dict[str, Any], message: str) -> None:
    assert refusal(ipam) == message


@pytest.mark.parametrize(
    ("args", "start"),
    [
        (CniArgs(ip=("10.9.0.5",)), "invalid CIDR 10.9.0.5: invalid CIDR address: 10.9.0.5"),
        (CniArgs(ip=("",)), "invalid CIDR : invalid CIDR address: "),
        (CniArgs(gateway=("10.9.0",)), "invalid gateway address: 10.9.0"),
        (CniArgs(gateway=("",)), "invalid gateway address: "),
    ],
)
def test_arguments_that_cannot_be_parsed_are_refused(args: CniArgs, start: str) -> None:
    text = refusal({}, args)
    assert text.startswith(start)
    assert "CNI_ARGS" in text


def test_routes_are_taken_as_they_are() -> None:
    full = {
        "dst": "10.1.2.3/8",
        "gw": "10.0.0.1",
        "mtu": 1400,
        "advmss": 1360,
        "priority": 7,
        "table": 0,
        "scope": 0,
    }
    assert loaded({"routes": [full, {"dst": "::/0", "GW": "", "table": None}]}).routes == (
        Route(ip_interface("10.1.2.3/8"), ip_address("10.0.0.1"), 1400, 1360, 7, 0, 0),
        Route(ip_interface("::/0")),
    )


@pytest.mark.parametrize("version", ["", "0.1.0", "0.2.0"])
def test_more_static_addresses_than_can_be_reported_are_refused(version: str) -> None:
    ipam = {"addresses": [{"address": "10.9.0.5/24"}]}
    args = CniArgs(ip=("10.8.0.5/24",))
    start = f"CNI version {version} does not support more than 1 address per family"
    assert refusal(ipam, args, version).startswith(start)
    assert len(loaded(ipam, args=CniArgs(ip=("fd00::5/64",)), cni_version=version).static) == 2


def test_static_address_behind_that_of_a_range_is_warned_about_where_one_is_reported() -> None:
    ipam = {"range": "10.0.0.0/24", "addresses": [{"address": "10.9.0.5/24"}]}
    (warning,) = loaded(ipam, cni_version="0.2.0").warnings
    assert "static IPv4 address" in warning
    assert loaded(ipam, cni_version="0.3.0").warnings == ()
