"""Where the API server is, and who asks: kubeconfig files and a pod's own credentials.

Plain kubeconfigs (token, token file, client certificate, password) are read here, because the client
library takes a quarter of a second to import and a plugin process has no such time. Those that run a
program or a provider for a token are left to the library (extra ``kubernetes``).
"""

from __future__ import annotations

import json
import os
import ssl
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from threading import Event, Lock, Thread

from whereabouts.deadline import Deadline
from whereabouts.store import StoreError, Unavailable
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

DEFAULT_NAMESPACE = "kube-system"
"""Where the objects are if a kubeconfig's context names no namespace (the Go plugin's rule)."""
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
"""What names a file in a kubeconfig."""


class AccessError(StoreError):
    """A kubeconfig or a pod's credentials that cannot be used."""


class Access(NamedTuple):
    """How to reach an API server."""

    server: str
    """``https://host:port``, perhaps with a path behind it."""
    namespace: str
    authorization: str = ""
    """The value of the header of that name."""
    authority: str = ""
    """PEM; empty: the system's authorities."""
    verify: bool = True
    server_name: str = ""
    """The name that the server's certificate has to have, if it is not the host of ``server``."""
    certificate: str = ""
    """PEM of the client's certificate and key."""

    def tls(self) -> ssl.SSLContext:
        """The TLS settings. Raises :class:`AccessError`."""
        try:
            context = ssl.create_default_context(cadata=self.authority or None)
            if not self.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.certificate:
                _load_certificate(context, self.certificate)
        except (ssl.SSLError, ValueError, OSError) as error:
            raise AccessError(f"the certificates for {self.server} cannot be used: {error}") from error
        return context


Source = Callable[[], Access]
"""Reads credentials as they are now; raises :class:`AccessError`. It may take as long as a program takes."""
_readings: dict[Source, _Reading] = {}
"""What is being read."""
_readings_lock = Lock()


class _Reading:
    """One reading of a source, for everybody who wants it before it is over."""

    def __init__(self) -> None:
        self.over = Event()
        self.access: Access | None = None
        self.error: Exception | None = None

    def run(self, source: Source) -> None:
        try:
            self.access = source()
        except Exception as error:
            self.error = error
        with _readings_lock:
            del _readings[source]
        self.over.set()


def read_by(deadline: Deadline, source: Source) -> Access:
    """What a source reads, if it has done so by the deadline; of a source no two readings run at once.

    Raises what the source raises, :class:`~whereabouts.deadline.DeadlineExceeded` and
    :class:`~whereabouts.store.Unavailable`.
    """
    with _readings_lock:
        reading = _readings.get(source)
        if reading is None:
            reading = _Reading()
            try:
                Thread(target=reading.run, args=(source,), name="credentials", daemon=True).start()
            except RuntimeError as error:
                raise Unavailable(f"the credentials for the API server cannot be read: {error}") from error
            _readings[source] = reading
    what = "the credentials for the API server are being read: does the program that hands them out hang?"
    deadline.wait_for(reading.over.wait, what)
    if reading.access is None:
        assert reading.error is not None  # noqa: S101 - it has ended, in one of two ways
        raise reading.error
    return reading.access


def beginning_with(access: Access, source: Source) -> Source:
    """A source that has been read: it gives ``access`` once, and then what ``source`` does."""
    known = [access]

    def read() -> Access:
        return known.pop() if known else source()

    return read


@lru_cache
def from_kubeconfig(path: str, context: str = "") -> Source:
    """The credentials of a kubeconfig's context, by default its current one, read anew each time.

    Whoever asks for the same gets the same source, so that a program it runs is not run twice at once.
    """

    def read() -> Access:
        return _Kubeconfig(path, _content(path), context).access()

    return read


def from_kubeconfigs(paths: Sequence[str], context: str = "") -> Source:
    """The same for several files that count as one, as in kubectl's ``$KUBECONFIG``.

    Where two define one thing, the first does. Files that do not exist are passed over, but one has to.
    """

    def read() -> Access:
        joined = os.pathsep.join(paths)
        there = [path for path in paths if os.path.exists(path)]
        if not there:
            raise AccessError(f"kubeconfig {joined} does not exist")
        return _Kubeconfig(joined, _merged(there), context).access()

    return read


def from_pod(folder: str = SERVICE_ACCOUNT, environment: Mapping[str, str] = os.environ) -> Source:
    """The credentials that Kubernetes gives every pod."""

    def read() -> Access:
        host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT")
        if not host or not port:
            raise AccessError("KUBERNETES_SERVICE_HOST and _PORT are not set: this process runs in no pod")
        token, authority, namespace = (_read(f"{folder}/{name}") for name in ("token", "ca.crt", "namespace"))
        return Access(
            server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
            namespace=environment.get("WHEREABOUTS_NAMESPACE") or namespace.strip() or DEFAULT_NAMESPACE,
            authorization=f"Bearer {token.strip()}",
            authority=authority,
        )

    return read


class _Kubeconfig:
    """The parts of a kubeconfig that a context puts together."""

    def __init__(self, path: str, content: Any, context: str) -> None:
        self._path = path
        self._content = content
        self._context = context

    def access(self) -> Access:
        chosen = self._context or self._content.get("current-context")
        context = self._named("contexts", "context", chosen)
        cluster = self._named("clusters", "cluster", context.get("cluster"))
        user = self._named("users", "user", context.get("user")) if context.get("user") else {}
        server = cluster.get("server")
        if not isinstance(server, str) or not server.startswith(("http://", "https://")):
            raise AccessError(f"kubeconfig {self._path}: server is {server!r}, not an http or https URL")
        access = Access(
            server=server.rstrip("/"),
            namespace=context.get("namespace") or DEFAULT_NAMESPACE,
            authority=self._pem(cluster, "certificate-authority"),
            verify=not cluster.get("insecure-skip-tls-verify"),
            server_name=cluster.get("tls-server-name") or "",
        )
        if user.get("exec") or user.get("auth-provider"):
            return _by_library(self._path, self._context, access)
        certificate = self._pem(user, "client-certificate")
        key = self._pem(user, "client-key")
        return access._replace(
            authorization=self._authorization(user),
            certificate=f"{certificate}\n{key}" if certificate and key else "",
        )

    def _named(self, kind: str, part: str, name: object) -> Any:
        for entry in self._content.get(kind) or ():
            if entry.get("name") == name:
                return entry.get(part) or {}
        if kind == "contexts" and not self._context:
            raise AccessError(
                f"kubeconfig {self._path}: namespace not present in context: "
                f"current-context {name!r} is not among its contexts"
            )
        raise AccessError(f"kubeconfig {self._path}: {name!r} is not among its {kind}")

    def _pem(self, part: Any, name: str) -> str:
        data, path = part.get(f"{name}-data"), part.get(name)
        if data:
            try:
                return a2b_base64(data).decode()
            except (Base64Error, UnicodeDecodeError) as error:
                raise AccessError(f"kubeconfig {self._path}: {name}-data is no base64 of PEM") from error
        return _read(self._beside(path)) if path else ""

    def _authorization(self, user: Any) -> str:
        if user.get("tokenFile"):
            return f"Bearer {_read(self._beside(user['tokenFile'])).strip()}"
        if user.get("token"):
            return f"Bearer {user['token']}"
        if user.get("username"):
            pair = f"{user['username']}:{user.get('password', '')}"
            return f"Basic {b2a_base64(pair.encode(), newline=False).decode()}"
        return ""

    def _beside(self, path: str) -> str:
        """A path in a kubeconfig is relative to the file."""
        return os.path.join(os.path.dirname(self._path), path)


def _content(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise AccessError(f"kubeconfig {path} cannot be read: {error}") from error
    return _parsed(path, text)


def _merged(paths: Sequence[str]) -> Any:
    """One content of several files; the paths in them become independent of where the files are."""
    merged: Any = {"current-context": "", "clusters": [], "contexts": [], "users": []}
    for path in paths:
        content = _content(path)
        merged["current-context"] = merged["current-context"] or content.get("current-context")
        for kind, part in (("clusters", "cluster"), ("contexts", "context"), ("users", "user")):
            for entry in content.get(kind) or ():
                inner = entry.get(part) or {}
                made = {
                    name: os.path.join(os.path.dirname(path), value) if value and name in _PATHS else value
                    for name, value in inner.items()
                }
                merged[kind].append({**entry, part: made})
    return merged


def _parsed(path: str, text: str) -> Any:
    content: Any
    try:
        content = json.loads(text)
    except ValueError:
        content = _yaml(path, text)
    if not isinstance(content, dict):
        raise AccessError(f"kubeconfig {path} holds no mapping")
    return content


def _yaml(path: str, text: str) -> Any:
    yaml: Any
    try:
        yaml = import_module("yaml")
    except ImportError as error:
        raise AccessError(
            f"kubeconfig {path} is YAML, which PyYAML reads: install whereabouts-ipam[kubernetes], or write "
            "the file as JSON"
        ) from error
    try:
        return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError) as error:
        # Not the error's own words: they may quote the file, and with it a token.
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else type(error).__name__
        raise AccessError(f"kubeconfig {path} is no YAML: {where}") from None


def _by_library(path: str, context: str, access: Access) -> Access:
    """Let the client library get the token or certificate of an ``exec`` or ``auth-provider`` entry."""
    client: Any
    config: Any
    try:
        client, config = import_module("kubernetes.client"), import_module("kubernetes.config")
    except ImportError as error:
        raise AccessError(
            f"kubeconfig {path} runs a program for its token: install whereabouts-ipam[kubernetes] for that"
        ) from error
    configuration = client.Configuration()
    try:
        config.load_kube_config(path, context or None, client_configuration=configuration)
    except Exception as error:
        raise AccessError(f"kubeconfig {path}: no credentials: {error}") from error
    certificate, key = configuration.cert_file, configuration.key_file
    return access._replace(
        authorization=configuration.auth_settings().get("BearerToken", {}).get("value") or "",
        certificate=f"{_read(certificate)}\n{_read(key)}" if certificate and key else "",
    )


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise AccessError(f"{path} cannot be read: {error}") from error


def _load_certificate(context: ssl.SSLContext, pem: str) -> None:
    """The ssl module takes certificates from files only: give it one that never has a name."""
    descriptor = os.memfd_create("client", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem.encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
