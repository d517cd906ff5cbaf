"""A host to install on, and a service account as the kubelet mounts and rotates it."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from whereabouts.install.settings import Settings, read_settings

CERTIFICATE = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ3aGVyZWFib3V0cyJ9.c2lnbmF0dXJl"


class ServiceAccount:
    """``token`` and ``ca.crt`` are links through ``..data``; each rotation swaps that for a new directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self._generation = 0
        for name in ("token", "ca.crt"):
            (directory / name).symlink_to(f"..data/{name}")

    def rotate(self, token: str | None, authority: str | None) -> None:
        """Make the next generation the visible one; None leaves a file out."""
        self._generation += 1
        generation = self.directory / f"..generation_{self._generation}"
        generation.mkdir()
        for name, text in (("token", token), ("ca.crt", authority)):
            if text is not None:
                (generation / name).write_text(text)
        data = self.directory / "..data"
        old = data.resolve() if data.exists() else None
        (self.directory / "..data_tmp").symlink_to(generation.name)
        os.rename(self.directory / "..data_tmp", data)
        if old is not None:
            shutil.rmtree(old)


class Installation(NamedTuple):
    """Where things are on the host."""

    bin_dir: Path
    conf_dir: Path
    account: ServiceAccount

    @property
    def plugin(self) -> Path:
        return self.bin_dir / "whereabouts"

    @property
    def socket_path(self) -> Path:
        return self.bin_dir / "whereabouts.socket-path"

    @property
    def folder(self) -> Path:
        return self.conf_dir / "whereabouts.d"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "whereabouts.kubeconfig"

    @property
    def conf(self) -> Path:
        return self.folder / "whereabouts.conf"

    @property
    def nodename(self) -> Path:
        return self.folder / "nodename"

    def environment(self, **more: str) -> dict[str, str]:
        """As in the DaemonSet's container."""
        return {
            "CNI_BIN_DIR": str(self.bin_dir),
            "CNI_CONF_DIR": str(self.conf_dir),
            "KUBERNETES_SERVICE_HOST": "10.96.0.1",
            "KUBERNETES_SERVICE_PORT": "443",
            "WHEREABOUTS_NAMESPACE": "kube-system",
            "NODENAME": "node-1.example",
            **more,
        }

    def settings(self, socket: str | None = None, **environment: str) -> Settings:
        options = {"service_account": str(self.account.directory), "socket": socket}
        return read_settings(options, self.environment(**environment))

    def state(self) -> dict[str, tuple[int, int, int, bytes]]:
        """All files: inode, mode, time of change and content."""
        files = [path for top in (self.bin_dir, self.conf_dir) for path in top.rglob("*") if path.is_file()]
        stats = {path: path.lstat() for path in files}
        return {
            str(path): (found.st_ino, found.st_mode & 0o7777, found.st_mtime_ns, path.read_bytes())
            for path, found in stats.items()
        }


def installation(directory: Path) -> Installation:
    """An empty host, and a service account of the first generation."""
    account = ServiceAccount(directory / "serviceaccount")
    account.rotate(TOKEN, CERTIFICATE.format("first"))
    host = Installation(directory / "opt" / "cni" / "bin", directory / "etc" / "cni" / "net.d", account)
    host.bin_dir.mkdir(parents=True)
    host.conf_dir.mkdir(parents=True)
    return host
