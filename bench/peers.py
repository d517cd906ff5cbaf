"""Other IPAM plugins to compare with, where their binaries are present.

``WHEREABOUTS_BENCH_HOST_LOCAL=/path``
    The reference plugin for one machine. Without it, ``host-local`` in ``$CNI_PATH``, /opt/cni/bin or
    /usr/lib/cni.
``WHEREABOUTS_BENCH_GO=/path``
    The Go plugin, which keeps its records in an API server.
``WHEREABOUTS_BENCH_PEER_<NAME>=/path`` with ``WHEREABOUTS_BENCH_PEER_<NAME>_IPAM=JSON``
    Any other, with what its configuration has under ``ipam``. In texts of it ``{range}`` stands for a range
    such as 10.0.0.0/16, ``{directory}`` for a directory that nobody else uses and ``{kubeconfig}`` for the
    path of a kubeconfig. One that asks for a kubeconfig is compared on the API server, else on one machine.
"""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tests.suites import find_program

HOST_LOCAL, GO = "host-local", "Go plugin"
_PREFIX = "WHEREABOUTS_BENCH_"
_OTHERS = f"{_PREFIX}PEER_"
_IPAM = "_IPAM"
_OF_HOST_LOCAL: Mapping[str, Any] = {
    "type": "host-local",
    "dataDir": "{directory}",
    "ranges": [[{"subnet": "{range}"}]],
}
_OF_GO: Mapping[str, Any] = {
    "type": "whereabouts",
    "range": "{range}",
    "kubernetes": {"kubeconfig": "{kubeconfig}"},
    # It does not go without a flat file, and a kubeconfig has none of its keys.
    "configuration_path": "{kubeconfig}",
    "log_level": "error",
}


class NotUsable(ValueError):
    """A peer's variables that do not say how to run it."""


class Peer(NamedTuple):
    """A plugin to compare with."""

    name: str
    program: str
    template: Mapping[str, Any]

    @property
    def asks_api_server(self) -> bool:
        """Whether its records are in an API server."""
        return "{kubeconfig}" in json.dumps(self.template)

    def ipam(self, range_: str, directory: str, kubeconfig: str = "") -> dict[str, Any]:
        """Its configuration for a range; ``directory`` is one that nobody else uses."""
        places = {"{range}": range_, "{directory}": directory, "{kubeconfig}": kubeconfig}
        filled: dict[str, Any] = _filled(self.template, places)
        return filled


def on_one_machine(environment: Mapping[str, str] = os.environ) -> list[Peer]:
    """Those that are present and keep their records on this machine."""
    return [peer for peer in present(environment) if not peer.asks_api_server]


def on_api_server(environment: Mapping[str, str] = os.environ) -> list[Peer]:
    """Those that are present and keep their records in an API server."""
    return [peer for peer in present(environment) if peer.asks_api_server]


def present(environment: Mapping[str, str] = os.environ) -> list[Peer]:
    """All that can be run. Raises :class:`NotUsable`."""
    host_local, go = _host_local(environment), environment.get(f"{_PREFIX}GO")
    known = [(HOST_LOCAL, host_local, _OF_HOST_LOCAL), (GO, go, _OF_GO)]
    found = [Peer(name, program, template) for name, program, template in known if program]
    return [peer for peer in [*found, *_others(environment)] if _is_program(peer.program)]


def absent(environment: Mapping[str, str] = os.environ) -> list[str]:
    """A sentence for each that is not compared with, which says how to change that."""
    sentences = [
        f"{variable} names {path}, which is no program"
        for variable, path in sorted(environment.items())
        if variable.startswith(_PREFIX) and not variable.endswith(_IPAM) and not _is_program(path)
    ]
    if not _host_local(environment):
        sentences.append(
            f"no host-local in $CNI_PATH, /opt/cni/bin or /usr/lib/cni: name it by {_PREFIX}HOST_LOCAL"
        )
    if f"{_PREFIX}GO" not in environment:
        sentences.append(f"no Go plugin: name it by {_PREFIX}GO")
    return sentences


def _host_local(environment: Mapping[str, str]) -> str | None:
    named = environment.get(f"{_PREFIX}HOST_LOCAL")
    return named or find_program("host-local", environment.get("CNI_PATH"), "/opt/cni/bin", "/usr/lib/cni")


def _others(environment: Mapping[str, str]) -> Iterator[Peer]:
    for variable, program in sorted(environment.items()):
        if variable.startswith(_OTHERS) and not variable.endswith(_IPAM):
            name = variable.removeprefix(_OTHERS).lower().replace("_", "-")
            yield Peer(name, program, _template(variable + _IPAM, environment))


def _template(variable: str, environment: Mapping[str, str]) -> Mapping[str, Any]:
    text = environment.get(variable)
    if text is None:
        raise NotUsable(f'{variable} is not set: it says what stands under "ipam" in the configuration')
    try:
        template = json.loads(text)
    except ValueError as error:
        raise NotUsable(f"{variable} is no JSON: {error}: {text}") from error
    if not isinstance(template, dict) or not isinstance(template.get("type"), str):
        raise NotUsable(f'{variable} is no JSON object with a "type": {text}')
    return template


def _is_program(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _filled(value: Any, places: Mapping[str, str]) -> Any:
    """The same with what the places stand for, in all texts within."""
    if isinstance(value, Mapping):
        return {name: _filled(member, places) for name, member in value.items()}
    if isinstance(value, list):
        return [_filled(member, places) for member in value]
    if isinstance(value, str):
        for place, text in places.items():
            value = value.replace(place, text)
    return value
