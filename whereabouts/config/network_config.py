"""The text of a NetworkAttachmentDefinition: one plugin's configuration, or a list of several."""

from __future__ import annotations

from collections.abc import Mapping

from whereabouts.cni.json_object import JsonError, decode_object, member, text_member, type_name
from whereabouts.config.errors import ConfigError, NotOurs
from whereabouts.config.loading import IPAM_TYPE
from whereabouts.values import NamedTuple


class NetworkConfig(NamedTuple):
    """A network configuration, as :func:`whereabouts.config.load` wants it."""

    config: Mapping[str, object]
    """The object with the ``ipam``."""
    network: str
    cni_version: str


def read_network_config(text: bytes, attachment_definition: str) -> NetworkConfig:
    """Find the configuration whose IPAM type is whereabouts, in a conflist or alone.

    Name and version are those of the list. A configuration without a name has that of its
    NetworkAttachmentDefinition, as Multus gives it. Raises :class:`NotOurs` where no plugin uses
    whereabouts, and :class:`ConfigError`.
    """
    try:
        whole = decode_object(text)
        plugin = _plugin(whole)
        return NetworkConfig(
            plugin,
            text_member(whole, "name") or text_member(plugin, "name") or attachment_definition,
            text_member(whole, "cniVersion") or text_member(plugin, "cniVersion"),
        )
    except JsonError as error:
        raise ConfigError(f"LoadIPAMConfig - JSON Parsing Error: {error}") from error


def _plugin(whole: Mapping[str, object]) -> Mapping[str, object]:
    plugins = member(whole, "plugins")
    if plugins is None or text_member(whole, "type"):
        return whole
    if not isinstance(plugins, list):
        raise JsonError(f'key "plugins": expected a list of objects, found {type_name(plugins)}')
    for plugin in plugins:
        ipam = member(plugin, "ipam") if isinstance(plugin, dict) else None
        if isinstance(ipam, dict) and member(ipam, "type") == IPAM_TYPE:
            return plugin  # type: ignore[no-any-return]
    raise NotOurs(f"none of the {len(plugins)} plugins in the list has the IPAM type '{IPAM_TYPE}'")
