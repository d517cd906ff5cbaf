"""The containers of the DaemonSet at work on a node, as its manifest has them: mounts, rights, command lines.

The file system of this machine stands for that of the image, read-only and in a mount namespace of its own.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from .accounts import Account, account, permissions
from .api_server import api_server, resources
from .cni_calls import CONSOLE, LONG, NODE, Runtime
from .deployment import ROOT, Manifest, containers, pod_templates, uninstaller, written
from .etcd_server import LOOPBACK

TEMPLATES = [pod_templates(written())["whereabouts"], uninstaller()["spec"]["template"]]
CONTAINERS = {container["name"]: container for template in TEMPLATES for container in containers(template)}
VOLUMES = {
    volume["name"]: volume["hostPath"]["path"]
    for template in TEMPLATES
    for volume in template["spec"]["volumes"]
}
SERVICE_ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount"
PROGRAM = [str(ROOT), sys.prefix, sys.base_prefix]
"""What may be on another file system than the root."""


@cache
def _no_node() -> str:
    """Why no container can be played here; empty if it can."""
    if os.geteuid() != 0:
        return "root makes mount namespaces, and this is not root"
    missing = [name for name in ("unshare", "setpriv", "mount", "chroot") if not shutil.which(name)]
    if missing:
        return f"no {' and '.join(missing)} on PATH"
    script = "\n".join([*_overlay(), "exec true"])
    made = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", script], capture_output=True, text=True, check=False
    )
    return (
        "" if made.returncode == 0 else f"mount namespaces with overlays cannot be had: {made.stderr.strip()}"
    )


def _overlay() -> list[str]:
    """Shell commands that put a writable picture of this machine's file system at /mnt/root."""
    return [
        "mount --make-rprivate /",
        "mount -t tmpfs tmpfs /mnt",
        "mkdir /mnt/up /mnt/work /mnt/root",
        "mount -t overlay -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work overlay /mnt/root",
    ]


pytestmark = [
    pytest.mark.apiserver,
    pytest.mark.skipif(bool(_no_node()), reason=_no_node()),
]


class Process:
    """A container that runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()

    def wait_for(self, text: str) -> None:
        """Wait until it says so."""
        with self._changed:
            said = self._changed.wait_for(lambda: any(text in line for line in self.lines), LONG)
        assert said, (text, self.lines)

    def status(self, name: str) -> str:
        """A line of its status in /proc."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))

    def end(self) -> int:
        """SIGTERM, if it still runs; the exit status."""
        self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; the exit status."""
        status = self.process.wait(LONG)
        self._reader.join(LONG)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return status


class Node:
    """A host's directories, and the containers that see them."""

    def __init__(self, folder: Path, access: Account) -> None:
        self.access = access
        self.folder = folder
        self.token = folder / "serviceaccount" / "token"
        self.token.parent.mkdir()
        self.token.write_text(access.token)
        shutil.copy(access.server.authority, self.token.with_name("ca.crt"))
        self._running: list[Process] = []

    def path(self, path: str) -> Path:
        """A path of the host."""
        return self.folder / "host" / path.lstrip("/")

    def start(self, name: str) -> Process:
        """Start a container."""
        container = CONTAINERS[name]
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec", "\n".join(self._script(container))],
            env={
                "PATH": os.environ["PATH"],
                "NODENAME": NODE,
                "WHEREABOUTS_NAMESPACE": self.access.namespace,
                "KUBERNETES_SERVICE_HOST": LOOPBACK,
                "KUBERNETES_SERVICE_PORT": str(self.access.server.port),
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        self._running.append(Process(process))
        return self._running[-1]

    def _script(self, container: Manifest) -> Iterator[str]:
        mounts = [(str(self.token.parent), SERVICE_ACCOUNT, True), *((path, path, True) for path in PROGRAM)]
        for mount in container["volumeMounts"]:
            host = self.path(VOLUMES[mount["name"]])
            host.mkdir(parents=True, exist_ok=True)
            mounts.append((str(host), mount["mountPath"], mount.get("readOnly", False)))
        yield from _overlay()
        for _, place, _ in mounts:
            yield f"mkdir -p /mnt/root{shlex.quote(place)}"
        yield "mount --bind /mnt/root /mnt/root"
        if container["securityContext"]["readOnlyRootFilesystem"]:
            yield "mount -o remount,bind,ro /mnt/root"
        yield "mount -t proc proc /mnt/root/proc"
        for source, place, read_only in mounts:
            yield f"mount --bind {shlex.quote(source)} /mnt/root{shlex.quote(place)}"
            if read_only:
                yield f"mount -o remount,bind,ro /mnt/root{shlex.quote(place)}"
        added = container["securityContext"]["capabilities"].get("add", [])
        bounding = ",".join(["-all", *(f"+{capability.lower()}" for capability in added)])
        arguments = [text.replace("=9435", "=0") for text in container["args"]]
        command = ["setpriv", f"--bounding-set={bounding}", "--inh-caps=-all", "--no-new-privs", str(CONSOLE)]
        yield f"exec chroot /mnt/root {shlex.join([*command, *arguments])}"

    def close(self) -> None:
        """End what still runs."""
        for running in self._running:
            running.end()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with (
        tempfile.TemporaryDirectory(prefix="wn-") as folder,  # its path is short: sockets need one
        account(api_server(), permissions("whereabouts"), tmp_path) as access,
    ):
        node = Node(Path(folder), access)
        try:
            yield node
        finally:
            node.close()


def _blocks(node: Node) -> list[Any]:
    path = resources(node.access.namespace, "addressblocks")
    return list(node.access.server.call("GET", path).body["items"])


def test_the_daemonset_serves_pods_of_a_bare_node_and_follows_its_rotated_token(node: Node) -> None:
    # Some distributions give these to a user of their own, whose rights root without capabilities lacks.
    for path in ("/opt/cni/bin", "/etc/cni/net.d"):
        node.path(path).mkdir(parents=True)
        os.chown(node.path(path), 1234, 1234)
    install = node.start("install")
    assert install.wait() == 0, install.lines

    agent, token = node.start("whereabouts"), node.start("token")
    agent.wait_for("serving on ")
    token.wait_for("following ")
    assert int(agent.status("CapEff"), 16) == 0
    assert not any(" [error] " in line for line in agent.lines), agent.lines

    plugin = node.path("/opt/cni/bin/whereabouts")
    # The plugin runs on this machine, whose /run is not the node's.
    socket = node.path("/run/whereabouts/agent.sock")
    plugin.with_name("whereabouts.socket-path").write_text(f"{socket}\n")
    runtime = Runtime(plugin, {"range": "10.0.0.0/24"})
    assert runtime.add("web-1") == ["10.0.0.1"]
    (block,) = _blocks(node)
    assert block["spec"]["cidr"] == "10.0.0.0/24"

    conf = json.loads(node.path("/etc/cni/net.d/whereabouts.d/whereabouts.conf").read_text())
    kubeconfig = node.path(conf["kubernetes"]["kubeconfig"])
    assert node.access.token in kubeconfig.read_text()
    fresh = node.access.issued_token()
    node.token.write_text(fresh)
    token.wait_for("wrote /host/etc/cni/net.d/whereabouts.d/whereabouts.kubeconfig")
    assert fresh in kubeconfig.read_text()

    runtime.delete("web-1")
    assert (agent.end(), token.end()) == (0, 0)

    assert node.start("uninstall").wait() == 0
    for path in ("/opt/cni/bin", "/etc/cni/net.d"):
        assert list(node.path(path).iterdir()) == []
