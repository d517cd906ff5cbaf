"""The service account of this pod, as the kubelet mounts it: a token and the API server's authority."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from whereabouts.install.errors import CredentialsError

_LIMIT = 1 << 20
"""Bytes that are read of a token or of a bundle of certificates."""

_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"


class Credentials(NamedTuple):
    """A bearer token, and the PEM certificates to check the server by; None for no check."""

    token: str
    authority: bytes | None

    def __repr__(self) -> str:
        return "Credentials(***)"


def read_credentials(directory: str, ca_file: str | None) -> Credentials | None:
    """Read ``token`` in ``directory`` and the certificates in ``ca_file``; None if there is no token.

    CredentialsError if a file cannot be read or its content cannot be right, as in the moment of a rotation:
    what was read before is then still the best there is.
    """
    token_file = os.path.join(directory, "token")
    try:
        token = _read(token_file).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return None
    if not re.fullmatch(r"[!-~]+", token):
        what = "not one word of printable ASCII" if token else "empty"
        raise CredentialsError(f"{token_file} is {what}: it has to hold the service account's token")
    return Credentials(token, None if ca_file is None else _authority(ca_file))


def _authority(path: str) -> bytes:
    remedy = (
        "name the file with the API server's CA certificates in KUBE_CA_FILE, "
        "or set SKIP_TLS_VERIFY=true to trust any server"
    )
    try:
        text = _read(path)
    except FileNotFoundError as error:
        raise CredentialsError(f"{path} does not exist: {remedy}") from error
    if not 0 < text.count(_BEGIN) == text.count(_END):
        raise CredentialsError(f"{path} does not hold whole PEM certificates: {remedy}")
    return text


def _read(path: str) -> bytes:
    """FileNotFoundError if there is no such file, CredentialsError if it cannot be read or is too large."""
    try:
        with open(path, "rb") as file:
            content = file.read(_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(path) from error
    except OSError as error:
        raise CredentialsError(f"reading {path}: {error.strerror}") from error
    if len(content) > _LIMIT:
        raise CredentialsError(
            f"{path} has more than {_LIMIT} bytes: that is neither a token nor a CA bundle"
        )
    return content
