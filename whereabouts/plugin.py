"""The plugin in one process: environment and standard input in, standard output and exit status out."""

from __future__ import annotations

import os

from whereabouts.cni.errors import DECODING_FAILURE, IO_FAILURE, CniError
from whereabouts.cni.request import version_of
from whereabouts.cni.results import print_error
from whereabouts.commit import Committer, DirectCommitter
from whereabouts.config import Config
from whereabouts.config.host_files import HostFiles
from whereabouts.deadline import Deadline
from whereabouts.log import Log, opened, to_stderr
from whereabouts.service import Answer, Call, Service
from whereabouts.store import Store
from whereabouts.stores.opening import open_store

MAX_STDIN = 1 << 20
"""Bytes of network configuration that are read."""


def main() -> int:
    """Serve the call that the process was started for; the exit status (CNI SPEC, section 2)."""
    _hold_standard_descriptors()
    answer = _answer()
    try:
        _write(1, answer.stdout)
    except OSError as error:
        to_stderr(f"whereabouts: the answer cannot be written to stdout: {error.strerror}")
        return 1
    return answer.status


def _answer() -> Answer:
    stdin = b""
    try:
        if os.environ.get("CNI_COMMAND") != "VERSION":
            stdin = _read_stdin()
            _refuse_large(stdin)
    except CniError as error:
        return Answer(1, print_error(error, version_of(stdin)))
    call = Call(
        environment=os.environ,
        stdin=stdin,
        plugin_netns=_identity("/proc/self/ns/net"),
        pod_netns=_identity(os.environ.get("CNI_NETNS", "")),
    )
    return Service(OneShot()).answer(call)


class OneShot:
    """A host for one call: the store is opened for it, and closed after it."""

    files = HostFiles()
    environment = os.environ

    def log(self, config: Config) -> Log:
        """See :class:`whereabouts.service.Host`."""
        return opened(config.log_level, config.log_file)

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


def _hold_standard_descriptors() -> None:
    """Keep what is opened later out of the places of descriptors that are closed.

    Opened for reading, so that a stdin that is not there is empty and writing to a stdout that is not
    there is an error.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open("/dev/null", os.O_RDONLY)


def _read_stdin() -> bytes:
    """What the runtime wrote, and if it is too much, a byte more than is read."""
    read = bytearray()
    try:
        while len(read) <= MAX_STDIN and (part := os.read(0, MAX_STDIN + 1 - len(read))):
            read += part
    except OSError as error:
        raise CniError(
            IO_FAILURE,
            f"reading the network configuration from stdin: {error.strerror}",
            "the caller must give the network configuration on stdin",
        ) from error
    return bytes(read)


def _refuse_large(stdin: bytes) -> None:
    if len(stdin) > MAX_STDIN:
        raise CniError(
            DECODING_FAILURE,
            f"the network configuration on stdin is larger than {MAX_STDIN} bytes",
            "make the configuration smaller",
        )


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
