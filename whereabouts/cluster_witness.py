"""A Kubernetes cluster as the one who knows which pods live."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from time import time

from whereabouts.deadline import Deadline
from whereabouts.findings import Record
from whereabouts.inspection import LONGEST_PAUSE, Suspect
from whereabouts.liveness import NOT_REPORTED, POD_FINISHED, Pod, Suspicion, judge, names_a_pod
from whereabouts.values import TYPE_CHECKING

if TYPE_CHECKING:
    from whereabouts.reconcile import Cluster

ASKED_ONE_BY_ONE = 64
"""Up to so many pods are asked for by name; more are listed."""


class ClusterWitness:
    """A cluster's pods and nodes, as the API server has them at every question."""

    def __init__(self, cluster: Cluster, *, clock: Callable[[], float] = time) -> None:
        """Ask ``cluster``; ``clock`` tells seconds since 1970."""
        self._cluster = cluster
        self._clock = clock

    def suspects(self, records: Sequence[Record], deadline: Deadline) -> Mapping[Record, Suspect]:
        """See :class:`~whereabouts.inspection.Witness`. The records have to be read before this is called."""
        named = [record for record in records if names_a_pod(record.owner)]
        if not named:
            return {}
        pods = self._pods({record.owner.pod_ref for record in named}, deadline)
        nodes = self._cluster.nodes(deadline)
        now = self._clock()
        found = {}
        for record in named:
            suspicion = judge(record.address, record.owner, pods.get(record.owner.pod_ref), nodes)
            if suspicion is not None:
                kind = _kind(suspicion, now - record.owner.created)
                found[record] = Suspect(kind, suspicion.reason, suspicion.seconds)
        return found

    def _pods(self, refs: Collection[str], deadline: Deadline) -> Mapping[str, Pod]:
        if len(refs) <= ASKED_ONE_BY_ONE:
            asked = (self._cluster.pod(ref, deadline) for ref in refs)
            return {pod.ref: pod for pod in asked if pod is not None}
        return {pod.ref: pod for pod in self._cluster.pods(deadline) if pod.ref in refs}


def _kind(suspicion: Suspicion, age: float) -> str:
    """How sure a look or two are, of a record that is ``age`` seconds old.

    What takes longer than an inspection is sure only where the record itself is that old, and what is missing
    would have come by now.
    """
    if suspicion.seconds > LONGEST_PAUSE and not (
        suspicion.reason == NOT_REPORTED and age >= suspicion.seconds
    ):
        return "suspect"
    return "completed-pod" if suspicion.reason == POD_FINISHED else "leak"
