"""Private etcd servers on loopback, for the tests of the etcd store."""

import json
import random
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, NamedTuple, Self

import trustme

LOOPBACK = "127.0.0.1"
START_SECONDS = 30.0


class Certificates(NamedTuple):
    """Paths of PEM files. The client's certificate has a common name, as those of kubeadm do."""

    authority: str
    server: str
    server_key: str
    client: str
    client_key: str

    @classmethod
    def make(cls, folder: Path) -> Self:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        names = {"server": (LOOPBACK, "localhost"), "client": ("client.example",)}
        for role, identities in names.items():
            issued = authority.issue_cert(*identities, common_name=f"whereabouts-{role}")
            issued.cert_chain_pems[0].write_to_path(folder / f"{role}.pem")
            issued.private_key_pem.write_to_path(folder / f"{role}.key")
        return cls(
            *(
                str(folder / name)
                for name in ("ca.pem", "server.pem", "server.key", "client.pem", "client.key")
            )
        )


class EtcdServer:
    """One member of a cluster, which may have no others."""

    def __init__(self, folder: Path, name: str, peers: dict[str, str], *options: str) -> None:
        """A member; ``peers`` maps the names of all members to their peer URLs."""
        self.folder = folder
        self.name = name
        self._port = free_port()
        self._certificates: Certificates | None = None
        self._peers = peers
        self._options = options
        self.process: subprocess.Popen[bytes] | None = None

    def use(self, certificates: Certificates) -> None:
        """Speak TLS, and ask clients for certificates."""
        self._certificates = certificates
        self._options += (
            f"--cert-file={certificates.server}",
            f"--key-file={certificates.server_key}",
            f"--trusted-ca-file={certificates.authority}",
            "--client-cert-auth=true",
        )

    @property
    def host(self) -> str:
        """Host and port for clients."""
        return f"{LOOPBACK}:{self._port}"

    def start(self) -> None:
        scheme = "https" if self._certificates else "http"
        peer = self._peers[self.name]
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [
                    "etcd",
                    f"--name={self.name}",
                    f"--data-dir={self.folder}/data",
                    f"--listen-client-urls={scheme}://{self.host}",
                    f"--advertise-client-urls={scheme}://{self.host}",
                    f"--listen-peer-urls={peer}",
                    f"--initial-advertise-peer-urls={peer}",
                    f"--initial-cluster={','.join(f'{name}={url}' for name, url in self._peers.items())}",
                    "--heartbeat-interval=50",
                    "--election-timeout=500",
                    "--log-level=warn",
                    *self._options,
                ],
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )

    def wait(self) -> None:
        """Wait until there is a leader that this member knows."""
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                if self.call("/v3/maintenance/status").get("leader", "0") != "0":
                    return
            except (OSError, HTTPException):
                pass
            if time.monotonic() > until or (self.process and self.process.poll() is not None):
                raise AssertionError(f"etcd did not start:\n{(self.folder / 'log').read_text()[-3000:]}")
            time.sleep(0.05)

    def is_leader(self) -> bool:
        status = self.call("/v3/maintenance/status")
        return bool(status.get("leader") == status["header"]["member_id"])

    def kill(self) -> None:
        """End the process without a chance to say goodbye."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def signal(self, number: int) -> None:
        """Send a signal to its process, if it has one."""
        if self.process is not None:
            self.process.send_signal(number)

    def call(self, path: str, message: object = None, token: str = "") -> Any:
        """Send a request to the JSON gateway, the way these tests talk to the server themselves."""
        connection = HTTPConnection(LOOPBACK, self._port, timeout=10)
        if self._certificates:
            context = ssl.create_default_context(cafile=self._certificates.authority)
            context.load_cert_chain(self._certificates.client, self._certificates.client_key)
            connection = HTTPSConnection(LOOPBACK, self._port, timeout=10, context=context)
        headers = {"Authorization": token} if token else {}
        try:
            connection.request("POST", path, json.dumps(message or {}), headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise AssertionError(f"{path}: {answer}")
        return answer

    def put(self, key: bytes, value: bytes) -> None:
        self.call("/v3/kv/put", {"key": text(key), "value": text(value)})

    def get(self, key: bytes) -> bytes:
        (pair,) = self.call("/v3/kv/range", {"key": text(key)})["kvs"]
        return b64decode(pair.get("value", ""))

    def delete(self, key: bytes) -> None:
        self.call("/v3/kv/deleterange", {"key": text(key)})

    def keys(self, prefix: str) -> list[str]:
        """All keys that begin with ``prefix``, which ends in a slash, in order."""
        end = prefix[:-1] + "0"
        message = {"key": text(prefix.encode()), "range_end": text(end.encode()), "keys_only": True}
        return [b64decode(pair["key"]).decode() for pair in self.call("/v3/kv/range", message).get("kvs", [])]

    def revision(self) -> int:
        return int(self.call("/v3/kv/range", {"key": text(b"x")})["header"]["revision"])

    def add_user(self, name: str, password: str, prefix: str) -> None:
        """Make a user who may read and write under ``prefix``."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        permission = {"permType": "READWRITE", "key": text(prefix.encode()), "range_end": text(end.encode())}
        self.call("/v3/auth/role/add", {"name": name})
        self.call("/v3/auth/role/grant", {"name": name, "perm": permission})
        self.call("/v3/auth/user/add", {"name": name, "password": password})
        self.call("/v3/auth/user/grant", {"user": name, "role": name})

    def ask_for_users(self) -> None:
        """Make the user root and switch authentication on."""
        self.call("/v3/auth/user/add", {"name": "root", "password": "root"})
        self.call("/v3/auth/user/grant", {"user": "root", "role": "root"})
        self.call("/v3/auth/enable")


def text(value: bytes) -> str:
    return b64encode(value).decode()


def free_port() -> int:
    """A port that no server has, and that the kernel gives to no client: those have 32768 and more."""
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port


@contextmanager
def cluster(
    members: int = 1,
    *options: str,
    certificates: Certificates | None = None,
    on_disk: bool = False,
) -> Iterator[Sequence[EtcdServer]]:
    """Start a cluster of its own, and end it.

    Its data are in memory where the system has such a place, unless they are wanted ``on_disk``.
    """
    place = "/var/tmp" if on_disk else "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="whereabouts-etcd-", dir=place))
    peers = {f"m{number}": f"http://{LOOPBACK}:{free_port()}" for number in range(members)}
    servers = [EtcdServer(folder / name, name, peers, *options) for name in peers]
    try:
        for server in servers:
            if certificates:
                server.use(certificates)
            server.start()
        for server in servers:
            server.wait()
        yield servers
    finally:
        for server in servers:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)
