"""The HTTP server of agent and controller."""

import urllib.request

import pytest
from prometheus_client import CollectorRegistry

from whereabouts.http_server import HttpServer


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_serves_on_an_address_of_either_family(host: str) -> None:
    try:
        server = HttpServer(CollectorRegistry(), host, 0)
    except OSError as error:
        pytest.skip(f"this machine has no {host}: {error.strerror}")
    try:
        shown = f"[{host}]" if ":" in host else host
        with urllib.request.urlopen(f"http://{shown}:{server.port}/healthz", timeout=20) as answer:
            assert answer.read() == b"200 OK\n"
    finally:
        server.close()
