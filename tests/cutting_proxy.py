"""A network that fails: bytes between a client and a server, until a test cuts or holds them up."""

import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CONNECT_SECONDS = 2.0


class CuttingProxy:
    """Hands connections on to a server on loopback."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._open = True
        self._flowing = threading.Event()
        self._flowing.set()
        self.delay = 0.0
        """Seconds that each piece is held up, in either direction."""
        self._share: float | None = None
        self.accepted = 0
        """Connections since the start."""
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> int:
        """Close all connections; how many there were."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        return len(pairs)

    def refuse(self) -> None:
        """Close all connections and those that come, until :meth:`serve`."""
        self._open = False
        self.cut()

    def lose(self, share: float) -> None:
        """Cut each connection when the server next says something on it, of which only ``share`` arrives.

        So it goes with connections that come, too, until :meth:`serve`.
        """
        self._share = share

    def serve(self) -> None:
        """Do nothing but hand on, without delay."""
        self._open = True
        self._share = None
        self.delay = 0.0
        self._flowing.set()

    def hold(self) -> None:
        """Hand nothing on any more, until :meth:`serve`, and close nothing: the silence of a dead peer."""
        self._flowing.clear()

    def stop(self) -> None:
        self._flowing.set()
        self.refuse()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if not self._open:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=_CONNECT_SECONDS)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._pairs.append((client, server))
            threading.Thread(target=self._hand_on, args=(client, server), daemon=True).start()

    def _hand_on(self, client: socket.socket, server: socket.socket) -> None:
        try:
            self._exchange(client, server)
        finally:
            with self._lock:
                self._pairs = [pair for pair in self._pairs if pair[0] is not client]

    def _exchange(self, client: socket.socket, server: socket.socket) -> None:
        with client, server, selectors.DefaultSelector() as selector, suppress(OSError):
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select():
                    self._flowing.wait()
                    assert isinstance(key.fileobj, socket.socket)
                    piece = key.fileobj.recv(1 << 16)
                    if not piece:
                        return
                    time.sleep(self.delay)
                    if key.fileobj is server and self._share is not None:
                        client.sendall(piece[: int(len(piece) * self._share)])
                        return
                    key.data.sendall(piece)


@contextmanager
def cutting_proxy(port: int) -> Iterator[CuttingProxy]:
    """A proxy for the time of a test."""
    proxy = CuttingProxy(port)
    try:
        yield proxy
    finally:
        proxy.stop()
