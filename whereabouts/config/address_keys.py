"""Addresses as the values of keys."""

from __future__ import annotations

from whereabouts.addresses import Address, AddressError, parse_address
from whereabouts.config.errors import Problems
from whereabouts.config.members import Members


def read_address(item: Members, where: str, key: str, problems: Problems) -> Address | None:
    """An address, parsed strictly, as the Go plugin's JSON decoder does in lists of objects.

    None if the key is not set, or if its value cannot be parsed and that was passed over.
    """
    text = item.text(key)
    try:
        return parse_address(text) if text else None
    except AddressError as error:
        problems.report(f'{error} (key "{where}.{key}")')
        return None
