"""What the configuration needs to know of the host's files."""

from __future__ import annotations

from whereabouts.values import Protocol


class Files(Protocol):
    """Reads files; whoever implements it decides which, and how much of them."""

    def read(self, path: str) -> bytes | None:
        """The whole content; None for a file that does not exist. Raises OSError for what cannot be read."""

    def is_directory(self, path: str) -> bool:
        """Whether there is a directory at ``path``. Does not raise."""

    def admit(self, key: str, path: str) -> None:
        """Raise ConfigError if a network configuration may not name ``path`` with ``key`` here."""

    def admit_change(self, key: str) -> None:
        """Raise ConfigError if a network configuration may not change ``key`` of the host's etcd here."""
