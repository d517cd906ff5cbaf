"""A cluster as small as it can be: the pods and nodes that a test says there are."""

from collections.abc import Iterator, Mapping

from whereabouts.addresses import Address
from whereabouts.deadline import Deadline
from whereabouts.liveness import Node, Pod


class SmallCluster:
    """See :class:`whereabouts.reconcile.Cluster`."""

    def __init__(self) -> None:
        self.known_pods: dict[str, Pod] = {}
        self.known_nodes: dict[str, Node] = {}

    def run(self, ref: str, node: str, *addresses: Address, phase: str = "Running", uid: str = "") -> None:
        """A pod that runs on a node with these addresses; a known one gets more of them."""
        known = self.known_pods.get(ref)
        before = known.addresses if known is not None and known.addresses is not None else frozenset()
        self.known_pods[ref] = Pod(
            ref, (uid,) if uid else (), node, phase, False, False, before | frozenset(addresses)
        )
        self.known_nodes.setdefault(node, Node(node, True, False))

    def pods(self, deadline: Deadline) -> Iterator[Pod]:
        yield from list(self.known_pods.values())

    def pod(self, ref: str, deadline: Deadline) -> Pod | None:
        return self.known_pods.get(ref)

    def nodes(self, deadline: Deadline) -> Mapping[str, Node]:
        return dict(self.known_nodes)

    def node(self, name: str, deadline: Deadline) -> Node | None:
        return self.known_nodes.get(name)
