"""How each range is cut into slices for nodes: ``node_slice_size``."""

from __future__ import annotations

from collections.abc import Sequence

from whereabouts.cni.errors import quote
from whereabouts.config.errors import Problems
from whereabouts.config.members import Members
from whereabouts.config.values import ConfiguredRange
from whereabouts.pool import PoolKey
from whereabouts.slices import SliceError, SliceRule, check_size, parse_size

KEY = "node_slice_size"


Read = tuple[str, Members, ConfiguredRange]
"""Where a range was read, and from which members."""


def add_slices(
    config: Members, network: str, ranges: Sequence[Read], problems: Problems
) -> tuple[ConfiguredRange, ...]:
    """Add to each range how it is cut; reports sizes that cannot be.

    The size of the whole configuration is that of its first range; a range of ``ipRanges`` may have its own.
    One without is cut into as many slices as the first, if there is a size of the whole configuration. The
    pool of the first range's slices has the Go plugin's name: ``network_name``, else the network's own.
    """
    name = config.text("network_name") or network
    added_bits = None
    made = []
    for index, (where, item, one) in enumerate(ranges):
        own = "" if item is config else item.text(KEY)
        pool = name if index == 0 else PoolKey(name, str(one.range.network)).name
        if own:
            rule = _rule(f"{where}.{KEY}", own, pool, one, problems)
        elif config.text(KEY) and index == 0:
            rule = _rule(KEY, config.text(KEY), pool, one, problems)
        elif config.text(KEY) and added_bits is not None:
            text = f"/{one.range.network.prefixlen + added_bits}"
            hint = f"; {where} may have a {KEY} of its own, else it has as many slices as the first range"
            rule = _rule(KEY, text, pool, one, problems, hint)
        else:
            rule = None
        if index == 0 and rule is not None:
            added_bits = rule.prefixlen - one.range.network.prefixlen
        made.append(one._replace(slices=rule))
    if config.text(KEY) and not made:
        problems.warnings.append(f"{KEY} has no effect without a range")
    return tuple(made)


def _rule(
    key: str, text: str, pool: str, one: ConfiguredRange, problems: Problems, hint: str = ""
) -> SliceRule | None:
    try:
        size = parse_size(text)
        check_size(one.range.network, size)
        if not pool:
            raise SliceError("the network has no name, and the slices would have none: set network_name")
    except SliceError as error:
        problems.report(
            f'invalid {KEY} {quote(text)} for range {one.range.network}: {error} (key "{key}"){hint}'
        )
        return None
    return SliceRule(pool, size, text)
