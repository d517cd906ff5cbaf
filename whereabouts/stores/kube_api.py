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
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from threading import Lock
from urllib.parse import urlencode, urlsplit

from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.store import Conflict, StoreError, Unavailable, Unsettled
from whereabouts.stores.kube_access import Access, Source
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

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_FAILED_TEST = b"the server rejected our request due to an error in our request"
"""What a JSON patch with a ``test`` that fails is told, and nothing else."""


class NotFound(StoreError):
    """There is no such object."""


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


class _Answer(NamedTuple):
    status: int
    body: bytes
    retry_after: float | None


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
        self._idle: list[HTTPConnection] = []
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
        lost, renewed, pause = False, False, FIRST_PAUSE
        patience = deadline.grace(self._patience)
        what = f"the API server at {self._access.server} was not asked"
        while True:
            told_to_wait: float | None = None
            try:
                answer = self._attempt(request, deadline.remaining(what))
                if answer.status < 300:
                    return json.loads(answer.body)
                what = self._sentence(request, answer)
                if answer.status == 401 and not renewed:
                    renewed = True
                    self._renew()
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
            except DeadlineExceeded as error:
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
        """Raise what a final answer means. After a loss, a conflict may be with the request itself."""
        failed_test = (
            answer.status == 422
            and b"the server rejected our request due to an error in our request" in answer.body
        )
        if answer.status == 409 or failed_test:
            raise (Unsettled if lost else Conflict)(what)
        if answer.status == 404:
            raise NotFound(what)
        if answer.status == 410:
            raise Expired(what)
        raise Refused(what)

    def _sentence(self, request: Request, answer: _Answer) -> str:
        try:
            said = json.loads(answer.body)["message"]
        except (ValueError, KeyError, TypeError):
            said = answer.body[:200].decode(errors="replace").strip()
        if answer.status == 404 and answer.body.startswith(b"404 page"):
            said = "it does not know this kind: apply the custom resource definitions in deploy/crds"
        return f"the API server answers {answer.status} to {request.method} {request.path}: {said}"

    def _renew(self) -> None:
        """Read the credentials anew; connections keep what they were opened with, so drop them."""
        access = self._source()
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
            headers = {**self._headers, "Accept": request.accept}
            body = None
            if request.body is not None:
                body = json.dumps(request.body, separators=(",", ":")).encode()
                headers["Content-Type"] = request.content_type
            path = self._path + request.path
            if request.query:
                path += "?" + urlencode(request.query)
            connection.request(request.method, path, body, headers)
            response = connection.getresponse()
            answer = _Answer(response.status, response.read(), _seconds(response.headers.get("Retry-After")))
            kept = not response.will_close
            return answer
        except (OSError, HTTPException) as error:
            raise _Lost(
                f"no answer from the API server at {self._access.server}: {_reason(error)}"
            ) from error
        finally:
            self._put_back(connection, kept)

    def _connection(self, timeout: float) -> HTTPConnection:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return self._open(timeout)
            if connection.sock is not None and not select.select([connection.sock], (), (), 0)[0]:
                connection.sock.settimeout(timeout)
                return connection
            connection.close()  # the server has closed it: nothing else makes an idle one readable

    def _open(self, timeout: float) -> HTTPConnection:
        connection: HTTPConnection
        if self._tls is None:
            connection = _WholeRequests(self._host, self._port, timeout=timeout)
        else:
            secure = _SecureConnection(self._host, self._port, timeout=timeout, context=self._tls)
            secure.server_name = self._access.server_name
            connection = secure
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise _NotSent(
                f"the API server at {self._access.server} cannot be reached: {_reason(error)}"
            ) from error
        return connection

    def _put_back(self, connection: HTTPConnection, kept: bool) -> None:
        with self._lock:
            if kept and not self._closed and len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()


class _WholeRequests(HTTPConnection):
    """A connection that hands a request to the kernel as a whole: headers apart wake the server twice."""

    _parts: list[bytes]

    def send(self, data: Any) -> None:
        """Keep what :meth:`getresponse` is to send."""
        self.__dict__.setdefault("_parts", []).append(data)

    def getresponse(self) -> HTTPResponse:
        """Send the request and wait for the answer."""
        parts, self._parts = self._parts, []
        self.sock.sendall(b"".join(parts))
        return super().getresponse()


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


def _seconds(text: str | None) -> float | None:
    """The value of Retry-After; None where it is not a number of seconds."""
    return float(text) if text is not None and text.isdecimal() else None


def _reason(error: Exception) -> str:
    if isinstance(error, (TimeoutError, socket.timeout)):
        return "it took too long"
    return str(error) or type(error).__name__
