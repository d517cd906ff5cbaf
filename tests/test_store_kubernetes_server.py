"""The store contract over a real kube-apiserver and etcd, which is what proves the double."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from whereabouts.agent.group_commit import GroupCommitter, Groups
from whereabouts.allocator import Allocator, Demand, RangeFull
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline
from whereabouts.log import SILENT
from whereabouts.owners import Owner
from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kube_status import write_status
from whereabouts.stores.kubernetes import KubernetesStore

from .api_server import ADMIN, ApiServer, api_server, items, kubeconfig
from .kubernetes_contract import KubernetesContract
from .kubernetes_slices_contract import KubernetesSlicesContract
from .store_contract import SOON, add, attachment, demand, pod

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


class TestSlices(KubernetesSlicesContract):
    pass


# ----------------------------------------------------------- many at the same time


def together(calls: Sequence[Callable[[], object]]) -> list[object]:
    """Run calls at the same time; their results, or what they raised."""

    def run(call: Callable[[], object]) -> object:
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


class Agent:
    """What a node agent does with its store: calls at the same time share writes."""

    def __init__(self, store: KubernetesStore) -> None:
        self.store = store
        self._groups = Groups(lambda _: None)

    def allocator(self) -> Allocator:
        return Allocator(self.store, GroupCommitter(self._groups, DirectCommitter(self.store)), SILENT)

    def add(self, wanted: Demand, owner: Owner) -> str:
        (address,) = self.allocator().add(wanted, owner, Deadline(SOON))
        return str(address)

    def delete(self, wanted: Demand, owner: Owner) -> list[str]:
        freed = self.allocator().delete(wanted, attachment(owner), [], Deadline(SOON))
        return [str(address) for address, _ in freed]


def test_sixteen_agents_with_sixteen_calls_each_give_exactly_the_lowest_addresses(
    open_store: Callable[[], KubernetesStore],
) -> None:
    wanted = demand("10.0.0.0/16")
    agents = [Agent(open_store()) for _ in range(16)]
    calls = [
        partial(agent.add, wanted, pod(100 * n + call))
        for n, agent in enumerate(agents)
        for call in range(16)
    ]
    given = together(calls)
    lowest = [f"10.0.{value >> 8}.{value & 255}" for value in range(1, 258) if value & 255]
    assert sorted(map(str, given)) == sorted(lowest)
    for agent in agents:
        agent.store.close()


def test_sixty_four_plugin_processes_at_once_give_exactly_the_lowest_addresses(
    server: ApiServer, tmp_path: Path
) -> None:
    path = kubeconfig(tmp_path / "kubeconfig", server.server, server.namespace(), ADMIN, server.authority)
    ipam = {
        "type": "whereabouts",
        "range": "10.0.0.0/16",
        "datastore": "kubernetes",
        "kubernetes": {"kubeconfig": path},
        "log_level": "error",
    }
    config = json.dumps({"cniVersion": "1.0.0", "name": "net", "type": "macvlan", "ipam": ipam})

    def call(number: int, command: str) -> object:
        environment = os.environ | {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"{number:064x}",
            "CNI_NETNS": "/var/run/netns/not-there",
            "CNI_IFNAME": "net1",
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-{number}",
            "CNI_PATH": "/opt/cni/bin",
        }
        run = subprocess.run(
            [sys.executable, "-m", "whereabouts"],
            input=config,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        return json.loads(run.stdout)["ips"][0]["address"] if command == "ADD" else run.stdout

    given = together([partial(call, n, "ADD") for n in range(64)])
    assert sorted(map(str, given)) == sorted(f"10.0.0.{n}/16" for n in range(1, 65))
    assert together([partial(call, n, "DEL") for n in range(64)]) == [""] * 64


def test_kubectl_shows_ranges_and_blocks(
    server: ApiServer, open_store: Callable[[], KubernetesStore]
) -> None:
    store = open_store()
    add(store, demand("10.0.0.0/16", network_name="blue"), pod(1))
    write_status(store, None, Deadline(SOON))
    shown = server.kubectl("-n", store.resources.namespace, "get", "ippools,addressblocks", "--no-headers")
    rows = [line.split()[:-1] for line in shown.splitlines() if line]
    assert rows == [
        ["ippool.whereabouts.cni.cncf.io/blue-10.0.0.0-16", "10.0.0.0/16", "65279", "1", "65278"],
        ["addressblock.whereabouts.cni.cncf.io/blue.10.0.0.0", "10.0.0.0/24", "blue", "1"],
    ]
    names = server.kubectl("-n", store.resources.namespace, "get", "whereabouts", "-o", "name").split()
    assert len(names) == 2
    store.close()


@pytest.mark.slow
def test_a_range_of_65536_fills_to_its_last_address_and_empties(
    server: ApiServer, open_store: Callable[[], KubernetesStore]
) -> None:
    wanted, agent = demand("10.0.0.0/16"), Agent(open_store())
    every = [f"10.0.{value >> 8}.{value & 255}" for value in range(1, 65535) if value & 255]
    assert len(every) == 65279
    owners = [pod(n) for n in range(len(every))]
    with ThreadPoolExecutor(64) as threads:
        given = list(threads.map(lambda owner: agent.add(wanted, owner), owners))
        assert set(given) == set(every)
        with pytest.raises(RangeFull):
            agent.add(wanted, pod(70_000))
        write_status(agent.store, None, Deadline(SOON))
        (pool,) = items(server, agent.store.resources.namespace, "ippools")
        assert pool["status"] == {"capacity": 65279, "allocated": 65279, "free": 0}
        freed = list(threads.map(lambda owner: agent.delete(wanted, owner), owners))
    assert sorted(address for (address,) in freed) == sorted(every)
    assert agent.add(wanted, pod(70_000)) == "10.0.0.1"
    agent.store.close()
