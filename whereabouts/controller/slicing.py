"""Node slices: each range that asks for them is cut, and each node has a slice of its own.

What definitions ask for, which nodes there are and which slices hold addresses is compared with the
NodeSlicePools, and those are written where they differ, on condition that nobody else did. Nothing here is
needed for safety: an address is unique whoever gives it, from whichever slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from ipaddress import ip_network
from typing import NamedTuple

from whereabouts.addresses import Network as Addresses
from whereabouts.addresses import parse_network
from whereabouts.block import BLOCK_SIZE, BlockKey, Space
from whereabouts.cluster.networks import DefinitionFiles, Network, read_networks
from whereabouts.cluster.reading import KubernetesCluster
from whereabouts.deadline import Deadline
from whereabouts.errors import WhereaboutsError
from whereabouts.pool import Pool, PoolKey
from whereabouts.ranges import Range
from whereabouts.slices import SlicePool, SliceRule, assign, recut
from whereabouts.store import Conflict, Store, StoredSlices, Unsettled

KUBERNETES = "kubernetes"


class Wanted(NamedTuple):
    """What a range of a network asks for."""

    definition: str
    """``namespace/name`` of the NetworkAttachmentDefinition."""
    pool: SlicePool
    """Cut, and without nodes."""
    key: PoolKey
    """The range's own pool."""
    shared: bool
    ranges: Sequence[Range]
    """The range as each definition that wants the same has it: their excludes may differ."""


class Sliced(NamedTuple):
    """What a pass found, and left behind."""

    pools: Sequence[SlicePool]
    without: Mapping[str, Sequence[str]]
    """Nodes that have no slice, by the names of pools; only pools with such nodes."""
    faults: Mapping[str, str]
    """What is wrong with definitions, by their ``namespace/name``."""
    failures: Sequence[str]
    """What could not be done; all else was."""
    configured: Mapping[PoolKey, Sequence[Range]]
    """The ranges of the definitions that can be read, by the pools that they use."""


class Slicer:
    """Keeps NodeSlicePools as definitions and nodes want them."""

    def __init__(self, store: Store, cluster: KubernetesCluster, files: DefinitionFiles) -> None:
        """Read definitions with ``files``."""
        self._store = store
        self._cluster = cluster
        self._files = files

    def sync(self, deadline: Deadline) -> Sliced:
        """Compare and write. Raises what the lists raise; what fails for one pool is in the result."""
        networks, unreadable = read_networks(self._cluster.attachment_definitions(deadline), self._files)
        stored = {one.pool.name: one for one in self._store.slice_pools(deadline)}
        here = [network for network in networks if network.config.datastore == KUBERNETES]
        wanted, faults = wanted_by(here, stored)
        faults.update(unreadable)
        nodes = sorted(self._cluster.nodes(deadline)) if wanted else []
        pools: list[SlicePool] = []
        without: dict[str, Sequence[str]] = {}
        failures: list[str] = []
        for name, one in wanted.items():
            try:
                pool, left = self._settle(one, stored.get(name), nodes, deadline)
            except WhereaboutsError as error:
                failures.append(f"NodeSlicePool {name}: {error}")
                continue
            pools.append(pool)
            if left:
                without[name] = left
        if not unreadable:  # else they might want what seems to be unwanted
            unwanted = [one for name, one in stored.items() if name not in wanted]
            failures += self._drop(unwanted, deadline)
        return Sliced(pools, without, faults, failures, _configured(here))

    def _settle(
        self, wanted: Wanted, stored: StoredSlices | None, nodes: Sequence[str], deadline: Deadline
    ) -> tuple[SlicePool, list[str]]:
        """Bring one pool to what is wanted; the pool, and the nodes without a slice."""
        used = _Use(self._store, wanted, deadline)
        while True:
            before = wanted.pool if stored is None else stored.pool
            if _parts(before) != _parts(wanted.pool):
                before = recut(before, wanted.pool)
            after, left = assign(before, nodes, used.spoils)
            try:
                if stored is None:
                    self._store.create_slices(after, deadline)
                elif after != stored.pool:
                    self._store.write_slices(stored, after, deadline)
                return after, left
            except (Conflict, Unsettled):
                deadline.pause(self._store.conflict_pause, f"{wanted.pool.name} is written by others")
                stored = self._store.read_slices(wanted.pool.name, deadline, fresh=True)

    def _drop(self, unwanted: Sequence[StoredSlices], deadline: Deadline) -> Iterator[str]:
        """Delete pools that nobody asks for any more, but not before their addresses are free."""
        for stored in unwanted:
            try:
                if not self._in_use(stored.pool, deadline):
                    self._store.delete_slices(stored, deadline)
            except WhereaboutsError as error:
                yield f"NodeSlicePool {stored.pool.name}: {error}"

    def _in_use(self, pool: SlicePool, deadline: Deadline) -> bool:
        """Whether any pool of the same range has an address in use: which of them it is of is not said."""
        network = ip_network(pool.range)
        spaces = {one.pool.space for one in self._store.pools(deadline) if one.pool.key.range == pool.range}
        return any(any(_used_parts(self._store, space, network, deadline)) for space in spaces)


class _Use:
    """Which slices of a range nobody should get; what is used is looked up when somebody asks, and once."""

    def __init__(self, store: Store, wanted: Wanted, deadline: Deadline) -> None:
        self._store = store
        self._wanted = wanted
        self._deadline = deadline
        self._found: set[str] | None = None

    def spoils(self, slice_range: str) -> bool:
        """Whether an address of that slice is in use, or nobody can be given any of it."""
        part = parse_network(slice_range)
        if not any(configured.within(part).capacity() for configured in self._wanted.ranges):
            return True
        if self._found is None:
            self._found = set(self._look())
        return slice_range in self._found

    def _look(self) -> Iterator[str]:
        pool, key = self._wanted.pool, self._wanted.key
        stored = self._store.read_pool(key, self._deadline)
        space = stored.pool.space if stored else Pool(key, self._wanted.shared).space
        network = ip_network(pool.range)
        first, size = int(network.network_address), ip_network(pool.slices[0].range).num_addresses
        for start, stop in _used_parts(self._store, space, network, self._deadline):
            for index in range((start - first) // size, (stop - 1 - first) // size + 1):
                yield pool.slices[index].range


def _used_parts(
    store: Store, space: Space, network: Addresses, deadline: Deadline
) -> Iterator[tuple[int, int]]:
    """Runs of used addresses of a network, half-open; a block that cannot be read is used as a whole."""
    first, last = int(network.network_address), int(network.broadcast_address)
    lowest = BlockKey.of(space, network.network_address)
    for key, used in store.bitmaps(space, lowest.version, lowest.base, last, deadline):
        for start, stop in [(0, BLOCK_SIZE)] if used is None else used.runs():
            run = max(first, key.base + start), min(last + 1, key.base + stop)
            if run[0] < run[1]:
                yield run


def _parts(pool: SlicePool) -> tuple[str, list[str]]:
    return pool.range, [one.range for one in pool.slices]


def wanted_by(
    networks: Iterable[Network], stored: Mapping[str, StoredSlices]
) -> tuple[dict[str, Wanted], dict[str, str]]:
    """What networks ask for, by the names of pools, and what is wrong with their definitions.

    Definitions that mean the same pool have to agree on its range and size. Of those that do not, the one
    that the stored pool was cut for is right, else the first by its name.
    """
    asked: dict[str, list[Wanted]] = {}
    uncut = cache(SliceRule.uncut)  # a network has a definition in each of many namespaces
    for network in sorted(networks, key=lambda network: network.definition):
        for one in _of_network(network, uncut):
            asked.setdefault(one.pool.name, []).append(one)
    wanted: dict[str, Wanted] = {}
    faults: dict[str, str] = {}
    for name, contenders in asked.items():
        cut = _parts(stored[name].pool) if name in stored else None
        right = next((one for one in contenders if _parts(one.pool) == cut), contenders[0])
        ranges: list[Range] = []
        for one in contenders:
            if _parts(one.pool) == _parts(right.pool):
                ranges += one.ranges
            else:
                faults[one.definition] = (
                    f"NodeSlicePool {name} is {right.pool.range} in slices of {right.pool.slice_size}, as "
                    f"{right.definition} says, but here {one.pool.range} in slices of {one.pool.slice_size}: "
                    "say the same, or choose another network_name"
                )
        wanted[name] = right._replace(ranges=ranges)
    return wanted, faults


def _configured(networks: Iterable[Network]) -> dict[PoolKey, list[Range]]:
    configured: dict[PoolKey, list[Range]] = {}
    for network in networks:
        for one in network.config.ranges:
            key = PoolKey(network.config.network_name, str(one.range.network))
            configured.setdefault(key, []).append(one.range)
    return configured


def _of_network(network: Network, uncut: Callable[[SliceRule, Addresses], SlicePool]) -> Iterator[Wanted]:
    config = network.config
    for one in config.ranges:
        if one.slices is not None:
            pool = uncut(one.slices, one.range.network)
            key = PoolKey(config.network_name, str(one.range.network))
            yield Wanted(network.definition, pool, key, config.overlapping, [one.range])
