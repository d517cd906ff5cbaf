"""Node agents of a whole cluster on one machine: a burst of ADDs of all their pods at once, then of DELs.

Each simulated agent is the real one behind its socket: service, allocator, group commit and store, with an
index and connections of its own. Several share a process, and a process is one of a few. A pod's interfaces
are added one after the other, as a runtime does, and the pods of a node at the same time, a thread each.

Run as a program it is one of those processes: the order comes as JSON on stdin, then one command a line.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from threading import Barrier
from time import monotonic
from typing import Any, NamedTuple

from bench.server_metrics import cpu_seconds, samples
from tests.api_server import ADMIN, ApiServer, items, kubeconfig
from whereabouts.agent.framing import Request
from whereabouts.agent.host import AgentHost
from whereabouts.stores.kube_objects import BLOCKS, GROUP

PROCESSES = 2
"""Processes that share the agents, unless it is said otherwise."""
TIME_LEFT = 120_000
"""Milliseconds for which a runtime waits for a plugin."""


class Called(NamedTuple):
    """One call of a runtime: on the machine's monotonic clock, and what the plugin answered."""

    begun: float
    ended: float
    addresses: Sequence[str]
    error: str


class Burst(NamedTuple):
    """What all agents did at once."""

    seconds: float
    """From the start of the first call to the end of the last."""
    latencies: Sequence[float]
    """Of each call, sorted."""
    counts: Mapping[str, int]
    """Requests about this project's objects, as the API server counted them: ``PUT addressblocks 409``."""
    server_seconds: float
    """CPU time of the API server and its etcd."""
    agent_seconds: float
    """CPU time of the agents."""
    addresses: Sequence[str]
    errors: Sequence[str]

    @property
    def requests(self) -> int:
        """How many requests the API server answered."""
        return sum(self.counts.values())

    @property
    def conflicts(self) -> int:
        """Those of them that were answered by a conflict."""
        return sum(count for name, count in self.counts.items() if name.endswith("409"))

    def quantile(self, share: float) -> float:
        """The latency that so large a share of the calls did not exceed, in seconds."""
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]

    def figures(self, call: str) -> dict[str, float]:
        """In the terms of the results page; ``call`` is ADD or DEL."""
        calls = len(self.latencies)
        return {
            f"seconds for all {call}s": self.seconds,
            f"{call}s a second": calls / self.seconds,
            f"{call} p50 ms": self.quantile(0.5) * 1e3,
            f"{call} p99 ms": self.quantile(0.99) * 1e3,
            f"{call} max ms": self.latencies[-1] * 1e3,
            f"requests a {call}": self.requests / calls,
            f"conflicts a {call}": self.conflicts / calls,
            f"server CPU ms a {call}": self.server_seconds / calls * 1e3,
            f"agent CPU ms a {call}": self.agent_seconds / calls * 1e3,
        }


# ---------------------------------------------------------------- the whole cluster


class Fleet:
    """Agents that are started, and do what they are told all at once."""

    def __init__(self, server: ApiServer, namespace: str, processes: Sequence[subprocess.Popen[str]]) -> None:
        """Wait until all are ready."""
        self._server = server
        self._namespace = namespace
        self._processes = processes
        for process in processes:
            assert _answer(process) == "ready"

    def add(self) -> Burst:
        """ADD every interface of every pod."""
        return self.run("ADD")

    def delete(self) -> Burst:
        """DEL every interface of every pod, with the result of its ADD."""
        return self.run("DEL")

    def run(self, command: str) -> Burst:
        """ADD or DEL."""
        self.begin()
        return self.end(self.call(command))

    def begin(self) -> None:
        """Look at what the servers have done so far."""
        self._requests = requests_of(self._server)
        self._used = self._server_seconds()

    def call(self, command: str) -> Sequence[Any]:
        """Have all calls made, for :meth:`end`."""
        for process in self._processes:
            _tell(process, command)
        return [_answer(process) for process in self._processes]

    def end(self, told: Sequence[Any]) -> Burst:
        """What was done since :meth:`begin`."""
        used = self._server_seconds() - self._used
        calls = [Called(*call) for one in told for call in one["calls"]]
        return Burst(
            seconds=max(call.ended for call in calls) - min(call.begun for call in calls),
            latencies=sorted(call.ended - call.begun for call in calls),
            counts=requests_of(self._server) - self._requests,
            server_seconds=used,
            agent_seconds=sum(one["cpu"] for one in told),
            addresses=[address for call in calls for address in call.addresses],
            errors=[call.error for call in calls if call.error],
        )

    def recorded(self) -> int:
        """How many addresses the blocks of all say to be used."""
        blocks = items(self._server, self._namespace, BLOCKS)
        return sum(block["spec"]["allocated"] for block in blocks)

    def _server_seconds(self) -> float:
        return sum(cpu_seconds(pid) for pid in self._server.pids)


@contextmanager
def fleet(
    server: ApiServer, agents: int, pods: int, ranges: Sequence[str], processes: int = PROCESSES
) -> Iterator[Fleet]:
    """``agents`` nodes with ``pods`` pods each, which have one interface for each of ``ranges``.

    They share a namespace of the API server that nobody has used.
    """
    namespace = server.namespace()
    path = kubeconfig(
        server.folder / f"{namespace}.kubeconfig", server.server, namespace, ADMIN, server.authority
    )
    started = [
        _start({"kubeconfig": path, "nodes": nodes, "pods": pods, "ranges": ranges})
        for number in range(min(processes, agents))
        if (nodes := list(range(agents))[number::processes])
    ]
    try:
        yield Fleet(server, namespace, started)
    finally:
        for process in started:
            process.communicate("end\n")


def ranges_for(interfaces: int, *, apart: bool) -> list[str]:
    """The ranges of a pod's interfaces, with room for 16,320 addresses each."""
    return [f"10.{number if apart else 0}.0.0/18" for number in range(interfaces)]


def requests_of(server: ApiServer) -> Counter[str]:
    """Requests about this project's objects that were answered, by verb, kind and status."""
    counts: Counter[str] = Counter()
    for labels, count in samples(str(server.call("GET", "/metrics").body), "apiserver_request_total"):
        if labels["group"] == GROUP:
            counts[f"{labels['verb']} {labels['resource']} {labels['code']}"] += count
    return counts


def _start(order: dict[str, object]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.agents"],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # what the agents log is in the answers too
        text=True,
    )
    _tell(process, json.dumps(order))
    return process


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def _answer(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


# ---------------------------------------------------------- one process with its share


class Node:
    """One node: its agent, and the runtime that calls it."""

    def __init__(self, number: int, path: str, ranges: Sequence[str]) -> None:
        """An agent that has not been called yet."""
        self.name = f"node-{number}"
        self._agent = AgentHost([str(Path(path).parent)], "error", {"NODENAME": self.name})
        self._agent.ready = True
        self._path = path
        self._ranges = ranges
        self._results: dict[tuple[int, int], Any] = {}

    def close(self) -> None:
        self._agent.close()

    def call(self, command: str, pod: int) -> list[Called]:
        """ADD or DEL the interfaces of a pod, one after the other."""
        return [self._call(command, pod, interface) for interface in range(len(self._ranges))]

    def _call(self, command: str, pod: int, interface: int) -> Called:
        name = f"{self.name}-pod-{pod}"
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": sha256(name.encode()).hexdigest(),
            "CNI_NETNS": f"/var/run/netns/{name}",
            "CNI_IFNAME": f"net{interface + 1}",
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name}",
            "CNI_PATH": "/opt/cni/bin",
        }
        config = self._config(interface, self._results.get((pod, interface)))
        begun = monotonic()
        status, stdout, _ = self._agent.handle(Request(environment, config, TIME_LEFT, None, None), 0.0)
        ended = monotonic()
        if status:
            return Called(begun, ended, [], stdout.decode())
        result = json.loads(stdout or b"{}")
        self._results[pod, interface] = result or None
        return Called(begun, ended, [one["address"].partition("/")[0] for one in result.get("ips", [])], "")

    def _config(self, interface: int, earlier: object) -> bytes:
        ipam = {
            "type": "whereabouts",
            "range": self._ranges[interface],
            "datastore": "kubernetes",
            "kubernetes": {"kubeconfig": self._path},
        }
        config = {"cniVersion": "1.0.0", "name": f"net{interface}", "type": "macvlan", "ipam": ipam}
        return json.dumps(config | ({"prevResult": earlier} if earlier else {})).encode()


def main() -> None:
    """Be one process of a :class:`Fleet`."""
    order = json.loads(sys.stdin.readline())
    nodes = [Node(number, order["kubeconfig"], order["ranges"]) for number in order["nodes"]]
    runtimes = [(node, pod) for pod in range(order["pods"]) for node in nodes]
    start = Barrier(len(runtimes))

    def run(command: str, runtime: tuple[Node, int]) -> list[Called]:
        start.wait()
        node, pod = runtime
        return node.call(command, pod)

    with ThreadPoolExecutor(len(runtimes)) as threads:
        list(threads.map(lambda _: start.wait(), runtimes))
        print(json.dumps("ready"), flush=True)
        while (command := sys.stdin.readline().strip()) in ("ADD", "DEL"):
            used = getrusage(RUSAGE_SELF)
            calls = [call for of_pod in threads.map(partial(run, command), runtimes) for call in of_pod]
            now = getrusage(RUSAGE_SELF)
            cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
            print(json.dumps({"calls": calls, "cpu": cpu}), flush=True)
    for node in nodes:
        node.close()


if __name__ == "__main__":
    main()
