"""Ranges: which addresses of a network may be given, in exact integer arithmetic over all 128 bits.

Upstream's rules (behaviour of the Go plugin, with its 64-bit and wrap-around faults left out): a range
is a network less its first and last address, in both families; ``range_start`` and ``range_end`` narrow
it; excluded networks and addresses are never given. IPv4 addresses that end in ``.0`` are not given
either, as its manual promises.
"""

from __future__ import annotations

from binascii import crc32
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from whereabouts.addresses import (
    BITS,
    Address,
    AddressError,
    Network,
    address_of,
    parse_address,
    parse_interface,
    parse_interval,
    shown,
    text_of,
)
from whereabouts.errors import WhereaboutsError

_BLOCK = 256
"""Addresses of a block; also the distance between IPv4 addresses that end in ``.0``."""

Interval = tuple[int, int]
"""Of addresses: first and last, both inclusive. Of offsets: start and stop, half-open."""


class RangeError(WhereaboutsError, ValueError):
    """A range, or one of its bounds or excludes, that cannot be; the text names key and value."""


class Range:
    """What may be given of one network; immutable, equal by value. Made by :meth:`parse`."""

    __slots__ = (
        "_digest",
        "_firsts",
        "_lasts",
        "dot_zero_barred",
        "excludes",
        "first",
        "gateway",
        "last",
        "network",
        "usable",
        "version",
        "warnings",
    )

    network: Network
    """The whole network, without host bits; its text names the range's pool."""
    version: int
    """4 or 6."""
    first: int
    """The lowest address within the bounds, as an integer; it may be excluded."""
    last: int
    """The highest address within the bounds."""
    excludes: tuple[str, ...]
    """The excludes as they were configured."""
    gateway: Address | None
    usable: tuple[Interval, ...]
    """The bounds less the excludes: disjoint inclusive intervals, in order. Still with ``.0`` in IPv4."""
    dot_zero_barred: bool
    """Whether addresses that end in ``.0`` are left out."""
    warnings: tuple[str, ...]
    """What was configured and has no effect, for a log."""

    def __init__(
        self,
        network: Network,
        bounds: Interval,
        excludes: Sequence[str],
        gateway: Address | None,
        usable: Sequence[Interval],
        dot_zero_barred: bool,
        warnings: Sequence[str],
    ) -> None:
        """Take parts that fit together, as :meth:`parse` makes them."""
        self.network = network
        self.version = network.version
        self.first, self.last = bounds
        self.excludes = tuple(excludes)
        self.gateway = gateway
        self.usable = tuple(usable)
        self.dot_zero_barred = dot_zero_barred
        self.warnings = tuple(warnings)
        givable = list(_without_outer_dot_zeros(usable) if dot_zero_barred else usable)
        if not givable:
            self.warnings += (f"range {network} has no address to give: {_why_empty(usable)}",)
        self._firsts = [first for first, _ in givable]
        self._lasts = [last for _, last in givable]
        self._digest: int | None = None

    @classmethod
    def parse(
        cls,
        text: str,
        *,
        start: str | Address | None = None,
        end: str | Address | None = None,
        excludes: Sequence[str] = (),
        gateway: Address | None = None,
        enable_l3: bool = False,
        allow_dot_zero: bool = False,
        exclude_gateway: bool = False,
        lenient: bool = False,
    ) -> Range:
        """Make a range from its configuration.

        ``text`` is ``network/length`` or ``first-last/length``, which sets the bounds as well. ``start``
        and ``end`` are ``range_start`` and ``range_end``; outside the network they have no effect.
        Network and bounds may have leading zeros in IPv4 octets, excludes may not. ``enable_l3`` makes
        the network's first and last address usable, and so networks of one or two addresses.

        Raises :class:`RangeError`. ``lenient``, for giving addresses back: bounds and excludes that
        cannot be parsed are passed over with a warning, a network too small has no address; only a
        ``text`` that cannot be parsed is an error.
        """
        warnings: list[str] = []
        network, text_start, text_end = _parse_range(text)
        if text_start is not None:
            start, end = text_start, text_end
        outer = _outer_bounds(network, enable_l3, lenient)
        if outer is None:
            edge = int(network.network_address)
            return cls(network, (edge, edge), excludes, gateway, (), not allow_dot_zero, warnings)
        low = _bound("range_start", start, network, lenient, warnings)
        high = _bound("range_end", end, network, lenient, warnings)
        bounds = _narrow(network, outer, low, high, warnings)
        barred = _parse_excludes(excludes, network.version, lenient, warnings)
        if exclude_gateway and gateway is not None and gateway.version == network.version:
            barred.append((int(gateway), int(gateway)))
        dot_zero_barred = network.version == 4 and not allow_dot_zero
        usable = _subtract(bounds, sorted(barred))
        return cls(network, bounds, excludes, gateway, usable, dot_zero_barred, warnings)

    @property
    def digest(self) -> int:
        """A CRC-32 of what may be given, made once: with many excludes that takes its time."""
        if self._digest is None:
            self._digest = crc32(f"{self.usable} {self.dot_zero_barred}".encode())
        return self._digest

    def capacity(self) -> int:
        """How many addresses can be given at all."""
        count = 0
        for first, last in zip(self._firsts, self._lasts, strict=True):
            count += last - first + 1
            if self.dot_zero_barred:
                count -= last // _BLOCK - (first - 1) // _BLOCK
        return count

    def contains(self, address: int) -> bool:
        """Whether the address with this value can be given."""
        if self.dot_zero_barred and address % _BLOCK == 0:
            return False
        index = bisect_left(self._lasts, address)
        return index < len(self._firsts) and self._firsts[index] <= address

    def barred(self, base: int, size: int = _BLOCK) -> tuple[Interval, ...]:
        """Give the offsets in ``base`` to ``base + size`` that may not be given.

        Half-open intervals ``(start, stop)`` relative to ``base``, in order, none touching the next.
        """
        found = []
        end = 0
        for first, last in self._pieces(base, base + size - 1):
            if first - base > end:
                found.append((end, first - base))
            end = last - base + 1
        if end < size:
            found.append((end, size))
        return tuple(found)

    def next_block(self, base: int) -> int | None:
        """Give the lowest block (a multiple of 256) at or after ``base`` with an address to give."""
        floor = -(-base // _BLOCK) * _BLOCK
        if self.dot_zero_barred:
            floor += 1
        index = bisect_left(self._lasts, floor)
        if index == len(self._firsts):
            return None
        return max(self._firsts[index], floor) // _BLOCK * _BLOCK

    def within(self, part: Network) -> Range:
        """What can be given of a part of the network, without the first and the last address of the part."""
        low, high = int(part.network_address) + 1, int(part.broadcast_address) - 1
        usable = [(max(first, low), min(last, high)) for first, last in self.usable]
        usable = [(first, last) for first, last in usable if first <= last]
        first, last = max(self.first, low), min(self.last, high)
        bounds = (first, last) if first <= last else (low, high)
        return Range(part, bounds, self.excludes, self.gateway, usable, self.dot_zero_barred, ())

    def full_message(self) -> str:
        """Say that nothing is left, in the words of the Go plugin, which tools match on."""
        first, last = (text_of(address_of(self.version, bound)) for bound in (self.first, self.last))
        excludes = " ".join(self.excludes)
        return (
            f"Could not allocate IP in range: ip: {first} / - {last} / range: {self.network} "
            f"/ excludeRanges: [{excludes}]"
        )

    def _pieces(self, low: int, high: int) -> Iterator[Interval]:
        """What can be given from ``low`` to ``high``, as inclusive intervals in order."""
        index = bisect_left(self._lasts, low)
        while index < len(self._firsts) and self._firsts[index] <= high:
            first, last = max(self._firsts[index], low), min(self._lasts[index], high)
            index += 1
            if self.dot_zero_barred:
                yield from _cut_at_dot_zeros(first, last)
            else:
                yield first, last

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, Range) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.network, self.first, self.last, self.excludes))

    def __repr__(self) -> str:
        first, last = (text_of(address_of(self.version, bound)) for bound in (self.first, self.last))
        return f"<Range {self.network} {first}-{last} excludes={list(self.excludes)}>"

    def _values(self) -> tuple[object, ...]:
        return (
            self.network,
            self.first,
            self.last,
            self.excludes,
            self.gateway,
            self.usable,
            self.dot_zero_barred,
            self.warnings,
        )


def _parse_range(text: str) -> tuple[Network, Address | None, Address | None]:
    """The network, and the bounds of the form ``first-last/length``."""
    left, dash, right = text.partition("-")
    if not dash:
        try:
            return parse_interface(text, lenient=True).network, None, None
        except AddressError as error:
            raise RangeError(f"invalid CIDR {shown(text)}: {error}") from error
    try:
        start = parse_address(left, lenient=True)
    except AddressError:
        raise RangeError(f"invalid range start IP: {shown(left)}") from None
    try:
        end = parse_interface(right, lenient=True)
    except AddressError as error:
        question = "do you have the 'range' parameter set for Whereabouts?"
        raise RangeError(f"invalid CIDR ({question}) '{shown(right)}': {error}") from error
    if start not in end.network:
        raise RangeError(f"invalid range start for CIDR {end.network}: {shown(left)}")
    return end.network, start, address_of(end.version, int(end))


def _outer_bounds(network: Network, enable_l3: bool, lenient: bool) -> Interval | None:
    """The network's first and last usable address; None where it has none and that is no error."""
    first, last = int(network.network_address), int(network.broadcast_address)
    if enable_l3:
        return first, last
    if last - first > 1:
        return first + 1, last - 1
    if lenient:
        return None
    mask = int(network.netmask)
    subnet = f"{{{network.network_address} {mask:0{BITS[network.version] // 4}x}}}"
    raise RangeError(
        f"net mask is too short, subnet {subnet} has no usable IP addresses, it is too small "
        "(enable_l3 allows it)"
    )


def _bound(
    key: str, value: str | Address | None, network: Network, lenient: bool, warnings: list[str]
) -> Address | None:
    """A configured bound as an address; an empty text is none."""
    if value is None or not isinstance(value, str):
        return value
    if not value:
        return None
    try:
        return parse_address(value, lenient=True)
    except AddressError as error:
        problem = f"invalid {key} of range {network}: {error}"
        if not lenient:
            raise RangeError(problem) from error
        warnings.append(f"{problem} (ignored)")
        return None


def _narrow(
    network: Network, outer: Interval, start: Address | None, end: Address | None, warnings: list[str]
) -> Interval:
    """The bounds that ``range_start`` and ``range_end`` leave; each counts only inside the others."""
    first, last = outer
    if start is not None:
        if start.version == network.version and first <= int(start) <= last:
            first = int(start)
        elif start != network.network_address:  # where the range begins anyway
            warnings.append(
                f"range_start {text_of(start)} has no effect: it is outside the usable addresses "
                f"of range {network}"
            )
    if end is not None:
        if end.version == network.version and first <= int(end) <= last:
            last = int(end)
        elif end != network.broadcast_address:
            warnings.append(
                f"range_end {text_of(end)} has no effect: it is outside the usable addresses of range "
                f"{network} or below range_start"
            )
    return first, last


def _parse_excludes(
    excludes: Sequence[str], version: int, lenient: bool, warnings: list[str]
) -> list[Interval]:
    """The excluded intervals of the range's family, as configured."""
    barred = []
    for text in excludes:
        try:
            family, first, last = parse_interval(text)
        except AddressError as error:
            problem = f'could not parse exclude range, err: "{error}"'
            if not lenient:
                raise RangeError(problem) from error
            warnings.append(f"{problem} (ignored)")
            continue
        if family == version:
            barred.append((first, last))
        else:
            warnings.append(f"exclude {text} has no effect: the range is IPv{version}")
    return barred


def _subtract(bounds: Interval, barred: Sequence[Interval]) -> list[Interval]:
    """What is left of the bounds without the barred intervals, which are sorted and may overlap."""
    left = []
    at, end = bounds
    for first, last in barred:
        if first > end:
            break
        if first > at:
            left.append((at, first - 1))
        at = max(at, last + 1)
    if at <= end:
        left.append((at, end))
    return left


def _without_outer_dot_zeros(intervals: Sequence[Interval]) -> Iterator[Interval]:
    """The intervals without an address ending in ``.0`` at either end; those of nothing else vanish."""
    for first, last in intervals:
        low = first + 1 if first % _BLOCK == 0 else first
        high = last - 1 if last % _BLOCK == 0 else last
        if low <= high:
            yield low, high


def _cut_at_dot_zeros(first: int, last: int) -> Iterator[Interval]:
    """The interval in pieces, without the addresses that end in ``.0``."""
    while first <= last:
        if first % _BLOCK:
            stop = min(last, first | (_BLOCK - 1))
            yield first, stop
            first = stop
        first += 1


def _why_empty(usable: Sequence[Interval]) -> str:
    if usable:
        return "IPv4 addresses that end in .0 are given only with allow_dot_zero"
    return "it is too small, or everything is excluded"
