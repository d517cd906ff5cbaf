"""A call as a container runtime makes it: one process of the plugin, which may be killed in the middle."""

import json
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from time import monotonic
from typing import NamedTuple

from ..cni_calls import CONSOLE
from .journal import ADD, COLLECT, Entry
from .networks import Network
from .node import AgentNode
from .world import Attachment

ADD_SECONDS, OTHER_SECONDS = 120.0, 60.0
"""How long the plugin takes at most."""
PATIENCE = 20.0
"""Seconds beyond that, after which a call is ended that does not end."""
NATIVE, ONE_SHOT = "native", "console"


class Call(NamedTuple):
    """What a runtime asks for."""

    command: str
    attachment: Attachment
    network: Network
    members: Mapping[str, object] = {}
    """Of the configuration, at its top level."""
    uid: str = ""
    """The pod's, if the runtime knows it."""
    program: str = NATIVE

    def environment(self) -> dict[str, str]:
        """What the plugin is started with."""
        known = {"CNI_COMMAND": self.command, "CNI_PATH": "/opt/cni/bin", "NODENAME": self.attachment.node}
        if self.command == COLLECT:
            return known
        namespace, _, name = self.attachment.pod.partition("/")
        pod = {"K8S_POD_NAMESPACE": namespace, "K8S_POD_NAME": name, "K8S_POD_UID": self.uid}
        args = ";".join(f"{key}={value}" for key, value in pod.items() if value)
        return {
            **known,
            "CNI_CONTAINERID": self.attachment.container_id,
            "CNI_NETNS": f"/var/run/netns/{self.attachment.container_id}",
            "CNI_IFNAME": self.attachment.ifname,
            "CNI_ARGS": f"IgnoreUnknown=1;{args}",
        }

    @property
    def deadline(self) -> float:
        """Seconds within which it is to be answered."""
        return ADD_SECONDS if self.command == ADD else OTHER_SECONDS


def make_call(call: Call, node: AgentNode, ipam: Mapping[str, object], random: Random) -> Entry:
    """Make the call and wait for its end. The caller dies of it as often as faults of the node say."""
    stdin = json.dumps(call.network.configuration(ipam, **call.members)).encode()
    dies_after = _draw_death(random) if random.random() < node.kill_share else None
    begun, agent = monotonic(), node.starts
    program = CONSOLE if call.program == ONE_SHOT else node.plugin
    killed = False
    with _start(program, call.environment()) as process:
        try:
            stdout, stderr = process.communicate(stdin, dies_after or call.deadline + PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            killed = dies_after is not None and process.returncode < 0
    return Entry(
        call.command,
        call.attachment,
        begun,
        monotonic(),
        call.deadline,
        killed,
        process.returncode,
        stdout.decode(errors="backslashreplace"),
        stderr.decode(errors="backslashreplace"),
        call.program,
        len(call.network.spans),
        (agent, node.starts),
    )


def _start(program: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen([program], env=environment, stdin=pipe, stdout=pipe, stderr=pipe)


def _draw_death(random: Random) -> float:
    """Seconds from the start to the caller's death: at any point of a call, be it quick or held up."""
    return random.random() * random.choice((0.003, 0.01, 0.1, 2.0))


def result_of(entry: Entry) -> Mapping[str, object] | None:
    """The result of an ADD, for later calls to bring along; None if it is none."""
    with suppress(ValueError):
        entry.addresses()
        result: Mapping[str, object] = json.loads(entry.stdout)
        return result
    return None
