"""Does anybody live behind a record? One record, what is known of its pod, and a verdict: pure values.

The rules, in the order in which they are asked; the first that fits decides. What fits none is kept, and so
is everything of which too little is known: an address that stays taken costs an address, one that is freed
too early gives two pods the same.

====  ==================================================================  ===================  =======
rule  what is known                                                       verdict              seconds
====  ==================================================================  ===================  =======
1     the pod reference is no ``namespace/name`` (outside Kubernetes it   keep
      is a container ID), or two pods were given the address
2     there is no pod of that name                                        POD_GONE             5
2a    ... of a static pod, if that may be; unless its node is out of      POD_GONE             300
      service
2b    ... whose node is not ready: nobody can make its mirror anew        keep
3     the pod has come to its end (Succeeded, Failed)                     POD_FINISHED         5
3a    ... a static pod: it begins anew when its node does                 POD_FINISHED         300
3b    ... whose node is not ready: it may have begun, and nobody says so  keep
4     the pod's node is no Node any more                                  NODE_GONE            5
5     the pod's node is out of service                                    NODE_OUT_OF_SERVICE  5
6     the pod reports the address as its own                              keep
7     the record has the UID of another pod                               POD_GONE             5
8     the record has no UID, and the pod was not given a node yet         POD_GONE             5
9     the record has no UID, it was made on another Node than the pod's,  POD_GONE             5
      and the addresses of the pod are known
10    the pod runs on a node that is ready, is not being deleted, and     NOT_REPORTED         300
      its addresses are known: this is none of them
====  ==================================================================  ===================  =======

Rules 2, 7, 8 and 9 cannot become untrue: names of pods are unique, a UID never comes back, and a new pod of
the same name has a new container, hence another record. Rule 3 cannot but for static pods. For rules 4 and 5
somebody has told Kubernetes that the machine is off, and Kubernetes itself gives the names and volumes of its
pods to others on that word. Rule 10 is the one where time is evidence: Multus writes what a pod was given
when all of its networks are attached, and the kubelet gives it 4 minutes for that (twice its
``runtimeRequestTimeout``); an interface that is plugged in later is reported later, too.

Not among the rules: a pod that is being deleted, or was evicted, and whose node is not heard of. The node may
be cut off from the API server only, and the pod may run. See :func:`waits_for_operator`.
"""

from __future__ import annotations

from collections.abc import Mapping

from whereabouts.addresses import Address
from whereabouts.owners import Owner
from whereabouts.values import NamedTuple

GONE_SECONDS = 5.0
"""Between the two observations of what cannot become untrue again."""
LAGGING_SECONDS = 300.0
"""Between the two observations of what may only not be reported yet. More than the kubelet lets an attachment
take (4 minutes), and more than it takes to make the mirror of a static pod anew."""

POD_GONE = "its pod is gone"
POD_FINISHED = "its pod has come to its end"
NODE_GONE = "the node of its pod is gone"
NODE_OUT_OF_SERVICE = "the node of its pod is out of service"
NOT_REPORTED = "its pod runs without this address"

CONFLICT = "conflict: "
"""What the container ID of a record begins with whose address two pods were given. No DEL matches it, and
without a pod reference nothing judges it dead: the address stays taken until a person releases it."""

FINISHED = ("Succeeded", "Failed")
"""Phases in which a pod stays for good."""


class Pod(NamedTuple):
    """What is known of a pod."""

    ref: str
    """``namespace/name``."""
    uids: tuple[str, ...]
    """``metadata.uid``; of the mirror of a static pod also the UID by which the kubelet knows the pod: it
    stands in annotations, and is what a container runtime passes on."""
    node: str
    """``spec.nodeName``; empty before it was scheduled."""
    phase: str
    deleting: bool
    """It has a deletion timestamp."""
    disrupted: bool
    """It was evicted because of its node's taints (condition ``DisruptionTarget``)."""
    addresses: frozenset[Address] | None
    """All addresses that it reports, of the default network and of all others; None where that is not known
    of each of its networks: there is no network status, or it cannot be read."""


class Node(NamedTuple):
    """What is known of a node."""

    name: str
    ready: bool
    """Its kubelet says that it is, and is heard."""
    out_of_service: bool
    """Somebody has said that it is off (taint ``node.kubernetes.io/out-of-service``)."""


class Suspicion(NamedTuple):
    """Why nobody seems to live behind a record.

    ``reason`` is one of the constants of this module. ``seconds`` is for how long it has to be so. ``node``
    is the node that is gone, where that is the reason.
    """

    reason: str
    seconds: float
    node: str = ""


def judge(address: Address, owner: Owner, pod: Pod | None, nodes: Mapping[str, Node]) -> Suspicion | None:
    """Why the record of ``address`` may be freed; None: it is kept. The rules stand at the module's head.

    ``pod`` is the pod of the record's name, None where it is known that there is none. Of ``nodes`` only
    those are asked for that :func:`nodes_asked_for` names; what is missing there is no Node.
    """
    if not names_a_pod(owner):
        return None
    if pod is None:
        return _unless_static(POD_GONE, _may_be_static(owner), nodes.get(owner.node))
    node = nodes.get(pod.node)
    if pod.phase in FINISHED:
        return _unless_static(POD_FINISHED, len(pod.uids) > 1, node)
    if pod.node and node is None:
        return Suspicion(NODE_GONE, GONE_SECONDS, pod.node)
    if node is not None and node.out_of_service:
        return Suspicion(NODE_OUT_OF_SERVICE, GONE_SECONDS, pod.node)
    if pod.addresses is not None and address in pod.addresses:
        return None
    if _of_another_pod(owner, pod, nodes):
        return Suspicion(POD_GONE, GONE_SECONDS)
    settled = pod.phase == "Running" and not pod.deleting and node is not None and node.ready
    if settled and pod.addresses is not None:
        return Suspicion(NOT_REPORTED, LAGGING_SECONDS)
    return None


def names_a_pod(owner: Owner) -> bool:
    """Whether the record says which pod it is of: otherwise nothing in the cluster speaks of it."""
    namespace, _, name = owner.pod_ref.partition("/")
    return bool(namespace and name) and "/" not in name and not owner.container_id.startswith(CONFLICT)


def nodes_asked_for(owner: Owner, pod: Pod | None) -> set[str]:
    """The names of the nodes that a judgement of the record may depend on."""
    if pod is None:
        names = [owner.node] if _may_be_static(owner) else []
    else:
        names = [pod.node] if owner.pod_uid else [pod.node, owner.node]
    return set(filter(None, names))


def waits_for_operator(pod: Pod | None, nodes: Mapping[str, Node]) -> bool:
    """Whether a pod is to be gone, but its node is not heard of, so that it may still run.

    Its addresses are kept until somebody who knows that the node is off says so: by the taint
    ``node.kubernetes.io/out-of-service``, by deleting the Node, or by deleting the pod by force.
    """
    if pod is None or pod.phase in FINISHED or not (pod.deleting or pod.disrupted):
        return False
    node = nodes.get(pod.node)
    return node is not None and not node.ready and not node.out_of_service


def _unless_static(reason: str, static: bool, node: Node | None) -> Suspicion | None:
    """A static pod lives in its node's files: what the API server has is a mirror that may be behind."""
    if not static or (node is not None and node.out_of_service):
        return Suspicion(reason, GONE_SECONDS)
    return Suspicion(reason, LAGGING_SECONDS) if node is None or node.ready else None


def _may_be_static(owner: Owner) -> bool:
    """Static pods have a digest of 32 digits for their UID, and the node's name at the end of their own."""
    digest = len(owner.pod_uid) == 32 and "-" not in owner.pod_uid
    return digest or (bool(owner.node) and owner.pod_ref.endswith(f"-{owner.node}"))


def _of_another_pod(owner: Owner, pod: Pod, nodes: Mapping[str, Node]) -> bool:
    if owner.pod_uid:
        return owner.pod_uid not in pod.uids
    if not pod.node:
        return True
    elsewhere = owner.node in nodes and owner.node != pod.node
    return elsewhere and pod.addresses is not None
