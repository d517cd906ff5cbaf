"""The ranges of a configuration, and the gateway of each."""

from ipaddress import ip_address
from typing import Any

import pytest

from tests.config_cases import flat, loaded
from whereabouts.config import Config, ConfigError


def refusal(ipam: dict[str, Any], **how: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(ipam, **how)
    return str(caught.value)


def texts(config: Config) -> list[tuple[str, str]]:
    return [(str(one.range.network), str(one.gateway or "")) for one in config.ranges]


def test_range_comes_before_ip_ranges() -> None:
    ipam = {
        "ipRanges": [{"range": "10.1.0.0/24"}, {"range": "fd00::/64"}],
        "range": "192.168.2.225/28",
        "range_start": "192.168.2.230",
        "range_end": "192.168.2.235",
        "exclude": ["192.168.2.231"],
    }
    config = loaded(ipam)
    assert texts(config) == [("192.168.2.224/28", ""), ("10.1.0.0/24", ""), ("fd00::/64", "")]
    first = config.ranges[0].range
    assert [value - first.first for value in range(first.first, first.last + 1) if first.contains(value)] == [
        0,
        2,
        3,
        4,
        5,
    ]
    assert config.warnings == ()


def test_element_of_ip_ranges_has_bounds_and_excludes_of_its_own() -> None:
    item = {
        "range": "10.1.0.0/24",
        "range_start": "10.1.0.5",
        "range_end": "10.1.0.9",
        "exclude": ["10.1.0.6/31"],
    }
    (one,) = loaded({"ipRanges": [item]}).ranges
    assert one.range.usable == ((0x0A010005, 0x0A010005), (0x0A010008, 0x0A010009))


def test_flags_hold_for_all_ranges() -> None:
    ipam = {"range": "10.0.0.0/31", "ipRanges": [{"range": "fd00::/127"}, {"range": "10.1.0.0/23"}]}
    config = loaded({**ipam, "enable_l3": True, "allow_dot_zero": True})
    assert [one.range.capacity() for one in config.ranges] == [2, 2, 512]
    config = loaded({**ipam, "enable_l3": True})
    assert [one.range.capacity() for one in config.ranges] == [1, 2, 510]


def test_flags_may_come_from_the_flat_file() -> None:
    assert loaded({"range": "10.0.0.0/31"}, flat(enable_l3=True)).ranges[0].range.capacity() == 1


@pytest.mark.parametrize(
    ("ipam", "message"),
    [
        ({"range": "10.0.0.0"}, 'invalid CIDR 10.0.0.0: invalid CIDR address: 10.0.0.0 (key "range")'),
        ({"ipRanges": [{}]}, 'invalid CIDR : invalid CIDR address:  (key "ipRanges[0]")'),
        (
            {"range": "192.168.1.5-192.168.2.20/28"},
            'invalid range start for CIDR 192.168.2.16/28: 192.168.1.5 (key "range")',
        ),
        (
            {"range": "10.0.0.0/24", "range_start": "10.0.0"},
            'invalid range_start of range 10.0.0.0/24: invalid IP address: 10.0.0 (key "range")',
        ),
        (
            {"range": "10.0.0.0/24", "range_end": "10.0.0"},
            'invalid range_end of range 10.0.0.0/24: invalid IP address: 10.0.0 (key "range")',
        ),
        (
            {"ipRanges": [{"range": "10.0.0.0/24", "range_start": "10.0.0.05"}]},
            'invalid IP address: 10.0.0.05 (key "ipRanges[0].range_start")',
        ),
        (
            {"ipRanges": [{"range": "10.0.0.0/24", "range_end": "x"}]},
            'invalid IP address: x (key "ipRanges[0].range_end")',
        ),
        (
            {"range": "192.168.0.0/24", "exclude": ["192.168.0.1/123"]},
            'could not parse exclude range, err: "invalid CIDR address: 192.168.0.1/123" (key "range")',
        ),
        ({"gateway": "10.0.0.x"}, "couldn't parse gateway IP: 10.0.0.x"),
        (
            {"ipRanges": [{"range": "10.0.0.0/24", "gateway": "x"}]},
            'invalid IP address: x (key "ipRanges[0].gateway")',
        ),
        (
            {"ipRanges": [{"range": "10.0.0.0/24", "gateway": "fd00::1"}]},
            "ipRanges[0]: gateway fd00::1 is not of the family of range 10.0.0.0/24",
        ),
    ],
)
def test_mistake_in_a_range_names_key_and_value(ipam: dict[str, Any], message: str) -> None:
    assert refusal(ipam) == message


def test_leading_zeros_are_allowed_where_the_go_plugin_allows_them() -> None:
    ipam = {"range": "010.0.0.0/24", "range_start": "10.0.0.05", "gateway": "10.0.0.01"}
    config = loaded(ipam)
    assert texts(config) == [("10.0.0.0/24", "10.0.0.1")]
    assert config.ranges[0].range.first == 0x0A000005


def test_empty_bounds_are_no_bounds() -> None:
    ipam = {"ipRanges": [{"range": "10.0.0.0/24", "range_start": "", "range_end": "", "gateway": ""}]}
    assert loaded(ipam).ranges == loaded({"range": "10.0.0.0/24"}).ranges


def test_gateway_goes_to_the_ranges_of_its_family_without_their_own() -> None:
    ipam = {
        "range": "10.0.0.0/24",
        "gateway": "10.0.0.254",
        "ipRanges": [
            {"range": "fd00::/64"},
            {"range": "10.1.0.0/24"},
            {"range": "fd01::/64", "gateway": "fd01::1"},
            {"range": "10.2.0.0/24", "gateway": "10.2.0.1"},
        ],
    }
    assert texts(loaded(ipam)) == [
        ("10.0.0.0/24", "10.0.0.254"),
        ("fd00::/64", ""),
        ("10.1.0.0/24", "10.0.0.254"),
        ("fd01::/64", "fd01::1"),
        ("10.2.0.0/24", "10.2.0.1"),
    ]


def test_gateway_that_no_range_needs_is_warned_about() -> None:
    (warning,) = loaded({"range": "10.0.0.0/24", "gateway": "fd00::1"}).warnings
    assert "gateway fd00::1" in warning


def test_exclude_gateway_keeps_the_effective_gateway_of_each_range() -> None:
    ipam = {
        "range": "10.0.0.0/24",
        "gateway": "10.0.0.1",
        "ipRanges": [{"range": "fd00::/120", "gateway": "fd00::1"}],
        "exclude_gateway": True,
    }
    four, six = (one.range for one in loaded(ipam).ranges)
    assert (four.capacity(), six.capacity()) == (253, 253)
    assert not four.contains(int(ip_address("10.0.0.1")))
    assert not six.contains(int(ip_address("fd00::1")))


def test_bounds_and_excludes_without_range_are_warned_about() -> None:
    ipam = {"range_start": "10.0.0.5", "exclude": ["10.0.0.1"], "ipRanges": [{"range": "10.0.0.0/24"}]}
    assert loaded(ipam).warnings == (
        "range_start has no effect without range: it does not apply to ipRanges",
        "exclude has no effect without range: it does not apply to ipRanges",
    )


def test_what_has_no_effect_in_a_range_is_warned_about_with_its_key() -> None:
    ipam = {"range": "10.0.0.0/24", "ipRanges": [{"range": "10.1.0.0/24", "exclude": ["fd00::/64"]}]}
    assert loaded(ipam).warnings == ("ipRanges[0]: exclude fd00::/64 has no effect: the range is IPv4",)


# ---- ranges that would give one address twice ----

TWICE = {"range": "10.0.0.0/24", "ipRanges": [{"range": "fd00::/64"}, {"range": "10.0.0.7-10.0.0.9/24"}]}
NESTED = {"range": "10.0.0.0/25", "ipRanges": [{"range": "10.0.0.0/16"}, {"range": "10.0.1.0/24"}]}


@pytest.mark.parametrize("overlapping", [True, False])
def test_same_range_twice_is_refused_with_both_keys(overlapping: bool) -> None:
    text = refusal({**TWICE, "enable_overlapping_ranges": overlapping})
    assert '"range" and "ipRanges[1]"' in text
    assert "10.0.0.0/24" in text
    assert len(loaded(TWICE, lenient=True).ranges) == 3


def test_overlapping_ranges_are_refused_only_where_each_has_its_own_records() -> None:
    assert loaded(NESTED).warnings == ()
    text = refusal({**NESTED, "enable_overlapping_ranges": False})
    assert '"ipRanges[0]" 10.0.0.0/16 and "range" 10.0.0.0/25 overlap' in text


def test_ranges_that_touch_without_overlapping_are_fine() -> None:
    ipam = {"range": "10.0.0.0/25", "ipRanges": [{"range": "10.0.0.128/25"}, {"range": "::/96"}]}
    assert len(loaded({**ipam, "enable_overlapping_ranges": False}).ranges) == 3


# ---- versions of the protocol that report one address of a family ----

TWO = {"range": "10.0.0.0/24", "ipRanges": [{"range": "10.1.0.0/24"}]}


@pytest.mark.parametrize("version", ["", "0.1.0", "0.2.0"])
def test_two_ranges_of_a_family_are_refused_where_one_can_be_reported(version: str) -> None:
    start = f"CNI version {version} does not support more than 1 address per family"
    assert refusal(TWO, cni_version=version) == f"{start}: there are 2 ranges of IPv4"
    assert len(loaded(TWO, cni_version=version, lenient=True).ranges) == 2
    six = {"ipRanges": [{"range": "fd00::/64"}, {"range": "fd01::/64"}]}
    assert refusal(six, cni_version=version) == f"{start}: there are 2 ranges of IPv6"
    dual = {"range": "10.0.0.0/24", "ipRanges": [{"range": "fd00::/64"}]}
    config = loaded(dual, cni_version=version)
    assert (len(config.ranges), config.warnings) == (2, ())


@pytest.mark.parametrize("version", ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_later_versions_report_any_number_of_addresses(version: str) -> None:
    assert len(loaded(TWO, cni_version=version).ranges) == 2
