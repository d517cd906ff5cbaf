"""The agent's socket: who may connect, how calls come in, how the agent stops.

An accepting thread and a pool of workers: a worker reads one request, has it answered and writes the
answer. Stores wait for disks and networks, so a thread for each call in flight costs little, and it
measured as well as an event loop.
"""

from __future__ import annotations

import os
import selectors
import socket
import stat
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Condition
from time import monotonic, sleep

from whereabouts.agent.framing import Answer, FramingError, Request, RequestReader, encode_answer
from whereabouts.cni.errors import TRY_AGAIN_LATER, CniError
from whereabouts.cni.results import print_error
from whereabouts.cni.versions import LATEST
from whereabouts.errors import WhereaboutsError
from whereabouts.log import Log

_PEER = struct.Struct("3i")
_CHUNK = 1 << 16
_BACKLOG = 1024
_BREATH = 0.05
"""Seconds to wait where no connection can be accepted, as more will be waiting."""

Handler = Callable[[Request, float], Answer]
"""Answers a request that the agent has had for so many seconds."""


class SocketUnusable(WhereaboutsError):
    """The agent's socket cannot be made where it was asked for."""


class Server:
    """Answers calls on a unix socket until it is told to stop."""

    def __init__(self, path: str, handler: Handler, *, workers: int, patience: float, log: Log) -> None:
        """Listen at ``path`` for root and for the agent's own user.

        At most ``workers`` calls are worked on at once. A client has ``patience`` seconds to send its
        request and to take its answer. Raises :class:`SocketUnusable`.
        """
        self._handler = handler
        self._patience = patience
        self._log = log
        self._path = path
        self._idle = Condition()
        self._in_flight = 0
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._listener = _listen(path)
        self._inode = os.stat(path).st_ino
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="call")

    def run(self) -> None:
        """Accept calls until :meth:`stop`."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._woken in ready:
                    return
                self._accept()

    @property
    def wakeup(self) -> int:
        """The descriptor that :meth:`run` returns for when a byte is written to it.

        It is for :func:`signal.set_wakeup_fd`: a handler runs between waits, and would be late by a whole one
        for a signal that comes right before that begins.
        """
        return self._wake.fileno()

    def stop(self) -> None:
        """Make :meth:`run` return; may be called in a signal handler, and twice."""
        with suppress(OSError):  # it has already come to its end
            self._wake.send(b"\0")

    def drain(self, seconds: float) -> bool:
        """Go on accepting for up to ``seconds``, until no call is in flight; whether that was reached.

        The handler has to refuse new calls by then.
        """
        until = monotonic() + seconds
        self._listener.settimeout(0.05)
        while monotonic() < until:
            with self._idle:
                if self._in_flight == 0:
                    return True
            self._accept()
        return False

    def close(self) -> None:
        """Remove the socket, unless another agent has put its own in its place."""
        self._listener.close()
        try:
            if os.stat(self._path).st_ino == self._inode:
                os.unlink(self._path)
        except FileNotFoundError:
            pass
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._wake.close()
        self._woken.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (TimeoutError, BlockingIOError):
            return
        except OSError as error:
            # Out of descriptors, or the client has gone: the next one may fare better.
            self._log.error(f"a connection could not be accepted: {error}")
            sleep(_BREATH)
            return
        with self._idle:
            self._in_flight += 1
        try:
            self._pool.submit(self._serve, connection, monotonic())
        except RuntimeError as error:
            # No thread could be started. The pool has queued the call by then, for the next that is free.
            self._log.error(f"a call has to wait for another to end: {error}")

    def _serve(self, connection: socket.socket, since: float) -> None:
        try:
            with connection:
                if _is_allowed(connection):
                    answer = self._answer(connection, since)
                    if answer is not None:
                        connection.settimeout(self._patience)
                        connection.sendall(encode_answer(answer))
                else:
                    self._log.error("a client that is not root was turned away")
        except (OSError, FramingError) as error:
            self._log.error(f"a client was lost: {error}")
        except Exception as error:
            self._log.error(f"internal error, please report it: {type(error).__name__}: {error}")
        finally:
            with self._idle:
                self._in_flight -= 1

    def _answer(self, connection: socket.socket, since: float) -> Answer | None:
        """The answer to what a client sends; None to one that sends nothing."""
        try:
            request = self._read(connection)
        except FramingError as error:
            self._log.error(f"what a client sent is no request: {error}")
            refusal = CniError(TRY_AGAIN_LATER, f"the node agent does not understand the plugin: {error}")
            return Answer(1, print_error(refusal, LATEST), b"")
        if request is None:
            return None
        if _has_hung_up(connection):
            # What waited that long may have been given up: its DEL would come too early to find anything.
            self._log.error("the plugin has gone before its call was begun")
            return None
        return self._handler(request, monotonic() - since)

    def _read(self, connection: socket.socket) -> Request | None:
        reader = RequestReader()
        until = monotonic() + self._patience
        while True:
            connection.settimeout(max(0.001, until - monotonic()))
            data = connection.recv(_CHUNK)
            request = reader.feed(data)
            if request is not None or not data:
                return request


def _has_hung_up(connection: socket.socket) -> bool:
    """Whether nobody waits for the answer: the plugin keeps its sending direction open until it has it."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False


def _is_allowed(connection: socket.socket) -> bool:
    """Whether the other end runs as root or as the agent's own user (SO_PEERCRED, unix(7))."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    _, uid, _ = _PEER.unpack(credentials)
    return uid in (0, os.geteuid())


def _listen(path: str) -> socket.socket:
    """A socket at ``path``, mode 0600 from its first moment, in the place of one that nobody serves."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        _refuse_occupied(path)
        fresh = f"{path}.{os.getpid()}"
        mask = os.umask(0o177)
        try:
            with suppress(FileNotFoundError):
                os.unlink(fresh)  # of a start that was killed; in a container, process IDs come back
            listener.bind(fresh)
        finally:
            os.umask(mask)
        listener.listen(_BACKLOG)
        os.replace(fresh, path)  # clients meet the old socket or the new one, never none
    except OSError as error:
        listener.close()
        raise SocketUnusable(f"the socket {path} cannot be made: {error}") from error
    except BaseException:
        listener.close()
        raise
    return listener


def _refuse_occupied(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise SocketUnusable(f"{path} exists and is not a socket: remove it or choose another path")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return
    raise SocketUnusable(f"another agent serves {path}: stop it first")
