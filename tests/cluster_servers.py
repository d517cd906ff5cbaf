"""The double and a real API server, one after the other, for tests of what reads the cluster.

The fixtures are every test's; a module that has one of the same name has its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kube_api import ApiClient

from .api_double import ApiDouble, api_double
from .api_server import ADMIN, ApiServer, api_server, kubeconfig

Server = ApiDouble | ApiServer

BOTH = ["double", pytest.param("server", marks=pytest.mark.apiserver)]
"""The parameters of a fixture that gives :func:`opened`."""


@contextmanager
def opened(which: str) -> Iterator[Server]:
    if which == "server":
        yield api_server()
    else:
        with api_double() as double:
            yield double


@pytest.fixture(params=BOTH)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with opened(request.param) as server:
        yield server


@pytest.fixture
def namespace(server: Server) -> str:
    """A namespace of the server that no other test has."""
    return server.namespace()


@pytest.fixture
def double() -> Iterator[ApiDouble]:
    """For what cannot be brought about on a real server."""
    with api_double() as double:
        yield double


@contextmanager
def client(server: Server, folder: Path, namespace: str, port: int = 0) -> Iterator[ApiClient]:
    """A client of the server; by way of another ``port``, if there is one."""
    url = urlsplit(server.server)
    address = f"{url.scheme}://127.0.0.1:{port or url.port}"
    path = kubeconfig(folder / "kubeconfig", address, namespace, ADMIN, server.authority)
    api = ApiClient(from_kubeconfig(path))
    try:
        yield api
    finally:
        api.close()
