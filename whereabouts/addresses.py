"""IP addresses as text and as values: parsers as strict, or as lenient, as those of the Go plugin.

The texts that are understood and the texts that are written do not depend on the release of Python,
whose own parsers and formats differ between 3.11 and 3.14 for IPv4-mapped addresses.
"""

from __future__ import annotations

from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

from whereabouts.errors import WhereaboutsError

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
"""An address with the prefix length of its network; bits beyond the prefix are kept."""
Network = IPv4Network | IPv6Network

BITS = {4: 32, 6: 128}
"""The width of an address, by version."""

_MAPPED = 0xFFFF
"""The upper 96 bits of an IPv4-mapped address, ::ffff:0:0/96 (RFC 4291, section 2.5.5.2)."""
_MAPPED_BITS = 96
_LONGEST_SHOWN = 128


class AddressError(WhereaboutsError, ValueError):
    """A text that is no IP address, or no address with a prefix length."""


def parse_address(text: str, *, lenient: bool = False) -> Address:
    """Read one address, as Go's ``net.ParseIP`` does; an IPv4-mapped one is the IPv4 address it maps.

    Zone identifiers and blanks are refused. ``lenient`` allows octets of IPv4 to have leading zeros;
    they stay decimal. Raises :class:`AddressError`.
    """
    found = _parse(text, lenient)
    if found is None:
        raise AddressError(f"invalid IP address: {shown(text)}")
    return address_of(*found)


def parse_interface(text: str, *, lenient: bool = False) -> Interface:
    """Read ``address/prefix length``, as Go's ``net.ParseCIDR`` does; the bits of the host are kept.

    IPv4-mapped text with a prefix of at least 96 bits is IPv4; with fewer it is refused, because Go
    takes such an address for IPv4 and its mask for IPv6. ``lenient`` as in :func:`parse_address`.
    Raises :class:`AddressError`.
    """
    version, value, prefix = _parse_cidr(text, lenient)
    return IPv4Interface((value, prefix)) if version == 4 else IPv6Interface((value, prefix))


def parse_network(text: str, *, lenient: bool = False) -> Network:
    """Read the network that ``address/prefix length`` lies in, by the rules of :func:`parse_interface`."""
    version, value, prefix = _parse_cidr(text, lenient)
    if version == 4:
        return IPv4Network((value, prefix), strict=False)
    return IPv6Network((value, prefix), strict=False)


def parse_interval(text: str) -> tuple[int, int, int]:
    """Read a network or a single address, strictly: its version, its first and its last address.

    Raises :class:`AddressError`.
    """
    if "/" not in text:
        found = _parse(text, lenient=False)
        if found is None:
            raise _not_cidr(text)
        return found[0], found[1], found[1]
    version, value, prefix = _parse_cidr(text, lenient=False)
    host_bits = (1 << (BITS[version] - prefix)) - 1
    return version, value & ~host_bits, value | host_bits


def address_of(version: int, value: int) -> Address:
    """Give the address of a family (4 or 6) that has this value as an integer."""
    return IPv4Address(value) if version == 4 else IPv6Address(value)


def text_of(address: Address) -> str:
    """Write an address in its canonical form (RFC 5952): an IPv4-mapped one ends in IPv4's form."""
    if address.version == 6 and int(address) >> 32 == _MAPPED:
        return f"::ffff:{IPv4Address(int(address) & 0xFFFFFFFF)}"
    return str(address)


def is_decimal(text: str, digits: int | None = None) -> bool:
    """Whether a text is of ASCII digits only, and of no more than ``digits``.

    Python refuses to read a number of some thousand: texts that anybody may write need a bound.
    """
    return text.isdigit() and text.isascii() and (digits is None or len(text) <= digits)


def shown(text: str) -> str:
    """Cut a text that may be longer than any address to what an error can show."""
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def _parse_cidr(text: str, lenient: bool) -> tuple[int, int, int]:
    """Version, value and prefix length; the prefix may have leading zeros, as in Go."""
    address, _, digits = text.partition("/")
    found = _parse(address, lenient)
    number = digits.lstrip("0")
    if found is None or not is_decimal(digits) or len(number) > 3:
        raise _not_cidr(text)
    version, value = found
    prefix = int(number or "0")
    if version == 4 and ":" in address:
        prefix -= _MAPPED_BITS
    if not 0 <= prefix <= BITS[version]:
        raise _not_cidr(text)
    return version, value, prefix


def _parse(text: str, lenient: bool) -> tuple[int, int] | None:
    """Version and value of an address, None for a text that is none."""
    if ":" not in text:
        value = _parse_ipv4(text, lenient)
        return None if value is None else (4, value)
    value = _parse_ipv6(text, lenient)
    if value is None:
        return None
    return (4, value & 0xFFFFFFFF) if value >> 32 == _MAPPED else (6, value)


def _parse_ipv4(text: str, lenient: bool) -> int | None:
    octets = text.split(".", 4)
    if len(octets) != 4:
        return None
    value = 0
    for octet in octets:
        digits = octet.lstrip("0") or "0"
        if not is_decimal(octet) or len(digits) > 3 or (len(octet) != len(digits) and not lenient):
            return None
        number = int(digits)
        if number > 255:
            return None
        value = value << 8 | number
    return value


def _parse_ipv6(text: str, lenient: bool) -> int | None:
    if "." in text:
        head, _, tail = text.rpartition(":")
        quad = _parse_ipv4(tail, lenient)
        if quad is None:
            return None
        text = f"{head}:{quad >> 16:x}:{quad & 0xFFFF:x}"
    if "%" in text or "/" in text:
        return None
    try:
        return int(IPv6Address(text))
    except AddressValueError:
        return None


def _not_cidr(text: str) -> AddressError:
    return AddressError(f"invalid CIDR address: {shown(text)}")
