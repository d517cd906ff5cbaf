"""The environment of a CNI call: which variables a command needs, and what may stand in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from whereabouts.cni.errors import INVALID_ENVIRONMENT, CniError
from whereabouts.cni.names import check_container_id, check_interface_name

COMMANDS = frozenset({"ADD", "CHECK", "DEL", "GC", "STATUS", "VERSION"})

_ATTACHMENT = frozenset({"ADD", "CHECK", "DEL"})
_REQUIRED: tuple[tuple[str, frozenset[str], Callable[[str], None] | None], ...] = (
    ("CNI_CONTAINERID", _ATTACHMENT, check_container_id),
    ("CNI_NETNS", frozenset({"ADD", "CHECK"}), None),
    ("CNI_IFNAME", _ATTACHMENT, check_interface_name),
    ("CNI_PATH", frozenset({"ADD", "CHECK", "DEL", "GC", "STATUS"}), None),
)


def check_environment(environment: Mapping[str, str]) -> None:
    """Check the parameters of a call in its environment variables (CNI SPEC, section 2, "Parameters").

    What a command does not need is not checked. As in the CNI library, the first variable with a value
    that cannot be ends the check, and those that are missing are reported together. An unknown command
    passes: it is only reported after the configuration was read.
    Raises :class:`CniError` (code 4).
    """
    command = environment.get("CNI_COMMAND", "")
    missing = [] if command else ["CNI_COMMAND"]
    for name, commands, check in _REQUIRED:
        if command not in commands:
            continue
        value = environment.get(name, "")
        if not value:
            missing.append(name)
        elif check is not None:
            check(value)
    if missing:
        raise CniError(INVALID_ENVIRONMENT, f"required env variables [{','.join(missing)}] missing")
