"""What tests of the configuration share: files in memory, and the shortest way to a Config."""

import json
from typing import Any

from whereabouts.config import Config, ConfigError, load

FLAT_PATH = "/etc/cni/net.d/whereabouts.d/whereabouts.conf"


class MemoryFiles:
    """Files by their paths; an exception in place of a content is raised. Remembers what it was asked."""

    def __init__(self, contents: dict[str, bytes | Exception] | None = None) -> None:
        self.contents = contents or {}
        self.read_paths: list[str] = []
        self.refused_key = ""
        self.asked_for: list[tuple[str, str]] = []

    def read(self, path: str) -> bytes | None:
        self.read_paths.append(path)
        content = self.contents.get(path)
        if isinstance(content, Exception):
            raise content
        if self.is_directory(path):
            raise IsADirectoryError(21, "Is a directory", path)
        return content

    def admit(self, key: str, path: str) -> None:
        self.asked_for.append((key, path))
        if key == self.refused_key:
            raise ConfigError(f"{key} {path} is refused")

    def admit_change(self, key: str) -> None:
        """Any."""

    def is_directory(self, path: str) -> bool:
        return any(known.startswith(f"{path.rstrip('/')}/") for known in self.contents)


NO_FILES = MemoryFiles()


def flat(**keys: Any) -> MemoryFiles:
    """A host whose flat file has these keys."""
    return MemoryFiles({FLAT_PATH: json.dumps(keys).encode()})


def loaded(ipam: dict[str, Any], files: MemoryFiles = NO_FILES, **how: Any) -> Config:
    """The configuration of a network called ``net`` with these keys in its ``ipam``."""
    config = {"name": "net", "ipam": {"type": "whereabouts", **ipam}}
    return load(
        config, **{"network": "net", "cni_version": "1.0.0", "files": files, "container_id": "cafe", **how}
    )
