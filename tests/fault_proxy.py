"""An HTTP/1.1 proxy in front of an API server that lets requests fail as networks and servers do.

TLS ends here, so that whole requests and answers can be told apart, and begins anew towards the server. A
connection of a client has one to the server, which lives as long: the proxy itself repeats nothing.
"""

import asyncio
import ssl
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import h11
import trustme

from .etcd_server import LOOPBACK

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
EVERYTHING = WRITES | {"GET"}
_PIECE = 1 << 16
_CONNECT_SECONDS = 2.0

DELAY_REQUEST, DELAY_ANSWER = "delay the request", "delay the answer"
CUT_BEFORE, CUT_AFTER = "cut before the server has the request", "cut when the server has answered"
HALF, TRICKLE = "half of the answer", "the answer in drops"
CONFLICT, TOO_MANY = "answer 409", "answer 429"
UNAUTHORIZED, FAILING, UNAVAILABLE = "answer 401", "answer 500", "answer 503"
FAILING_AFTER, TIMEOUT_AFTER = "answer 500 for what was done", "answer 504 for what was done"

_STATUSES = {
    UNAUTHORIZED: (401, "Unauthorized", "Unauthorized"),
    CONFLICT: (
        409,
        "Conflict",
        "the object has been modified; please apply your changes to the latest version",
    ),
    TOO_MANY: (
        429,
        "TooManyRequests",
        "the server has received too many requests and has asked us to try again",
    ),
    FAILING: (500, "InternalError", "etcdserver: leader changed"),
    FAILING_AFTER: (500, "InternalError", "etcdserver: request timed out"),
    UNAVAILABLE: (503, "ServiceUnavailable", "apiserver is shutting down"),
    TIMEOUT_AFTER: (504, "Timeout", "the server was unable to return a response in the time allotted"),
}
_ONLY_WHEN_DONE = (CUT_AFTER, FAILING_AFTER, TIMEOUT_AFTER)
FAULTS = (DELAY_REQUEST, DELAY_ANSWER, CUT_BEFORE, CUT_AFTER, HALF, TRICKLE, *_STATUSES)


class Rule(NamedTuple):
    """Which requests a fault hits."""

    fault: str
    """One of :data:`FAULTS`."""
    probability: float
    seconds: float = 1.0
    """How long the delay or the whole of the drops takes at most, or what ``Retry-After`` says."""
    methods: frozenset[str] = EVERYTHING
    paths: str = ""
    """A text that the request's path has to have."""

    def fits(self, request: h11.Request) -> bool:
        return request.method.decode() in self.methods and self.paths in request.target.decode()


class _Cut(Exception):
    """This connection ends here."""


class FaultProxy:
    """Serves on loopback until :meth:`stop`; what it does follows from ``rules``, which may change."""

    def __init__(self, server: str, authority: str, folder: Path, random: Random) -> None:
        """A proxy to ``server``, a URL; ``authority`` (a PEM file) vouches for its certificate if it has one.

        ``folder`` takes the certificate of the proxy's own authority.
        """
        self.rules: Sequence[Rule] = ()
        """Without any the proxy is a plain one."""
        self.counts: Counter[str] = Counter()
        """How often each fault struck, and how many ``requests`` there were in all."""
        self.authority = str(folder / "proxy-ca.pem")
        self._random = random
        self._target = urlsplit(server)
        secure = self._target.scheme == "https"
        self._outgoing = ssl.create_default_context(cafile=authority) if secure else None
        self._incoming = self._certified()
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._thread.start()
        self._listener = self._run(
            asyncio.start_server(self._accept, LOOPBACK, 0, ssl=self._incoming, backlog=1024)
        )
        self.port: int = self._listener.sockets[0].getsockname()[1]
        self.server = f"https://{LOOPBACK}:{self.port}"

    def _certified(self) -> ssl.SSLContext:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.authority)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(LOOPBACK, "localhost").configure_cert(context)
        return context

    def _run(self, task: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(task, self._loop).result(30)

    def cut(self) -> int:
        """End all connections; how many there were."""

        async def cancel() -> int:
            connections = list(self._connections)
            for connection in connections:
                connection.cancel()
            return len(connections)

        number: int = self._run(cancel())
        return number

    def stop(self) -> None:
        async def close() -> None:
            self._listener.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

        self._run(close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        client = _End(h11.SERVER, reader, writer)
        try:
            server = await self._connect()
            try:
                await self._serve(client, server)
            finally:
                server.abort()
        except (OSError, EOFError, _Cut, h11.ProtocolError, TimeoutError, asyncio.CancelledError):
            pass  # whatever ends one end ends the other
        finally:
            client.abort()
            self._connections.discard(task)

    async def _connect(self) -> "_End":
        connecting = asyncio.open_connection(self._target.hostname, self._target.port, ssl=self._outgoing)
        return _End(h11.CLIENT, *await asyncio.wait_for(connecting, _CONNECT_SECONDS))

    async def _serve(self, client: "_End", server: "_End") -> None:
        """Hand on one request after the other."""
        while True:
            request = await client.next()
            if not isinstance(request, h11.Request):
                return
            body = [part async for part in client.body()]
            self.counts["requests"] += 1
            rule = self._drawn(request)
            if rule is not None:
                self.counts[rule.fault] += 1
            await self._exchange(client, server, request, body, rule)
            if not (client.begin_again() and server.begin_again()):
                return

    def _drawn(self, request: h11.Request) -> Rule | None:
        """The fault that this request meets: the first that fits and whose die says so."""
        for rule in self.rules:
            if rule.fits(request) and self._random.random() < rule.probability:
                return rule
        return None

    async def _exchange(
        self,
        client: "_End",
        server: "_End",
        request: h11.Request,
        body: Sequence[h11.Data],
        rule: Rule | None,
    ) -> None:
        fault, seconds = (rule.fault, rule.seconds) if rule is not None else ("", 0.0)
        if fault == DELAY_REQUEST:
            await asyncio.sleep(self._random.uniform(0, seconds))
        if fault == CUT_BEFORE:
            raise _Cut
        if fault in _STATUSES and fault not in _ONLY_WHEN_DONE:
            await client.send(*_told(fault, seconds))
            return
        await server.send(request, *body, h11.EndOfMessage())
        response = await server.next()
        while isinstance(response, h11.InformationalResponse):
            response = await server.next()
        if not isinstance(response, h11.Response):
            raise _Cut
        if fault in _ONLY_WHEN_DONE:
            async for _ in server.body():
                pass
            if fault == CUT_AFTER:
                raise _Cut
            await client.send(*_told(fault, seconds))
            return
        if fault == DELAY_ANSWER:
            await asyncio.sleep(self._random.uniform(0, seconds))
        await self._hand_back(client, server, response, rule)

    async def _hand_back(
        self, client: "_End", server: "_End", response: h11.Response, rule: Rule | None
    ) -> None:
        """Give the client the answer as it comes."""
        await client.send(response)
        async for part in server.body():
            if rule is not None and rule.fault == HALF:
                await client.send_half(part)
                raise _Cut
            if rule is not None and rule.fault == TRICKLE:
                await client.send_in_drops(part, rule.seconds)
            else:
                await client.send(part)
        await client.send(h11.EndOfMessage())


class _End:
    """A connection, and what was said on it."""

    def __init__(
        self,
        role: type[h11.SERVER] | type[h11.CLIENT],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._http = h11.Connection(role, max_incomplete_event_size=1 << 20)
        self._reader = reader
        self._writer = writer

    async def next(self) -> Any:
        """The next event of the other side."""
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            self._http.receive_data(await self._reader.read(_PIECE))

    async def body(self) -> Any:
        """The parts of a body, as they come."""
        while not isinstance(event := await self.next(), h11.EndOfMessage):
            if isinstance(event, h11.ConnectionClosed):
                raise _Cut
            yield event

    async def send(self, *events: Any) -> None:
        """Say all of this in one write."""
        said = b"".join(self._http.send(event) or b"" for event in events)
        self._writer.write(said)
        await self._writer.drain()

    async def send_half(self, part: h11.Data) -> None:
        said = self._http.send(part) or b""
        self._writer.write(said[: len(said) // 2])
        await self._writer.drain()

    async def send_in_drops(self, part: h11.Data, seconds: float) -> None:
        said, drops = self._http.send(part) or b"", 20
        size = -(-len(said) // drops)
        for start in range(0, len(said), size):
            self._writer.write(said[start : start + size])
            await self._writer.drain()
            await asyncio.sleep(seconds / drops)

    def begin_again(self) -> bool:
        """Get ready for the next request; whether there may be one."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            # A request that was answered without the server leaves that one where it was.
            return self._http.our_state is h11.IDLE and self._http.their_state is h11.IDLE
        self._http.start_next_cycle()
        return True

    def abort(self) -> None:
        """End the connection without another word."""
        with suppress(OSError, RuntimeError):
            self._writer.transport.abort()


def _told(fault: str, seconds: float) -> Iterator[Any]:
    """An API server's answer that says no."""
    status, reason, message = _STATUSES[fault]
    body = (
        '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",'
        f'"message":"{message}","reason":"{reason}","code":{status}}}\n'
    ).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    if fault == TOO_MANY:
        headers.append(("Retry-After", str(max(1, round(seconds)))))
    yield h11.Response(status_code=status, headers=headers)
    yield h11.Data(data=body)
    yield h11.EndOfMessage()


@contextmanager
def fault_proxy(server: str, authority: str, folder: Path, seed: int = 0) -> Iterator[FaultProxy]:
    """A proxy for the time of a test."""
    proxy = FaultProxy(server, authority, folder, Random(seed))
    try:
        yield proxy
    finally:
        proxy.stop()
