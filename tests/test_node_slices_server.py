"""Node slices in the Kubernetes store, over a real API server."""

from collections.abc import Callable
from pathlib import Path

import pytest

from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kubernetes import KubernetesStore

from .api_server import ADMIN, ApiServer, api_server, kubeconfig
from .kubernetes_slices_contract import KubernetesSlicesContract

pytestmark = pytest.mark.apiserver


@pytest.fixture
def server() -> ApiServer:
    return api_server()


@pytest.fixture
def open_store(server: ApiServer, tmp_path: Path) -> Callable[[], KubernetesStore]:
    path = kubeconfig(tmp_path / "kubeconfig", server.server, server.namespace(), ADMIN, server.authority)
    return lambda: KubernetesStore(from_kubeconfig(path))


@pytest.fixture
def steps() -> int:
    """How long the histories are that are played through."""
    return 50


class TestSlices(KubernetesSlicesContract):
    pass
