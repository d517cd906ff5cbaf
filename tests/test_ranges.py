"""Ranges against a naive oracle that looks at addresses one by one, as the Go plugin does."""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whereabouts.addresses import Address, Network, address_of
from whereabouts.errors import WhereaboutsError
from whereabouts.ranges import Range, RangeError

SMALL = 1 << 9
"""Networks up to this size are walked in full."""
EXAMPLES = max(1, settings().max_examples // 12)
"""For each of the 162 prefix lengths."""
LENGTHS = [(4, length) for length in range(33)] + [(6, length) for length in range(129)]


class Wish(NamedTuple):
    """The configuration of a range, as a test draws it."""

    network: Network
    start: Address | None
    end: Address | None
    excludes: tuple[Network, ...]
    gateway: Address | None
    enable_l3: bool
    allow_dot_zero: bool
    exclude_gateway: bool

    def range(self) -> Range:
        return Range.parse(
            str(self.network),
            start=None if self.start is None else str(self.start),
            end=None if self.end is None else str(self.end),
            excludes=tuple(map(str, self.excludes)),
            gateway=self.gateway,
            enable_l3=self.enable_l3,
            allow_dot_zero=self.allow_dot_zero,
            exclude_gateway=self.exclude_gateway,
        )

    def bounds(self) -> tuple[int, int]:
        low, high = int(self.network.network_address), int(self.network.broadcast_address)
        if not self.enable_l3:
            low, high = low + 1, high - 1
        if self.start is not None and low <= int(self.start) <= high:
            low = int(self.start)
        if self.end is not None and low <= int(self.end) <= high:
            high = int(self.end)
        return low, high

    def given(self, value: int) -> bool:
        """Whether one address can be given."""
        low, high = self.bounds()
        if not low <= value <= high:
            return False
        if any(value >> host_bits == prefix for prefix, host_bits in self.prefixes()):
            return False
        if self.exclude_gateway and self.gateway is not None and value == int(self.gateway):
            return False
        return self.allow_dot_zero or self.network.version == 6 or value & 0xFF != 0

    def prefixes(self) -> list[tuple[int, int]]:
        """The excludes as the bits that their addresses share, and how many bits follow these."""
        hosts = [exclude.max_prefixlen - exclude.prefixlen for exclude in self.excludes]
        pairs = zip(self.excludes, hosts, strict=True)
        return [(int(exclude.network_address) >> host, host) for exclude, host in pairs]

    def edges(self) -> list[int]:
        """Where anything can change, in order: between two edges only the ``.0`` differ."""
        edges = {0, *self.bounds(), self.bounds()[1] + 1, 1 << self.network.max_prefixlen}
        for exclude in self.excludes:
            edges |= {int(exclude.network_address), int(exclude.broadcast_address) + 1}
        if self.gateway is not None:
            edges |= {int(self.gateway), int(self.gateway) + 1}
        return sorted(edges)

    def walk(self) -> Iterator[int]:
        """The walk of the Go plugin: upward, over an exclude to its last address."""
        value, last = self.bounds()
        while value <= last:
            address = address_of(self.network.version, value)
            hit = next((exclude for exclude in self.excludes if address in exclude), None)
            if hit is not None:
                value = int(hit.broadcast_address)
            elif self.given(value):
                yield value
            value += 1


def network_of(version: int, value: int, length: int) -> Network:
    pair = (0 if is_mapped(version, value) and length >= 96 else value, length)
    return IPv4Network(pair, strict=False) if version == 4 else IPv6Network(pair, strict=False)


def is_mapped(version: int, value: int) -> bool:
    """Texts of IPv4-mapped addresses are IPv4."""
    return version == 6 and value >> 32 == 0xFFFF


def draw_wish(draw: Callable[[st.SearchStrategy[Any]], Any], version: int, length: int) -> Wish:
    bits = 32 if version == 4 else 128
    top = (1 << bits) - 1
    at = draw(st.integers(0, top) | st.sampled_from([0, top, 1 << (bits - 1)]))
    network = network_of(version, at, length)
    low, high = int(network.network_address), int(network.broadcast_address)
    near = st.one_of(
        st.integers(low, high),
        st.integers(low, min(low + 600, high)),
        st.integers(max(low, high - 600), high),
        st.integers(max(0, low - 3), min(top, high + 3)),
    ).map(lambda value: address_of(version, value if not is_mapped(version, value) else 0))
    lengths = st.one_of(st.integers(length, bits), st.integers(max(length, bits - 10), bits), st.just(bits))
    exclude = st.tuples(near, lengths).map(lambda pair: network_of(version, int(pair[0]), pair[1]))
    flags = st.booleans()
    small = bits - length < 2
    return Wish(
        network,
        draw(st.none() | near),
        draw(st.none() | near),
        tuple(draw(st.lists(exclude, max_size=5))),
        draw(st.none() | near),
        draw(st.just(True) if small else flags),
        draw(flags),
        draw(flags),
    )


def points(wish: Wish, draw: Callable[[st.SearchStrategy[Any]], Any]) -> list[int]:
    """Addresses where something may be wrong; all of a small network."""
    top = 1 << wish.network.max_prefixlen
    if wish.network.num_addresses <= SMALL:
        base = int(wish.network.network_address)
        near = list(range(base - 2, base + wish.network.num_addresses + 2))
    else:
        drawn = draw(st.lists(st.integers(0, top - 1), max_size=5))
        edges = [*wish.edges(), *drawn]
        around = {edge & ~255 for edge in edges} | set(edges)
        near = sorted({value + step for value in around for step in (-257, -256, -2, -1, 0, 1, 2, 255, 256)})
    return [value for value in near if 0 <= value < top]


def lowest_from(wish: Wish, floor: int) -> int | None:
    """The lowest address that can be given at or after ``floor``."""
    edges = [floor, *(edge for edge in wish.edges() if edge > floor)]
    for edge, following in pairwise(edges):
        for value in (edge, edge + 1):
            if value < following and wish.given(value):
                return value
    return None


def count(wish: Wish) -> int:
    edges = wish.edges()
    free_of_zeros = wish._replace(allow_dot_zero=True)
    total = 0
    for start, stop in pairwise(edges):
        if free_of_zeros.given(start):
            total += stop - start
            if wish.network.version == 4 and not wish.allow_dot_zero:
                total -= len(range((start + 255) // 256 * 256, stop, 256))
    return total


@pytest.mark.parametrize(("version", "length"), LENGTHS, ids=lambda value: str(value))
def test_range_gives_what_the_oracle_gives(version: int, length: int) -> None:
    @settings(max_examples=EXAMPLES)
    @given(st.data())
    def compare(data: st.DataObject) -> None:
        wish = draw_wish(data.draw, version, length)
        made = wish.range()
        near = points(wish, data.draw)
        assert (made.first, made.last) == wish.bounds()
        assert made.capacity() == count(wish)
        assert [made.contains(value) for value in near] == [wish.given(value) for value in near]
        bases = sorted({value & ~255 for value in near})
        for base in data.draw(st.lists(st.sampled_from(bases), max_size=4)):
            assert_barred(made, wish, base)
        for base in bases:
            lowest = lowest_from(wish, base)
            assert made.next_block(base) == (None if lowest is None else lowest & ~255)
        for value in data.draw(st.lists(st.sampled_from(near), max_size=5)):
            lowest = lowest_from(wish, -(-value // 256) * 256)
            assert made.next_block(value) == (None if lowest is None else lowest & ~255)

    compare()


def assert_barred(made: Range, wish: Wish, base: int) -> None:
    barred = made.barred(base)
    assert all(start < stop for start, stop in barred)
    assert all(stop < start for (_, stop), (start, _) in pairwise(barred))
    offsets = [offset for start, stop in barred for offset in range(start, stop)]
    assert offsets == [offset for offset in range(256) if not wish.given(base + offset)]


@given(st.data())
def test_small_range_is_walked_as_the_go_plugin_walks(data: st.DataObject) -> None:
    version, shortest = data.draw(st.sampled_from([(4, 22), (6, 118)]))
    length = data.draw(st.integers(shortest, shortest + 10))
    wish = draw_wish(data.draw, version, length)
    made = wish.range()
    walked = list(wish.walk())
    assert walked == [value for value in range(made.first, made.last + 1) if made.contains(value)]
    assert made.capacity() == len(walked)
    base = made.next_block(made.first & ~255)
    lowest = None
    if base is not None:
        barred = made.barred(base)
        lowest = base + (barred[0][1] if barred and barred[0][0] == 0 else 0)
    assert lowest == (walked[0] if walked else None)


@given(st.data(), st.integers(1, 3000))
def test_barred_covers_windows_of_any_size(data: st.DataObject, size: int) -> None:
    wish = draw_wish(data.draw, 4, data.draw(st.integers(20, 32)))
    base = int(wish.network.network_address) + data.draw(st.integers(-1000, 1000))
    offsets = [offset for start, stop in wish.range().barred(base, size) for offset in range(start, stop)]
    outside = range(1 << 32)
    expected = [
        offset for offset in range(size) if base + offset not in outside or not wish.given(base + offset)
    ]
    assert offsets == expected


def test_first_example_of_the_manual() -> None:
    made = Range.parse("192.168.2.225/28", excludes=["192.168.2.229/30", "192.168.2.236/32"])
    assert str(made.network) == "192.168.2.224/28"
    base = int(ip_address("192.168.2.0"))
    given = [value - base for value in range(base, base + 256) if made.contains(value)]
    assert given == [225, 226, 227, 232, 233, 234, 235, 237, 238]
    assert made.capacity() == 9
    assert made.barred(base) == ((0, 225), (228, 232), (236, 237), (239, 256))


@pytest.mark.parametrize(
    ("text", "network", "first", "last"),
    [
        ("192.168.2.225/28", "192.168.2.224/28", "192.168.2.225", "192.168.2.238"),
        ("00192.00168.1.0/24", "192.168.1.0/24", "192.168.1.1", "192.168.1.254"),
        ("::ffff:10.0.0.0/120", "10.0.0.0/24", "10.0.0.1", "10.0.0.254"),
        ("10.0.0.5-10.0.0.9/24", "10.0.0.0/24", "10.0.0.5", "10.0.0.9"),
        ("010.0.0.05-10.00.0.9/24", "10.0.0.0/24", "10.0.0.5", "10.0.0.9"),
        ("10.0.0.9-10.0.0.5/24", "10.0.0.0/24", "10.0.0.9", "10.0.0.254"),
        ("::ffff:10.0.0.5-::ffff:10.0.0.9/120", "10.0.0.0/24", "10.0.0.5", "10.0.0.9"),
        ("10.0.0.5-10.0.0.0/24", "10.0.0.0/24", "10.0.0.5", "10.0.0.254"),
        ("0.0.0.0/0", "0.0.0.0/0", "0.0.0.1", "255.255.255.254"),
        ("::/0", "::/0", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"),
        ("2001:db8::/116", "2001:db8::/116", "2001:db8::1", "2001:db8::ffe"),
        ("2001:db8::5-2001:db8::a/64", "2001:db8::/64", "2001:db8::5", "2001:db8::a"),
    ],
)
def test_texts_of_ranges(text: str, network: str, first: str, last: str) -> None:
    made = Range.parse(text)
    assert str(made.network) == network
    assert made.version == ip_network(network).version
    assert address_of(made.version, made.first) == ip_address(first)
    assert address_of(made.version, made.last) == ip_address(last)


QUESTION = "do you have the 'range' parameter set for Whereabouts?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.0", "invalid CIDR 10.0.0.0: invalid CIDR address: 10.0.0.0"),
        ("", "invalid CIDR : invalid CIDR address: "),
        (" 10.0.0.0/8", "invalid CIDR  10.0.0.0/8: invalid CIDR address:  10.0.0.0/8"),
        ("10.0.0-10.0.0.9/24", "invalid range start IP: 10.0.0"),
        ("10.0.0.5-10.0.0.9", f"invalid CIDR ({QUESTION}) '10.0.0.9': invalid CIDR address: 10.0.0.9"),
        ("192.168.1.5-192.168.2.20/28", "invalid range start for CIDR 192.168.2.16/28: 192.168.1.5"),
        ("::5-192.168.2.20/28", "invalid range start for CIDR 192.168.2.16/28: ::5"),
    ],
)
def test_range_that_cannot_be_is_refused_in_the_go_plugins_words(text: str, message: str) -> None:
    for lenient in (False, True):
        with pytest.raises(RangeError) as caught:
            Range.parse(text, lenient=lenient)
        assert str(caught.value) == message
        assert isinstance(caught.value, WhereaboutsError)


@pytest.mark.parametrize(
    ("text", "subnet"),
    [
        ("192.168.0.1/31", "{192.168.0.0 fffffffe}"),
        ("192.168.0.1/32", "{192.168.0.1 ffffffff}"),
        ("2001:db8::1/127", "{2001:db8:: fffffffffffffffffffffffffffffffe}"),
        ("2001:db8::1/128", "{2001:db8::1 ffffffffffffffffffffffffffffffff}"),
    ],
)
def test_network_without_usable_address_is_refused(text: str, subnet: str) -> None:
    with pytest.raises(RangeError) as caught:
        Range.parse(text)
    words = f"net mask is too short, subnet {subnet} has no usable IP addresses, it is too small"
    assert str(caught.value).startswith(words)
    made = Range.parse(text, lenient=True)
    assert made.capacity() == 0
    assert made.next_block(0) is None
    assert made.first == made.last == int(made.network.network_address)


@pytest.mark.parametrize(
    ("text", "capacity"),
    [
        ("192.168.0.2/31", 2),
        ("192.168.0.0/31", 1),
        ("192.168.0.1/32", 1),
        ("192.168.0.0/32", 0),
        ("192.168.0.0/24", 255),
        ("192.168.0.128/25", 128),
        ("2001:db8::/127", 2),
        ("2001:db8::/128", 1),
        ("2001:db8::/64", 1 << 64),
        ("::/0", 1 << 128),
    ],
)
def test_enable_l3_makes_all_addresses_usable_but_dot_zero(text: str, capacity: int) -> None:
    assert Range.parse(text, enable_l3=True).capacity() == capacity
    whole = ip_network(text, strict=False).num_addresses
    assert Range.parse(text, enable_l3=True, allow_dot_zero=True).capacity() == whole


def test_range_of_a_single_dot_zero_says_why_it_has_nothing() -> None:
    (warning,) = Range.parse("192.168.0.0/32", enable_l3=True).warnings
    assert "192.168.0.0/32" in warning
    assert "allow_dot_zero" in warning


@pytest.mark.parametrize(
    ("text", "capacity"),
    [
        ("10.0.0.0/24", 254),
        ("10.0.0.0/23", 509),
        ("10.0.0.0/16", 65_279),
        ("10.0.0.0/8", (1 << 24) - 2 - 65_535),
        ("0.0.0.0/0", (1 << 32) - 2 - ((1 << 24) - 1)),
        ("2001:db8::/64", (1 << 64) - 2),
        ("2001:db8::/30", (1 << 98) - 2),
        ("::/0", (1 << 128) - 2),
    ],
)
def test_capacity_is_exact(text: str, capacity: int) -> None:
    assert Range.parse(text).capacity() == capacity


def test_dot_zero_is_barred_in_ipv4_only() -> None:
    made = Range.parse("10.0.0.0/23")
    assert not made.contains(0x0A000100)
    assert made.contains(0x0A0000FF)
    assert made.barred(0x0A000100) == ((0, 1), (255, 256))
    assert Range.parse("10.0.0.0/23", allow_dot_zero=True).barred(0x0A000100) == ((255, 256),)
    six = Range.parse("2001:db8::/119")
    assert six.contains(six.first - 1 + 256)
    assert six.barred(six.first - 1 + 256) == ((255, 256),)


def test_gateway_is_given_unless_it_is_excluded() -> None:
    gateway = ip_address("10.0.0.1")
    assert Range.parse("10.0.0.0/24", gateway=gateway).contains(0x0A000001)
    excluded = Range.parse("10.0.0.0/24", gateway=gateway, exclude_gateway=True)
    assert not excluded.contains(0x0A000001)
    assert excluded.gateway == gateway
    assert excluded.excludes == ()
    outside = Range.parse("10.0.0.0/24", gateway=ip_address("10.0.1.1"), exclude_gateway=True)
    assert outside.capacity() == 254
    foreign = Range.parse("::/120", gateway=ip_address("0.0.0.1"), exclude_gateway=True)
    assert foreign.capacity() == 254


@pytest.mark.parametrize("key", ["start", "end"])
def test_bound_that_cannot_be_parsed_is_an_error_or_passed_over(key: str) -> None:
    arguments: dict[str, Any] = {key: "10.0.0.x"}
    with pytest.raises(RangeError) as caught:
        Range.parse("10.0.0.0/24", **arguments)
    message = f"invalid range_{key} of range 10.0.0.0/24: invalid IP address: 10.0.0.x"
    assert str(caught.value) == message
    made = Range.parse("10.0.0.0/24", lenient=True, **arguments)
    assert made.warnings == (f"{message} (ignored)",)
    assert made.capacity() == 254


def test_exclude_that_cannot_be_parsed_is_an_error_or_passed_over() -> None:
    excludes = ["192.168.0.5", "192.168.0.1/123", "192.168.0.6/32"]
    with pytest.raises(RangeError) as caught:
        Range.parse("192.168.0.0/24", excludes=excludes)
    message = 'could not parse exclude range, err: "invalid CIDR address: 192.168.0.1/123"'
    assert str(caught.value) == message
    made = Range.parse("192.168.0.0/24", excludes=excludes, lenient=True)
    assert made.warnings == (f"{message} (ignored)",)
    assert made.capacity() == 252
    assert made.excludes == tuple(excludes)


@pytest.mark.parametrize("exclude", ["010.0.0.5", "010.0.0.0/30", " 10.0.0.5", "", "10.0.0.5-10.0.0.9"])
def test_excludes_are_parsed_strictly(exclude: str) -> None:
    with pytest.raises(RangeError, match="could not parse exclude range"):
        Range.parse("10.0.0.0/24", excludes=[exclude])


@pytest.mark.parametrize(
    ("start", "end", "bounds", "warned"),
    [
        ("10.0.0.5", "10.0.0.9", (5, 9), 0),
        ("10.0.0.05", None, (5, 254), 0),
        ("", "", (1, 254), 0),
        ("10.0.0.0", "10.0.0.255", (1, 254), 0),
        ("10.0.1.5", "10.0.1.9", (1, 254), 2),
        ("10.0.0.9", "10.0.0.5", (9, 254), 1),
        ("10.0.0.255", "10.0.0.0", (1, 254), 2),
        ("2001:db8::5", "::a00:9", (1, 254), 2),
        ("10.0.0.7", "10.0.0.7", (7, 7), 0),
    ],
)
def test_bounds_count_only_inside_the_network(
    start: str | None, end: str | None, bounds: tuple[int, int], warned: int
) -> None:
    made = Range.parse("10.0.0.0/24", start=start, end=end)
    assert (made.first - 0x0A000000, made.last - 0x0A000000) == bounds
    assert len(made.warnings) == warned


def test_bounds_of_the_text_count_before_the_others() -> None:
    made = Range.parse("10.0.0.5-10.0.0.9/24", start="10.0.0.20", end="not looked at")
    assert (made.first, made.last) == (0x0A000005, 0x0A000009)


def test_bounds_may_be_addresses() -> None:
    made = Range.parse("10.0.0.0/24", start=ip_address("10.0.0.5"), end=ip_address("10.0.0.9"))
    assert (made.first, made.last) == (0x0A000005, 0x0A000009)


def test_exclude_of_the_other_family_never_matches_and_is_warned_about() -> None:
    made = Range.parse("::/96", excludes=["0.0.0.5", "0.0.0.0/8"])
    assert made.capacity() == (1 << 32) - 2
    assert len(made.warnings) == 2
    assert "0.0.0.0/8" in made.warnings[1]


def test_exclude_outside_the_range_has_no_effect() -> None:
    made = Range.parse("10.0.0.0/24", excludes=["10.0.1.0/24", "9.255.255.0/24", "10.0.0.255", "10.0.0.0"])
    assert made.usable == ((0x0A000001, 0x0A0000FE),)
    assert made.warnings == ()


@pytest.mark.parametrize(
    ("network", "exclude"), [("0.0.0.0/0", "128.0.0.0/1"), ("::/0", "8000::/1"), ("0.0.0.0/0", "255.0.0.0/8")]
)
def test_exclude_at_the_top_of_the_address_space_ends_the_range(network: str, exclude: str) -> None:
    made = Range.parse(network, excludes=[exclude])
    top = int(ip_network(exclude).network_address)
    assert made.usable == ((1, top - 1),)
    assert made.next_block(top - 1 & ~255) == top - 256
    assert made.next_block(top) is None
    assert made.barred((1 << ip_network(network).max_prefixlen) - 256) == ((0, 256),)


def test_range_excluded_altogether_has_no_address_and_says_so() -> None:
    made = Range.parse("10.0.0.0/24", excludes=["10.0.0.0/25", "10.0.0.128/25"])
    assert made.capacity() == 0
    assert made.usable == ()
    assert made.next_block(0) is None
    assert made.barred(0x0A000000) == ((0, 256),)
    assert "no address" in made.warnings[0]


def test_ten_thousand_excludes_leave_what_is_between_them() -> None:
    excludes = [f"10.{i >> 8}.{i & 255}.128" for i in range(10_000)]
    made = Range.parse("10.0.0.0/8", excludes=excludes[::-1])
    assert len(made.usable) == 10_001
    assert made.capacity() == (1 << 24) - 2 - 65_535 - 10_000
    assert made.barred(0x0A000500) == ((0, 1), (128, 129))


def test_full_message_is_the_go_plugins() -> None:
    made = Range.parse("192.168.1.0/24", start="192.168.1.5", end="192.168.1.12")
    assert made.full_message() == (
        "Could not allocate IP in range: ip: 192.168.1.5 / - 192.168.1.12 / range: 192.168.1.0/24 "
        "/ excludeRanges: []"
    )
    excluded = Range.parse("2001:DB8::/126", excludes=["2001:db8::1/128", "2001:db8::2"])
    assert excluded.full_message() == (
        "Could not allocate IP in range: ip: 2001:db8::1 / - 2001:db8::2 / range: 2001:db8::/126 "
        "/ excludeRanges: [2001:db8::1/128 2001:db8::2]"
    )


def test_ranges_are_equal_by_value() -> None:
    one, same = (Range.parse("10.0.0.0/24", excludes=["10.0.0.9"]) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert one != Range.parse("10.0.0.0/24")
    assert one != "10.0.0.0/24"
    assert repr(one) == "<Range 10.0.0.0/24 10.0.0.1-10.0.0.254 excludes=['10.0.0.9']>"
