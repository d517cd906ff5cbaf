"""The rights in ``deploy/`` are enough for the programs that have them, and none of them is too many."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from whereabouts.errors import WhereaboutsError
from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kubernetes import KubernetesStore

from . import kubernetes_contract
from .account_scenarios import SCENARIOS
from .accounts import ACCOUNTS, Account, Permission, account, permissions
from .api_server import ApiServer, api_server, resources
from .kubernetes_contract import KubernetesContract

pytestmark = pytest.mark.apiserver

EVERY_RIGHT = [
    pytest.param(name, right, id=f"{name}: {right}") for name in ACCOUNTS for right in permissions(name)
]


@pytest.fixture
def server() -> ApiServer:
    return api_server()


def _scenario(name: str) -> Callable[[Account], None]:
    if name not in SCENARIOS:
        pytest.skip(f"nobody has told yet what {name} does")
    return SCENARIOS[name]


@pytest.mark.parametrize("name", ACCOUNTS)
def test_with_its_rights_an_account_does_all_its_work(name: str, server: ApiServer, tmp_path: Path) -> None:
    scenario = _scenario(name)
    with account(server, permissions(name), tmp_path) as made:
        scenario(made)


@pytest.mark.parametrize(("name", "right"), EVERY_RIGHT)
def test_without_one_of_its_rights_an_account_fails(
    name: str, right: Permission, server: ApiServer, tmp_path: Path
) -> None:
    scenario = _scenario(name)
    rest = [one for one in permissions(name) if one != right]
    with account(server, rest, tmp_path) as made, pytest.raises((WhereaboutsError, AssertionError)):
        scenario(made)


def test_a_node_agent_can_write_neither_the_status_of_a_pool_nor_slices(
    server: ApiServer, tmp_path: Path
) -> None:
    with account(server, permissions("whereabouts"), tmp_path) as made:
        for method, plural, name in (
            ("PATCH", "ippools", "10.0.0.0-16/status"),
            ("PATCH", "nodeslicepools", "net"),
            ("POST", "nodeslicepools", ""),
        ):
            path = resources(made.namespace, plural, name)
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            assert server.call(method, path, {}, kind, token=made.token).status == 403, path


def test_a_node_agent_can_read_no_secrets_and_no_pods(server: ApiServer, tmp_path: Path) -> None:
    with account(server, permissions("whereabouts"), tmp_path) as made:
        for path in (
            f"/api/v1/namespaces/{made.namespace}/secrets",
            f"/api/v1/namespaces/{made.namespace}/pods",
            "/api/v1/nodes",
            resources(server.namespace(), "addressblocks"),
        ):
            assert server.call("GET", path, token=made.token).status == 403


# ------------------------------------------------------------------ the contract, as a node agent

OF_THE_CONTROLLER = [
    *(
        Permission(False, "whereabouts.cni.cncf.io", "nodeslicepools", verb)
        for verb in ("create", "patch", "delete")
    ),
    Permission(False, "whereabouts.cni.cncf.io", "ippools/status", "patch"),
]
"""What the contract does besides, and in a cluster the controller: write slices, and the status of pools."""


@pytest.fixture
def open_store(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Stores of a node agent. What tests do to begin anew, no agent has to: an administrator does it."""
    with account(server, [*permissions("whereabouts"), *OF_THE_CONTROLLER], tmp_path) as made:

        def empty(_: KubernetesStore) -> None:
            for plural in ("addressblocks", "ippools"):
                assert server.call("DELETE", resources(made.namespace, plural)).status == 200

        monkeypatch.setattr(kubernetes_contract, "_empty", empty)
        yield lambda: KubernetesStore(from_kubeconfig(made.kubeconfig))


@pytest.fixture
def steps() -> int:
    return 20


@pytest.mark.slow
class TestStoreOfANodeAgent(KubernetesContract):
    """The contract of all stores, with no more rights than a node agent has."""
