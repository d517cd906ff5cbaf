"""``whereabouts show``: what an operator sees of a datastore."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from time import gmtime, strftime

from whereabouts.addresses import AddressError, Network, parse_network, text_of
from whereabouts.block import BlockKey
from whereabouts.commands import arguments, datastore, formats
from whereabouts.commands.tables import table, terminal_width
from whereabouts.deadline import Deadline
from whereabouts.findings import Record
from whereabouts.overview import (
    Content,
    allocations_as_json,
    at_address,
    held,
    in_blocks,
    ranges_as_json,
)
from whereabouts.pool import Pool
from whereabouts.store import Store
from whereabouts.usage import RangeUse, range_uses

_NUMBERS = ("CAPACITY", "USED", "FREE", "USE%", "BLOCKS", "DAMAGED", "HINTED")
_SHOWN_NODES = 3

Find = Callable[[Store, Deadline], Content]


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "show",
        help="list the ranges with used and free addresses, or who holds what",
        description="Without --block, --address, --pod or --node: the ranges with used and free addresses. "
        "With one of them: the allocations, and exit status 1 if there are none.",
    )
    datastore.add_options(parser)
    formats.add_option(parser)
    parser.add_argument(
        "--network", metavar="NAME", help="only of this network_name; '' for those without one"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--block", metavar="BLOCK|CIDR", help="the allocations of a block, or of all in a network"
    )
    what.add_argument("--address", type=arguments.address, metavar="ADDRESS", help="who holds an address")
    what.add_argument("--pod", type=arguments.pod, metavar="NAMESPACE/NAME", help="the allocations of a pod")
    what.add_argument("--node", metavar="NODE", help="the allocations that a node's pods have")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Print what was asked for; 1 where allocations were, and there are none."""
    deadline = Deadline.none()
    find = _finder(chosen)
    with datastore.opened(chosen) as store:
        if find is None:
            nodes = chosen.output in ("wide", "json", "yaml")
            _print_ranges(range_uses(store, deadline, chosen.network, nodes=nodes), chosen.output)
            return 0
        content = find(store, deadline)
        pools = [stored.pool for stored in store.pools(deadline, chosen.network)] if chosen.address else []
    _print_allocations(content, chosen)
    if chosen.address and chosen.output in ("table", "wide"):
        _print_ranges_of(chosen, pools)
    return 0 if content.records else 1


def _finder(chosen: argparse.Namespace) -> Find | None:
    name = chosen.network
    if chosen.address is not None:
        return lambda store, deadline: at_address(store, chosen.address, deadline, name)
    if chosen.block is not None:
        wanted = _named(chosen.block)
        return lambda store, deadline: in_blocks(store, wanted, deadline, name)
    if chosen.pod is not None:
        return lambda store, deadline: held(store, lambda owner: owner.pod_ref == chosen.pod, deadline, name)
    if chosen.node is not None:
        return lambda store, deadline: held(store, lambda owner: owner.node == chosen.node, deadline, name)
    return None


def _named(text: str) -> Callable[[BlockKey], bool]:
    """Whether a block has this name, or lies in this network."""
    try:
        network: Network | None = parse_network(text)
    except AddressError:
        network = None
    return lambda key: key.name == text or (network is not None and key.cidr.overlaps(network))


# ------------------------------------------------------------------- printing


def _print_ranges(uses: Sequence[RangeUse], form: str) -> None:
    if form in ("json", "yaml"):
        print(formats.document(ranges_as_json(uses), form))
    elif form == "name":
        formats.print_lines(use.pool.key.name for use in uses)
    else:
        wide = form == "wide"
        print(ranges_table(uses, wide=wide, width=None if wide else terminal_width()))


def ranges_table(uses: Sequence[RangeUse], *, wide: bool = False, width: int | None = None) -> str:
    """The ranges, a line each: how many addresses there are, how many are used and how many are left."""
    headings = ["NETWORK", "RANGE", "CAPACITY", "USED", "FREE", "USE%", "BLOCKS"]
    if wide:
        headings += ["DAMAGED", "HINTED", "OVERLAPPING", "NODES"]
    return table(headings, [_range_row(use, wide) for use in uses], numbers=_NUMBERS, width=width)


def _range_row(use: RangeUse, wide: bool) -> list[object]:
    pool = use.pool
    row = [pool.key.network_name, pool.key.range, use.capacity, use.used, use.free, use.percent, use.blocks]
    if not wide:
        return row
    hinted = max((bits.count() for bits in pool.exhausted.values()), default=0)
    return [*row, use.damaged, hinted, "yes" if pool.shared else "no", _nodes(use)]


def _nodes(use: RangeUse) -> str:
    """How many nodes have addresses of the range, and the names of those that have most."""
    nodes = {name or "(unknown)": count for name, count in (use.nodes or {}).items()}
    most = sorted(nodes, key=lambda name: (-nodes[name], name))[:_SHOWN_NODES]
    more = ", ..." if len(nodes) > len(most) else ""
    return f"{len(nodes)}: {', '.join(most)}{more}" if nodes else "0"


def _print_allocations(content: Content, chosen: argparse.Namespace) -> None:
    form = chosen.output
    if form in ("json", "yaml"):
        print(formats.document(allocations_as_json(content), form))
        return
    if form == "name":
        formats.print_lines(text_of(record.address) for record in content.records)
        return
    for stored in content.blocks:
        if stored.block is None:
            formats.complain(f"{stored.damage}; who holds its addresses ({stored.key.cidr}) cannot be said")
    if content.records:
        wide = form == "wide"
        print(allocations_table(content.records, wide=wide, width=None if wide else terminal_width()))
    elif chosen.address is None:
        print("No allocation.")


def allocations_table(records: Sequence[Record], *, wide: bool = False, width: int | None = None) -> str:
    """Allocations, a line each."""
    headings = ["ADDRESS", "POD", "INTERFACE", "NODE", "NETWORK", "RANGE", "SINCE"]
    if wide:
        headings += ["BLOCK", "CNI NETWORK", "POD UID", "CONTAINER"]
    rows = []
    for record in records:
        owner = record.owner
        row = [text_of(record.address), owner.pod_ref, owner.ifname, owner.node]
        row += [record.space.network_name, owner.range, shown_time(owner.created)]
        if wide:
            row += [record.block.name, owner.network, owner.pod_uid, owner.container_id]
        rows.append(row)
    return table(headings, rows, width=width)


def shown_time(created: int) -> str:
    """A time in seconds since 1970 as people read it, in UTC; empty where it is not known."""
    return strftime("%Y-%m-%d %H:%M:%SZ", gmtime(created)) if created else ""


def _print_ranges_of(chosen: argparse.Namespace, pools: Sequence[Pool]) -> None:
    """In which ranges the address lies that was asked for."""
    shown = text_of(chosen.address)
    inside = [pool for pool in pools if chosen.address in ip_network(pool.key.range)]
    if not inside:
        print(f"{shown} lies in no range that was ever used.")
        return
    for pool in inside:
        of = f" of network {pool.key.network_name}" if pool.key.network_name else ""
        formats.print_lines([f"{shown} lies in range {pool.key.range}{of}."])
