"""A cluster with something of everything that the controller's status page shows, on the double."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

from whereabouts.addresses import Address
from whereabouts.block import Block, BlockKey
from whereabouts.deadline import Deadline
from whereabouts.liveness import CONFLICT
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kubernetes import KubernetesStore

from .api_double import ApiDouble, api_double
from .api_server import ADMIN, kubeconfig, resources
from .cluster_objects import (
    MERGE,
    NETWORK_STATUS,
    annotate,
    asked,
    create_definition,
    create_node,
    create_pod,
    delete_pod,
    network_status,
)
from .store_contract import SOON

WEB = PoolKey("", "10.20.0.0/23")
STORAGE = PoolKey("storage", "10.64.0.0/18")
TINY = PoolKey("tiny", "192.168.7.0/29")
SIX = PoolKey("", "2001:db8:0:1::/64")
HOSTILE = "<img src=//attacker.example/x onerror=alert(1)>"
DAMAGED = "10.64.3.0/24"
TWICE = "10.20.0.9"
SUSPECT = "10.20.0.40"
PODS = 40


class Filled(NamedTuple):
    """The cluster, and how it is reached."""

    server: ApiDouble
    kubeconfig: str
    namespace: str


@contextmanager
def filled(folder: Path, said: str = "") -> Iterator[Filled]:
    """The cluster. A controller finds nothing to free in it. ``said`` is a part of what a few texts say."""
    with api_double() as server:
        namespace = server.namespace()
        path = kubeconfig(folder / "kubeconfig", server.server, namespace, ADMIN, server.authority)
        for number in range(1, 6):
            create_node(server, f"node-{number}", ready=number < 5)
        _definitions(server, namespace, said)
        _records(server, namespace, path, said)
        damage = {"metadata": {"annotations": {"whereabouts.cni.cncf.io/allocated": "nothing"}}}
        block = BlockKey.of(Pool(STORAGE, True).space, ip_address(DAMAGED.partition("/")[0]))
        asked(server, "PATCH", resources(namespace, "addressblocks", block.name), damage, MERGE)
        yield Filled(server, path, namespace)


def _definitions(server: ApiDouble, namespace: str, said: str) -> None:
    web = {"range": WEB.range, "exclude": ["10.20.1.192/26", "10.20.0.2/31"]}
    storage = {"range": STORAGE.range, "network_name": "storage", "node_slice_size": "/20"}
    tiny = {"range": TINY.range, "network_name": "tiny"}
    broken = {"range": f"10.0.0.0/33{said}"}
    for name, ipam in (("web", web), ("storage", storage), ("tiny", tiny), ("broken", broken)):
        config = {"cniVersion": "1.0.0", "name": name, "type": "macvlan"}
        create_definition(server, namespace, name, {**config, "ipam": {"type": "whereabouts", **ipam}})


def _records(server: ApiDouble, namespace: str, path: str, said: str) -> None:
    """Addresses of pods that report them, and a few that are a problem."""
    dice = random.Random(7)
    given: dict[PoolKey, list[Address]] = {
        WEB: [ip_address("10.20.0.0") + at for at in range(1, 330) if dice.randrange(5) or at in (9, 40)],
        STORAGE: [
            ip_address("10.64.0.0") + 256 * block + at
            for block in range(14)
            for at in range(1, max(3, 255 - dice.randrange(20 * (block + 1))))
        ],
        TINY: [ip_address("192.168.7.1") + at for at in range(6)],
        SIX: [ip_address("2001:db8:0:1::1") + at for at in range(70)],
    }
    pods = [create_pod(server, namespace, f"web-{n}", node=f"node-{n % 4 + 1}") for n in range(PODS)]
    late = create_pod(server, namespace, "late", node="node-5", phase="Running")
    reported: dict[str, list[str]] = {}
    store = KubernetesStore(from_kubeconfig(path))
    try:
        for key, addresses in given.items():
            pool = Pool(key, shared=True)
            store.create_pool(pool, Deadline(SOON))
            blocks: dict[BlockKey, dict[int, Owner]] = {}
            for address in addresses:
                pod = late if str(address) == "10.20.0.20" else dice.choice(pods)
                owner = _owner(pod, namespace, address, key)
                if str(address) == TWICE:
                    owner = owner._replace(pod_ref="", container_id=f"{CONFLICT}default/a, default/b{said}")
                elif str(address) != SUSPECT:
                    reported.setdefault(pod["metadata"]["name"], []).append(str(address))
                block = BlockKey.of(pool.space, address)
                blocks.setdefault(block, {})[block.offset(address)] = owner
            for block, owners in blocks.items():
                store.write_block(block, None, Block(block, owners), Deadline(SOON))
    finally:
        store.close()
    for name, addresses_of_pod in reported.items():
        annotate(server, namespace, name, {NETWORK_STATUS: network_status([], addresses_of_pod)})
        asked(
            server,
            "PATCH",
            f"/api/v1/namespaces/{namespace}/pods/{name}/status",
            {"status": {"phase": "Running"}},
            MERGE,
        )
    delete_pod(server, namespace, "late", force=False)


def _owner(pod: Any, namespace: str, address: Address, key: PoolKey) -> Owner:
    name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
    node = pod["spec"]["nodeName"]
    return Owner(f"{namespace}/{name}", uid, f"{int(address):064x}", "net1", node, "web", key.range, 1)
