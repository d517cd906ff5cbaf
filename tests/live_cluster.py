"""Nodes and pods that whereabouts gave addresses to, in a namespace of their own."""

import itertools
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from whereabouts.allocator import Allocator, Attachment
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline
from whereabouts.log import SILENT
from whereabouts.owners import Owner
from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kubernetes import KubernetesStore

from .api_server import ADMIN, kubeconfig
from .cluster_objects import NETWORK_STATUS, annotate, create_node, create_pod, network_status
from .cluster_servers import Server
from .store_contract import demand

SOON = 30.0
RANGE = "10.20.0.0/16"
_numbers = itertools.count()


class Given(NamedTuple):
    """A pod's address."""

    address: str
    pod: str
    attachment: Attachment


class Cluster:
    """Nodes and pods that whereabouts gave addresses to."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.namespace = server.namespace()
        self.kubeconfig = kubeconfig(
            folder / "kubeconfig", server.server, self.namespace, ADMIN, server.authority
        )
        self.store = KubernetesStore(from_kubeconfig(self.kubeconfig))
        self._allocator = Allocator(self.store, DirectCommitter(self.store), SILENT)

    def node(self) -> str:
        name = f"node-{next(_numbers)}"
        create_node(self.server, name)
        return name

    def pod(self, name: str, node: str, *, phase: str = "Running", reported: bool = True) -> Given:
        """A pod that runs on a node with an address of the range, as Multus tells it."""
        created = create_pod(self.server, self.namespace, name, node=node, phase=phase)
        given = self.add(name, node, created["metadata"]["uid"])
        if reported:
            status = network_status(["10.244.0.1"], [given.address])
            annotate(self.server, self.namespace, name, {NETWORK_STATUS: status})
        return given

    def add(self, name: str, node: str, uid: str) -> Given:
        container = f"{next(_numbers):064x}"
        owner = Owner(f"{self.namespace}/{name}", uid, container, "net1", node, "blue", "", 1)
        (address,) = self._allocator.add(demand(RANGE), owner, Deadline(SOON))
        return Given(str(address), name, Attachment(container, "net1", "blue"))

    def delete(self, given: Given) -> None:
        reported = [ip_address(given.address)]
        self._allocator.delete(demand(RANGE), given.attachment, reported, Deadline(SOON))

    def held(self) -> dict[str, str]:
        """Addresses and the container IDs of their records, as they are stored."""
        fresh = KubernetesStore(from_kubeconfig(self.kubeconfig))
        try:
            return {
                str(stored.key.address(offset)): owner.container_id
                for stored in fresh.blocks(Deadline(SOON))
                for offset, owner in stored.trusted()
            }
        finally:
            fresh.close()
