"""Node slices: a range cut into parts of one size, and which node has which.

What a node has stays with it (stability), and a slice in which addresses are used is given to no other node,
so that a slice tells where its addresses are. Nothing rests on that for safety: an address is unique whoever
gives it. The names of pools and their form are those of the Go plugin.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence

from whereabouts.addresses import BITS, AddressError, Network, parse_network, shown
from whereabouts.errors import WhereaboutsError
from whereabouts.values import NamedTuple

MAX_SLICES = 8192
"""Slices of one range, a power of two. etcd takes no object above 1.5 MiB: 192 bytes of JSON for each.

An entry takes up to 138 with a node's name of 63 characters, the most that a label has. Kubernetes allows
253, and 328 bytes are too many: of such nodes some 4,700 can have a slice, and then no store writes more.
"""


class SliceError(WhereaboutsError, ValueError):
    """A range that cannot be cut as it should be; the text names both."""


class Slice(NamedTuple):
    """A part of a range, as the text of its network, and the node that has it; empty: nobody."""

    range: str
    node: str = ""


class SlicePool(NamedTuple):
    """A range and its slices, in the order of their addresses."""

    name: str
    range: str
    slice_size: str
    """The prefix length of the slices, as it was configured: ``/24`` or ``24``."""
    slices: tuple[Slice, ...]

    def slice_of(self, node: str) -> str | None:
        """The slice of a node: the first that has its name."""
        return next((one.range for one in self.slices if node and one.node == node), None)


class SliceRule(NamedTuple):
    """How a range is cut, and what the pool of its slices is called."""

    pool: str
    prefixlen: int
    size: str
    """The prefix length as it was configured, for people."""

    def uncut(self, network: Network) -> SlicePool:
        """The pool in which all slices of ``network`` are free. Raises :class:`SliceError`."""
        slices = tuple(Slice(str(part)) for part in cut(network, self.prefixlen))
        return SlicePool(self.pool, str(network), self.size, slices)


def parse_size(text: str) -> int:
    """The prefix length in a configured size, ``/24`` or ``24``. Raises :class:`SliceError`."""
    digits = text.removeprefix("/")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 3 and int(digits)):
        raise SliceError(f"{shown(text)!r} is no size of slices: expected a prefix length such as /24")
    return int(digits)


def check_size(network: Network, prefixlen: int) -> None:
    """Raise :class:`SliceError` unless ``network`` can be cut into slices of ``/prefixlen``."""
    if prefixlen < network.prefixlen:
        raise SliceError(f"slices of /{prefixlen} are larger than the range {network}")
    if prefixlen > BITS[network.version] - 2:
        raise SliceError(
            f"slices of /{prefixlen} have no address to give, since the first and the last of a slice are "
            f"not given: the smallest are of /{BITS[network.version] - 2}"
        )
    if prefixlen - network.prefixlen > MAX_SLICES.bit_length() - 1:
        largest = network.prefixlen + MAX_SLICES.bit_length() - 1
        raise SliceError(
            f"range {network} has {1 << (prefixlen - network.prefixlen)} slices of /{prefixlen}, and more "
            f"than {MAX_SLICES} do not fit in one object: take slices of /{largest} or larger"
        )


def cut(network: Network, prefixlen: int) -> tuple[Network, ...]:
    """The slices of ``network``, lowest first. Raises :class:`SliceError`."""
    check_size(network, prefixlen)
    return tuple(network.subnets(new_prefix=prefixlen))


def ordered(slices: Iterable[Slice]) -> tuple[Slice, ...]:
    """Slices in the order of their addresses; those whose range is no network are left out."""
    found = []
    for one in slices:
        try:
            network = parse_network(one.range)
        except AddressError:
            continue
        found.append((network.version, int(network.network_address), network.prefixlen, one))
    return tuple(one for *_, one in sorted(found))


def print_slices(slices: Iterable[Slice]) -> str:
    """Slices as text: a line each, with the range, a blank and the name of the node."""
    return "\n".join(f"{one.range} {one.node}" for one in slices)


def parse_slices(text: str) -> tuple[Slice, ...]:
    """The slices that :func:`print_slices` wrote."""
    lines = (line.partition(" ") for line in text.splitlines())
    return tuple(Slice(text, node) for text, _, node in lines)


def assign(
    pool: SlicePool, nodes: Iterable[str], in_use: Callable[[str], bool]
) -> tuple[SlicePool, list[str]]:
    """Give every node a slice: the pool then, and the nodes that are left without.

    A node keeps its first slice. A slice of a node that is not among ``nodes`` becomes free, and so do
    further slices of one node, but where ``in_use`` says that addresses are used, the name stays: nobody
    else gets such a slice. Then nodes without a slice get the lowest one each that is free and not in use,
    in the order of their names. ``in_use`` gets the range of a slice, and each at most once.
    """
    known: dict[str, bool] = {}

    def used(text: str) -> bool:
        if text not in known:
            known[text] = in_use(text)
        return known[text]

    present = {node for node in nodes if node}
    settled: set[str] = set()
    slices = []
    for one in pool.slices:
        stays = one.node in present and one.node not in settled
        if one.node and not stays and not used(one.range):
            one = one._replace(node="")
        settled.add(one.node)
        slices.append(one)
    waiting = sorted(present - settled)
    for place, one in enumerate(slices):
        if waiting and not one.node and not used(one.range):
            slices[place] = one._replace(node=waiting.pop(0))
    return pool._replace(slices=tuple(slices)), waiting


def recut(before: SlicePool, now: SlicePool) -> SlicePool:
    """The pool ``now``, newly cut, with the nodes of ``before`` where that passes nothing on.

    A node gets the lowest slice that overlaps the one it had, if no other node had a part of it.
    """
    held = sorted((*_bounds(one.range), one.node) for one in before.slices if one.node)
    firsts = [first for first, _, _ in held]
    lasts = [last for _, last, _ in held]
    settled: set[str] = set()
    slices = []
    for one in now.slices:
        first, last = _bounds(one.range)
        holders = {node for *_, node in _between(held, firsts, lasts, first, last)}
        if len(holders) == 1 and not holders & settled:
            settled |= holders
            one = one._replace(node=holders.pop())
        slices.append(one)
    return now._replace(slices=tuple(slices))


_Bound = tuple[int, int]
"""Family and value of an address."""


def _bounds(text: str) -> tuple[_Bound, _Bound]:
    network = parse_network(text)
    return (network.version, int(network.network_address)), (network.version, int(network.broadcast_address))


def _between(
    held: Sequence[tuple[_Bound, _Bound, str]],
    firsts: Sequence[_Bound],
    lasts: Sequence[_Bound],
    first: _Bound,
    last: _Bound,
) -> Sequence[tuple[_Bound, _Bound, str]]:
    """Those of disjoint intervals in order that overlap first..last."""
    return held[bisect_left(lasts, first) : bisect_right(firsts, last)]
