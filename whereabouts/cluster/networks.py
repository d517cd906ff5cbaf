"""The networks of a cluster that use whereabouts, as its NetworkAttachmentDefinitions describe them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from whereabouts.config import Config, ConfigError, NotOurs, load
from whereabouts.config.flat_file import FLAT_FILES
from whereabouts.config.network_config import read_network_config

_NOTHING_SAID = b'{"datastore": "kubernetes", "kubernetes": {"kubeconfig": "not used"}}'
"""A host's flat file as far as it matters here: what reads definitions has its datastore already."""


class Definition(Protocol):
    """A NetworkAttachmentDefinition."""

    @property
    def namespace(self) -> str:
        """Its namespace."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def config(self) -> str:
        """The network configuration in its ``spec.config``."""


class Network(NamedTuple):
    """A network that uses whereabouts."""

    definition: str
    """``namespace/name`` of its NetworkAttachmentDefinition."""
    config: Config


class Unreadable(NamedTuple):
    """A NetworkAttachmentDefinition that cannot be served: nothing is known of its ranges."""

    definition: str
    reason: str


class DefinitionFiles:
    """The files that a definition's configuration is read with: one flat file, and nothing else exists.

    Whoever may write a definition cannot make this process read a path of their choice: no path is opened.
    """

    def __init__(self, flat_file: bytes = _NOTHING_SAID) -> None:
        """``flat_file`` is what the hosts' whereabouts.conf says, where it matters."""
        self._flat_file = flat_file

    def read(self, path: str) -> bytes | None:
        """The flat file in the first of its places; None for every other path."""
        return self._flat_file if path == FLAT_FILES[0] else None

    def is_directory(self, path: str) -> bool:
        """There are none."""
        return False

    def admit(self, key: str, path: str) -> None:
        """Any path: it is not opened here."""

    def admit_change(self, key: str) -> None:
        """Any key: the datastore of a definition is not opened here."""


def read_networks(
    definitions: Iterable[Definition], files: DefinitionFiles
) -> tuple[list[Network], list[Unreadable]]:
    """The networks that use whereabouts, and the definitions that may but cannot be read.

    One definition that is wrong does not keep the others from being read.
    """
    found: list[Network] = []
    faults: list[Unreadable] = []
    for definition in definitions:
        name = f"{definition.namespace}/{definition.name}"
        if not definition.config.strip():
            continue  # its configuration is a file on the nodes, which nobody here can read
        try:
            plugin, network, version = read_network_config(definition.config.encode(), definition.name)
            config = load(plugin, network=network, cni_version=version, files=files)
        except NotOurs:
            continue
        except ConfigError as error:
            faults.append(Unreadable(name, str(error)))
        else:
            found.append(Network(name, config))
    return found, faults
