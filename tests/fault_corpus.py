"""Random states of a store as calls leave them, and faults of every kind to plant in them."""

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

from tests.faults import Never
from tests.memory_store import MemoryStore
from tests.small_cluster import SmallCluster
from tests.store_contract import allocator, attachment
from whereabouts.addresses import Address
from whereabouts.allocator import Demand, RangeFull
from whereabouts.block import Block, BlockKey, Space
from whereabouts.findings import Finding, Record
from whereabouts.liveness import CONFLICT
from whereabouts.overview import records_in
from whereabouts.owners import Owner
from whereabouts.pool import PoolKey, view_of
from whereabouts.ranges import Range

NOW = 1_700_000_000
RANGES = (
    Range.parse("10.0.0.0/22", excludes=["10.0.0.16/29", "10.0.1.0/26"]),
    Range.parse("10.0.0.0/24", start="10.0.0.64"),
    Range.parse("172.16.0.0/26", enable_l3=True),
    Range.parse("192.168.7.0/24", allow_dot_zero=True, excludes=["192.168.7.200/32"]),
    Range.parse("fd00::/64"),
    Range.parse("fd00:1::/120", excludes=["fd00:1::8/125"]),
)
NETWORKS = ("", "blue", "Not A Label")
OWN = Range.parse("10.9.0.0/24", excludes=["10.9.0.128/25"])
"""With ``enable_overlapping_ranges: false``."""


class State:
    """A store, the cluster whose pods it serves, and the configurations in use."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.store = MemoryStore()
        self.cluster = SmallCluster()
        self.configured: dict[PoolKey, list[Range]] = {}
        self.demands: list[Demand] = []
        for network_name in self.dice.sample(NETWORKS, self.dice.randint(1, len(NETWORKS))):
            for one in self.dice.sample(RANGES, self.dice.randint(1, 3)):
                self._configure(Demand(network_name, True, [one]))
            if self.dice.random() < 0.5:
                self._configure(Demand(network_name, False, [OWN]))
        self.pods: dict[str, tuple[Demand, Owner]] = {}
        self._number = 0
        for _ in range(self.dice.choice((0, 1, 10, 60, 120, 330))):
            self.step()

    def _configure(self, demand: Demand) -> None:
        self.demands.append(demand)
        self.configured[demand.pool_key(demand.ranges[0])] = [demand.ranges[0]]

    def step(self) -> None:
        """A call as a runtime makes it: a pod comes before its ADD, and goes after its DEL."""
        if self.pods and self.dice.random() < 0.25:
            self.remove(self.dice.choice(list(self.pods)))
        else:
            self.add()

    def add(self) -> None:
        """An ADD for a new pod."""
        self._number += 1
        ref, node = f"default/pod-{self._number}", f"node-{self.dice.randrange(4)}"
        demand = self.dice.choice(self.demands)
        owner = Owner(ref, "", f"{self._number:064x}", "net1", node, "net", "", NOW - 3600)
        self.cluster.run(ref, node)
        try:
            addresses = allocator(self.store).add(demand, owner, Never())
        except RangeFull:
            del self.cluster.known_pods[ref]
            return
        self.cluster.run(ref, node, *addresses)
        self.pods[ref] = demand, owner

    def remove(self, ref: str) -> None:
        """A DEL, and the end of its pod."""
        demand, owner = self.pods.pop(ref)
        allocator(self.store).delete(demand, attachment(owner), [], Never())
        del self.cluster.known_pods[ref]

    def records(self) -> Iterator[Record]:
        """What is recorded."""
        return records_in(self.store.blocks(Never()))

    def write(self, space: Space, address: Address, owner: Owner) -> None:
        """Record an owner behind the allocator's back."""
        key = BlockKey.of(space, address)
        previous = self.store.read_block(key, Never())
        block = Block(key, {}) if previous is None else previous.trusted()
        self.store.write_block(key, previous, block.with_owner(key.offset(address), owner), Never())

    def free_address(self, key: PoolKey, one: Range, *, given: bool = True) -> Address | None:
        """A free address of a range, at random: one that the configuration gives, or one that it does not."""
        space = self.store.stored_pools[key].pool.space if key in self.store.stored_pools else Space(key[0])
        base = one.network.network_address
        for _ in range(400):
            address = base + self.dice.randrange(min(one.network.num_addresses, 1024))
            stored = self.store.read_block(BlockKey.of(space, address), Never())
            free = stored is None or (
                stored.block is not None and stored.block.owner(stored.key.offset(address)) is None
            )
            if free and one.contains(int(address)) == given:
                return address
        return None


class Planted(NamedTuple):
    """What is to be found: a kind, and the address, or else the block or pool, that the finding names."""

    kind: str
    network_name: str
    where: str

    @classmethod
    def of(cls, finding: Finding) -> Self:
        """What a finding says."""
        where = finding.place if finding.record is None else str(finding.record.address)
        return cls(finding.kind, finding.network_name, where)


Plant = Callable[[State], Planted | None]
"""Plants a fault; None where the state has no place for it."""


def _victim(state: State) -> Record | None:
    """A record that nothing was done to yet, of a block that can be read."""
    untouched = [record for record in state.records() if record.owner.pod_ref in state.pods]
    if not untouched:
        return None
    record = state.dice.choice(untouched)
    del state.pods[record.owner.pod_ref]
    return record


def leak(state: State) -> Planted | None:
    record = _victim(state)
    if record is None:
        return None
    del state.cluster.known_pods[record.owner.pod_ref]
    return Planted("leak", record.space.network_name, str(record.address))


def completed(state: State) -> Planted | None:
    record = _victim(state)
    if record is None:
        return None
    phase = state.dice.choice(("Succeeded", "Failed"))
    state.cluster.run(record.owner.pod_ref, record.owner.node, phase=phase)
    return Planted("completed-pod", record.space.network_name, str(record.address))


def born_again(state: State) -> Planted | None:
    """A pod of the same name, which is another one and has another address."""
    record = _victim(state)
    if record is None:
        return None
    state.write(record.space, record.address, record.owner._replace(pod_uid="uid-of-the-first"))
    del state.cluster.known_pods[record.owner.pod_ref]
    state.cluster.run(record.owner.pod_ref, record.owner.node, uid="uid-of-the-second")
    return Planted("leak", record.space.network_name, str(record.address))


def duplicate(state: State) -> Planted | None:
    record = _victim(state)
    if record is None:
        return None
    key = PoolKey(record.space.network_name, record.owner.range)
    address = state.free_address(key, state.configured[key][0])
    if address is None:
        return None
    state.write(record.space, address, record.owner)
    return Planted("duplicate", record.space.network_name, str(address))


def conflict(state: State) -> Planted | None:
    record = _victim(state)
    if record is None:
        return None
    claims = f"{record.owner.pod_ref} net1 aa and default/other net1 bb"
    owner = record.owner._replace(pod_ref="", pod_uid="", ifname="", container_id=CONFLICT + claims)
    state.write(record.space, record.address, owner)
    return Planted("conflict", record.space.network_name, str(record.address))


def outside_range(state: State) -> Planted | None:
    record = _victim(state)
    if record is None:
        return None
    wrong = state.dice.choice(("203.0.113.0/24", "fd99::/64", "", "no range"))
    state.write(record.space, record.address, record.owner._replace(range=wrong))
    return Planted("outside-range", record.space.network_name, str(record.address))


def no_pool(state: State) -> Planted | None:
    record = _victim(state)
    if record is None:
        return None
    wrong = f"{record.address}/{32 if record.address.version == 4 else 128}"
    state.write(record.space, record.address, record.owner._replace(range=wrong))
    return Planted("no-pool", record.space.network_name, str(record.address))


def wrong_space(state: State) -> Planted | None:
    """A record where the range lived before its pool was deleted and made anew otherwise."""
    record = _victim(state)
    if record is None:
        return None
    key = BlockKey.of(record.space, record.address)
    stored = state.store.read_block(key, Never())
    assert stored is not None
    rest = stored.trusted().without([key.offset(record.address)])
    state.store.write_block(key, stored, rest, Never())
    for name, pool in state.store.stored_pools.items():
        state.store.stored_pools[name] = pool._replace(pool=pool.pool.without_exhausted(key.base))
    other = Space(record.space.network_name, "" if record.space.own_range else record.owner.range)
    state.write(other, record.address, record.owner)
    return Planted("wrong-space", record.space.network_name, str(record.address))


def excluded(state: State) -> Planted | None:
    record = _victim(state)
    if record is None:
        return None
    key = PoolKey(record.space.network_name, record.owner.range)
    address = state.free_address(key, state.configured[key][0], given=False)
    if address is None:
        return None
    ref = f"default/excluded-{address}".replace(":", "-")
    state.write(record.space, address, record.owner._replace(pod_ref=ref))
    state.cluster.run(ref, record.owner.node, address)
    return Planted("excluded", record.space.network_name, str(address))


def damaged(state: State) -> Planted | None:
    """Halves that do not fit, or fail their checksums, of a block in which nothing else was planted."""
    pools = [stored.pool for stored in state.store.stored_pools.values()]
    keys = [
        stored.key
        for stored in state.store.blocks(Never())
        if stored.block
        and all(owner.pod_ref in state.pods for owner in stored.block.holders())
        and not any(pool.is_exhausted(stored.key) for pool in pools)
    ]
    if not keys:
        return None
    key = state.dice.choice(keys)
    revision, bitmap, owners = state.store.halves[key]
    stored = state.store.read_block(key, Never())
    assert stored is not None
    block = stored.trusted()
    offset, owner = state.dice.choice(list(block))
    way = state.dice.randrange(5)
    if way == 0:
        bitmap = block.without([offset]).bitmap()
    elif way == 1:
        owners = block.with_owner(offset, owner._replace(container_id="ff")).owners()[:-1]
    elif way == 2:
        owners = bytes([*owners[:-1], owners[-1] ^ 1])
    elif way == 3:
        at = state.dice.randrange(len(bitmap))
        bitmap = bytes([*bitmap[:at], bitmap[at] ^ 0x10, *bitmap[at + 1 :]])
    else:
        bitmap = b""
    state.store.halves[key] = (revision, bitmap, owners)
    for _, holder in block:
        state.pods.pop(holder.pod_ref, None)
    return Planted("damaged-block", key.space.network_name, key.name)


def false_hint(state: State) -> Planted | None:
    pools = [
        stored
        for key, stored in sorted(state.store.stored_pools.items())
        if state.free_address(key, state.configured[key][0]) is not None
    ]
    if not pools:
        return None
    stored = state.dice.choice(pools)
    pool, configured = stored.pool, state.configured[stored.pool.key][0]
    address = state.free_address(pool.key, configured)
    assert address is not None
    key = BlockKey.of(pool.space, address)
    view = state.dice.choice((view_of(configured), view_of(configured), "unknown"))
    known = state.store.read_block(key, Never())
    if view == "unknown" and known is not None and len(known.trusted()):
        view = view_of(configured)
    state.store.stored_pools[pool.key] = stored._replace(pool=pool.with_exhausted(view, [key.base]))
    return Planted("false-hint", pool.key.network_name, f"{pool.key.name} {view}")


PLANTS: dict[str, Plant] = {
    plant.__name__: plant
    for plant in (
        leak,
        completed,
        born_again,
        duplicate,
        conflict,
        outside_range,
        no_pool,
        wrong_space,
        excluded,
        false_hint,
        damaged,
    )
}
"""Those that damage blocks come last: the others need blocks that can be read."""


def plant_some(state: State, count: int) -> set[Planted]:
    """Plant faults of some kinds; what has to be found, no more and no less."""
    names = sorted(state.dice.choices(list(PLANTS), k=count), key=list(PLANTS).index)
    return {planted for name in names if (planted := PLANTS[name](state)) is not None}
