"""The flat file: defaults of a host for all its network configurations."""

from __future__ import annotations

from whereabouts.cni.json_object import JsonError, decode_object
from whereabouts.config.errors import ConfigError, Problems
from whereabouts.config.files import Files
from whereabouts.config.keys import KEYS
from whereabouts.config.members import Members, Place, paths_in, read_members

FILE_NAME = "whereabouts.conf"
FLAT_FILES = (
    "/etc/kubernetes/cni/net.d/whereabouts.d/whereabouts.conf",
    "/etc/cni/net.d/whereabouts.d/whereabouts.conf",
    "/host/etc/cni/net.d/whereabouts.d/whereabouts.conf",
)
"""Where a flat file is looked for; the first that exists counts."""


def read_flat_file(files: Files, configuration_path: str, problems: Problems) -> Members:
    """Read the flat file at ``configuration_path`` (a file or its directory), else one of FLAT_FILES.

    Without any of them nothing is set. Raises ConfigError for a file that exists and cannot be read, or
    is not a JSON object; its content is not shown, because it may hold secrets. Of a file elsewhere than in
    FLAT_FILES, ``files`` have to admit the paths: they are the words of whoever named it.
    """
    found = _find(files, configuration_path, problems)
    if found is None:
        return Members(KEYS, {})
    path, content = found
    start = f"LoadIPAMConfig Flatfile ({path}) - JSON Parsing Error: "
    try:
        members = decode_object(content)
    except JsonError as error:
        raise ConfigError(f"{start}{error}") from error
    read = read_members(members, KEYS, Place(start, "", problems))
    if path not in FLAT_FILES:
        for key, named in paths_in(read):
            files.admit(key, named)
    return read


def _find(files: Files, configuration_path: str, problems: Problems) -> tuple[str, bytes] | None:
    if configuration_path:
        path = _in_directory(files, configuration_path)
        content = _read(files, path)
        if content is not None:
            return path, content
        problems.warnings.append(f"configuration_path: there is no file {path}")
    for path in FLAT_FILES:
        content = _read(files, path)
        if content is not None:
            return path, content
    return None


def _in_directory(files: Files, path: str) -> str:
    """The flat file that a path means: itself, or the one in the directory that it is."""
    return f"{path.rstrip('/')}/{FILE_NAME}" if files.is_directory(path) else path


def _read(files: Files, path: str) -> bytes | None:
    try:
        return files.read(path)
    except IsADirectoryError as error:
        raise ConfigError(f"LoadIPAMConfig Flatfile ({path}) - io.ReadAll error: {error.strerror}") from error
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"error opening flat configuration file @ {path} with: {reason}") from error
