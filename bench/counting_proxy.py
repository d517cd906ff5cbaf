"""Counts the bytes between clients and a server on loopback, in a process of its own.

So its CPU time is nobody's that is measured. ``python -m bench.counting_proxy PORT`` prints its own port, and
for every line of its input the bytes that clients have sent and received so far.
"""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

PIECE = 1 << 16


class Traffic(NamedTuple):
    """Bytes that clients sent and received, TLS included."""

    sent: int
    received: int

    def since(self, before: "Traffic") -> "Traffic":
        """What went by after that."""
        return Traffic(self.sent - before.sent, self.received - before.received)


class CountingProxy:
    """A proxy that was started."""

    def __init__(self, port: int) -> None:
        """Hand connections on to ``port``."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.counting_proxy", str(port)],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def traffic(self) -> Traffic:
        """All that went by since the start."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        sent, received = self._line().split()
        return Traffic(int(sent), int(received))

    def stop(self) -> None:
        self._process.communicate()


@contextmanager
def counting_proxy(port: int) -> Iterator[CountingProxy]:
    """A proxy for the time of a benchmark."""
    proxy = CountingProxy(port)
    try:
        yield proxy
    finally:
        proxy.stop()


class _Flow:
    """One direction of all connections."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.bytes = 0

    def carry(self, source: socket.socket, target: socket.socket) -> None:
        """Until one of them is closed; then neither goes on."""
        with suppress(OSError):
            while piece := source.recv(PIECE):
                with self._lock:  # ahead of handing it on: who has an answer finds it counted
                    self.bytes += len(piece)
                target.sendall(piece)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, port: int, sent: _Flow, received: _Flow) -> None:
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", port))
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for flow, source, target in ((sent, client, server), (received, server, client)):
            threading.Thread(target=flow.carry, args=(source, target), daemon=True).start()


def main() -> None:
    """Be the proxy until the input ends."""
    listener, sent, received = socket.create_server(("127.0.0.1", 0)), _Flow(), _Flow()
    print(listener.getsockname()[1], flush=True)
    arguments = (listener, int(sys.argv[1]), sent, received)
    threading.Thread(target=_accept, args=arguments, daemon=True).start()
    for _ in sys.stdin:
        print(sent.bytes, received.bytes, flush=True)


if __name__ == "__main__":
    main()
