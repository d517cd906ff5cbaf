"""What is typed behind commands, as values: a mistake is a wrong use, and argparse says so."""

from __future__ import annotations

from argparse import ArgumentTypeError

from whereabouts.addresses import Address, AddressError, Network, parse_address, parse_network
from whereabouts.commands.tables import printable


def address(text: str) -> Address:
    """An IP address."""
    try:
        return parse_address(text)
    except AddressError as error:
        raise ArgumentTypeError(printable(str(error))) from error


def network(text: str) -> Network:
    """A network with its prefix length; bits of a host are passed over."""
    try:
        return parse_network(text)
    except AddressError as error:
        raise ArgumentTypeError(printable(str(error))) from error


def pod(text: str) -> str:
    """A pod as records name it; outside Kubernetes, a container ID."""
    if not text or text.count("/") > 1 or text.startswith("/") or text.endswith("/"):
        raise ArgumentTypeError(f"{printable(text)!r} is no pod: expected NAMESPACE/NAME")
    return text


def seconds(text: str) -> float:
    """A length of time."""
    number = float(text)
    if not 0 <= number < 1 << 31:
        raise ArgumentTypeError(f"{text} is no number of seconds from 0 on")
    return number
