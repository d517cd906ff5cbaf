"""The store contract over the double, and what is the Kubernetes store's own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kubernetes import KubernetesStore

from .api_double import ApiDouble, api_double
from .api_server import kubeconfig
from .kubernetes_contract import KubernetesContract
from .kubernetes_slices_contract import KubernetesSlicesContract


@pytest.fixture
def server() -> Iterator[ApiDouble]:
    with api_double() as double:
        yield double


@pytest.fixture
def open_store(server: ApiDouble, tmp_path: Path) -> Callable[[], KubernetesStore]:
    path = kubeconfig(tmp_path / "kubeconfig", server.server, server.namespace())
    return lambda: KubernetesStore(from_kubeconfig(path))


@pytest.fixture
def steps() -> int:
    """How long the histories are that are played through."""
    return 101


class TestKubernetes(KubernetesContract):
    pass


class TestSlices(KubernetesSlicesContract):
    pass
