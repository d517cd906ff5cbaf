"""What the API server and etcd have done since they were started: their CPU time, and requests by kind.

Requests are counted by the servers themselves. What the API server asks of itself is left out where it says
so.
"""

import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from typing import NamedTuple

from tests.api_server import ApiServer
from tests.etcd_server import EtcdServer

_SAMPLE = re.compile(r"^(?P<name>\w+)\{(?P<labels>.*)\} (?P<value>\S+)$", re.MULTILINE)
_SCHEDULED = 2
"""CPUCLOCK_SCHED of Linux: what the scheduler counted."""
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process and its threads, to the nanosecond: /proc/PID/stat counts in hundredths.

    Of another process as clock_getcpuclockid(3) makes it, which Python does not have.
    """
    return time.clock_gettime((~pid << 3) | _SCHEDULED)


class Reading(NamedTuple):
    """CPU seconds by server, and requests by server and kind: ``PUT addressblocks``, ``Txn``."""

    cpu: dict[str, float]
    requests: dict[str, Counter[str]]

    def since(self, before: "Reading") -> "Reading":
        """What was done after an earlier reading."""
        return Reading(
            {name: seconds - before.cpu[name] for name, seconds in self.cpu.items()},
            {name: counted - before.requests[name] for name, counted in self.requests.items()},
        )


class Server(NamedTuple):
    """One process: its name, its ID, and what gives its requests by kind."""

    name: str
    pid: int
    requests: Callable[[], Counter[str]]


class Meter:
    """What servers do between its start and :meth:`stop`."""

    def __init__(self, servers: Sequence[Server]) -> None:
        """Begin; metrics are read before CPU times, as reading them takes some."""
        self._servers = servers
        requests = {server.name: server.requests() for server in servers}
        self._before = Reading({server.name: cpu_seconds(server.pid) for server in servers}, requests)

    def stop(self) -> Reading:
        """What was done meanwhile."""
        cpu = {server.name: cpu_seconds(server.pid) for server in self._servers}
        return Reading(cpu, {one.name: one.requests() for one in self._servers}).since(self._before)


def servers_of(server: ApiServer) -> Sequence[Server]:
    """The API server and the etcd behind it."""
    etcd, api = server.pids
    path = str(server.folder / "etcd.sock")
    return (
        Server("API server", api, lambda: api_requests(str(server.call("GET", "/metrics").body))),
        Server("etcd", etcd, lambda: etcd_requests(_fetch(_UnixConnection(path)))),
    )


def server_of(server: EtcdServer) -> Sequence[Server]:
    """An etcd."""
    assert server.process is not None
    host = server.host
    return (Server("etcd", server.process.pid, lambda: etcd_requests(_fetch(HTTPConnection(host)))),)


def api_requests(metrics: str) -> Counter[str]:
    """Requests about objects, but for those of the API server itself, from its metrics."""
    counted: Counter[str] = Counter()
    for labels, value in samples(metrics, "apiserver_request_total"):
        if labels["resource"] and not labels.get("system_client"):
            counted[f"{labels['verb']} {labels['resource']}"] += value
    return counted


def etcd_requests(metrics: str) -> Counter[str]:
    """Reads and writes, from an etcd's metrics."""
    counted: Counter[str] = Counter()
    for labels, value in samples(metrics, "grpc_server_handled_total"):
        if labels["grpc_service"] == "etcdserverpb.KV" and value:
            counted[labels["grpc_method"]] += value
    return counted


def samples(metrics: str, name: str) -> list[tuple[dict[str, str], int]]:
    """Those of one metric: their labels and values."""
    return [
        (dict(_LABEL.findall(sample["labels"])), int(float(sample["value"])))
        for sample in _SAMPLE.finditer(metrics)
        if sample["name"] == name
    ]


def _fetch(connection: HTTPConnection) -> str:
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


class _UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path_of_socket = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path_of_socket)
