"""The proxy of connections fails as it is told, and is a plain one before and after."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from .cutting_proxy import CuttingProxy, cutting_proxy
from .etcd_server import LOOPBACK, free_port

LONG = 20.0


@pytest.fixture
def proxy() -> Iterator[CuttingProxy]:
    """In front of a server that says everything again."""

    def echo(connection: socket.socket) -> None:
        with connection:
            while piece := connection.recv(1 << 16):
                connection.sendall(piece)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=[connection], daemon=True).start()

    with socket.create_server((LOOPBACK, 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        with cutting_proxy(listener.getsockname()[1]) as proxy:
            yield proxy
        listener.shutdown(socket.SHUT_RDWR)


def said_again(proxy: CuttingProxy, text: bytes) -> bytes:
    """What comes back until all is there, or the connection ends."""
    with socket.create_connection((LOOPBACK, proxy.port), LONG) as connection:
        with suppress(ConnectionError):
            connection.sendall(text)
        answer = b""
        with suppress(ConnectionResetError):
            while len(answer) < len(text) and (piece := connection.recv(1 << 16)):
                answer += piece
        return answer


@pytest.mark.parametrize(("share", "arrives"), [(0.0, b""), (0.5, b"abcd")])
def test_of_an_answer_that_is_lost_a_share_arrives(proxy: CuttingProxy, share: float, arrives: bytes) -> None:
    proxy.lose(share)
    assert said_again(proxy, b"abcdefgh") == arrives
    proxy.serve()
    assert said_again(proxy, b"abcdefgh") == b"abcdefgh"


def test_what_is_held_up_arrives_complete(proxy: CuttingProxy) -> None:
    proxy.delay = 0.05
    assert said_again(proxy, b"abcdefgh") == b"abcdefgh"


def test_a_server_that_is_away_ends_connections_and_not_the_proxy() -> None:
    port = free_port()
    with cutting_proxy(port) as proxy:
        assert said_again(proxy, b"abcdefgh") == b""
        with (
            socket.create_server((LOOPBACK, port)) as listener,
            socket.create_connection((LOOPBACK, proxy.port), LONG) as client,
        ):
            listener.settimeout(LONG)
            connection, _ = listener.accept()
            with connection:
                client.sendall(b"a")
                assert connection.recv(1) == b"a"
