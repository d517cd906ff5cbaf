"""Which pool an IPPool is.

Ours says so: its name follows from its key, and annotations tell of a slice which node's it is, and of which
range. The Go plugin's objects have only a name, and ``blue-10.0.0.0-24`` may be the range of a network name
or the slice of a node: NodeSlicePools tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

from whereabouts.deadline import Deadline
from whereabouts.pool import PoolKey
from whereabouts.slices import Slice, SlicePool
from whereabouts.stores import kube_objects as objects
from whereabouts.stores.kube_resources import Resources
from whereabouts.stores.kube_slices import KubeSlices
from whereabouts.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


class PoolKeys:
    """Reads the keys of pools' objects. NodeSlicePools are listed once, and only if they are needed."""

    def __init__(self, resources: Resources, deadline: Deadline) -> None:
        """Pools among ``resources``."""
        self._resources = resources
        self._deadline = deadline
        self._slices: Sequence[SlicePool] | None = None

    @property
    def slices(self) -> Sequence[SlicePool]:
        """Every NodeSlicePool."""
        if self._slices is None:
            listed = KubeSlices(self._resources).all(self._deadline)
            self._slices = [stored.pool for stored in listed]
        return self._slices

    def of(self, content: Any) -> PoolKey | None:
        """Which pool an object is; None for one whose name and range do not agree."""
        range_text = _range(content)
        if range_text is None:
            return None
        node, whole = objects.read_slice(content["metadata"])
        if node:
            return _named(content, PoolKey("", range_text, node, whole))
        key = _named(content, PoolKey("", range_text))
        if key is None or not key.network_name or objects.is_ours(content):
            return key
        return self._slice_of_go_plugin(key) or key

    def asked_for(self, content: Any, key: PoolKey) -> PoolKey | None:
        """The same, where somebody looks for the pool ``key`` and has found this object by its name."""
        marked = objects.is_ours(content) or objects.read_slice(content["metadata"])[0]
        return key if key.node and not marked and _range(content) == key.range else self.of(content)

    def _slice_of_go_plugin(self, key: PoolKey) -> PoolKey | None:
        """What a NodeSlicePool makes of an object that would be the pool of a network name."""
        network, found = ip_network(key.range), []
        for pool in self.slices:
            whole = ip_network(pool.range, strict=False) if pool.range else None
            if whole is None or whole.version != network.version or network.network_address not in whole:
                continue
            for network_name in ("", pool.name):
                node = key.network_name[len(network_name) + 1 if network_name else 0 :]
                one = PoolKey(network_name, key.range, node, pool.range)
                if node and one.name == key.name and any(node == part.node for part in pool.slices):
                    found.append((Slice(key.range, node) not in pool.slices, one))
        return min(found)[1] if found else None


def _range(content: Any) -> str | None:
    """The network of an object's range. The Go plugin's may have host bits: its offsets count from there."""
    try:
        return str(ip_network((content.get("spec") or {}).get("range") or "", strict=False))
    except ValueError:
        return None


def _named(content: Any, key: PoolKey) -> PoolKey | None:
    """The key with the network name that the object's name begins with; None if that is not its name."""
    try:
        name = objects.named(content["metadata"]["name"])
    except ValueError:
        return None
    for text in (key.range, content["spec"]["range"]):
        plain = key._replace(range=text).name
        if name == plain:
            return key
        if name.endswith(f"-{plain}"):
            return key._replace(network_name=name.removesuffix(f"-{plain}"))
    return None
