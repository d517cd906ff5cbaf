"""What the Go plugin writes: allocations in IPPools, and reservations named after addresses.

Forms and names are those of its releases; see ``docs/change-over.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_interface, ip_network

from whereabouts.addresses import Address, is_decimal
from whereabouts.owners import Owner
from whereabouts.pool import PoolKey
from whereabouts.stores.kube_objects import API_VERSION
from whereabouts.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

LARGEST_OFFSET = 2**63 - 1
"""The Go plugin passes over larger keys when it reads, and drops them when it writes."""

_LONGEST_OFFSET = 100
"""Digits of a key that is read; the interpreter does not read a number of any length."""


def allocations_of(key: PoolKey, content: Any, now: int) -> dict[str, tuple[Address, Owner]]:
    """The allocations in a pool's object by their keys; those that cannot be read are left out.

    A key is the distance from the address in ``spec.range`` as it is written, which may have host bits. Old
    releases wrote no ``podref`` and no ``ifname``.
    """
    spec = content.get("spec") or {}
    base = int(ip_interface(spec["range"]).ip)
    network = ip_network(key.range)
    found = {}
    for offset, entry in (spec.get("allocations") or {}).items():
        if not is_decimal(offset, _LONGEST_OFFSET) or int(offset) > LARGEST_OFFSET:
            continue
        value = base + int(offset)
        owner = _owner(entry, "id", key.of_whole.range, now)
        if value <= int(network.broadcast_address) and owner is not None:
            found[offset] = (type(network.network_address)(value), owner)
    return found


def allocation(owner: Owner) -> dict[str, str]:
    """An allocation as the Go plugin writes it."""
    entry = {"id": owner.container_id, "podref": owner.pod_ref}
    return {**entry, "ifname": owner.ifname} if owner.ifname else entry


def reservation_name(network_name: str, address: Address) -> str | None:
    """The name of the reservation of an address; None where Kubernetes does not take the Go plugin's."""
    text = str(address)
    text = (f"{text}0" if text.endswith(":") else text).replace(":", "-")
    name = f"{network_name}-{text}" if network_name else text
    return None if name.startswith("-") else name


def reserved_address(network_name: str, name: str) -> Address | None:
    """The address that a reservation of one network name is for; None for one of another network."""
    text = name
    if network_name:
        text = name.removeprefix(f"{network_name}-")
        if text == name:
            return None
    try:
        address = ip_address(text if "." in text else text.replace("-", ":"))
    except ValueError:
        return None
    return address if reservation_name(network_name, address) == name else None


def reservation(name: str, owner: Owner, labels: Mapping[str, str]) -> dict[str, Any]:
    """A reservation's object as it is created."""
    spec = {"podref": owner.pod_ref}
    return {
        "apiVersion": API_VERSION,
        "kind": "OverlappingRangeIPReservation",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {**spec, "ifname": owner.ifname} if owner.ifname else spec,
    }


def holder_of(content: Any, range_text: str, now: int) -> Owner:
    """Who holds the address of a reservation; an owner without a name where it cannot be read."""
    owner = _owner(content.get("spec") or {}, "containerid", range_text, now)
    return owner or Owner("", "", "", "", "", "", range_text, now)


def same_holder(one: Owner, other: Owner) -> bool:
    """Whether two records of one address may be of the same attachment, as far as they say."""
    pairs: Iterable[tuple[str, str]] = (
        (one.pod_ref, other.pod_ref),
        (one.container_id, other.container_id),
        (one.ifname, other.ifname),
    )
    return all(a == b or not a or not b for a, b in pairs)


def merged(one: Owner, other: Owner) -> Owner:
    """What two records of the same holder say together; that with a container ID knows better."""
    first, second = (one, other) if one.container_id or not other.container_id else (other, one)
    return Owner(*(a or b for a, b in zip(first, second, strict=True)))  # type: ignore[arg-type]


def _owner(entry: Any, container_id: str, range_text: str, now: int) -> Owner | None:
    """The owner that a part of an object names; None where no record could hold it."""
    texts = [entry.get(name) or "" for name in ("podref", container_id, "ifname")]
    if any("\0" in text for text in texts):
        return None
    return Owner(texts[0], "", texts[1], texts[2], "", "", range_text, now)
