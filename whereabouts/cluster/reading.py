"""Reading pods, nodes and NetworkAttachmentDefinitions of the whole cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TypeVar

from whereabouts.cluster.forms import Form
from whereabouts.cluster.parsing import AttachmentDefinition, definition_of, node_of, pod_of
from whereabouts.deadline import Deadline
from whereabouts.liveness import Node, Pod
from whereabouts.stores.kube_api import ApiClient, NotFound, Refused, Request
from whereabouts.stores.kube_listing import pages

T = TypeVar("T")

PODS = "/api/v1/pods"
NODES = "/api/v1/nodes"
DEFINITIONS_GROUP = "k8s.cni.cncf.io"
DEFINITIONS = f"/apis/{DEFINITIONS_GROUP}/v1/network-attachment-definitions"
PAGE = 200
"""Objects in one answer to a list. A pod is 5 to 10 KB of JSON."""

_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")


class KubernetesCluster:
    """The cluster as the API server knows it.

    Every method may raise the errors of :mod:`whereabouts.stores.kube_api` and DeadlineExceeded.
    """

    def __init__(self, api: ApiClient) -> None:
        """Read through ``api``, whose credentials have to allow get and list in all namespaces."""
        self._api = api

    def pods(self, deadline: Deadline) -> Iterator[Pod]:
        """All pods. Where the list had to begin again, those that came already come once more."""
        return self._listed(PODS, pod_of, deadline)

    def pod(self, ref: str, deadline: Deadline) -> Pod | None:
        """The pod ``namespace/name`` as it is now, not as some cache has it; None where there is none.

        None is the API server's own word that there is no such pod: a 404 that says anything else is
        raised, since whoever asks means to free what the pod has.
        """
        namespace, _, name = ref.partition("/")
        if not _NAME.fullmatch(namespace) or not _NAME.fullmatch(name):
            raise Refused(f"{ref!r} names no pod: it has to be a namespace and a name")
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        return self._existing(path, ("pods", name), pod_of, deadline)

    def nodes(self, deadline: Deadline) -> Mapping[str, Node]:
        """All nodes by name."""
        found: dict[str, Node] = {}
        for page in pages(self._api, NODES, deadline, limit=PAGE, read=node_of.page):
            if page.first:
                found.clear()
            found.update((node.name, node) for node in map(node_of.read, page.items))
        return found

    def node(self, name: str, deadline: Deadline) -> Node | None:
        """The node as it is now; None where the API server says that there is none."""
        if not _NAME.fullmatch(name):
            return None  # no Node can have that name
        return self._existing(f"{NODES}/{name}", ("nodes", name), node_of, deadline)

    def attachment_definitions(self, deadline: Deadline) -> Iterator[AttachmentDefinition]:
        """All NetworkAttachmentDefinitions; none in a cluster that does not know the kind.

        Where the list had to begin again, those that came already come once more.
        """
        try:
            yield from self._listed(DEFINITIONS, definition_of, deadline)
        except NotFound:
            groups = self._api.send(Request("GET", "/apis"), deadline)["groups"]
            if any(group["name"] == DEFINITIONS_GROUP for group in groups):
                raise

    def _listed(self, path: str, form: Form[T], deadline: Deadline) -> Iterator[T]:
        for page in pages(self._api, path, deadline, limit=PAGE, read=form.page):
            yield from map(form.read, page.items)

    def _existing(self, path: str, named: tuple[str, str], form: Form[T], deadline: Deadline) -> T | None:
        # No resourceVersion is asked for: the answer is at least as new as every write before the question.
        try:
            text = self._api.fetch(Request("GET", path), deadline)
        except NotFound as error:
            if error.named != named:
                raise
            return None
        return form.read(form.parse(text))
