"""Kubernetes Events: what an operator sees under an object in ``kubectl describe``.

They are those of core/v1, not of events.k8s.io/v1. The server keeps both as one kind, but only the older form
has a component as its source, which is where users of the Go plugin look; and its count can be raised by a
plain patch, where the newer one wants a series that somebody closes.
"""

from __future__ import annotations

from time import time

from whereabouts.deadline import Deadline
from whereabouts.stores.kube_api import MERGE_PATCH, ApiClient, Request
from whereabouts.stores.kube_objects import timestamp
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Literal

NORMAL: Literal["Normal"] = "Normal"
WARNING: Literal["Warning"] = "Warning"
_LONGEST_MESSAGE = 1024
_HOME = "default"
"""The namespace of events on objects that are in none, such as nodes."""


class Regarding(NamedTuple):
    """The object that an event is about."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    uid: str = ""
    """``kubectl describe`` finds an event by it; of a node it is the name, as the kubelet has it."""


class Event(NamedTuple):
    """Something that happened to an object."""

    regarding: Regarding
    reason: str
    """One word in CamelCase."""
    message: str
    type: Literal["Normal", "Warning"] = NORMAL


def post(api: ApiClient, event: Event, component: str, name: str, deadline: Deadline, count: int = 1) -> None:
    """Create the event; a Conflict says that there is one of that name.

    Raises what :meth:`~whereabouts.stores.kube_api.ApiClient.send` does.
    """
    now = timestamp(time())
    regarding = event.regarding
    reference = {
        "apiVersion": regarding.api_version,
        "kind": regarding.kind,
        "name": regarding.name,
        "namespace": regarding.namespace,
        "uid": regarding.uid,
    }
    content = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": _namespace(regarding)},
        "involvedObject": {field: value for field, value in reference.items() if value},
        "reason": event.reason,
        "message": event.message[:_LONGEST_MESSAGE],
        "type": event.type,
        "source": {"component": component},
        "reportingComponent": component,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": count,
    }
    api.send(Request("POST", _path(regarding), content), deadline)


def repeat(api: ApiClient, event: Event, name: str, count: int, deadline: Deadline) -> None:
    """Say that an event has happened ``count`` times by now. NotFound if the server has forgotten it."""
    patch = {"count": count, "lastTimestamp": timestamp(time())}
    api.send(Request("PATCH", f"{_path(event.regarding)}/{name}", patch, MERGE_PATCH), deadline)


def _namespace(regarding: Regarding) -> str:
    return regarding.namespace or _HOME


def _path(regarding: Regarding) -> str:
    return f"/api/v1/namespaces/{_namespace(regarding)}/events"
