"""The names that the CNI protocol carries: what is allowed in a container ID, a network name, an ifname.

The rules are those of the specification (section 2, "Parameters") as the CNI library checks them. All
three end in stored records, so what could not be stored or printed again is refused as well.
"""

from __future__ import annotations

from whereabouts.cni.errors import INVALID_ENVIRONMENT, INVALID_NETWORK_CONFIG, CniError, shorten

LONGEST_NAME = 255
"""The runtime's library keeps a file called after network, container and interface: no name is longer."""
LONGEST_INTERFACE_NAME = 15
"""In bytes: the kernel's IFNAMSIZ less its final NUL."""

_ALPHANUMERIC = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME_CHARACTERS = _ALPHANUMERIC | frozenset("_.-")


def check_container_id(container_id: str) -> None:
    """Raise :class:`CniError` (code 4) unless this can be a container ID."""
    if not _is_name(container_id):
        raise CniError(INVALID_ENVIRONMENT, "invalid characters in containerID", shorten(container_id))
    if len(container_id) > LONGEST_NAME:
        details = f"CNI_CONTAINERID has {len(container_id)} characters, at most {LONGEST_NAME} are allowed"
        raise CniError(INVALID_ENVIRONMENT, "containerID is too long", details)


def check_network_name(name: str) -> None:
    """Raise :class:`CniError` (code 7) unless this can be the name of a network."""
    if not name:
        raise CniError(INVALID_NETWORK_CONFIG, "missing network name")
    if not _is_name(name):
        raise CniError(INVALID_NETWORK_CONFIG, "invalid characters found in network name", shorten(name))
    if len(name) > LONGEST_NAME:
        details = f'the value of "name" has {len(name)} characters, at most {LONGEST_NAME} are allowed'
        raise CniError(INVALID_NETWORK_CONFIG, "network name is too long", details)


def check_interface_name(ifname: str) -> None:
    """Raise :class:`CniError` (code 4) unless the kernel could give an interface this name."""
    if len(ifname.encode("utf-8", "replace")) > LONGEST_INTERFACE_NAME:  # a stray byte counts as one
        details = f"interface name should be less than {LONGEST_INTERFACE_NAME + 1} characters"
        raise CniError(INVALID_ENVIRONMENT, "interface name is too long", details)
    if ifname in (".", ".."):
        raise CniError(INVALID_ENVIRONMENT, "interface name is . or ..")
    if "/" in ifname or ":" in ifname or any(map(str.isspace, ifname)):
        raise CniError(INVALID_ENVIRONMENT, "interface name contains / or : or whitespace characters")
    if not ifname.isprintable():
        details = "CNI_IFNAME must be printable text in UTF-8"
        raise CniError(INVALID_ENVIRONMENT, "interface name contains unprintable characters", details)


def _is_name(text: str) -> bool:
    return bool(text) and text[0] in _ALPHANUMERIC and _NAME_CHARACTERS.issuperset(text)
