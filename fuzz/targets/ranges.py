"""Ranges beside a naive reading of them: which addresses may be given, block by block.

An input is texts, parted by NUL: flags, range, range_start, range_end, gateway, excludes. Of any texts there
is a Range or a RangeError; of small networks every address is looked at.
"""

from ipaddress import ip_address, ip_network

from fuzz.target import Target
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
from whereabouts.block import BLOCK_SIZE
from whereabouts.ranges import Range, RangeError
from whereabouts.slices import SliceError, check_size, cut, parse_size

_SMALL = 1 << 11
"""Addresses of a network that is looked at address by address."""
_FLAGS = ("enable_l3", "allow_dot_zero", "exclude_gateway")


def check(data: bytes) -> None:
    """Make the range, leniently as well, and look at it."""
    flags, text, start, end, gateway, *excludes = (*data.decode("utf-8", "replace").split("\0"), *"\0" * 5)
    excludes = [exclude for exclude in excludes if exclude != "\0"][:32]
    for one in (text, start, end, gateway, *excludes):
        _check_address(one)
    chosen = {flag: name in flags for flag, name in zip(_FLAGS, "lzg", strict=True)}
    for lenient in (False, True):
        try:
            made = Range.parse(
                text,
                start=start.strip("\0"),
                end=end.strip("\0"),
                excludes=excludes,
                gateway=_gateway(gateway),
                lenient=lenient,
                **chosen,
            )
        except RangeError:
            continue
        _check_range(made, chosen)
        _check_slices(made, end)


def _gateway(text: str) -> Address | None:
    try:
        return parse_address(text)
    except AddressError:
        return None


def _check_address(text: str) -> None:
    """A text that is read is written again, and read the same; the interpreter's parser agrees."""
    for lenient in (False, True):
        try:
            address = parse_address(text, lenient=lenient)
        except AddressError:
            continue
        assert parse_address(text_of(address)) == address
        if not lenient and address.version == 4 and ":" not in text:
            assert ip_address(text) == address
    try:
        interface = parse_interface(text)
    except AddressError:
        return
    assert parse_interface(str(interface)) == interface
    network = parse_network(text)
    version, first, last = parse_interval(text)
    assert network == interface.network == ip_network((address_of(version, first), network.prefixlen))
    assert (first, last) == (int(network.network_address), int(network.broadcast_address))


def _check_range(made: Range, chosen: dict[str, bool]) -> None:
    network = made.network
    assert int(network.network_address) <= made.first <= made.last <= int(network.broadcast_address)
    block, given = made.next_block(0), 0
    edges = {made.first, made.last, *(edge for usable in made.usable for edge in usable)}
    for address in edges:
        base = address - address % BLOCK_SIZE
        offset = address - base
        barred = any(start <= offset < stop for start, stop in made.barred(base))
        assert made.contains(address) != barred
    if network.num_addresses > _SMALL:
        return
    first, last = int(network.network_address), int(network.broadcast_address)
    excluded = {address for text in made.excludes for address in _addresses(text, made, first, last)}
    expected = {a for a in range(first, last + 1) if a not in excluded and _may_be_given(made, chosen, a)}
    assert made.capacity() == len(expected)
    while block is not None:
        offsets = set(range(BLOCK_SIZE))
        for start, stop in made.barred(block):
            offsets -= set(range(start, stop))
        assert offsets
        assert {block + offset for offset in offsets} == {
            a for a in expected if block <= a < block + BLOCK_SIZE
        }
        given += len(offsets)
        block = made.next_block(block + BLOCK_SIZE)
    assert given == len(expected)


def _may_be_given(made: Range, chosen: dict[str, bool], address: int) -> bool:
    """As the manual has it, address by address."""
    network = made.network
    if not chosen["enable_l3"] and address in (int(network.network_address), int(network.broadcast_address)):
        return False
    if not made.first <= address <= made.last:
        return False
    if network.version == 4 and not chosen["allow_dot_zero"] and address % 256 == 0:
        return False
    is_gateway = made.gateway is not None and made.gateway == address_of(made.version, address)
    return not (chosen["exclude_gateway"] and is_gateway)


def _addresses(exclude: str, made: Range, low: int, high: int) -> range:
    """The addresses from ``low`` to ``high`` that are excluded."""
    try:
        version, first, last = parse_interval(exclude)
    except AddressError:
        return range(0)  # passed over, for giving addresses back
    return range(max(first, low), min(last, high) + 1) if version == made.version else range(0)


def _check_slices(made: Range, size: str) -> None:
    """Slices are disjoint parts of the range, and in one of them is what may be given, less their edges."""
    try:
        prefixlen = parse_size(size)
        check_size(made.network, prefixlen)
    except SliceError:
        return
    if prefixlen - made.network.prefixlen > 4:
        return
    for part in cut(made.network, prefixlen):
        within = made.within(part)
        assert part.subnet_of(made.network)  # type: ignore[arg-type]  # of one family
        assert within.capacity() <= made.capacity()
        if part.num_addresses <= _SMALL:
            inner = range(int(part.network_address) + 1, int(part.broadcast_address))
            assert within.capacity() == sum(map(made.contains, inner))


def _seed(flags: str, text: str, start: str = "", end: str = "", gateway: str = "", *excludes: str) -> bytes:
    return "\0".join((flags, text, start, end, gateway, *excludes)).encode()


SEEDS = (
    _seed("", "10.0.0.0/24"),
    _seed("lz", "10.0.0.0/31"),
    _seed("l", "fd00::/128"),
    _seed(
        "g", "192.168.2.5/22", "192.168.2.10", "192.168.3.9", "192.168.2.12", "192.168.2.16/28", "192.168.3.0"
    ),
    _seed("", "10.0.0.5-10.0.2.9/21", "", "/24"),
    _seed("zg", "fd00::100-fd00::2ff/118", "", "/120", "fd00::101", "fd00::110/124", "10.0.0.0/8"),
    _seed("", "::ffff:10.0.0.0/120", "::ffff:10.0.0.9", "010.0.0.011", "", "::ffff:10.0.0.16/124"),
    _seed("", "::/0", "::1", "ffff::", "", "8000::/1"),
    _seed("lz", "0.0.0.0/0", "", "/4", "", "0.0.0.0/1", "255.255.255.255"),
    _seed("lz", "255.255.255.0/24", "", "", "", "255.255.255.255/32"),
    _seed("", "10.0.0.0/030", "10.0.0.1", "", "", "10.0.0.2"),
)
TARGET = Target(
    check,
    SEEDS,
    (
        *(b"\0", "/", "-", "::", "::ffff:", "/24", "/0", "/32", "/128", "/120", "/31", "/127", ".0", ".255"),
        *("10.0.0.", "fd00::", "255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "0.0.0.0"),
    ),
    largest=400,
)
