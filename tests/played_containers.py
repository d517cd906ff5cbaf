"""Containers of the manifests, played without an engine: mounts, user, capabilities, command line are theirs.

The file system of this machine stands for that of the image, in a mount namespace and read-only.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from .accounts import Account
from .cni_calls import CONSOLE, LONG, NODE
from .deployment import ROOT, Manifest, containers
from .etcd_server import LOOPBACK

SERVICE_ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount"
PROGRAM = (str(ROOT), sys.prefix, sys.base_prefix)
"""What may be on another file system than the root."""
FIELDS = {
    "spec.nodeName": NODE,
    "status.podIP": LOOPBACK,
    "status.hostIP": LOOPBACK,
}
"""What the kubelet knows of the pod; its namespace is the account's."""


@cache
def unplayable() -> str:
    """Why no container can be played here; empty if it can."""
    if os.geteuid() != 0:
        return "root makes mount namespaces, and this is not root"
    missing = [name for name in ("unshare", "setpriv", "mount", "chroot") if not shutil.which(name)]
    if missing:
        return f"no {' and '.join(missing)} on PATH"
    command = ["unshare", "--mount", "sh", "-ec", "\n".join([*_overlay(), "exec true"])]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if made.returncode == 0 else f"overlays cannot be mounted here: {made.stderr.strip()}"


def _overlay() -> list[str]:
    """Shell commands that put a writable picture of this machine's file system at /mnt/root."""
    return [
        "mount --make-rprivate /",
        "mount -t tmpfs tmpfs /mnt",
        "mkdir /mnt/up /mnt/work /mnt/root",
        "mount -t overlay -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work overlay /mnt/root",
    ]


class Process:
    """A container that runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Listen to what it says on standard error."""
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

    def wait_for(self, text: str) -> str:
        """Wait until it says so; the line."""

        def find() -> str | None:
            return next((line for line in self.lines if text in line), None)

        with self._changed:
            assert self._changed.wait_for(lambda: find() is not None, LONG), (text, self.lines)
            found = find()
        assert found is not None
        return found

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


class Player:
    """The host of a pod, as far as its containers see it."""

    def __init__(self, folder: Path, access: Account, *templates: Manifest) -> None:
        """Play containers of these pod templates, as ``access``; the host's directories are in ``folder``."""
        self._folder = folder
        self._access = access
        self._templates = templates
        self._running: list[Process] = []
        self.token = folder / "serviceaccount" / "token"
        """The pod's token, which may be rotated."""
        self.token.parent.mkdir()
        self.token.write_text(access.token)
        self.token.with_name("namespace").write_text(access.namespace)
        shutil.copy(access.server.authority, self.token.with_name("ca.crt"))

    def path(self, path: str) -> Path:
        """A path of the host."""
        return self._folder / "host" / path.lstrip("/")

    def start(self, name: str) -> Process:
        """Start the container of this name. Its port is a free one, whatever the manifest says."""
        (template, container), *_ = (
            (template, container)
            for template in self._templates
            for container in containers(template)
            if container["name"] == name
        )
        variables = self._variables(container)
        script = [*self._mounts(template, container), self._command(template, container, variables)]
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec", "\n".join(script)],
            env={
                "PATH": os.environ["PATH"],
                "KUBERNETES_SERVICE_HOST": LOOPBACK,
                "KUBERNETES_SERVICE_PORT": str(self._access.server.port),
                **variables,
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        self._running.append(Process(process))
        return self._running[-1]

    def _variables(self, container: Manifest) -> dict[str, str]:
        known = {**FIELDS, "metadata.namespace": self._access.namespace}
        return {
            entry["name"]: known[entry["valueFrom"]["fieldRef"]["fieldPath"]]
            for entry in container.get("env", ())
        }

    def _mounts(self, template: Manifest, container: Manifest) -> Iterator[str]:
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        mounts = [(str(self.token.parent), SERVICE_ACCOUNT, True), *((path, path, True) for path in PROGRAM)]
        for mount in container["volumeMounts"]:
            place = str(self._source(volumes[mount["name"]]))
            mounts.append((place, mount["mountPath"], mount.get("readOnly", False)))
        yield from _overlay()
        for _, place, _ in mounts:
            yield f"mkdir -p /mnt/root{shlex.quote(place)}"
        for parent in sorted({str(parent) for path in PROGRAM for parent in Path(path).parents}):
            # Such as /root. What changes is the picture, not this machine.
            yield f"chmod o+x /mnt/root{shlex.quote(parent)}"
        yield "mount --bind /mnt/root /mnt/root"
        if container["securityContext"]["readOnlyRootFilesystem"]:
            yield "mount -o remount,bind,ro /mnt/root"
        yield "mount -t proc proc /mnt/root/proc"
        for source, place, read_only in mounts:
            yield f"mount --bind {shlex.quote(source)} /mnt/root{shlex.quote(place)}"
            if read_only:
                yield f"mount -o remount,bind,ro /mnt/root{shlex.quote(place)}"

    def _source(self, volume: Manifest) -> Path:
        """Where a volume's content is: the host's directory, or a folder for that of a ConfigMap."""
        source = self.path(volume["hostPath"]["path"] if "hostPath" in volume else volume["name"])
        source.mkdir(parents=True, exist_ok=True)
        return source

    def _command(self, template: Manifest, container: Manifest, variables: Mapping[str, str]) -> str:
        security = {**template["spec"]["securityContext"], **container["securityContext"]}
        added = security["capabilities"].get("add", [])
        bounding = ",".join(["-all", *(f"+{capability.lower()}" for capability in added)])
        setpriv = ["setpriv", f"--bounding-set={bounding}", "--inh-caps=-all", "--no-new-privs"]
        setpriv += [f"--reuid={security['runAsUser']}", f"--regid={security['runAsGroup']}", "--clear-groups"]
        arguments = [
            re.sub(r"\$\((\w+)\)", lambda match: variables[match[1]], text) for text in container["args"]
        ]
        arguments = [re.sub(r"^(--metrics-port)=\d+$", r"\1=0", text) for text in arguments]
        return f"exec chroot /mnt/root {shlex.join([*setpriv, str(CONSOLE), *arguments])}"

    def close(self) -> None:
        """End what still runs."""
        for running in self._running:
            running.end()
