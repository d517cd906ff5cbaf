"""The files of the machine that this process runs on, read with care."""

from __future__ import annotations

import os
from stat import S_ISDIR, S_ISREG

LARGEST = 1 << 20
"""Bytes of a file that are read: configurations are short."""


class HostFiles:
    """The :class:`~whereabouts.config.files.Files` of this machine."""

    __slots__ = ()

    def read(self, path: str) -> bytes | None:
        """The whole content of a regular file of at most ``LARGEST`` bytes; None if there is none.

        Raises OSError for everything else. Never waits, neither for a FIFO nor for a device.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            mode = os.fstat(descriptor).st_mode
            if not S_ISREG(mode) and not S_ISDIR(mode):  # reading a directory says that it is one
                raise OSError("it is not a regular file")
            return _read(descriptor)
        finally:
            os.close(descriptor)

    def is_directory(self, path: str) -> bool:
        """Whether there is a directory at ``path``."""
        return os.path.isdir(path)

    def admit(self, key: str, path: str) -> None:
        """Any path: who wrote the configuration already decides what this process does."""

    def admit_change(self, key: str) -> None:
        """Any key, for the same reason."""


def _read(descriptor: int) -> bytes:
    content = b""
    while part := os.read(descriptor, LARGEST + 1 - len(content)):
        content += part
        if len(content) > LARGEST:
            raise OSError(f"it is larger than {LARGEST} bytes")
    return content
