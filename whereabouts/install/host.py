"""What an installation consists of, on the host: names, contents, and how to tell them from others'."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib.resources import files

from whereabouts.install.directory import Directory
from whereabouts.install.errors import InstallError
from whereabouts.install.kubeconfig import FIRST_LINE
from whereabouts.install.operator_settings import NOTHING

PLUGIN = "whereabouts"
SOCKET_PATH = "whereabouts.socket-path"
"""Lies beside the plugin and holds the path of the agent's socket (docs/agent-protocol.md)."""

FOLDER = "whereabouts.d"
"""In the host's directory of CNI configurations; holds the files below."""
KUBECONFIG = "whereabouts.kubeconfig"
CONF = "whereabouts.conf"
NODENAME = "nodename"

_MOUNT = "/host"
_PLUGIN_LIMIT = 16 << 20
_TEXT_LIMIT = 1 << 20


def native_plugin() -> bytes:
    """The native plugin of this package; InstallError if it was not built."""
    try:
        return files("whereabouts").joinpath("native", PLUGIN).read_bytes()
    except OSError as error:
        raise InstallError(
            "the native plugin is not in this package: install whereabouts from a wheel, or build it in a "
            "checkout with a C compiler: python setup.py build_ext --inplace"
        ) from error


def on_host(path: str) -> str:
    """The host's own name for a path that a container sees under ``/host``."""
    return path.removeprefix(_MOUNT) if path.startswith(f"{_MOUNT}/") else path


def host_directory(path: str) -> Directory:
    """Open a directory of the host, made if need be; InstallError if ``/host`` is not mounted."""
    if on_host(path) != path and not os.path.isdir(_MOUNT):
        raise InstallError(
            f"{path}: there is no {_MOUNT} here. Mount the host's directories there, or, outside a "
            f"container, name them: --cni-bin-dir /opt/cni/bin --cni-conf-dir /etc/cni/net.d"
        )
    return Directory.at(path)


def conf_text(folder: str, cron: str, *, kubernetes: bool, operators: Mapping[str, object] = NOTHING) -> str:
    """The flat file (behaviour.md 2.4 and 7.2) for the host's directory ``folder``.

    Names the Kubernetes API as the datastore only if there is a kubeconfig for it. What ``operators`` say
    goes before.
    """
    conf: dict[str, object] = {"configuration_path": folder, "reconciler_cron_expression": cron}
    if kubernetes:
        kubeconfig = {"kubeconfig": os.path.join(folder, KUBECONFIG)}
        conf = {"datastore": "kubernetes", **conf, "kubernetes": kubeconfig}
    return json.dumps({**conf, **operators}, indent=2) + "\n"


def is_our_plugin(content: bytes) -> bool:
    """Whether a program is a native plugin of any release of this package, and not the Go plugin."""
    return content.startswith(b"\x7fELF") and SOCKET_PATH.encode() in content


def is_our_kubeconfig(content: bytes) -> bool:
    """Whether a kubeconfig was written by this installer."""
    return content.startswith(FIRST_LINE.encode())


def is_our_conf(content: bytes, operators: Mapping[str, object]) -> bool:
    """Whether a flat file is as this installer writes it with these settings, and nobody's changes."""
    try:
        conf = json.loads(content)
        folder, cron = conf["configuration_path"], conf["reconciler_cron_expression"]
        again = conf_text(folder, cron, kubernetes="kubernetes" in conf, operators=operators)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
    return content == again.encode()


def read_plugin(directory: Directory) -> bytes | None:
    """The program that is installed as the plugin, if there is one."""
    return directory.read(PLUGIN, _PLUGIN_LIMIT)


def read_text(directory: Directory, name: str) -> bytes | None:
    """One of the small files of an installation, if there is one."""
    return directory.read(name, _TEXT_LIMIT)
