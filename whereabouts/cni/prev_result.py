"""``prevResult``: the result of the ADD, which the runtime hands back with CHECK and DEL.

The specification lets a runtime leave it out of a DEL, and a DEL does its best whatever comes, so there
are two readings: a strict one for CHECK, and one for DEL that takes what can be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Interface, IPv6Interface, ip_interface

from whereabouts.cni.errors import INVALID_NETWORK_CONFIG, CniError, quote
from whereabouts.cni.json_object import JsonError, member, text_member, type_name
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Literal


class PrevResult(NamedTuple):
    """What could be read of a ``prevResult``: addresses of the attachment, from whichever plugin."""

    state: Literal["whole", "absent", "damaged"]
    addresses: tuple[IPv4Interface | IPv6Interface, ...]
    """With their prefix length. All of them when whole; those that could be read when damaged."""
    problem: str
    """The first thing that is wrong with a damaged one, for the log."""


def prev_result(config: Mapping[str, object]) -> tuple[IPv4Interface | IPv6Interface, ...]:
    """Give the addresses in a configuration's ``prevResult``, for CHECK (CNI SPEC, section 2, "CHECK").

    Every form is read, that of 0.2.0 (``ip4``, ``ip6``) and the later ones (``ips``).
    Raises :class:`CniError` (code 7) if it is missing or if any part of it cannot be read.
    """
    found = prev_result_if_any(config)
    if found.state == "absent":
        msg = "missing prevResult: it must hold the result of the ADD that is to be checked"
        raise CniError(INVALID_NETWORK_CONFIG, msg)
    if found.state == "damaged":
        raise CniError(INVALID_NETWORK_CONFIG, f"could not parse prevResult: {found.problem}")
    return found.addresses


def prev_result_if_any(config: Mapping[str, object]) -> PrevResult:
    """Give what can be read of a configuration's ``prevResult``, for DEL. Never raises."""
    result = member(config, "prevResult")
    if result is None:
        return PrevResult("absent", (), "")
    try:
        entries = list(_entries(result))
    except JsonError as error:
        return PrevResult("damaged", (), str(error))
    addresses: list[IPv4Interface | IPv6Interface] = []
    problem = ""
    for where, entry, key in entries:
        try:
            addresses.append(_address(entry, key))
        except JsonError as error:
            problem = problem or f"{where}: {error}"
    return PrevResult("damaged" if problem else "whole", tuple(addresses), problem)


def _entries(result: object) -> Iterator[tuple[str, object, str]]:
    """Yield every entry that should be an address: its place, itself, its key for the address."""
    if not isinstance(result, dict):
        raise JsonError(f"expected an object, found {type_name(result)}")
    ips = member(result, "ips")
    if not isinstance(ips, list | None):
        raise JsonError(f"ips: expected a list, found {type_name(ips)}")
    for index, entry in enumerate(ips or ()):
        yield f"ips[{index}]", entry, "address"
    for key in ("ip4", "ip6"):
        entry = member(result, key)
        if entry is not None:
            yield key, entry, "ip"


def _address(entry: object, key: str) -> IPv4Interface | IPv6Interface:
    if not isinstance(entry, dict):
        raise JsonError(f"expected an object, found {type_name(entry)}")
    text = text_member(entry, key)
    length = text.rpartition("/")[2]
    if "/" in text and "%" not in text and length.isascii() and length.isdigit():
        try:
            return ip_interface(text)
        except ValueError:
            pass
    raise JsonError(f'key "{key}": {quote(text)} is not an address with a prefix length')
