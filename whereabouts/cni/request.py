"""One CNI call as a value: what the runtime asks for, in the environment and on standard input."""

from __future__ import annotations

from collections.abc import Mapping

from whereabouts.cni.environment import COMMANDS, check_environment
from whereabouts.cni.errors import DECODING_FAILURE, INVALID_ENVIRONMENT, CniError, shorten
from whereabouts.cni.json_object import JsonError, decode_object, text_member
from whereabouts.cni.names import check_network_name
from whereabouts.cni.versions import LATEST, OLDEST, SUPPORTED, require_command, require_supported
from whereabouts.values import NamedTuple


class Request(NamedTuple):
    """A call that the protocol allows: known command, supported version, well-formed names."""

    command: str
    """ADD, DEL, CHECK, GC, STATUS or VERSION."""
    container_id: str
    """Empty, or not checked, for GC, STATUS and VERSION; so is ``ifname``."""
    netns: str
    """Path of the container's network namespace; may be empty except for ADD and CHECK."""
    ifname: str
    args: str
    """``CNI_ARGS`` as it came; :func:`whereabouts.cni.args.read_args` takes it apart."""
    netns_override: bool
    """The plugin may run in the container's own network namespace."""
    network: str
    """The configuration's ``name``; empty for VERSION."""
    cni_version: str
    """One of the supported versions; the answer speaks it."""
    config: dict[str, object]
    """The decoded network configuration; empty for VERSION."""
    stdin: bytes


def read_request(environment: Mapping[str, str], stdin: bytes) -> Request:
    """Read a call in the order of the CNI library, so that the same mistake gives the same error.

    The caller bounds the length of ``stdin``; for VERSION it is ignored. Raises :class:`CniError` and
    nothing else; :func:`version_of` tells in which version to print it.
    """
    check_environment(environment)
    command = environment["CNI_COMMAND"]
    if command == "VERSION":
        return _request(environment, "", LATEST, {}, b"")
    config, network = _read_network(stdin)
    if command not in COMMANDS:
        raise CniError(INVALID_ENVIRONMENT, f"unknown CNI_COMMAND: {shorten(command)}")
    version = _declared_version(config)
    require_supported(version)
    require_command(command, version)
    return _request(environment, network, version, config, stdin)


def version_of(stdin: bytes) -> str:
    """Tell which version an answer to this input should speak, even if the input is no request.

    The configuration's own version, and the latest where none that is supported can be read. Never
    raises.
    """
    try:
        version = _declared_version(decode_object(stdin))
    except (JsonError, CniError):
        return LATEST
    return version if version in SUPPORTED else LATEST


def _read_network(stdin: bytes) -> tuple[dict[str, object], str]:
    try:
        config = decode_object(stdin)
        network = text_member(config, "name")
    except JsonError as error:
        raise CniError(DECODING_FAILURE, f"error unmarshall network config: {error}") from error
    check_network_name(network)
    return config, network


def _declared_version(config: Mapping[str, object]) -> str:
    try:
        return text_member(config, "cniVersion") or OLDEST
    except JsonError as error:
        raise CniError(DECODING_FAILURE, f"decoding version from network config: {error}") from error


def _request(
    environment: Mapping[str, str], network: str, version: str, config: dict[str, object], stdin: bytes
) -> Request:
    return Request(
        command=environment["CNI_COMMAND"],
        container_id=environment.get("CNI_CONTAINERID", ""),
        netns=environment.get("CNI_NETNS", ""),
        ifname=environment.get("CNI_IFNAME", ""),
        args=environment.get("CNI_ARGS", ""),
        netns_override=environment.get("CNI_NETNS_OVERRIDE", "").upper() in ("TRUE", "1"),
        network=network,
        cni_version=version,
        config=config,
        stdin=stdin,
    )
