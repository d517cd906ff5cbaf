"""The networks whose addresses the load asks for, the same in all worlds, and what they may give.

What a range may give is told here once more, address by address, so that the checker need not believe the
code that it checks.
"""

from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

Address = IPv4Address | IPv6Address


class Span(NamedTuple):
    """A range as it is configured."""

    text: str
    start: str = ""
    end: str = ""
    excludes: tuple[str, ...] = ()

    def members(self) -> dict[str, object]:
        """As a member of ``ipRanges``."""
        bounds = {"range_start": self.start, "range_end": self.end}
        given: dict[str, object] = {name: text for name, text in bounds.items() if text}
        return {"range": self.text, **given, "exclude": list(self.excludes)}

    def usable(self) -> Iterator[str]:
        """The addresses that it may give, lowest first.

        Never the network's first and last, and of IPv4 none that ends in ``.0``.
        """
        network = ip_network(self.text)
        first = ip_address(self.start) if self.start else network.network_address + 1
        last = ip_address(self.end) if self.end else network.broadcast_address - 1
        barred = [ip_network(text) for text in self.excludes]
        for value in range(int(first), int(last) + 1):
            address: Address = type(first)(value)
            dot_zero = address.version == 4 and value % 256 == 0
            if not dot_zero and not any(address in one for one in barred):
                yield str(address)

    def lowest_free(self, used: Collection[str]) -> str | None:
        """The lowest address that is not in use; None where all are."""
        return next((address for address in self.usable() if address not in used), None)


class Network(NamedTuple):
    """A CNI network with the ranges of which each interface gets an address."""

    name: str
    spans: tuple[Span, ...]
    share: float
    """How many of the pods' interfaces are in it, in comparison with others."""

    def configuration(self, ipam: Mapping[str, object], **members: object) -> dict[str, object]:
        """Its configuration; ``ipam`` names the store, ``members`` are further ones."""
        ranges = [span.members() for span in self.spans]
        own = {"type": "whereabouts", "ipRanges": ranges, "log_level": "error", **ipam}
        return {"cniVersion": "1.0.0", "name": self.name, "type": "macvlan", "ipam": own, **members}


WIDE = Network("wide", (Span("10.10.0.0/20"),), 2.0)
DUAL = Network("dual", (Span("10.20.0.0/22"), Span("fd00:20::/112")), 1.5)
OVERLAPPING = Network("overlapping", (Span("10.10.0.0/22", "10.10.0.40", "10.10.1.90"),), 1.0)
"""In the blocks of the wide one."""
TIGHT = Network("tight", (Span("10.30.0.0/26", excludes=("10.30.0.8/30", "10.30.0.40/32")),), 2.0)
"""Nearly full or full most of the time."""
SPARSE = Network(
    "sparse",
    (
        Span(
            "10.40.0.0/21",
            excludes=tuple(
                f"10.40.{third}.{rest}"
                for third in range(8)
                for rest in ("16/28", "32/27", "64/26", "128/25")
            ),
        ),
    ),
    3.5,
)
"""Fifteen addresses in each of eight blocks: blocks are exhausted, and have room again, all the time."""
THREE = Network(
    "three", (Span("10.50.0.0/24"), Span("10.10.8.0/22"), Span("fd00:50::/120", "fd00:50::10")), 0.5
)
NETWORKS = (WIDE, DUAL, OVERLAPPING, TIGHT, SPARSE, THREE)
