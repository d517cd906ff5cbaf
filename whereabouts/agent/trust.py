"""What a tenant's network configuration may make the agent do with files: only what the agent allows.

The agent runs as root, and a NetworkAttachmentDefinition is written by whoever may create one. Paths that
come from it are honoured only inside directories that the agent's own command line names. Paths of the
flat file on the host are the operator's own words, and so are the places where flat files are looked for;
those of a flat file elsewhere, which a network configuration names, are not. What the operator says about
etcd holds as a whole: its credentials are for its host, and for its prefix there. A file of an embedded
datastore that is open is used as that and nothing else, whatever directory it is in: reading it and closing
it again would drop the locks that the agent has on it (sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from whereabouts.config import ConfigError
from whereabouts.config.host_files import HostFiles


def _nothing(_key: str, _path: str) -> bool:
    return False


class TrustedFiles(HostFiles):
    """The host's files, of which a network configuration may name those in certain directories."""

    __slots__ = ("_directories", "_held")

    def __init__(self, directories: Sequence[str], held: Callable[[str, str], bool] = _nothing) -> None:
        """Trust what lies in ``directories``, wherever symbolic links lead.

        Of that, ``held`` tells whether a key must not name a path since a datastore has it open.
        """
        self._directories = [os.path.realpath(directory) for directory in directories]
        self._held = held

    def admit(self, key: str, path: str) -> None:
        """See :class:`whereabouts.config.Files`."""
        if os.path.isabs(path) and "\0" not in path:
            real = os.path.realpath(path)
            if any(os.path.commonpath([real, directory]) == directory for directory in self._directories):
                self._refuse_held(key, path)
                return
        allowed = ", ".join(self._directories) or "none"
        raise ConfigError(
            f"{key} is {path!r}: the node agent uses a file that a network configuration names only inside "
            f"the directories it was started with (--allow-directory: {allowed}); "
            "set the key in the host's whereabouts.conf instead, or leave it out"
        )

    def _refuse_held(self, key: str, path: str) -> None:
        if self._held(key, path):
            raise ConfigError(
                f"{key} is {path!r}: that is a file of a datastore which the node agent has open; "
                "name another file"
            )

    def admit_change(self, key: str) -> None:
        """See :class:`whereabouts.config.Files`."""
        raise ConfigError(
            f"{key} is not what the host's whereabouts.conf says: the node agent uses the etcd of that file "
            f"only as the file has it; leave {key} out, or set it there"
        )
