"""The versions of the CNI protocol that are spoken, oldest first, and what each of them allows."""

from __future__ import annotations

from whereabouts.cni.errors import INCOMPATIBLE_VERSION, CniError, quote

SUPPORTED = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
OLDEST = SUPPORTED[0]
"""A configuration without ``cniVersion`` speaks this one."""
LATEST = SUPPORTED[-1]

_FIRST_WITH_COMMAND = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}


def at_least(version: str, floor: str) -> bool:
    """Whether one supported version is the same as another or newer; ``""`` counts as the oldest.

    Raises :class:`CniError` (code 1) when either is not supported.
    """
    return _age(version) >= _age(floor)


def require_supported(version: str) -> None:
    """Raise :class:`CniError` (code 1) unless ``version`` is literally one of those in ``SUPPORTED``."""
    if version not in SUPPORTED:
        supported = " ".join(map(quote, SUPPORTED))
        details = f"config is {quote(version)}, plugin supports [{supported}]"
        raise CniError(INCOMPATIBLE_VERSION, "incompatible CNI versions", details)


def require_command(command: str, version: str) -> None:
    """Raise :class:`CniError` (code 1) if the protocol had no such command yet in ``version``."""
    if not at_least(version, _FIRST_WITH_COMMAND.get(command, OLDEST)):
        raise CniError(INCOMPATIBLE_VERSION, f"config version does not allow {command}")


def print_version() -> bytes:
    """Answer the VERSION command: one line of JSON with its newline (CNI SPEC, section 5, "Version")."""
    supported = ",".join(map(quote, SUPPORTED))
    return f'{{"cniVersion":{quote(LATEST)},"supportedVersions":[{supported}]}}\n'.encode()


def about(version: str, os: str, arch: str) -> str:
    """Text for a person who started the plugin without ``CNI_COMMAND``: two lines, for stderr."""
    return f"whereabouts {version} {os}/{arch}\nCNI protocol versions supported: {', '.join(SUPPORTED)}\n"


def _age(version: str) -> int:
    if not version:
        return 0
    require_supported(version)
    return SUPPORTED.index(version)
