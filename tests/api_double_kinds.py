"""The kinds that the double of the API server knows, and the manners that some of them have.

Custom resources come from their definitions. Of Kubernetes' own, only those fields are described that this
project reads or writes.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from .api_double_requests import Failure
from .api_server import DEFINITIONS, definition

Manner = Callable[[Any], None]


def _none(_: Any) -> None:
    """Nothing is special."""


class Kind(NamedTuple):
    plural: str
    kind: str
    group: str
    """Empty for core."""
    version: str
    schema: Any
    status: bool = False
    """Whether the status is a subresource."""
    namespaced: bool = True
    creating: Manner = _none
    """Changes or refuses an object that is created."""
    graceful: Callable[[Any], int] = lambda _: 0
    """Seconds for which an object that is deleted stays, unless the request says otherwise."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def details(self, name: str) -> dict[str, str]:
        """What a Status says of an object."""
        group = {"group": self.group} if self.group else {}
        return {"name": name, "kind": self.plural, **group}


def kinds() -> dict[str, Kind]:
    """All of them, by plural."""
    return {kind.plural: kind for kind in (*map(_custom, DEFINITIONS), *CORE)}


def _custom(path: Path) -> Kind:
    spec = definition(path)["spec"]
    (version,) = spec["versions"]
    status = "status" in version.get("subresources", {})
    return Kind(
        spec["names"]["plural"],
        spec["names"]["kind"],
        spec["group"],
        version["name"],
        version["schema"]["openAPIV3Schema"],
        status,
        creating=_without_status if status else _none,
    )


def _without_status(content: Any) -> None:
    content.pop("status", None)


# ----------------------------------------------------------------------- core

TEXT = {"type": "string"}
NUMBER = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}


def _open(*required: str, **properties: Any) -> Any:
    return {"type": "object", "required": required, "properties": properties, "x-open": True}


def _closed(*required: str, **properties: Any) -> Any:
    return {"type": "object", "required": required, "properties": properties}


def _list(items: Any) -> Any:
    return {"type": "array", "items": items}


CONDITIONS = _list(_open("type", "status", type=TEXT, status=TEXT, reason=TEXT))
MOMENT = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)$"}
MICRO_MOMENT = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$"}

POD = _open(
    "spec",
    spec=_open("containers", containers=_list(_open("name", "image", name=TEXT, image=TEXT)), nodeName=TEXT),
    status=_open(
        phase={"type": "string", "pattern": "^(Pending|Running|Succeeded|Failed|Unknown)$"},
        conditions=CONDITIONS,
        podIPs=_list(_open("ip", ip=TEXT)),
    ),
)
NODE = _open(
    spec=_open(taints=_list(_open("key", "effect", key=TEXT, effect=TEXT))),
    status=_open(conditions=CONDITIONS),
)
EVENT = _closed(
    "involvedObject",
    involvedObject=_closed(apiVersion=TEXT, kind=TEXT, name=TEXT, namespace=TEXT, uid=TEXT),
    reason=TEXT,
    message=TEXT,
    type={"type": "string", "pattern": "^(Normal|Warning)$"},
    source=_closed(component=TEXT),
    reportingComponent=TEXT,
    firstTimestamp=MOMENT,
    lastTimestamp=MOMENT,
    count=NUMBER,
)
LEASE = _open(
    spec=_closed(
        holderIdentity={"type": "string", "pattern": "."},
        leaseDurationSeconds={**NUMBER, "minimum": 1},
        acquireTime=MICRO_MOMENT,
        renewTime=MICRO_MOMENT,
        leaseTransitions=NUMBER,
    ),
)


def _pending(content: Any) -> None:
    """Whatever its creator says, a pod begins without a state."""
    content["status"] = {"phase": "Pending"}


def _pod_grace(content: Any) -> int:
    """A pod that no kubelet looks after goes at once."""
    ended = content["status"]["phase"] in ("Succeeded", "Failed")
    if ended or not content["spec"].get("nodeName"):
        return 0
    return int(content["spec"].get("terminationGracePeriodSeconds", 30))


def _at_home(content: Any) -> None:
    """An event is where its object is; one on an object in no namespace is in ``default``."""
    where = content["involvedObject"].get("namespace")
    if content["metadata"]["namespace"] != (where or "default"):
        raise Failure(422, "Invalid", "involvedObject.namespace: does not match event.namespace")


CORE = (
    Kind("pods", "Pod", "", "v1", POD, status=True, creating=_pending, graceful=_pod_grace),
    Kind("nodes", "Node", "", "v1", NODE, status=True, namespaced=False),
    Kind("events", "Event", "", "v1", EVENT, creating=_at_home),
    Kind("leases", "Lease", "coordination.k8s.io", "v1", LEASE),
)


def end_of(seconds: int) -> str:
    """The time in so many seconds, as in deletionTimestamp."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
