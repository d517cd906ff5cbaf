"""The plugin's configuration: from the words of a network configuration to checked values."""

from whereabouts.config.errors import ConfigError, NotOurs
from whereabouts.config.files import Files
from whereabouts.config.loading import load
from whereabouts.config.node_name import node_name
from whereabouts.config.values import Config, ConfiguredRange, EtcdConfig, LeaderTimes, Secret

__all__ = [
    "Config",
    "ConfigError",
    "ConfiguredRange",
    "EtcdConfig",
    "Files",
    "LeaderTimes",
    "NotOurs",
    "Secret",
    "load",
    "node_name",
]
