"""What a tenant's network configuration may make the agent do with files: only what the agent allows.

The agent runs as root, and a NetworkAttachmentDefinition is written by whoever may create one. Paths that
come from it are honoured only inside directories that the agent's own command line names. Paths of the
flat file on the host are the operator's own words, and so are the places where flat files are looked for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from whereabouts.config import Config, ConfigError, Files


class TrustedDirectories:
    """The directories inside which a tenant may name files."""

    def __init__(self, directories: Sequence[str]) -> None:
        """Trust what lies in ``directories``, wherever symbolic links lead."""
        self._directories = [os.path.realpath(directory) for directory in directories]

    def require(self, key: str, path: str) -> None:
        """Raise ConfigError unless ``path``, named by ``key``, lies in a trusted directory."""
        real = os.path.realpath(path)
        if not os.path.isabs(path) or not any(
            os.path.commonpath([real, directory]) == directory for directory in self._directories
        ):
            allowed = ", ".join(self._directories) or "none"
            raise ConfigError(
                f"{key} is {path!r}: the node agent uses a file that a network configuration names only "
                f"inside the directories it was started with (--allow-directory: {allowed}); set the key in "
                "the host's whereabouts.conf instead, or leave it out"
            )

    def admit(self, config: Config) -> None:
        """Raise ConfigError for the first path of the network configuration that is not trusted."""
        for key, path in config.inline_paths:
            self.require(key, path)
