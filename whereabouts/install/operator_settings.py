"""What an operator adds to ``whereabouts.conf``, from a file that a Secret may mount."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from whereabouts.cni.json_object import JsonError, decode_object
from whereabouts.config.errors import ConfigError, Problems
from whereabouts.config.keys import KEYS
from whereabouts.config.members import Place, read_members
from whereabouts.install.errors import InstallError

NOTHING: Mapping[str, object] = MappingProxyType({})
INSTALLERS = ("configuration_path", "kubernetes", "reconciler_cron_expression")
"""Keys that the installer sets itself."""
_LIMIT = 1 << 20


def read_operator_settings(path: str | None) -> Mapping[str, object]:
    """The keys in the JSON object at ``path``; none where there is no such file, or no path.

    InstallError for a file that is no object, has a key that no configuration has or that the installer sets,
    or a value of the wrong type: a plugin would only find out call by call. No value of a secret is shown.
    """
    content = None if path is None else _read(path)
    if content is None:
        return NOTHING
    try:
        members = decode_object(content)
        for key in members:
            if key not in KEYS:
                raise InstallError(f"{path}: there is no key {key!r}; keys are spelled as in the reference")
            if key in INSTALLERS:
                raise InstallError(f"{path}: {key} is what the installer sets, by an option of its own")
        read_members(members, KEYS, Place(f"{path}: ", "", Problems(False, [])))
    except JsonError as error:
        raise InstallError(f"{path}: {error}") from error
    except ConfigError as error:
        raise InstallError(str(error)) from error
    return dict(members)


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            content = file.read(_LIMIT + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InstallError(f"reading {path}: {error.strerror}") from error
    if len(content) > _LIMIT:
        raise InstallError(f"{path} has more than {_LIMIT} bytes")
    return content
