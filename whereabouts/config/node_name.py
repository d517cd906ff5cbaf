"""The name of the node that a call is served on."""

from __future__ import annotations

from collections.abc import Mapping

from whereabouts.cni.errors import quote
from whereabouts.config.errors import ConfigError
from whereabouts.config.files import Files
from whereabouts.config.values import Config

VARIABLE = "NODENAME"
FILE_NAME = "nodename"
HOST_NAME_FILES = ("/etc/hostname", "/proc/sys/kernel/hostname")
"""Where a host keeps its name, and where Linux does."""
LONGEST = 1024
"""Bytes of a file that are looked at."""


def node_name(environment: Mapping[str, str], files: Files, config: Config) -> str:
    """Tell which node this is: by ``NODENAME``, the file ``nodename`` of the installation, the host's name.

    The installation's file is looked for in ``configuration_path``, or beside it if that is a file; it
    settles whether a node has its short or its full name. Blanks around a name are taken off, an empty
    name counts as none. Raises ConfigError where there is no name or an impossible one.
    """
    places = [*_installed(files, config.configuration_path), *HOST_NAME_FILES]
    name = environment.get(VARIABLE, "").strip()
    where = f"the variable {VARIABLE}"
    while not name and places:
        where = places.pop(0)
        name = _read(files, where)
    if not name:
        raise ConfigError(f"the node has no name: set {VARIABLE} or write it into {HOST_NAME_FILES[0]}")
    if " " in name or not name.isprintable():
        raise ConfigError(f"{where}: {quote(name)} cannot be the name of a node")
    return name


def _installed(files: Files, configuration_path: str) -> list[str]:
    if not configuration_path:
        return []
    if files.is_directory(configuration_path):
        directory = configuration_path.rstrip("/")
    else:
        directory = configuration_path.rpartition("/")[0]
    return [f"{directory}/{FILE_NAME}"]


def _read(files: Files, path: str) -> str:
    try:
        content = files.read(path)
    except OSError as error:
        raise ConfigError(f"cannot read the node's name from {path}: {error.strerror or error}") from error
    return "" if content is None else content[:LONGEST].decode("utf-8", "replace").strip()
