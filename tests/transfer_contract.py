"""States of a datastore, to be put into stores and taken out again."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from hypothesis import strategies as st

from whereabouts.block import Block, BlockKey, Space
from whereabouts.deadline import Deadline
from whereabouts.export_format import Damaged, Entry, Header, Writer, read_end, read_entries
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.slices import Slice, SlicePool, cut
from whereabouts.store import Store
from whereabouts.transfer import Importer, content_of

from .store_contract import SOON

POOLS = [
    PoolKey("", "10.0.0.0/8"),
    PoolKey("", "10.1.0.0/16"),
    PoolKey("blue", "10.1.0.0/16"),
    PoolKey("", "fd00::/64"),
    PoolKey("Two Words", "::/0"),
]
PLACES = [
    BlockKey.of(Space(name, own), ip_address(address))
    for name, own, address in [
        ("", "", "10.1.0.0"),
        ("", "", "10.1.1.0"),
        ("", "10.1.0.0/16", "10.1.0.0"),
        ("blue", "", "10.1.0.0"),
        ("", "", "fd00::"),
        ("Two Words", "", "::ff00"),
    ]
]
pods = st.sampled_from(["default/a", "default/b", "kube-system/c", ""])
owners = st.builds(
    Owner,
    pod_ref=pods,
    pod_uid=st.sampled_from(["", "6baa9455-e3e7-0682-c209-4cac629f6fbe"]),
    container_id=st.sampled_from(["a" * 64, "b" * 64, "conflict: a/b"]),
    ifname=st.sampled_from(["net1", "net2", ""]),
    node=st.sampled_from(["node-1", "nöde"]),
    network=st.sampled_from(["macvlan", ""]),
    range=st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "fd00::/64", "", "no range"]),
    created=st.integers(0, 2**32 - 1),
)


class State(NamedTuple):
    """Which pools there are, with their flag, and who holds which offset of which block."""

    pools: Mapping[PoolKey, bool]
    blocks: Mapping[BlockKey, Mapping[int, Owner]]
    slices: Sequence[SlicePool] = ()

    def entries(self) -> list[Entry]:
        pools: list[Entry] = [Pool(key, shared) for key, shared in sorted(self.pools.items())]
        return [*pools, *self.slices] + [
            Block(key, owners) for key, owners in sorted(self.blocks.items()) if owners
        ]


nodes = st.sampled_from(["", "", "node-1", "node-2", "node-3"])
slice_pools = st.builds(
    lambda name, prefixlen, nodes: SlicePool(
        name,
        "10.1.0.0/16",
        f"/{prefixlen}",
        tuple(map(Slice, map(str, cut(ip_network("10.1.0.0/16"), prefixlen)), nodes)),
    ),
    st.sampled_from(["10.1.0.0-16", "blue"]),
    st.sampled_from([17, 18]),
    st.lists(nodes, min_size=4, max_size=4, unique_by=lambda node: node or object()),
)

states = st.builds(
    State,
    st.dictionaries(st.sampled_from(POOLS), st.booleans()),
    st.dictionaries(
        st.sampled_from(PLACES), st.dictionaries(st.integers(0, 255), owners, max_size=5), max_size=4
    ),
    st.lists(slice_pools, max_size=2, unique_by=lambda pool: pool.name).map(sorted),
)


def state_of(store: Store) -> State:
    """What a store holds. Nothing of it may be damaged."""
    pools, blocks, slices = {}, {}, []
    for entry in content_of(store, Deadline(SOON)):
        assert not isinstance(entry, Damaged)
        if isinstance(entry, Pool):
            pools[entry.key] = entry.shared
        elif isinstance(entry, SlicePool):
            slices.append(entry)
        else:
            blocks[entry.key] = dict(entry)
    return State(pools, blocks, slices)


def without_empty(state: State) -> State:
    """The state as a store has it, which keeps no block for nothing."""
    blocks = {key: dict(owners) for key, owners in state.blocks.items() if owners}
    return State(state.pools, blocks, list(state.slices))


def put_in(store: Store, entries: Iterable[Entry], **options: int) -> tuple[Importer, list[str]]:
    """Import entries; the sentences about what was not put in."""
    importer = Importer(store, **options)  # type: ignore[arg-type]
    problems = [problem for entry in entries for problem in importer.add(entry, Deadline(SOON))]
    return importer, problems


def through_a_file(store: Store) -> list[Entry]:
    """Export a store, and read the file."""
    lines: list[bytes] = []
    writer = Writer(lines.append)
    writer.add(Header("a test", 1_700_000_000))
    for entry in content_of(store, Deadline(SOON)):
        writer.add(entry)
    writer.finish()
    read_end(lines)
    return list(read_entries(lines))[1:]
