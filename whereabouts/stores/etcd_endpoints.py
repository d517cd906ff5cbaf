"""``etcd_host`` as text and as endpoints."""

from __future__ import annotations

from whereabouts.errors import WhereaboutsError
from whereabouts.values import NamedTuple

DEFAULT_PORT = 2379
_SCHEMES = {"http": False, "https": True}


class EndpointError(WhereaboutsError, ValueError):
    """A text in ``etcd_host`` that names no endpoint."""


class Endpoint(NamedTuple):
    """Where a member of the cluster listens; ``target`` is ``host:port``, IPv6 in brackets."""

    target: str
    secure: bool


def parse_endpoints(etcd_host: str, *, secure: bool) -> list[Endpoint]:
    """Read ``etcd_host``: endpoints separated by commas, each ``host``, ``host:port`` or a URL of both.

    ``https://`` means TLS and ``http://`` none; where the scheme is left out, ``secure`` decides. The port
    is 2379 where it is left out. Raises :class:`EndpointError`.
    """
    endpoints = [_parse(text.strip(), secure) for text in etcd_host.split(",") if text.strip()]
    if not endpoints:
        raise EndpointError("etcd_host is empty: name at least one endpoint, host:port or https://host:port")
    return endpoints


def _parse(text: str, secure: bool) -> Endpoint:
    scheme, separator, rest = text.partition("://")
    if separator:
        if scheme.lower() not in _SCHEMES:
            raise EndpointError(f'etcd_host: "{text}" is neither http:// nor https://')
        secure = _SCHEMES[scheme.lower()]
    else:
        rest = text
    rest = rest.removesuffix("/")
    host, port = _split(rest)
    if not host or "/" in host or "@" in host or " " in host or not (port.isascii() and port.isdecimal()):
        raise EndpointError(f'etcd_host: an endpoint is host:port or https://host:port, not "{_shown(text)}"')
    return Endpoint(f"{host}:{int(port)}", secure)


def _split(text: str) -> tuple[str, str]:
    """Host (IPv6 in brackets) and port of ``host``, ``host:port``, ``[v6]``, ``[v6]:port`` or a bare v6."""
    default = str(DEFAULT_PORT)
    if text.startswith("["):
        host, _, port = text.partition("]")
        return f"{host}]", port.removeprefix(":") if port else default
    if text.count(":") > 1:
        return f"[{text}]", default
    host, separator, port = text.partition(":")
    return host, port if separator else default


def _shown(text: str) -> str:
    """The text without what may be a password in a URL."""
    scheme, separator, rest = text.rpartition("://")
    return f"{scheme}{separator}***@{rest.rpartition('@')[2]}" if "@" in rest else text
