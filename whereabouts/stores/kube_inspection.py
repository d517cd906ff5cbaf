"""What a cluster has beside the blocks that can be read: misnamed objects, and what the Go plugin left.

Everything is listed and nothing is adopted, so that looking changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from whereabouts.addresses import text_of
from whereabouts.deadline import Deadline
from whereabouts.findings import Finding, Record
from whereabouts.inspection import Surroundings
from whereabouts.owners import Owner
from whereabouts.pool import PoolKey
from whereabouts.store import StoredBlock
from whereabouts.stores import kube_objects as objects
from whereabouts.stores.kube_objects import BLOCKS, POOLS
from whereabouts.stores.kube_pool_keys import PoolKeys
from whereabouts.stores.kube_reservations import Reservations
from whereabouts.stores.kube_resources import Resources
from whereabouts.stores.kube_upstream import allocations_of, reservation_name
from whereabouts.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

_Reserved = Mapping[tuple[str, str], Record | None]
"""What reservations there should be: by name and pod reference; the record where it is in a block."""


def surroundings(
    resources: Resources, blocks: Sequence[StoredBlock], deadline: Deadline, *, coexist: bool
) -> Surroundings:
    """What is wrong around the blocks that were read just before.

    With ``coexist`` every record has to have a reservation, too.
    """
    findings = list(_misnamed_blocks(resources, blocks, deadline))
    unsettled: list[PoolKey] = []
    due: dict[tuple[str, str], Record | None] = _due(blocks)
    keys = PoolKeys(resources, deadline)
    for content in resources.list(POOLS, deadline):
        key = keys.of(content)
        if key is None:
            findings.append(_misnamed_pool(content))
            continue
        if not objects.is_ours(content):
            unsettled.append(key.of_whole)
        found = allocations_of(key, content, 0)
        for address, owner in found.values():
            name = reservation_name(key.network_name, address)
            due.setdefault((name or "", owner.pod_ref), None)
        findings += _in_map(key, content, found)
    findings += _reservations(resources, due, deadline, coexist)
    return Surroundings(findings, unsettled)


def _misnamed_blocks(
    resources: Resources, blocks: Sequence[StoredBlock], deadline: Deadline
) -> Iterator[Finding]:
    known = {stored.key.name for stored in blocks}
    for listed in resources.list(BLOCKS, deadline, metadata_only=True):
        name = listed["metadata"]["name"]
        content = None if name in known else resources.get(BLOCKS, name, deadline)
        if content is not None and objects.key_of_block(content) is None:
            spec = content.get("spec") or {}
            fields = ", ".join(
                f"{field} {spec[field]!r}" for field in ("cidr", "network", "range") if field in spec
            )
            message = (
                f"AddressBlock {name} has a name that does not follow from its fields ({fields or 'none'})"
            )
            yield Finding("misnamed-block", message, place=name)


def _misnamed_pool(content: Any) -> Finding:
    name, text = content["metadata"]["name"], (content.get("spec") or {}).get("range") or ""
    return Finding("misnamed-pool", f"IPPool {name} is not called as its range {text!r} would be", place=name)


def _in_map(key: PoolKey, content: Any, found: Mapping[str, tuple[Any, Owner]]) -> Iterator[Finding]:
    """What the Go plugin wrote into a pool's map: nothing of it belongs into one of ours."""
    name, network = content["metadata"]["name"], key.network_name
    if objects.is_ours(content):
        for address, owner in found.values():
            yield Finding(
                "foreign-allocation",
                f"the Go plugin gave {text_of(address)} to {owner.pod_ref} {owner.ifname} in IPPool {name}, "
                "whose records are in blocks",
                network,
                place=f"{name} {text_of(address)}",
                pod=owner.pod_ref,
            )
    entries = (content.get("spec") or {}).get("allocations") or {}
    for offset in sorted(entries.keys() - found.keys()):
        message = f"the allocation {offset!r} of IPPool {name} cannot be read"
        yield Finding("unreadable-allocation", message, network, place=f"{name} {offset}")


def _due(blocks: Sequence[StoredBlock]) -> dict[tuple[str, str], Record | None]:
    """The reservations of the records in blocks of spaces that ranges share."""
    due: dict[tuple[str, str], Record | None] = {}
    for stored in blocks:
        space = stored.key.space
        if stored.block is None or space.own_range:
            continue
        for offset, owner in stored.block:
            address = stored.key.address(offset)
            name = reservation_name(space.network_name, address)
            if name is not None:
                due[name, owner.pod_ref] = Record(space, address, owner)
    return due


def _reservations(
    resources: Resources, due: _Reserved, deadline: Deadline, coexist: bool
) -> Iterator[Finding]:
    listed, used = list(Reservations(resources).listed(deadline)), {name for name, _ in due}
    for name, revision, pod_ref in listed:
        if name not in used:
            message = f"OverlappingRangeIPReservation {name} is of {pod_ref or 'nobody'}, and nobody holds it"
            yield Finding("stale-reservation", message, place=f"{name} {revision}", pod=pod_ref)
    there = {(name, pod_ref) for name, _, pod_ref in listed} if coexist else due.keys()
    for (name, pod_ref), record in due.items():
        if record is not None and pod_ref and (name, pod_ref) not in there:
            message = f"{text_of(record.address)} of {pod_ref} has no OverlappingRangeIPReservation {name}"
            yield Finding(
                "missing-reservation",
                message,
                record.space.network_name,
                place=record.block.name,
                record=record,
                pod=pod_ref,
            )
