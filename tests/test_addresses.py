"""Addresses: which texts are understood, and that they are written in one form only."""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whereabouts.addresses import (
    Address,
    AddressError,
    address_of,
    parse_address,
    parse_interface,
    parse_interval,
    parse_network,
    text_of,
)
from whereabouts.errors import WhereaboutsError

ADDRESSES = st.ip_addresses()


@given(ADDRESSES)
def test_canonical_text_is_read_back_as_the_same_address(address: Address) -> None:
    if address.version == 6 and isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    assert parse_address(text_of(address)) == address
    assert parse_address(text_of(address), lenient=True) == address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.168.1.5", IPv4Address("192.168.1.5")),
        ("0.0.0.0", IPv4Address(0)),
        ("255.255.255.255", IPv4Address(2**32 - 1)),
        ("::", IPv6Address(0)),
        ("2001:DB8::A", IPv6Address("2001:db8::a")),
        ("1:2:3:4:5:6:7::", IPv6Address("1:2:3:4:5:6:7:0")),
        ("2001:db8::10.0.0.1", IPv6Address("2001:db8::a00:1")),
        ("::ffff:10.0.0.1", IPv4Address("10.0.0.1")),
        ("::FFFF:a00:1", IPv4Address("10.0.0.1")),
        ("0:0:0:0:0:ffff:10.0.0.1", IPv4Address("10.0.0.1")),
    ],
)
def test_addresses_are_understood(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert type(parse_address(text)) is type(address)


NOT_ADDRESSES = [
    "",
    " ",
    "10.0.0.1 ",
    " 10.0.0.1",
    "10.0.0.1\n",
    "10.0.0",
    "10.0.0.",
    "10.0.0.0.1",
    "10.0.0.256",
    "10.0.0.-1",
    "10.0.0.+1",
    "10.0.0.1_0",
    "0x0a.0.0.1",
    "10.0.0.1e1",
    "10.0.0.1/24",
    "10.0.0.\u0661",
    "\uff11\uff10.0.0.1",
    "10.0.0.\u00b2",
    "167772161",
    "localhost",
    ":",
    ":::",
    "1::2::3",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1::2:3:4:5:6:7:8",
    "::12345",
    "::g",
    "fe80::1%eth0",
    "fe80::1%",
    "[::1]",
    "::1 ",
    "10.0.0.1::",
    "::10.0.0",
    "::10.0.0.1:1",
    ":10.0.0.1",
    "1" * 100_000,
    "1." * 100_000,
    "::" + "0" * 100_000,
]


@pytest.mark.parametrize("text", NOT_ADDRESSES, ids=lambda text: ascii(text[:20]))
@pytest.mark.parametrize("lenient", [False, True])
def test_everything_else_is_refused(text: str, lenient: bool) -> None:
    with pytest.raises(AddressError, match=r"^invalid IP address: ") as caught:
        parse_address(text, lenient=lenient)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, WhereaboutsError)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("00192.00168.1.0", "192.168.1.0"),
        ("010.08.009.0000", "10.8.9.0"),
        ("::ffff:010.0.0.01", "10.0.0.1"),
        ("2001:db8::010.0.0.1", "2001:db8::a00:1"),
    ],
)
def test_leading_zeros_of_octets_are_decimal_where_allowed(text: str, plain: str) -> None:
    assert parse_address(text, lenient=True) == parse_address(plain)
    with pytest.raises(AddressError):
        parse_address(text)


@given(st.text(max_size=40) | st.text("0123456789.:/afF%- ", max_size=40))
def test_any_text_is_an_address_or_one_kind_of_error(text: str) -> None:
    for lenient in (False, True):
        try:
            address = parse_address(text, lenient=lenient)
        except AddressError:
            continue
        assert text.isascii()
        assert parse_address(text_of(address)) == address
    try:
        network = parse_network(text)
    except AddressError:
        return
    assert parse_network(str(network)) == network


@pytest.mark.parametrize(
    ("text", "interface"),
    [
        ("192.168.2.225/28", IPv4Interface("192.168.2.225/28")),
        ("10.0.0.1/0", IPv4Interface("10.0.0.1/0")),
        ("10.0.0.1/032", IPv4Interface("10.0.0.1/32")),
        ("2001:db8::5/64", IPv6Interface("2001:db8::5/64")),
        ("::ffff:10.0.0.5/120", IPv4Interface("10.0.0.5/24")),
        ("::ffff:10.0.0.5/96", IPv4Interface("10.0.0.5/0")),
        ("::ffff:10.0.0.5/128", IPv4Interface("10.0.0.5/32")),
    ],
)
def test_address_with_prefix_length_keeps_its_host_bits(
    text: str, interface: IPv4Interface | IPv6Interface
) -> None:
    assert parse_interface(text) == interface
    assert parse_network(text) == interface.network


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.0",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/ 24",
        "10.0.0.0/+24",
        "10.0.0.0/-1",
        "10.0.0.0/24/24",
        "10.0.0.0/255.255.255.0",
        "10.0.0.0/2\u0664",
        "10.0.0.0/" + "9" * 10_000,
        "::/129",
        "/24",
        "",
        "::ffff:10.0.0.0/95",
        "::ffff:10.0.0.0/64",
        "fe80::1%eth0/64",
        "010.0.0.0/8",
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_what_is_no_cidr_is_refused(text: str) -> None:
    for parse in (parse_interface, parse_network):
        with pytest.raises(AddressError, match=r"^invalid CIDR address: "):
            parse(text)


def test_network_of_the_go_plugins_tests_is_understood() -> None:
    assert parse_network("00192.00168.1.0/24", lenient=True) == IPv4Network("192.168.1.0/24")


@pytest.mark.parametrize("prefix", range(33))
def test_interval_of_an_ipv4_network_is_the_network(prefix: int) -> None:
    network = IPv4Network(("192.168.2.229", prefix), strict=False)
    expected = (4, int(network.network_address), int(network.broadcast_address))
    assert parse_interval(f"192.168.2.229/{prefix}") == expected
    assert parse_interval(f"::ffff:192.168.2.229/{prefix + 96}") == expected


@pytest.mark.parametrize("prefix", range(129))
def test_interval_of_an_ipv6_network_is_the_network(prefix: int) -> None:
    network = IPv6Network(("fd00:1:2:3:4:5:6:7", prefix), strict=False)
    expected = (6, int(network.network_address), int(network.broadcast_address))
    assert parse_interval(f"fd00:1:2:3:4:5:6:7/{prefix}") == expected


def test_interval_of_a_single_address_is_the_address() -> None:
    assert parse_interval("10.0.0.9") == (4, 0x0A000009, 0x0A000009)
    assert parse_interval("::9") == (6, 9, 9)
    with pytest.raises(AddressError, match=r"^invalid CIDR address: 10\.0\.0\.09$"):
        parse_interval("10.0.0.09")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "::"),
        (1, "::1"),
        (0x20010DB8 << 96 | 1 << 64, "2001:db8:0:1::"),
        (0x0001_0000_0000_0001_0000_0000_0000_0001, "1:0:0:1::1"),
        (0x0001_0000_0000_0001_0001_0000_0000_0001, "1::1:1:0:0:1"),
        (0x0001_0000_0001_0001_0001_0001_0001_0001, "1:0:1:1:1:1:1:1"),
        (0xFFFF0A000001, "::ffff:10.0.0.1"),
    ],
)
def test_ipv6_is_written_as_rfc_5952_says(value: int, text: str) -> None:
    assert text_of(address_of(6, value)) == text


def test_address_of_a_family_keeps_the_family() -> None:
    assert address_of(4, 1) == IPv4Address("0.0.0.1")
    assert address_of(6, 1) == IPv6Address("::1")
