"""Requests to an API server: kept connections, and one decided meaning for every way to fail.

====================  ================================================================================
409, and 422 of a     :class:`~whereabouts.store.Conflict`: the object is not what the request was
``test`` in a patch   conditional on
404                   :class:`NotFound`
410                   :class:`Expired`: a list has to be begun again
400, 403, 413, 422    :class:`Refused`: it will not be otherwise tomorrow
401                   credentials are read anew, once; then Unavailable
429                   sent again after ``Retry-After``
5xx, timeouts,        sent again for some seconds. All our writes are conditional, so one that was done
broken connections    already conflicts when it comes again: then it is
                      :class:`~whereabouts.store.Unsettled`, and only reading tells
====================  ================================================================================
"""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from io import BufferedReader, RawIOBase
from math import inf
from threading import Lock
from time import monotonic
from urllib.parse import urlencode, urlsplit

from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.store import Conflict, StoreError, Unavailable, Unsettled
from whereabouts.stores.kube_access import Access, AccessError, Source, read_by
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

PATIENCE = 10.0
"""Seconds for which a request that gets no proper answer is sent again."""
ATTEMPT = 5.0
"""Seconds that one attempt may take; a list may take :data:`PATIENCE`."""
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
MAX_IDLE = 64
"""Connections that are kept while nobody needs them."""
_PIECE = 64 << 10
"""Bytes of a stream that are taken at once."""

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_FAILED_TEST = b"the server rejected our request due to an error in our request"
"""What a JSON patch with a ``test`` that fails is told, and nothing else."""


class NotFound(StoreError):
    """There is no such object, or no such kind.

    ``named`` is the object's plural kind and name where the API server itself says that it is this object
    that is not there; empty where a 404 may have come from anything on the way.
    """

    def __init__(self, sentence: str, named: tuple[str, str] | None = None) -> None:
        """``sentence`` is what a person reads."""
        super().__init__(sentence)
        self.named = named


class Expired(StoreError):
    """A list that took too long: the next page is gone."""


class Refused(StoreError):
    """The API server understood and will not do it."""


class Request(NamedTuple):
    """One request. ``path`` begins behind the server's own path."""

    method: str
    path: str
    body: object = None
    content_type: str = JSON
    accept: str = JSON
    query: tuple[tuple[str, str], ...] = ()

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self.method != "GET"


class Stream:
    """An answer that goes on: lines, as they come, until the server ends it."""

    def __init__(self, connection: HTTPConnection, link: socket.socket, response: HTTPResponse) -> None:
        """The rest of ``response``, which comes over ``link``."""
        self._connection = connection
        self._link = link
        self._response = response
        self._aborted = False

    def __iter__(self) -> Iterator[bytes]:
        """The lines; for one thread. Raises :class:`~whereabouts.store.Unavailable` when it is cut."""
        rest = b""
        try:
            while piece := self._response.read1(_PIECE):
                *lines, rest = (rest + piece).split(b"\n")
                yield from lines
        except (OSError, HTTPException, ValueError) as error:
            if not self._aborted:
                raise Unavailable(f"an answer that goes on was cut: {_reason(error)}") from error

    def abort(self) -> None:
        """End it at once, from any thread: whoever waits for the next value gets none."""
        self._aborted = True
        with suppress(OSError):
            # Past the TLS layer, which would forget its keys while another thread reads.
            socket.socket.shutdown(self._link, socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection up; for the thread that reads."""
        self._response.close()
        self._connection.close()


class _Answer(NamedTuple):
    status: int
    body: bytes
    retry_after: float | None
    stream: Stream | None = None


class _Lost(Exception):
    """No answer, or half of one: the request may have been done."""


class _NotSent(Exception):
    """The request cannot have been done."""


class ApiClient:
    """Sends requests for any number of threads, each over a connection of its own."""

    def __init__(self, source: Source, *, patience: float = PATIENCE) -> None:
        """Connect when the first request is sent, with the credentials of ``source``."""
        self._source = source
        self._patience = patience
        self._lock = Lock()
        self._idle: list[_WholeRequests] = []
        self._closed = False
        self._take(source())

    @property
    def namespace(self) -> str:
        """The namespace of the credentials."""
        return self._access.namespace

    def _take(self, access: Access) -> None:
        self._access = access
        url = urlsplit(access.server)
        self._host, self._port, self._path = url.hostname or "", url.port, url.path
        self._tls = access.tls() if url.scheme == "https" else None
        self._headers = {"Authorization": access.authorization} if access.authorization else {}

    def close(self) -> None:
        """Close the connections that are not in use, and those in use after their request."""
        with self._lock:
            self._closed, idle, self._idle = True, self._idle, []
        for connection in idle:
            connection.close()

    def send(self, request: Request, deadline: Deadline) -> Any:
        """Send the request until there is an answer; the answer's JSON.

        Raises the errors of this module's table and :class:`~whereabouts.deadline.DeadlineExceeded`.
        """
        return json.loads(self.fetch(request, deadline))

    def fetch(self, request: Request, deadline: Deadline) -> bytes:
        """Send the request as :meth:`send` does; the answer as it came."""
        return self._answered(request, deadline, self._attempt).body

    def stream(self, request: Request, deadline: Deadline, *, silence: float) -> Stream:
        """Send a request whose answer goes on, until it begins, over a connection of its own.

        The stream counts as cut after ``silence`` seconds without a byte. Raises what :meth:`send` does.
        """

        def attempt(request: Request, seconds: float) -> _Answer:
            return self._attempt_stream(request, seconds, silence)

        stream = self._answered(request, deadline, attempt).stream
        assert stream is not None  # noqa: S101 - every answer that is a success has one
        return stream

    def _answered(
        self, request: Request, deadline: Deadline, attempt: Callable[[Request, float], _Answer]
    ) -> _Answer:
        """The first answer that is a success."""
        lost, renewed, pause = False, False, FIRST_PAUSE
        patience = deadline.grace(self._patience)
        what = f"the API server at {self._access.server} was not asked"
        while True:
            told_to_wait: float | None = None
            try:
                answer = attempt(request, deadline.remaining(what))
                if answer.status < 300:
                    return answer
                what = self._sentence(request, answer)
                if answer.status == 401 and not renewed:
                    renewed = True
                    self._renew(deadline)
                    continue
                if answer.status not in (401, 429) and answer.status < 500:
                    self._refuse(answer, what, lost and request.writes)
                lost = lost or answer.status >= 500
                told_to_wait = answer.retry_after
                if answer.status == 401:
                    patience = deadline.grace(0)
            except _NotSent as error:
                what = str(error)
            except _Lost as error:
                what, lost = str(error), True
            except (AccessError, Unavailable, DeadlineExceeded) as error:
                if lost and request.writes:
                    raise Unsettled(str(error)) from error
                raise
            if told_to_wait:
                patience = deadline.grace(told_to_wait + self._patience)
            self._wait(told_to_wait or 0.0, pause, what, lost and request.writes, deadline, patience)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _wait(
        self,
        least: float,
        jitter: float,
        what: str,
        unsettled: bool,
        deadline: Deadline,
        patience: Deadline,
    ) -> None:
        """Wait for ``least`` seconds and up to ``jitter`` before the next attempt, or give up."""
        try:
            patience.remaining(what)
        except DeadlineExceeded:
            raise (Unsettled if unsettled else Unavailable)(what) from None
        try:
            deadline.pause(jitter, what, least=least)
        except DeadlineExceeded as error:
            if unsettled:
                raise Unsettled(str(error)) from error
            raise

    def _refuse(self, answer: _Answer, what: str, lost: bool) -> None:
        """Raise what a final answer means.

        After a loss, a conflict may be with the request itself, and what is refused now may have been done.
        """
        failed_test = answer.status == 422 and _FAILED_TEST in answer.body
        if answer.status == 409 or failed_test:
            raise (Unsettled if lost else Conflict)(what)
        if answer.status == 404:
            raise NotFound(what, _named(answer))
        if answer.status == 410:
            raise Expired(what)
        raise (Unsettled if lost else Refused)(what)

    def _sentence(self, request: Request, answer: _Answer) -> str:
        try:
            said = json.loads(answer.body)["message"]
        except (ValueError, KeyError, TypeError):
            said = answer.body[:200].decode(errors="replace").strip()
        if answer.status == 404 and answer.body.startswith(b"404 page"):
            said = "it does not know this kind: apply the custom resource definitions in deploy/crds"
        return f"the API server answers {answer.status} to {request.method} {request.path}: {said}"

    def _renew(self, deadline: Deadline) -> None:
        """Read the credentials anew; connections keep what they were opened with, so drop them."""
        access = read_by(deadline, self._source)
        with self._lock:
            idle, self._idle = self._idle, []
            self._take(access)
        for connection in idle:
            connection.close()

    # -------------------------------------------------------------- connections

    def _attempt(self, request: Request, seconds: float) -> _Answer:
        timeout = min(seconds, PATIENCE if request.query else ATTEMPT)
        connection = self._connection(timeout)
        kept = False
        try:
            response = self._ask(connection, request)
            answer = _Answer(response.status, response.read(), _seconds(response.headers.get("Retry-After")))
            kept = not response.will_close
            return answer
        except (OSError, HTTPException) as error:
            raise self._lost(error) from error
        finally:
            self._put_back(connection, kept)

    def _attempt_stream(self, request: Request, seconds: float, silence: float) -> _Answer:
        connection = self._open(min(seconds, ATTEMPT))
        link = connection.sock
        goes_on = False
        try:
            response = self._ask(connection, request)
            goes_on = response.status < 300
            if not goes_on:
                return _Answer(
                    response.status, response.read(), _seconds(response.headers.get("Retry-After"))
                )
            connection.until = inf
            link.settimeout(silence)
            return _Answer(response.status, b"", None, Stream(connection, link, response))
        except (OSError, HTTPException) as error:
            raise self._lost(error) from error
        finally:
            if not goes_on:
                connection.close()

    def _ask(self, connection: _WholeRequests, request: Request) -> HTTPResponse:
        headers = {**self._headers, "Accept": request.accept}
        body = None
        if request.body is not None:
            body = json.dumps(request.body, separators=(",", ":")).encode()
            headers["Content-Type"] = request.content_type
        path = self._path + request.path
        if request.query:
            path += "?" + urlencode(request.query)
        connection.request(request.method, path, body, headers)
        return connection.getresponse()

    def _lost(self, error: Exception) -> _Lost:
        return _Lost(f"no answer from the API server at {self._access.server}: {_reason(error)}")

    def _connection(self, timeout: float) -> _WholeRequests:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return self._open(timeout)
            if connection.sock is not None and not _is_readable(connection.sock):
                connection.allow(timeout)
                return connection
            connection.close()  # the server has closed it: nothing else makes an idle one readable

    def _open(self, timeout: float) -> _WholeRequests:
        connection: _WholeRequests
        if self._tls is None:
            connection = _WholeRequests(self._host, self._port, timeout=timeout)
        else:
            secure = _SecureConnection(self._host, self._port, timeout=timeout, context=self._tls)
            secure.server_name = self._access.server_name
            connection = secure
        connection.until = monotonic() + timeout
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise _NotSent(
                f"the API server at {self._access.server} cannot be reached: {_reason(error)}"
            ) from error
        return connection

    def _put_back(self, connection: _WholeRequests, kept: bool) -> None:
        with self._lock:
            if kept and not self._closed and len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()


class _WholeRequests(HTTPConnection):
    """A connection that hands a request to the kernel as a whole: headers apart wake the server twice."""

    until = inf
    """By when, on the monotonic clock, an answer has to be complete."""
    _parts: list[bytes]

    def allow(self, seconds: float) -> None:
        """Let the next request and its answer take that long."""
        self.until = monotonic() + seconds
        self.sock.settimeout(seconds)

    def response_class(self, sock: socket.socket, **options: Any) -> HTTPResponse:  # type: ignore[override]
        """An answer that is read only as long as :attr:`until` says."""
        return HTTPResponse(_Incoming(sock, self), **options)  # type: ignore[arg-type]

    def send(self, data: Any) -> None:
        """Keep what :meth:`getresponse` is to send."""
        self.__dict__.setdefault("_parts", []).append(data)

    def getresponse(self) -> HTTPResponse:
        """Send the request and wait for the answer."""
        parts, self._parts = self._parts, []
        self.sock.sendall(b"".join(parts))
        return super().getresponse()


class _Incoming(RawIOBase):
    """What comes over a connection. A socket's own timeout is for each piece, however many there are."""

    def __init__(self, sock: socket.socket, connection: _WholeRequests) -> None:
        """To be read while the ``connection`` allows it."""
        self._sock = sock
        self._connection = connection
        self._pieces = sock.makefile("rb", buffering=0)

    def makefile(self, mode: str) -> BufferedReader:
        """As of a socket."""
        return BufferedReader(self)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """The next piece. Raises TimeoutError when the time is over."""
        if self._connection.until < inf:
            left = self._connection.until - monotonic()
            if left <= 0:
                raise TimeoutError
            self._sock.settimeout(left)
        return self._pieces.readinto(buffer)

    def close(self) -> None:
        """Let go of the socket, which its connection may have closed meanwhile."""
        self._pieces.close()
        super().close()


class _SecureConnection(_WholeRequests, HTTPSConnection):
    """The same under TLS; the server's certificate may have another name than its address."""

    server_name = ""

    def connect(self) -> None:
        """Connect, and check the certificate for ``server_name`` where that is set."""
        if not self.server_name:
            super().connect()
            return
        HTTPConnection.connect(self)
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self.server_name)  # type: ignore[attr-defined]


def _is_readable(link: socket.socket) -> bool:
    """Whether reading would not wait. By poll(2): select(2) knows descriptors below 1024 only."""
    poll = select.poll()
    poll.register(link, select.POLLIN)
    return bool(poll.poll(0))


def _named(answer: _Answer) -> tuple[str, str] | None:
    """What a 404 of the API server's own says is not there: its plural kind and its name."""
    try:
        said = json.loads(answer.body)
        details = said["details"]
        return (details["kind"], details["name"]) if said["reason"] == "NotFound" else None
    except (ValueError, KeyError, TypeError):
        return None


def _seconds(text: str | None) -> float | None:
    """The value of Retry-After; None where it is not a number of seconds."""
    return float(text) if text is not None and text.isdecimal() else None


def _reason(error: Exception) -> str:
    if isinstance(error, (TimeoutError, socket.timeout)):
        return "it took too long"
    return str(error) or type(error).__name__
