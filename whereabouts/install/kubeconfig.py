"""The text of the kubeconfig that the plugin reaches the API server with."""

from __future__ import annotations

import json
import re
from base64 import b64encode

from whereabouts.install.credentials import Credentials
from whereabouts.install.errors import InstallError

FIRST_LINE = "# Written by whereabouts install, and again whenever the service account's token changes.\n"
"""Tells a kubeconfig of ours from that of the Go plugin's installer."""

_TEXT = """\
apiVersion: v1
kind: Config
clusters:
- name: local
  cluster:
    server: {server}
{trust}users:
- name: whereabouts
  user:
    token: {token}
contexts:
- name: whereabouts-context
  context:
    cluster: local
    user: whereabouts
    namespace: {namespace}
current-context: whereabouts-context
"""


def kubeconfig_text(server: str, namespace: str, credentials: Credentials) -> str:
    """A kubeconfig with one context, named and shaped as behaviour.md 7.2 has it.

    Without an authority the certificate of an ``https`` server is not checked.
    """
    trust = ""
    if credentials.authority is not None:
        trust = f"    certificate-authority-data: {b64encode(credentials.authority).decode()}\n"
    elif server.startswith("https:"):
        trust = "    insecure-skip-tls-verify: true\n"
    # A JSON string is a YAML string: a namespace such as 1234 or null stays text.
    return FIRST_LINE + _TEXT.format(
        server=json.dumps(server),
        trust=trust,
        token=json.dumps(credentials.token),
        namespace=json.dumps(namespace),
    )


def api_server(protocol: str, host: str, port: str) -> str:
    """The URL of the API server, from what Kubernetes gives every pod in its environment.

    InstallError if a part is missing, or is none.
    """
    if protocol not in ("http", "https"):
        raise InstallError(f"KUBERNETES_SERVICE_PROTOCOL is '{protocol}': it has to be https or http")
    for name, value in (("KUBERNETES_SERVICE_HOST", host), ("KUBERNETES_SERVICE_PORT", port)):
        if not value:
            raise InstallError(
                f"{name} is not set: Kubernetes sets it in every pod; elsewhere say where the API server is"
            )
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 1 << 16:
        raise InstallError(f"KUBERNETES_SERVICE_PORT is '{port}': it has to be a number from 1 to 65535")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not re.fullmatch(r"[0-9A-Za-z.-]+|[0-9A-Fa-f:.]+", bare):
        raise InstallError(f"KUBERNETES_SERVICE_HOST is '{host}': it has to be an address or a DNS name")
    return f"{protocol}://[{bare}]:{port}" if ":" in bare else f"{protocol}://{bare}:{port}"
