"""HTTP around the double of the API server: requests as tests see them, and ways to fail."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlsplit

UNKNOWN_PATH = "404 page not found"
"""What is no Status, but plain text."""


class Failure(Exception):
    """An answer that is not a success."""

    def __init__(self, code: int, reason: str, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.details = code, reason, details


class Cut(Exception):
    """The connection is to be closed in the middle of an answer."""


class Fault(NamedTuple):
    """How a request is to fail: answered with ``code``, or with the connection cut (0).

    With ``after`` what was asked is done first.
    """

    code: int = 0
    after: bool = False
    retry_after: str = ""
    seconds: float = 0.0


class Asked(NamedTuple):
    """A request as a test sees it."""

    method: str
    path: str
    query: dict[str, str]
    content_type: str
    accept: str
    token: str
    body: Any

    def __str__(self) -> str:
        return f"{self.method} {self.path.partition('/namespaces/')[2].partition('/')[2]}"

    @property
    def watches(self) -> bool:
        return self.query.get("watch") in ("1", "true")

    @property
    def lists(self) -> bool:
        """Whether a list begins here."""
        return self.method == "GET" and "limit" in self.query and "continue" not in self.query


def status(failure: Failure) -> Any:
    details = {"details": failure.details} if failure.details else {}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": str(failure),
        "reason": failure.reason,
        "code": failure.code,
        **details,
    }


class Answers(Protocol):
    """Who answers requests."""

    asked: list[Asked]
    fault: Callable[[Asked], Fault | None]

    def answer(self, asked: Asked) -> tuple[int, Any]: ...

    def watch(self, asked: Asked) -> Iterator[Any]: ...


def serve(double: Answers) -> ThreadingHTTPServer:
    """An HTTP server on loopback, which does not run yet."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            pass

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(length)
            url = urlsplit(self.path)
            asked = Asked(
                self.command,
                url.path,
                dict(parse_qsl(url.query)),
                self.headers.get("Content-Type", ""),
                self.headers.get("Accept", ""),
                self.headers.get("Authorization", "").removeprefix("Bearer "),
                json.loads(text) if text else None,
            )
            double.asked.append(asked)
            fault = double.fault(asked)
            if fault is not None and not fault.after:
                self._fail(fault)
                return
            try:
                if asked.watches:
                    self._stream(double.watch(asked))
                    return
                code, content = double.answer(asked)
            except Failure as failure:
                code, content = failure.code, status(failure)
            if fault is not None:
                self._fail(fault)
            else:
                self._send(code, content, {})

        def _fail(self, fault: Fault) -> None:
            time.sleep(fault.seconds)
            if fault.code == 0:
                self.close_connection = True
                self.connection.close()
                return
            failure = Failure(fault.code, "Injected", "a fault that the test asked for")
            self._send(
                fault.code, status(failure), {"Retry-After": fault.retry_after} if fault.retry_after else {}
            )

        def _send(self, code: int, content: Any, headers: dict[str, str]) -> None:
            unknown = content.get("message") == UNKNOWN_PATH
            body = f"{UNKNOWN_PATH}\n".encode() if unknown else json.dumps(content).encode()
            self.send_response_only(code)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def _stream(self, events: Iterator[Any]) -> None:
            self.send_response_only(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                for event in events:
                    line = json.dumps(event).encode() + b"\n"
                    self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                    self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")
            except Cut:
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    return _Server(("127.0.0.1", 0), Handler)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that have gone away are what the tests are about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*_)  # type: ignore[arg-type]
