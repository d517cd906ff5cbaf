"""The cluster around the plugin: Pod objects, which begin, are reported late by Multus, and end."""

import http.client
import json
import re
import ssl
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from random import Random
from time import monotonic
from typing import Any, NamedTuple

from ..api_server import ADMIN, ApiServer, Reply
from ..cluster_objects import MERGE, NETWORK_STATUS, network_status
from ..etcd_server import LOOPBACK
from .world import Attachment

LONG = 150.0
STOCK = 6
"""Pods of a node that are there before their sandboxes begin: the API server may be away by then."""
_NUMBERED = re.compile(r"(.*-)(\d+)")


class Client:
    """Asks an API server, which may be away for a while, until it answers."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._tls = ssl.create_default_context(cafile=server.authority)
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPSConnection] = []

    def ask(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> Reply:
        """The first answer that is the API server's own. AssertionError if there is none for long."""
        end = monotonic() + LONG
        while True:
            try:
                reply = self._once(method, path, body, content_type)
                if reply.status < 500 and reply.status not in (403, 429):
                    return reply  # it forbids what it cannot look up when its own etcd is away
                why = str(reply)
            except (OSError, http.client.HTTPException) as error:
                why = repr(error)
            assert monotonic() < end, f"{method} {path}: {why}"
            threading.Event().wait(0.2)

    def _once(self, method: str, path: str, body: object, content_type: str) -> Reply:
        headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": content_type}
        connection = self._connection()
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            reply = Reply(response.status, json.loads(response.read()))
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._idle.append(connection)
        return reply

    def _connection(self) -> http.client.HTTPSConnection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return http.client.HTTPSConnection(LOOPBACK, self._server.port, timeout=5, context=self._tls)

    def close(self) -> None:
        """Close all connections; nobody asks any more."""
        for connection in self._idle:
            connection.close()


class _Reported(NamedTuple):
    """What is known of a pod's interfaces."""

    container: str
    addresses: Mapping[str, Sequence[str]]


class Kubelets:
    """Makes, reports and deletes the pods of all nodes."""

    def __init__(self, server: ApiServer, random: Random) -> None:
        """A thread of its own does what is done later. ``random`` says how much later."""
        self._client = Client(server)
        self._random = random
        self._changed = threading.Condition()
        self._uids: dict[str, str] = {}
        """Of the pods that are there, be they in use or in stock."""
        self._begun: set[str] = set()
        self._reported: dict[str, _Reported] = {}
        self._queue: list[tuple[float, str, str, str]] = []
        """When what is to be done, to which node or pod."""
        self._making: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._busy = False
        self._ended = False
        self._hurried = False
        self.failures: list[str] = []
        self._thread = threading.Thread(target=self._work, name="kubelets", daemon=True)
        self._thread.start()

    # -------------------------------------------------------------------------- pods

    def begin(self, node: str, pod: str) -> str:
        """Have a pod on that node; its UID. The next pods of the node are made meanwhile."""
        with self._changed:
            self._begun.add(pod)
        uid = self._make(node, pod)
        with self._changed:
            wanted = [name for name in _following(pod) if name not in self._uids]
            for name in wanted:
                self._push("make", node, name, 0.0)
            self._changed.notify_all()
        return uid

    def attached(self, attachment: Attachment, addresses: Sequence[str]) -> None:
        """Report an interface a while later, as Multus does, or not before :meth:`catch_up`."""
        pod = attachment.pod
        with self._changed:
            known = self._reported.get(pod)
            others = known.addresses if known and known.container == attachment.container_id else {}
            self._reported[pod] = _Reported(
                attachment.container_id, {**others, attachment.ifname: tuple(addresses)}
            )
        if self._random.random() < 0.8:
            self._later("report", attachment.node, pod, self._random.uniform(0.0, 4.0))

    def end(self, node: str, pod: str) -> None:
        """Delete the pod by force, now or a while later."""
        with self._changed:
            self._reported.pop(pod, None)
        self._later("delete", node, pod, self._random.choice((0.0, self._random.uniform(0.0, 3.0))))

    def tell(self, node: str, *, ready: bool) -> None:
        """Let Kubernetes hear, or not hear, of a node."""
        self._later("ready" if ready else "unready", node, "", 0.0)

    def catch_up(self) -> None:
        """Report all pods as they are, and delete what is to be deleted or was never begun."""
        with self._changed:
            for pod in self._uids.keys() - self._begun:
                self._push("delete", "", pod, 0.0)
            for pod in self._reported:
                self._push("report", "", pod, 0.0)
            self._hurried = True
            self._changed.notify_all()
            caught_up = self._changed.wait_for(lambda: not self._queue and not self._busy, LONG)
            self._hurried = False
        assert caught_up, f"{len(self._queue)} things are to be done to pods yet: {self.failures[-3:]}"

    def close(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join(LONG)
        self._client.close()

    # ------------------------------------------------------------------------- queue

    def _later(self, what: str, node: str, pod: str, seconds: float) -> None:
        with self._changed:
            self._push(what, node, pod, seconds)
            self._changed.notify_all()

    def _push(self, what: str, node: str, pod: str, seconds: float) -> None:
        heappush(self._queue, (monotonic() + seconds, what, node, pod))

    def _work(self) -> None:
        while (job := self._next()) is not None:
            what, node, pod = job
            try:
                getattr(self, f"_{what}")(node, pod)
            except AssertionError as error:
                self.failures.append(str(error))
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _next(self) -> tuple[str, str, str] | None:
        """What is due next, once it is; None at the end."""
        with self._changed:
            while not self._ended:
                if self._queue and (self._hurried or self._queue[0][0] <= monotonic()):
                    self._busy = True
                    return heappop(self._queue)[1:]
                self._changed.wait(self._queue[0][0] - monotonic() if self._queue else None)
            return None

    # ---------------------------------------------------------------------- requests

    def _make(self, node: str, pod: str) -> str:
        with self._changed:
            lock = self._making[pod]
        with lock:
            with self._changed:
                known = self._uids.get(pod)
            if known is None:
                known = self._created(node, pod)
                with self._changed:
                    self._uids[pod] = known
            return known

    def _created(self, node: str, pod: str) -> str:
        namespace, _, name = pod.partition("/")
        spec = {"containers": [{"name": "c", "image": "none"}], "nodeName": node}
        content = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        reply = self._client.ask("POST", f"/api/v1/namespaces/{namespace}/pods", content)
        if reply.status == 409:  # an answer was lost, and it is there
            reply = self._client.ask("GET", _path(pod))
        assert reply.status < 300, reply
        uid: str = reply.body["metadata"]["uid"]
        return uid

    def _report(self, node: str, pod: str) -> None:
        with self._changed:
            known = self._reported.get(pod)
        if known is None:
            return
        networks: list[Any] = [["10.244.0.1"], *known.addresses.values()]
        annotations = {NETWORK_STATUS: network_status(*networks)}
        self._patch(_path(pod), {"metadata": {"annotations": annotations}})
        self._patch(f"{_path(pod)}/status", {"status": {"phase": "Running"}})

    def _patch(self, path: str, patch: object) -> None:
        reply = self._client.ask("PATCH", path, patch, MERGE)
        assert reply.status < 300 or reply.status == 404, reply

    def _ready(self, node: str, pod: str) -> None:
        self._condition(node, "True")

    def _unready(self, node: str, pod: str) -> None:
        self._condition(node, "False")

    def _condition(self, node: str, status: str) -> None:
        conditions = [{"type": "Ready", "status": status}]
        self._patch(f"/api/v1/nodes/{node}/status", {"status": {"conditions": conditions}})

    def _delete(self, node: str, pod: str) -> None:
        reply = self._client.ask("DELETE", _path(pod), {"gracePeriodSeconds": 0})
        assert reply.status < 300 or reply.status == 404, reply
        with self._changed:
            self._uids.pop(pod, None)
            self._begun.discard(pod)
            self._making.pop(pod, None)


def _path(pod: str) -> str:
    namespace, _, name = pod.partition("/")
    return f"/api/v1/namespaces/{namespace}/pods/{name}"


def _following(pod: str) -> list[str]:
    """The names that come next on a node where pods are numbered."""
    found = _NUMBERED.fullmatch(pod)
    if found is None:
        return []
    return [f"{found[1]}{int(found[2]) + more}" for more in range(1, STOCK + 1)]
