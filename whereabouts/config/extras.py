"""What is reported besides the addresses of ranges: static addresses, routes, DNS."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

from whereabouts.addresses import Address, AddressError, Interface, parse_address, parse_interface, shown
from whereabouts.cni.args import CniArgs
from whereabouts.cni.results import DNS, IPConfig, Route
from whereabouts.config.address_keys import read_address
from whereabouts.config.errors import Problems
from whereabouts.config.members import Members


def read_static(config: Members, args: CniArgs, problems: Problems) -> tuple[IPConfig, ...]:
    """Static addresses: ``addresses`` in order, then ``IP`` of CNI_ARGS.

    A ``GATEWAY`` of CNI_ARGS becomes the gateway of each of them whose subnet holds it.
    """
    static = []
    for index, item in enumerate(config.objects("addresses")):
        one = _read_static(item, f"addresses[{index}]", problems)
        if one is not None:
            static.append(one)
    for text in args.ip:
        address = _interface(text, f"invalid CIDR {shown(text)}", "IP of CNI_ARGS", problems)
        if address is not None:
            static.append(IPConfig(address))
    gateways = [_gateway_of_args(text, problems) for text in args.gateway]
    return _with_gateways(static, [gateway for gateway in gateways if gateway is not None])


def read_routes(config: Members, problems: Problems) -> tuple[Route, ...]:
    """Routes, in order; one that cannot be parsed and was passed over is left out."""
    routes = [
        _read_route(item, f"routes[{index}]", problems) for index, item in enumerate(config.objects("routes"))
    ]
    return tuple(route for route in routes if route is not None)


def read_dns(config: Members) -> DNS:
    """What the resolver should know."""
    dns = config.object("dns")
    return DNS(dns.texts("nameservers"), dns.text("domain"), dns.texts("search"), dns.texts("options"))


def _read_static(item: Members, where: str, problems: Problems) -> IPConfig | None:
    text = item.text("address")
    address = _interface(text, f"invalid CIDR in addresses {shown(text)}", f"{where}.address", problems)
    gateway = read_address(item, where, "gateway", problems)
    if address is None:
        return None
    if gateway is not None and gateway.version != address.version:
        problems.report(f"{where}: gateway {gateway} is not of the family of address {address}")
        gateway = None
    return IPConfig(address, gateway)


def _read_route(item: Members, where: str, problems: Problems) -> Route | None:
    text = item.text("dst")
    try:
        dst = parse_interface(text)
    except AddressError as error:
        problems.report(f'{error} (key "{where}.dst")')
        return None
    return Route(
        dst,
        read_address(item, where, "gw", problems),
        item.number("mtu"),
        item.number("advmss"),
        item.number("priority"),
        item.number("table") if item.has("table") else None,
        item.number("scope") if item.has("scope") else None,
    )


def _interface(text: str, mistake: str, where: str, problems: Problems) -> Interface | None:
    try:
        return parse_interface(text, lenient=True)
    except AddressError as error:
        problems.report(f'{mistake}: {error} (key "{where}")')
        return None


def _gateway_of_args(text: str, problems: Problems) -> Address | None:
    try:
        return parse_address(text, lenient=True)
    except AddressError:
        problems.report(f'invalid gateway address: {shown(text)} (key "GATEWAY of CNI_ARGS")')
        return None


def _with_gateways(static: Sequence[IPConfig], gateways: Sequence[Address]) -> tuple[IPConfig, ...]:
    """The addresses, each with the last of the gateways that is in its subnet.

    By subnet, so that many addresses and many gateways take no time for every pair of them.
    """
    sizes = {(one.address.version, one.address.network.prefixlen) for one in static}
    last = {
        ip_network((gateway, prefixlen), strict=False): gateway
        for gateway in gateways
        for version, prefixlen in sizes
        if version == gateway.version
    }
    return tuple(one._replace(gateway=last.get(one.address.network, one.gateway)) for one in static)
