"""A real kube-apiserver with its etcd, on loopback, for the tests of what asks one.

It is found as controller-runtime's envtest finds it: in ``$KUBEBUILDER_ASSETS`` or in
``/usr/local/kubebuilder/bin``. One server serves a whole run; each test has a namespace of its own.
"""

import atexit
import fcntl
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from .etcd_server import LOOPBACK, free_port
from .suites import find_program

CRDS = Path(__file__).parents[1] / "deploy" / "crds"
DEFINITIONS = [*sorted(CRDS.glob("*.yaml")), *sorted((Path(__file__).parent / "crds").glob("*.yaml"))]
"""Of the kinds that this project brings, and of those that it reads."""
START_SECONDS = 90.0
PLACE = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp")
"""A unix socket's path has to be short, and etcd syncs its disk no more than it has to in memory."""
PREFIX, LOCK = "kas-", "lock"
ADMIN, PLAIN = "admin-token", "plain-token"
GROUP = "/apis/whereabouts.cni.cncf.io/v1alpha1"


class Reply(NamedTuple):
    status: int
    body: Any


def program(name: str) -> str:
    found = find_program(
        name, os.environ.get("KUBEBUILDER_ASSETS"), "/usr/local/kubebuilder/bin", os.environ["PATH"]
    )
    assert found is not None, f"no {name}"
    return found


def definition(path: Path) -> Any:
    """A custom resource definition."""
    yaml: Any = import_module("yaml")
    return yaml.safe_load(path.read_text())


def kubeconfig(path: Path, server: str, namespace: str, token: str = ADMIN, authority: str = "") -> str:
    """Write a kubeconfig; its path."""
    cluster = {"server": server} | ({"certificate-authority": authority} if authority else {})
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(content))
    return str(path)


class ApiServer:
    """A running API server with this project's custom resource definitions."""

    def __init__(self) -> None:
        remove_abandoned()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=PLACE))
        self._lock = _locked(self.folder)
        self.port = free_port()
        self.server = f"https://{LOOPBACK}:{self.port}"
        self.authority = str(self.folder / "certs" / "apiserver.crt")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._names = itertools.count()
        self._tls: ssl.SSLContext | None = None
        try:
            self._start()
            self._install()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        folder = self.folder
        subprocess.run(
            ["openssl", "genrsa", "-out", folder / "sa.key", "2048"], check=True, capture_output=True
        )
        (folder / "tokens.csv").write_text(f'{ADMIN},admin,admin,"system:masters"\n{PLAIN},plain,plain\n')
        self.revive()

    def revive(self) -> None:
        """Start what does not run, on the data and the port that there are; wait until all is ready."""
        path = self.folder / "etcd.sock"
        self._processes = {name: one for name, one in self._processes.items() if one.poll() is None}
        if "etcd" not in self._processes:
            self._spawn(
                "etcd",
                "--data-dir=etcd",
                "--unsafe-no-fsync",
                f"--listen-client-urls=unix://{path}",
                "--advertise-client-urls=http://localhost:2379",
                f"--listen-peer-urls=unix://{self.folder}/peer.sock",
            )
        self._until(lambda: _accepts(path))
        if "kube-apiserver" not in self._processes:
            self._spawn(
                "kube-apiserver",
                f"--etcd-servers=unix://{path}",
                f"--bind-address={LOOPBACK}",
                f"--secure-port={self.port}",
                "--cert-dir=certs",
                "--service-account-issuer=https://localhost",
                "--service-account-key-file=sa.key",
                "--service-account-signing-key-file=sa.key",
                "--token-auth-file=tokens.csv",
                "--authorization-mode=RBAC",
                "--disable-admission-plugins=ServiceAccount",
                "--service-cluster-ip-range=10.0.0.0/24",
                f"--advertise-address={LOOPBACK}",
                "--endpoint-reconciler-type=none",
            )
        self._until(lambda: Path(self.authority).exists() and self.call("GET", "/readyz").status == 200)

    def signal(self, name: str, number: int) -> None:
        """Send a signal to ``etcd`` or ``kube-apiserver``; after SIGKILL it is gone."""
        process = self._processes[name]
        process.send_signal(number)
        if number == signal.SIGKILL:
            process.wait()

    def _spawn(self, name: str, *options: str) -> None:
        with open(self.folder / f"{name}.log", "ab") as log:
            self._processes[name] = subprocess.Popen(
                [program(name), *options], stdout=log, stderr=log, cwd=self.folder
            )

    def _until(self, holds: Any) -> None:
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                if holds():
                    return
            except (OSError, http.client.HTTPException):
                pass
            ended = [process.args for process in self._processes.values() if process.poll() is not None]
            if ended or time.monotonic() > end:
                logs = "\n".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))
                raise AssertionError(f"the API server did not start ({ended} ended):\n{logs}")
            time.sleep(0.05)

    def _install(self) -> None:
        for path in DEFINITIONS:
            reply = self.call(
                "POST",
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                definition(path),
            )
            assert reply.status == 201, reply.body
        for path in DEFINITIONS:
            group, _, plural = path.stem.partition("_")
            version = definition(path)["spec"]["versions"][0]["name"]
            collection = f"/apis/{group}/{version}/{plural}"
            self._until(lambda path=collection: self.call("GET", path).status == 200)

    @property
    def pids(self) -> list[int]:
        """The process IDs of etcd and of the API server, whose CPU time benchmarks read."""
        return [process.pid for process in self._processes.values()]

    def stop(self) -> None:
        """End both at once, since nobody needs their data any more; once is enough, and more does no harm."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        content_type: str = "application/json",
        *,
        token: str = ADMIN,
    ) -> Reply:
        """Ask as an administrator, or with another token, the way these tests do it themselves."""
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=self.authority)
        connection = http.client.HTTPSConnection(LOOPBACK, self.port, timeout=20, context=self._tls)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": content_type}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        return Reply(response.status, json.loads(text) if text[:1] == b"{" else text.decode())

    def namespace(self) -> str:
        """Create a namespace that nobody has used."""
        name = f"test-{next(self._names)}"
        reply = self.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        assert reply.status == 201, reply.body
        return name

    def kubectl(self, *arguments: str) -> str:
        """What kubectl prints."""
        options = [f"--server={self.server}", f"--certificate-authority={self.authority}", f"--token={ADMIN}"]
        run = subprocess.run(
            [program("kubectl"), *options, f"--cache-dir={self.folder}/kubectl", *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        return run.stdout


@cache
def api_server() -> ApiServer:
    """The server of this run, started when it is first asked for."""
    server = ApiServer()
    atexit.register(server.stop)
    return server


def stop_api_server() -> None:
    """Stop the server of this run, if there is one."""
    if api_server.cache_info().currsize:
        api_server().stop()


def remove_abandoned() -> None:
    """Remove what runs that were killed left behind, their servers too."""
    for lock in PLACE.glob(f"{PREFIX}*/{LOCK}"):
        with suppress(OSError), open(lock, "rb") as file:  # a run that goes on holds the lock, or removes it
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for process in _working_in(lock.parent):
                os.kill(process, signal.SIGKILL)
            shutil.rmtree(lock.parent, ignore_errors=True)


def _locked(folder: Path) -> BinaryIO:
    """The folder's lock, which ends with this process; it has its name when it is held."""
    new = folder / "new"
    lock = open(new, "wb")  # noqa: SIM115 - for as long as the server runs
    fcntl.flock(lock, fcntl.LOCK_EX)
    new.rename(folder / LOCK)
    return lock


def _working_in(folder: Path) -> Iterator[int]:
    """The processes that have a directory as their working directory."""
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if link.readlink() == folder:
                yield int(link.parent.name)


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
    return True


def resources(namespace: str, plural: str, name: str = "") -> str:
    """The path of a collection of this project's objects, or of one of them."""
    return f"{GROUP}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")


def items(server: Any, namespace: str, plural: str) -> Iterator[Any]:
    yield from server.call("GET", resources(namespace, plural)).body["items"]
