"""What the plugin prints: the result of ADD in the form of each protocol version, and errors.

Text and order of keys are those of the CNI library, byte for byte, indentation and escapes included:
the older forms list their keys in a fixed order, those from 1.0.0 on in alphabetical order.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from whereabouts.cni.errors import WHEREABOUTS, CniError
from whereabouts.cni.json_print import print_json
from whereabouts.cni.versions import OLDEST, at_least
from whereabouts.values import NamedTuple


class IPConfig(NamedTuple):
    """An address of the container with the prefix length of its range, and the range's gateway."""

    address: IPv4Interface | IPv6Interface
    gateway: IPv4Address | IPv6Address | None = None


class Route(NamedTuple):
    """A route for the container. Bits of ``dst`` beyond its prefix are kept as they were configured."""

    dst: IPv4Interface | IPv6Interface
    gw: IPv4Address | IPv6Address | None = None
    mtu: int = 0
    """In bytes; zero stands for "not given", in ``advmss`` and ``priority`` as well."""
    advmss: int = 0
    priority: int = 0
    table: int | None = None
    scope: int | None = None


class DNS(NamedTuple):
    """What the container's resolver should know."""

    nameservers: tuple[str, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class Result(NamedTuple):
    """The success of an ADD, as an IPAM plugin reports it: without interfaces."""

    ips: tuple[IPConfig, ...] = ()
    routes: tuple[Route, ...] = ()
    dns: DNS = DNS()


def print_result(result: Result, cni_version: str) -> bytes:
    """Write a result as the version of the configuration wants it (CNI SPEC, section 5, "ADD Success").

    ``""`` counts as 0.1.0. Up to 0.2.0 there is one address of each family and no more: the first of
    each is printed. Raises :class:`CniError`: code 1 for a version that is not supported, code 999 for
    a result without any address up to 0.2.0.
    """
    version = cni_version or OLDEST
    if not at_least(version, "0.3.0"):
        return print_json(_form_of_0_1(result, version))
    if not at_least(version, "1.0.0"):
        return print_json(_form_of_0_3(result, version))
    return print_json(_form_of_1_0(result, version), sort_keys=True)


def print_error(error: CniError, cni_version: str) -> bytes:
    """Write an error (CNI SPEC, section 5, "Error"); unlike the CNI library's it names the version."""
    printed: dict[str, object] = {
        "cniVersion": cni_version or OLDEST,
        "code": error.code,
        "msg": error.msg,
    }
    if error.details:
        printed["details"] = error.details
    return print_json(printed)


def _form_of_0_1(result: Result, version: str) -> dict[str, object]:
    first = {ip.address.version: ip for ip in reversed(result.ips)}
    if not first:
        raise CniError(WHEREABOUTS, "cannot convert: no valid IP addresses")
    printed: dict[str, object] = {"cniVersion": version}
    for family in sorted(first):
        routes = [
            _without_empty(dst=str(route.dst), gw=_text(route.gw))
            for route in result.routes
            if route.dst.version == family
        ]
        ip = first[family]
        printed[f"ip{family}"] = _without_empty(ip=str(ip.address), gateway=_text(ip.gateway), routes=routes)
    printed["dns"] = _dns(result.dns)
    return printed


def _form_of_0_3(result: Result, version: str) -> dict[str, object]:
    ips = [{"version": str(ip.address.version), **_ip(ip)} for ip in result.ips]
    routes = list(map(_route, result.routes))
    return {**_without_empty(cniVersion=version, ips=ips, routes=routes), "dns": _dns(result.dns)}


def _form_of_1_0(result: Result, version: str) -> dict[str, object]:
    ips = list(map(_ip, result.ips))
    routes = list(map(_route, result.routes))
    return _without_empty(cniVersion=version, ips=ips, routes=routes, dns=_dns(result.dns))


def _ip(ip: IPConfig) -> dict[str, object]:
    return _without_empty(address=str(ip.address), gateway=_text(ip.gateway))


def _route(route: Route) -> dict[str, object]:
    printed = _without_empty(
        dst=str(route.dst),
        gw=_text(route.gw),
        mtu=route.mtu,
        advmss=route.advmss,
        priority=route.priority,
    )
    if route.table is not None:
        printed["table"] = route.table
    if route.scope is not None:
        printed["scope"] = route.scope
    return printed


def _dns(dns: DNS) -> dict[str, object]:
    return _without_empty(**dns._asdict())


def _text(address: IPv4Address | IPv6Address | None) -> str:
    return "" if address is None else str(address)


def _without_empty(**members: object) -> dict[str, object]:
    return {key: value for key, value in members.items() if value}
