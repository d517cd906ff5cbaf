"""The store contract over a real kube-apiserver and etcd, which is what proves the double."""

from collections.abc import Callable
from pathlib import Path

import pytest

from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kubernetes import KubernetesStore

from .api_server import ADMIN, ApiServer, api_server, kubeconfig
from .kubernetes_contract import KubernetesContract

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
    return 60


class TestKubernetesServer(KubernetesContract):
    pass
