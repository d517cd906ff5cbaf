"""The local HTTP server of a long-running process: metrics for Prometheus, probes for the kubelet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from socket import AF_INET6
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, disable_created_metrics, make_wsgi_app

# A quarter of all series, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]


class HttpServer:
    """Serves ``/metrics``, ``/healthz`` (nothing hangs) and ``/readyz`` (it takes work) in a thread."""

    def __init__(
        self,
        registry: CollectorRegistry,
        host: str,
        port: int,
        *,
        ready: Callable[[], bool] = lambda: True,
        healthy: Callable[[], bool] = lambda: True,
        pages: Mapping[str, WSGIApplication] | None = None,
    ) -> None:
        """Serve on ``host``; ``port`` 0 takes a free one. Raises OSError where that cannot be.

        ``pages`` are served beside, by their paths.
        """
        self._pages = {"/metrics": make_wsgi_app(registry), **(pages or {})}
        self._probes = {"/readyz": ready, "/healthz": healthy}
        kind = _ThreadingIPv6 if ":" in host else _Threading
        self._server = make_server(host, port, self._answer, kind, _Quiet)
        self.port = self._server.server_port
        Thread(target=self._server.serve_forever, name="http", daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        page = self._pages.get(path)
        if page is not None:
            return page(environ, start_response)
        probe = self._probes.get(path)
        failed = "404 Not Found" if probe is None else "503 Service Unavailable"
        status = "200 OK" if probe is not None and probe() else failed
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{status}\n".encode()]


class _Threading(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _ThreadingIPv6(_Threading):
    address_family = AF_INET6


class _Quiet(WSGIRequestHandler):
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        """Probes come every few seconds and are not worth a line."""
