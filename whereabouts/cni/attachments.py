"""The list of attachments that are still valid, which the runtime sends with GC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from whereabouts.cni.errors import INVALID_NETWORK_CONFIG, CniError
from whereabouts.cni.json_object import JsonError, find_key, text_member, type_name

_KEYS = ("cni.dev/valid-attachments", "cni.dev/attachments")
"""The key of the specification, and the one that stood in its first draft of GC; libcni writes both."""


def valid_attachments(config: Mapping[str, object]) -> frozenset[tuple[str, str]]:
    """Give the (container ID, interface name) of every valid attachment (CNI SPEC, section 2, "GC").

    GC frees what is not listed, so whatever is in doubt is refused: no list at all is never read as an
    empty one, and a list with one bad entry is not used. An attachment is valid if either key lists it.
    ``null`` is an empty list: libcni writes it for a network of which a node has no attachments.
    Raises :class:`CniError` (code 7).
    """
    spellings = [spelling for key in _KEYS if (spelling := find_key(config, key)) is not None]
    if not spellings:
        msg = f"missing {_KEYS[0]}: GC needs the list of attachments that are still valid"
        raise CniError(INVALID_NETWORK_CONFIG, msg)
    try:
        lists = [read_attachments(spelling, config[spelling]) for spelling in spellings]
        return frozenset().union(*lists)
    except JsonError as error:
        raise CniError(INVALID_NETWORK_CONFIG, f"invalid list of valid attachments: {error}") from error


def read_attachments(key: str, attachments: object) -> frozenset[tuple[str, str]]:
    """Give the (container ID, interface name) of every entry; ``null`` is an empty list.

    Raises :class:`~whereabouts.cni.json_object.JsonError`, which names the entry behind ``key``.
    """
    return frozenset(_pairs(key, attachments))


def _pairs(key: str, attachments: object) -> Iterator[tuple[str, str]]:
    if attachments is None:
        return
    if not isinstance(attachments, list):
        raise JsonError(f'key "{key}": expected a list, found {type_name(attachments)}')
    for index, attachment in enumerate(attachments):
        yield _pair(f"{key}[{index}]", attachment)


def _pair(where: str, attachment: object) -> tuple[str, str]:
    if not isinstance(attachment, dict):
        raise JsonError(f"{where}: expected an object, found {type_name(attachment)}")
    try:
        pair = text_member(attachment, "containerID"), text_member(attachment, "ifname")
    except JsonError as error:
        raise JsonError(f"{where}: {error}") from error
    if not all(pair):
        raise JsonError(f"{where}: containerID and ifname must both be given")
    return pair
