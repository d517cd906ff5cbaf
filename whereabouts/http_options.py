"""Where a long-running process serves metrics and probes, as its command line says."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from whereabouts.errors import WhereaboutsError
from whereabouts.values import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from prometheus_client import CollectorRegistry

    from whereabouts.http_server import HttpServer


class PortUnusable(WhereaboutsError):
    """The port for metrics and probes cannot be had."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--metrics-port", metavar="PORT", type=_port, help="serve /metrics, /healthz and /readyz on this port"
    )
    parser.add_argument(
        "--metrics-host", metavar="HOST", default="127.0.0.1", help="address for that (default: %(default)s)"
    )


def serve(
    chosen: argparse.Namespace,
    registry: CollectorRegistry,
    *,
    ready: Callable[[], bool] = lambda: True,
    healthy: Callable[[], bool] = lambda: True,
    pages: Mapping[str, WSGIApplication] | None = None,
) -> HttpServer | None:
    """Serve as the options say; None where they name no port. Raises :class:`PortUnusable`.

    ``pages`` are served beside metrics and probes, by their paths.
    """
    if chosen.metrics_port is None:
        return None
    from whereabouts.http_server import HttpServer

    try:
        return HttpServer(
            registry, chosen.metrics_host, chosen.metrics_port, ready=ready, healthy=healthy, pages=pages
        )
    except OSError as error:
        where = f"{chosen.metrics_host}:{chosen.metrics_port}"
        raise PortUnusable(f"--metrics-port: nothing can be served on {where}: {error.strerror}") from error


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text} is not in 0 to 65535")
    return number
