"""The plugin in one process: environment and standard input in, standard output and exit status out."""

from __future__ import annotations

import os
import sys

from whereabouts.commit import Committer, DirectCommitter
from whereabouts.config import Config
from whereabouts.config.host_files import HostFiles
from whereabouts.deadline import Deadline
from whereabouts.log import Log, to_file, to_stderr
from whereabouts.service import Call, Service
from whereabouts.store import Store
from whereabouts.stores.opening import open_store

MAX_STDIN = 1 << 20
"""Bytes of network configuration that are read."""


def main() -> int:
    """Serve the call that the process was started for; the exit status (CNI SPEC, section 2)."""
    command = os.environ.get("CNI_COMMAND", "")
    call = Call(
        environment=os.environ,
        stdin=b"" if command == "VERSION" else sys.stdin.buffer.read(MAX_STDIN + 1),
        plugin_netns=_identity("/proc/self/ns/net"),
        pod_netns=_identity(os.environ.get("CNI_NETNS", "")),
    )
    answer = Service(OneShot()).answer(call)
    _write(1, answer.stdout)
    return answer.status


class OneShot:
    """A host for one call: the store is opened for it, and closed after it."""

    files = HostFiles()
    environment = os.environ

    def log(self, config: Config) -> Log:
        """See :class:`whereabouts.service.Host`."""
        return Log(config.log_level, to_stderr, *([to_file(config.log_file)] if config.log_file else []))

    def store(self, config: Config, deadline: Deadline) -> _Opened:
        """See :class:`whereabouts.service.Host`."""
        return _Opened(open_store(config, deadline))


class _Opened:
    """The store of the call; closed behind it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __enter__(self) -> tuple[Store, Committer]:
        return self._store, DirectCommitter(self._store)

    def __exit__(self, *_: object) -> None:
        self._store.close()


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode of a namespace's file; None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
