"""What an operator does on any store: GC calls of the runtimes, and the commands that look and repair."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from whereabouts.pool import PoolKey

from ..cni_calls import CONSOLE, LONG
from .networks import NETWORKS
from .node import AgentNode
from .world import Attachment


def operate(*words: str, seconds: float = LONG) -> subprocess.CompletedProcess[str]:
    """Run a command of whereabouts to its end, which has to come within some ``seconds``."""
    command = [str(CONSOLE), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


def collect(nodes: Sequence[AgentNode], ipam: Mapping[str, object], alive: Sequence[Attachment]) -> None:
    """Call GC for each node and network, as its runtime does that knows what lives."""
    for node in nodes:
        for network in NETWORKS:
            valid = [one for one in alive if (one.node, one.network) == (node.name, network.name)]
            attachments = [{"containerID": one.container_id, "ifname": one.ifname} for one in valid]
            members = {"cniVersion": "1.1.0", "cni.dev/valid-attachments": attachments}
            run = subprocess.run(
                [node.plugin],
                input=json.dumps(network.configuration(ipam, **members)).encode(),
                env={"CNI_COMMAND": "GC", "CNI_PATH": "/opt/cni/bin"},
                capture_output=True,
                timeout=LONG,
                check=False,
            )
            assert run.returncode == 0, f"GC of {network.name} on {node.name}: {run.stdout!r}"


def problems(directory: Path, ipam: Mapping[str, object], *words: str) -> Iterator[str]:
    """What ``whereabouts check`` finds in the store that ``words`` name. ``directory`` takes files."""
    for finding in _findings(directory, ipam, *words):
        if finding["severity"] != "harmless":
            yield f"whereabouts check: {finding['kind']}: {finding['message']}"


def misled(directory: Path, ipam: Mapping[str, object], *words: str) -> set[str]:
    """The ranges of which a hint is wrong, as the same command tells."""
    places = {
        finding["place"].partition(" ")[0]
        for finding in _findings(directory, ipam, *words)
        if finding["kind"] == "false-hint"
    }
    ranges = {span.text for network in NETWORKS for span in network.spans}
    return {text for text in ranges if PoolKey("", text).name in places}


def _findings(directory: Path, ipam: Mapping[str, object], *words: str) -> list[dict[str, Any]]:
    options = list(words)
    for network in NETWORKS:
        path = directory / f"{network.name}.json"
        path.write_text(json.dumps(network.configuration(ipam)))
        options += ["--netconf", str(path)]
    said = operate("check", *options, "-o", "json")
    if said.returncode not in (0, 1):
        return [{"severity": "error", "kind": f"status {said.returncode}", "message": said.stderr}]
    findings: list[dict[str, Any]] = json.loads(said.stdout)["findings"]
    return findings
