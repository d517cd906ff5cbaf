"""The ranges of a configuration: ``range`` and ``ipRanges``, and the gateway of each."""

from __future__ import annotations

from collections.abc import Sequence

from whereabouts.addresses import Address, AddressError, parse_address, shown, text_of
from whereabouts.config.address_keys import read_address
from whereabouts.config.errors import Problems
from whereabouts.config.members import Members
from whereabouts.config.values import ConfiguredRange
from whereabouts.ranges import Range, RangeError


def read_ranges(config: Members, network: str, problems: Problems) -> tuple[ConfiguredRange, ...]:
    """Make the ranges of a configuration of ``network``: ``range`` first, then ``ipRanges`` in order.

    Reports what cannot be parsed, and ranges that would give one address twice. A range that cannot be
    parsed and was passed over is left out.
    """
    common = _common_gateway(config, problems)
    items = [("range", config)] if config.text("range") else []
    items += [(f"ipRanges[{index}]", item) for index, item in enumerate(config.objects("ipRanges"))]
    made = []
    for where, item in items:
        one = _read(config, where, item, common, problems)
        if one is not None:
            made.append((where, item, one))
    _check_apart([(where, one) for where, _, one in made], config.flag("enable_overlapping_ranges"), problems)
    ranges = tuple(one for *_, one in made)
    _warn_of_idle_keys(config, common, ranges, problems)
    if not any(item.text("node_slice_size") for item in (config, *config.objects("ipRanges"))):
        return ranges
    from whereabouts.config.node_slices import add_slices

    return add_slices(config, network, made, problems)


def _read(
    config: Members, where: str, item: Members, common: Address | None, problems: Problems
) -> ConfiguredRange | None:
    own = None if item is config else read_address(item, where, "gateway", problems)
    gateway = own or common
    try:
        made = Range.parse(
            item.text("range"),
            start=_bound(config, item, where, "range_start", problems),
            end=_bound(config, item, where, "range_end", problems),
            excludes=item.texts("exclude"),
            gateway=gateway,
            enable_l3=config.flag("enable_l3"),
            allow_dot_zero=config.flag("allow_dot_zero"),
            exclude_gateway=config.flag("exclude_gateway"),
            lenient=problems.lenient,
        )
    except RangeError as error:
        problems.report(f'{error} (key "{where}")')
        return None
    problems.warnings += [f"{where}: {warning}" for warning in made.warnings]
    if own is not None and own.version != made.version:
        problems.report(f"{where}: gateway {text_of(own)} is not of the family of range {made.network}")
    same_family = gateway is not None and gateway.version == made.version
    return ConfiguredRange(made, gateway if same_family else None)


def _common_gateway(config: Members, problems: Problems) -> Address | None:
    text = config.text("gateway")
    try:
        return parse_address(text, lenient=True) if text else None
    except AddressError:
        problems.report(f"couldn't parse gateway IP: {shown(text)}")
        return None


def _bound(config: Members, item: Members, where: str, key: str, problems: Problems) -> str | Address | None:
    """A bound; in ``ipRanges`` it is parsed strictly, as the Go plugin's JSON decoder does."""
    return config.text(key) if item is config else read_address(item, where, key, problems)


def _check_apart(made: Sequence[tuple[str, ConfiguredRange]], shared: bool, problems: Problems) -> None:
    """Report ranges of which the second would give the address that the first has given.

    A pod's interface has one address of a range. Ranges that overlap share their blocks and give
    different addresses, unless each has a space of its own (``shared`` is false).
    """
    ordered = sorted(made, key=lambda entry: _position(entry[1].range))
    for index, (where, one) in enumerate(ordered[1:]):
        network = one.range.network
        before, other = ordered[index]
        if network == other.range.network:
            problems.report(
                f'"{before}" and "{where}" are both {network}, and an interface gets one address of a range'
            )
        elif not shared and network.overlaps(other.range.network):
            problems.report(
                f'"{before}" {other.range.network} and "{where}" {network} overlap, and with '
                "enable_overlapping_ranges: false both could give the same address"
            )


def _position(one: Range) -> tuple[int, int, int]:
    """Sorts a network before those inside it, and these before all later ones."""
    return one.version, int(one.network.network_address), one.network.prefixlen


def _warn_of_idle_keys(
    config: Members, common: Address | None, made: Sequence[ConfiguredRange], problems: Problems
) -> None:
    """Warn of keys that are set and have nothing to act upon."""
    if not config.text("range"):
        problems.warnings += [
            f"{key} has no effect without range: it does not apply to ipRanges"
            for key in ("range_start", "range_end", "exclude")
            if config.has(key)
        ]
    if common is not None and all(one.gateway != common for one in made):
        problems.warnings.append(f"gateway {text_of(common)} has no effect: no range of its family needs it")
