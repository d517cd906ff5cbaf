"""Lists of the attachments that are valid, which operators give commands with ``--valid-attachments``."""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
from time import time

from whereabouts.cni.attachments import read_attachments, valid_attachments
from whereabouts.cni.errors import CniError
from whereabouts.cni.json_object import JsonError, text_member, type_name
from whereabouts.collect import Listing
from whereabouts.commands import arguments
from whereabouts.config import ConfigError
from whereabouts.values import NamedTuple

OPTION = "--valid-attachments"
GRACE_SECONDS = 60
"""A runtime may list a sandbox only when all its networks are attached: so long a record is left alone."""


def add_grace_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that says how young a record may be for a list to have missed it."""
    parser.add_argument(
        "--grace",
        metavar="SECONDS",
        type=arguments.seconds,
        default=GRACE_SECONDS,
        help="keep what was given less than so long before the list was made (default: %(default)s)",
    )


class AttachmentList(NamedTuple):
    """What a file says."""

    valid: frozenset[tuple[str, str]]
    """Container IDs and interface names."""
    network: str | None
    """The CNI network that it speaks of; None: all of them."""
    made: float
    """When it was made at the earliest, in seconds since 1970."""

    def listing(self, node: str | None, grace_seconds: float) -> Listing:
        """What it says of the records of a node (None: of all), but for those that are too young."""
        return Listing(self.valid, node, self.network, int(self.made - grace_seconds))


def read_attachment_list(
    path: str, *, network: str | None = None, allow_empty: bool = False
) -> AttachmentList:
    """The list in a file, or for ``-`` on standard input: of objects, or as in a configuration for GC.

    A configuration with a ``name`` speaks of that network only (CNI SPEC, section 2, "GC"), a list of
    ``network``. Raises ConfigError for what is no list, for an empty one unless that is allowed, and for a
    configuration of another network than ``network``.
    """
    where = f"{OPTION} {path}"
    data, made = _read(path)
    try:
        valid, named = _parsed(data)
    except JsonError as error:
        raise ConfigError(f"{where}: {error}") from error
    except CniError as error:
        raise ConfigError(f"{where}: {error.msg}") from error
    if named is not None and network not in (None, named):
        raise ConfigError(f'{where}: the list is of network "{named}", not of "{network}"')
    if not valid and not allow_empty:
        raise ConfigError(f"{where}: the list is empty, so that nobody would live")
    return AttachmentList(valid, network if named is None else named, made)


def _read(path: str) -> tuple[bytes, float]:
    """A list's bytes, and when it was made at the earliest."""
    begun = time()
    if path == "-":
        return sys.stdin.buffer.read(), begun
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            made = min(begun, status.st_mtime) if stat.S_ISREG(status.st_mode) else begun
            return file.read(), made
    except OSError as error:
        raise ConfigError(f"{OPTION} {path}: {error.strerror or error}") from error


def _parsed(data: bytes) -> tuple[frozenset[tuple[str, str]], str | None]:
    """The attachments, and the network that they are of where that is said."""
    if not data.strip():
        raise JsonError("there is no input, not even an empty list")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise JsonError(f"no JSON: {error}") from error
    if isinstance(value, dict):
        return valid_attachments(value), text_member(value, "name") or None
    if isinstance(value, list):
        return read_attachments("attachment", value), None
    raise JsonError(f"expected a list of attachments, found {type_name(value)}")
