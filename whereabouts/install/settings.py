"""What ``whereabouts install`` is told, by its options or by the variables of the Go plugin's installer."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from whereabouts.agent.framing import DEFAULT_SOCKET
from whereabouts.install.errors import InstallError
from whereabouts.install.operator_settings import NOTHING, read_operator_settings

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_MAX_SOCKET_PATH = 107


class Settings(NamedTuple):
    """Checked values, except for those of the API server: they only matter where there is a token.

    Paths are those that this process sees; ``socket`` is one of the host. ``mode`` is that of kubeconfig,
    configuration and node name; ``ca_file`` is None if there is no certificate to check;
    ``node_name`` is empty if it is not known.
    """

    bin_dir: str
    conf_dir: str
    cron: str
    service_account: str
    ca_file: str | None
    mode: int
    protocol: str
    host: str
    port: str
    namespace: str
    node_name: str
    socket: str
    without_kubernetes: bool = False
    """The cluster's datastore is not the Kubernetes API, so that a missing token is no mistake."""
    operators: Mapping[str, object] = NOTHING
    """What the operator adds to whereabouts.conf."""


def read_settings(options: Mapping[str, str | None], environment: Mapping[str, str]) -> Settings:
    """Settings from ``options``, then from ``environment``, then defaults; an empty text counts as absent.

    Options are named like the fields of :class:`Settings`. InstallError names the value that is wrong.
    """

    def value(option: str, variable: str, default: str = "") -> str:
        return options.get(option) or environment.get(variable) or default

    service_account = options.get("service_account") or SERVICE_ACCOUNT
    ca_file = value("ca_file", "KUBE_CA_FILE", os.path.join(service_account, "ca.crt"))
    protocol = value("protocol", "KUBERNETES_SERVICE_PROTOCOL", "https")
    skip = _boolean("SKIP_TLS_VERIFY", value("skip_tls_verify", "SKIP_TLS_VERIFY", "false"))
    bin_dir, conf_dir = read_directories(options, environment)
    return Settings(
        bin_dir=bin_dir,
        conf_dir=conf_dir,
        cron=value("cron", "WHEREABOUTS_RECONCILER_CRON", "30 4 * * *"),
        service_account=service_account,
        ca_file=None if skip or protocol == "http" else ca_file,
        mode=_mode(value("mode", "KUBECONFIG_MODE", "600")),
        protocol=protocol,
        host=value("host", "KUBERNETES_SERVICE_HOST"),
        port=value("port", "KUBERNETES_SERVICE_PORT"),
        namespace=_namespace(value("namespace", "WHEREABOUTS_NAMESPACE", "kube-system")),
        node_name=_node_name(value("node_name", "NODENAME")),
        socket=_socket(options.get("socket") or DEFAULT_SOCKET),
        without_kubernetes=bool(options.get("without_kubernetes")),
        operators=read_operator_settings(options.get("settings_file")),
    )


def read_directories(options: Mapping[str, str | None], environment: Mapping[str, str]) -> tuple[str, str]:
    """The absolute paths of the host's directories for plugins and for configurations."""
    bin_dir = options.get("bin_dir") or environment.get("CNI_BIN_DIR") or "/host/opt/cni/bin"
    conf_dir = options.get("conf_dir") or environment.get("CNI_CONF_DIR") or "/host/etc/cni/net.d"
    return os.path.abspath(bin_dir), os.path.abspath(conf_dir)


def _boolean(variable: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise InstallError(f"{variable} is '{text}': it has to be true or false")
    return text.lower() == "true"


def _mode(text: str) -> int:
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise InstallError(f"KUBECONFIG_MODE is '{text}': it has to be three octal digits, such as 600")
    return int(text, 8)


def _namespace(text: str) -> str:
    if not re.fullmatch(_LABEL, text):
        raise InstallError(
            f"WHEREABOUTS_NAMESPACE is '{text}': a namespace has up to 63 of a-z, 0-9 and '-', "
            f"and no '-' at its ends"
        )
    return text


def _node_name(text: str) -> str:
    if text and (len(text) > 253 or not re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", text)):
        raise InstallError(
            f"NODENAME is '{text}': it has to be the name of this node's Node object, "
            f"up to 253 of a-z, 0-9, '-' and '.'"
        )
    return text


def _socket(path: str) -> str:
    data = os.fsencode(path)
    if (
        not path.startswith("/")
        or len(data) > _MAX_SOCKET_PATH
        or not path.isprintable()
        or path != path.strip()
    ):
        raise InstallError(
            f"--socket is '{path}': it has to be an absolute path of at most {_MAX_SOCKET_PATH} bytes, "
            f"all of them printable"
        )
    return path
