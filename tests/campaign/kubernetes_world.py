"""Nodes and a controller that keep records in custom resources of a real API server, over faulty networks."""

import json
import shutil
import signal
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from whereabouts.store import StoredBlock
from whereabouts.stores import kube_objects

from ..api_server import ADMIN, ApiServer, items, kubeconfig
from ..cluster_objects import create_node
from ..cni_calls import LONG
from ..controller_process import Controller
from ..fault_proxy import FaultProxy
from ..suites import SUITES
from . import process_faults as processes
from . import server_faults as servers
from .clock import Clocks
from .fault import Fault
from .kubelets import Kubelets
from .network_faults import on_requests
from .node import AgentNode
from .operating import operate, problems
from .world import Attachment, Record, records_of, started

NODES = ("node-a", "node-b", "node-c")
NAMESPACE = "kube-system"
AUDIT_SECONDS = 3
"""Short, so that the controller judges all the time; by its events it does so anyway."""
REPAIR_SECONDS = 330
"""For how long a pass waits for its second look at most: the longest that a rule asks for is 300."""


def missing() -> str:
    """What this machine lacks; empty if it is nothing."""
    return SUITES["apiserver"].missing() or ""


def open_world() -> "KubernetesWorld":
    """A running world with an empty store."""
    return started(KubernetesWorld())


class KubernetesWorld:
    """See :class:`~tests.campaign.world.World`."""

    name = "kubernetes"
    forgetful = True

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="wbk-"))
        self._directory.chmod(0o755)
        self.left_out: list[str] = []
        self._server = ApiServer()
        self._direct = kubeconfig(
            self._directory / "direct", self._server.server, NAMESPACE, ADMIN, self._server.authority
        )
        self._proxies = {who: self._proxy(who) for who in ("agents", "controller")}
        self.ipam: Mapping[str, object] = {
            "datastore": "kubernetes",
            "kubernetes": {"kubeconfig": str(self._directory / "agents" / "kubeconfig")},
        }
        self._clocks = Clocks(self._directory)
        self.left_out += self._clocks.left_out
        self.nodes = [self._node(name) for name in NODES]
        self.controller = self._controller()
        self._kubelets = Kubelets(self._server, Random(0))
        self._faults = self._make_faults()

    def _proxy(self, who: str) -> FaultProxy:
        """A proxy, with a kubeconfig beside it that leads there."""
        folder = self._directory / who
        folder.mkdir(mode=0o755)
        proxy = FaultProxy(self._server.server, self._server.authority, folder, Random(0))
        kubeconfig(folder / "kubeconfig", proxy.server, NAMESPACE, ADMIN, proxy.authority)
        return proxy

    def _node(self, name: str) -> AgentNode:
        node = AgentNode(name, self._directory / name, allow=[self._directory / "agents"])
        node.agent.environment |= self._clocks.environment(node.directory)
        return node

    def _controller(self) -> Controller:
        folder = self._directory / "controller"
        controller = Controller(
            str(folder / "kubeconfig"),
            "--audit-interval",
            str(AUDIT_SECONDS),
            "--cron-file",
            str(folder / "none"),
        )
        controller.environment |= self._clocks.environment(folder)
        return controller

    def _make_faults(self) -> list[Fault]:
        return [
            *processes.on_agents(self.nodes),
            *(processes.ClockJumped(self._clocks.made) for _ in self._clocks.made[:1]),
            ControllerKilled(self.controller),
            NodeNotReady(self._kubelets),
            *on_requests(list(self._proxies.values())),
            *(servers.ServerKilled(self._server, program) for program in ("kube-apiserver", "etcd")),
            *(servers.ServerStopped(self._server, program) for program in ("kube-apiserver", "etcd")),
        ]

    def start(self) -> None:
        """Start agents and controller; the servers run."""
        for name in NODES:
            create_node(self._server, name)
        for node in self.nodes:
            node.start()
        self.controller.start()

    def faults(self) -> Sequence[Fault]:
        return self._faults

    def pod_begins(self, node: str, pod: str) -> str:
        return self._kubelets.begin(node, pod)

    def attached(self, attachment: Attachment, addresses: Sequence[str]) -> None:
        self._kubelets.attached(attachment, addresses)

    def pod_ends(self, node: str, pod: str) -> None:
        self._kubelets.end(node, pod)

    def repair(self, alive: Sequence[Attachment]) -> None:
        """``whereabouts reconcile --now``, which asks the cluster; the controller works beside it."""
        self._kubelets.catch_up()
        words = ("reconcile", "--now", "--kubeconfig", self._direct, "--wait", str(REPAIR_SECONDS))
        said = operate(*words, seconds=REPAIR_SECONDS + LONG)
        assert said.returncode == 0, f"whereabouts reconcile: {said.stdout}{said.stderr}"

    # ------------------------------------------------------------- what is recorded

    def records(self) -> Iterator[Record]:
        for content in items(self._server, NAMESPACE, kube_objects.BLOCKS):
            block = self._read(content).block
            if block is not None:
                yield from records_of(block)

    def _read(self, content: Any) -> StoredBlock:
        key = kube_objects.key_of_block(content)
        assert key is not None, f"the block {content['metadata']['name']} has another's name"
        return kube_objects.read_block(key, content)

    def damage(self) -> Sequence[str]:
        damaged = []
        for content in items(self._server, NAMESPACE, kube_objects.BLOCKS):
            stored = self._read(content)
            counted = content["spec"]["allocated"]
            if stored.block is None:
                damaged.append(stored.damage)
            elif len(stored.block) != counted:
                damaged.append(f"block {stored.key.name} counts {counted} of {len(stored.block)} addresses")
        if self.controller.ended_by_itself():
            damaged.append("the controller ended by itself: " + "\n".join(self.controller.lines[-20:]))
        return [*damaged, *problems(self._directory, self.ipam, "--kubeconfig", self._direct)]

    def misled(self) -> Collection[str]:
        return ()  # here a hint is taken back before an address is freed

    def save(self, directory: Path) -> None:
        (directory / "controller.log").write_text("\n".join(self.controller.lines) + "\n")
        for plural in (kube_objects.BLOCKS, kube_objects.POOLS):
            found = list(items(self._server, NAMESPACE, plural))
            (directory / f"{plural}.json").write_text(json.dumps(found, indent=1) + "\n")

    def close(self) -> None:
        for node in self.nodes:
            node.close()
        self.controller.stop(signal.SIGKILL)
        self._kubelets.close()
        for proxy in self._proxies.values():
            proxy.stop()
        self._server.stop()
        shutil.rmtree(self._directory, ignore_errors=True)


class ControllerKilled:
    """SIGKILL of the controller; another one begins when the lease has run out."""

    name = "controller killed"
    seconds = (0.1, 10.0)
    weight = 1.5

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def strike(self, random: Random) -> None:
        self._controller.stop(signal.SIGKILL)

    def heal(self) -> None:
        if not self._controller.up:
            self._controller.start(standby=True)


class NodeNotReady:
    """A node of which Kubernetes hears nothing for a while; its pods run on."""

    name = "node not ready"
    seconds = (1.0, 15.0)
    weight = 1.0

    def __init__(self, kubelets: Kubelets) -> None:
        self._kubelets = kubelets

    def strike(self, random: Random) -> None:
        self._kubelets.tell(random.choice(NODES), ready=False)

    def heal(self) -> None:
        for node in NODES:
            self._kubelets.tell(node, ready=True)
