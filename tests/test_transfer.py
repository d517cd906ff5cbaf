"""What is taken out of a store and put into another is the same; what is there is never touched."""

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings

from whereabouts.block import BLOCK_SIZE, Block, BlockKey
from whereabouts.deadline import Deadline
from whereabouts.export_format import Damaged, LeftOut
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.slices import Slice, SlicePool
from whereabouts.store import Store
from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kubernetes import KubernetesStore
from whereabouts.stores.sqlite import SqliteStore
from whereabouts.transfer import content_of

from .api_double import ApiDouble, api_double
from .api_server import ADMIN, ApiServer, api_server, kubeconfig, resources
from .faults import FaultyStore, Killed
from .store_contract import SOON, block_with, pod
from .test_owners import typical
from .transfer_contract import PLACES, State, put_in, state_of, states, through_a_file, without_empty

MERGE = "application/merge-patch+json"


@contextmanager
def sqlite() -> Iterator[SqliteStore]:
    with TemporaryDirectory() as folder, closing(SqliteStore(f"{folder}/w.db", Deadline(SOON))) as store:
        yield store


@contextmanager
def cluster_of(server: ApiDouble | ApiServer) -> Iterator[KubernetesStore]:
    """A namespace that nobody has used."""
    authority = server.authority if isinstance(server, ApiServer) else ""
    with TemporaryDirectory() as folder:
        path = kubeconfig(Path(folder) / "k", server.server, server.namespace(), ADMIN, authority)
        with closing(KubernetesStore(from_kubeconfig(path))) as store:
            yield store


@pytest.fixture(scope="module")
def double() -> Iterator[ApiDouble]:
    with api_double() as double:
        yield double


@pytest.fixture(scope="module")
def etcd() -> Iterator[Callable[[], Store]]:
    """Opens stores under prefixes that nobody has used, all in one server."""
    pytest.importorskip("grpc", reason="grpcio is not installed (pip install 'whereabouts-ipam[etcd]')")
    from whereabouts.stores.etcd import EtcdStore

    from .etcd_server import cluster

    numbers = itertools.count()
    with cluster() as (server,):
        yield lambda: EtcdStore(server.host, prefix=f"/transfer/{next(numbers)}/")


def assert_same_after_each(state: State, *stores: Store) -> None:
    """Put the state into the first store, and from each into the next."""
    entries = state.entries()
    for store in stores:
        importer, problems = put_in(store, entries)
        assert (problems, importer.known, importer.known_pools) == ([], 0, 0)
        assert state_of(store) == without_empty(state)
        entries = through_a_file(store)


@pytest.mark.etcd
@settings(max_examples=25)
@given(states)
def test_content_goes_through_all_stores_and_is_the_same(
    etcd: Callable[[], Store], double: ApiDouble, state: State
) -> None:
    with sqlite() as first, closing(etcd()) as second, cluster_of(double) as third, sqlite() as last:
        assert_same_after_each(state, first, second, third, last)


@pytest.mark.etcd
@pytest.mark.apiserver
@settings(max_examples=5)
@given(states)
def test_content_goes_through_a_real_cluster_and_is_the_same(etcd: Callable[[], Store], state: State) -> None:
    with cluster_of(api_server()) as first, closing(etcd()) as second, sqlite() as last:
        assert_same_after_each(state, first, second, last)


def full_state() -> State:
    """Full blocks of a range that has its own space, and of one that has not."""
    owners = [owner._replace(range="10.0.0.0/8") for owner in typical(BLOCK_SIZE)]
    own = [owner._replace(range="10.1.0.0/16") for owner in typical(BLOCK_SIZE, seed=2)]
    pools = {PoolKey("", "10.0.0.0/8"): True, PoolKey("", "10.1.0.0/16"): False}
    return State(pools, {PLACES[0]: dict(enumerate(owners)), PLACES[2]: dict(enumerate(own))})


@pytest.mark.etcd
@pytest.mark.apiserver
def test_full_blocks_go_through_every_store(etcd: Callable[[], Store], double: ApiDouble) -> None:
    clusters = cluster_of(double), cluster_of(api_server())
    with sqlite() as first, closing(etcd()) as second, clusters[0] as third, clusters[1] as fourth:
        assert_same_after_each(full_state(), first, second, third, fourth)


def merged(there: State, file: State) -> tuple[State, int]:
    """By the rule, said naively: who is there stays; the number of addresses that contradict."""
    pools = {**file.pools, **there.pools}
    blocks = {key: dict(owners) for key, owners in there.blocks.items()}
    conflicts = sum(there.pools.get(key, shared) != shared for key, shared in file.pools.items())
    for key, owners in file.blocks.items():
        for offset, owner in owners.items():
            pool_key = PoolKey(key.space.network_name, owner.range)
            shared = pools.get(pool_key)
            moved = (
                shared is not None
                and file.pools.get(pool_key) != shared
                and Pool(pool_key, shared).space != key.space
            )
            holder = blocks.setdefault(key, {}).get(offset)
            if moved or (holder is not None and not same(holder, owner)):
                conflicts += 1
            else:
                blocks[key].setdefault(offset, owner)
    slices = {pool.name: pool for pool in there.slices}
    for pool in file.slices:
        slices[pool.name], refused = merged_slices(slices.get(pool.name), pool)
        conflicts += refused
    return without_empty(State(pools, blocks, sorted(slices.values()))), conflicts


def merged_slices(there: SlicePool | None, file: SlicePool) -> tuple[SlicePool, int]:
    """A node gets the slice that the file says if neither has another."""
    if there is None:
        return file, 0
    nodes = {one.node: one.range for one in file.slices if one.node}
    if there.slice_size != file.slice_size:
        return there, len(nodes)
    taken = {one.range: one.node for one in there.slices}
    conflicts = 0
    for node, text in nodes.items():
        if taken[text] != node:
            if taken[text] or node in [one.node for one in there.slices]:
                conflicts += 1
            else:
                taken[text] = node
    return there._replace(slices=tuple(Slice(text, node) for text, node in taken.items())), conflicts


def same(holder: Owner, owner: Owner) -> bool:
    interface = holder.ifname in ("", owner.ifname)
    return interface and (holder.pod_ref, holder.container_id) == (owner.pod_ref, owner.container_id)


@given(states, states)
def test_what_is_there_stays_and_only_what_does_not_contradict_it_is_added(there: State, file: State) -> None:
    expected, conflicts = merged(there, file)
    with sqlite() as store:
        put_in(store, there.entries())
        looked, foreseen = put_in(store, file.entries(), dry_run=True)
        assert state_of(store) == without_empty(there)
        importer, problems = put_in(store, file.entries())
        assert state_of(store) == expected
        assert importer.conflicts == looked.conflicts == conflicts
        assert (problems, importer.new) == (foreseen, looked.new)
        assert bool(problems) == bool(conflicts)
        again, _ = put_in(store, file.entries())
        assert (again.new, again.conflicts) == (0, conflicts)
        assert state_of(store) == expected


def test_a_conflict_names_address_and_both_holders() -> None:
    ours, theirs = pod(1), pod(2)
    with sqlite() as store:
        put_in(store, [Block(PLACES[3], {7: theirs})])
        _, problems = put_in(store, [Block(PLACES[3], {7: ours})])
    assert problems == [
        "10.1.0.7 of network_name 'blue' is held here by default/pod-2 net1 "
        f"(container {theirs.container_id}), and in the file by default/pod-1 net1 "
        f"(container {ours.container_id})"
    ]


def test_a_range_that_lives_in_another_space_here_gets_no_addresses_there() -> None:
    key, shared = PoolKey("", "10.1.0.0/16"), Block(PLACES[0], {7: pod(1)._replace(range="10.1.0.0/16")})
    with sqlite() as store:
        put_in(store, [Pool(key, shared=False)])
        importer, problems = put_in(store, [Pool(key, shared=True), shared])
        assert state_of(store) == State({key: False}, {}, [])
    assert importer.conflicts == 2
    assert "is used here with enable_overlapping_ranges: false, and in the file with true" in problems[0]
    assert "1 addresses of block 10.1.0.0/24 are of 10.1.0.0/16" in problems[1]


@pytest.mark.parametrize("way", ["killed before", "killed after"])
def test_an_import_that_is_killed_anywhere_is_finished_by_the_next(way: str) -> None:
    state = State(
        dict.fromkeys((PoolKey("", "10.0.0.0/8"), PoolKey("blue", "10.1.0.0/16")), True),
        {key: dict(block_with(key, 1, 7)) for key in PLACES[:4]},
    )
    for at in itertools.count():
        with sqlite() as store:
            try:
                put_in(FaultyStore(store, at, way), state.entries())
                assert at > 8
                return
            except Killed:
                pass
            _, problems = put_in(store, state.entries())
            assert problems == []
            assert state_of(store) == without_empty(state)


@pytest.mark.etcd
def test_pods_that_an_etcd_store_does_not_know_of_are_no_obstacle(etcd: Callable[[], Store]) -> None:
    one = pod(1)
    blocks = [Block(key, {7: one}) for key in PLACES[:2]]
    store = etcd()
    put_in(store, blocks[:1])
    store._memory = type(store._memory)()  # type: ignore[attr-defined]
    importer, problems = put_in(store, blocks[1:])
    assert (importer.new, problems) == (1, [])
    store.close()


# ------------------------------------------------------------------------- damage


def damage_sqlite(store: Any, key: BlockKey) -> dict[str, bytes]:
    with closing(sqlite3.connect(store._path)) as connection:
        connection.execute("UPDATE blocks SET bitmap = x'00ff' WHERE name = ?", (key.name,))
        connection.commit()
        row = connection.execute("SELECT bitmap, owners FROM blocks WHERE name = ?", (key.name,)).fetchone()
    return dict(zip(("bitmap", "owners"), row, strict=True))


def assert_damaged(store: Store, key: BlockKey, raw: dict[str, bytes]) -> Damaged:
    """The block stands in an export as it stands in the store."""
    (damaged,) = [entry for entry in through_a_file(store) if isinstance(entry, Damaged)]
    assert (damaged.key, dict(damaged.raw)) == (key, raw)
    assert damaged.damage.startswith(f"block {key.name}: ")
    return damaged


def test_a_damaged_block_is_exported_as_it_stands_there() -> None:
    with sqlite() as store:
        put_in(store, full_state().entries())
        assert_damaged(store, PLACES[0], damage_sqlite(store, PLACES[0]))
        assert sum(isinstance(entry, Block) for entry in content_of(store, Deadline(SOON))) == 1


@pytest.mark.etcd
def test_a_damaged_block_of_etcd_is_exported_as_it_stands_there(etcd: Callable[[], Any]) -> None:
    from whereabouts.stores import etcd_messages as messages

    with closing(etcd()) as store:
        put_in(store, full_state().entries())
        put = messages.put(store._keys.block(PLACES[0]), b"no block")
        store.connection.transact(messages.transaction((), [put]), Deadline(SOON), writes=True)
        assert_damaged(store, PLACES[0], {"value": b"no block"})


def test_a_damaged_block_of_a_cluster_is_exported_as_it_stands_there(double: ApiDouble) -> None:
    with cluster_of(double) as store:
        put_in(store, full_state().entries())
        path = resources(store.resources.namespace, "addressblocks", PLACES[0].name)
        spec = double.call("GET", path).body["spec"]
        annotations = {"whereabouts.cni.cncf.io/allocated": "nonsense"}
        assert double.call("PATCH", path, {"metadata": {"annotations": annotations}}, MERGE).status == 200
        raw = {"allocated": b"nonsense", "owners": spec["owners"].encode()}
        assert_damaged(store, PLACES[0], raw)


def test_addresses_of_a_damaged_block_are_held_if_that_is_wanted() -> None:
    theirs = pod(1)
    damaged = Damaged(PLACES[0], "block 10.1.0.0: it fails its checksum")
    with sqlite() as store:
        put_in(store, [Block(PLACES[0], {7: theirs})])
        importer, problems = put_in(store, [damaged])
        assert (importer.left_out, importer.new) == (1, 0)
        assert "may be given again here, unless --hold-damaged" in problems[0]
        importer, problems = put_in(store, [damaged], hold_damaged_at=1_800_000_000)
        assert (importer.left_out, importer.new, importer.conflicts) == (1, 255, 1)
        assert "are kept from being given" in problems[0]
        held = dict(state_of(store).blocks[PLACES[0]])
        assert held.pop(7) == theirs
        assert set(held.values()) == {Owner("", "", "damaged: 10.1.0.0", "", "", "", "", 1_800_000_000)}


def test_a_damaged_block_of_the_target_is_not_written() -> None:
    with sqlite() as store:
        put_in(store, full_state().entries())
        before = damage_sqlite(store, PLACES[0])
        importer, problems = put_in(store, [Block(PLACES[0], {7: pod(1), 8: pod(2)})])
        assert importer.conflicts == 2
        assert problems[0].endswith("none of its addresses can be put in")
        assert_damaged(store, PLACES[0], before)


def test_what_a_file_leaves_out_is_said_again() -> None:
    with sqlite() as store:
        importer, problems = put_in(store, [LeftOut("IPPool 10.0.0.0-8", "nobody took it over")])
    assert importer.left_out == 1
    assert problems == ["not in the file: IPPool 10.0.0.0-8: nobody took it over"]


def test_a_pool_whose_name_is_taken_in_a_cluster_is_a_conflict(double: ApiDouble) -> None:
    with cluster_of(double) as store:
        put_in(store, [Pool(PoolKey("", "2001:db8::/119"), shared=True)])
        alike = PoolKey("2001", "db8::/119")
        importer, problems = put_in(store, [Pool(alike, shared=True)])
        assert importer.conflicts == 1
        assert "would have the IPPool 2001-db8---119" in problems[0]


def test_pools_of_single_slices_are_left_to_come_about_anew() -> None:
    whole = PoolKey("", "10.1.0.0/16")
    with sqlite() as store:
        store.create_pool(Pool(whole, shared=True), Deadline(SOON))
        store.create_pool(Pool(whole.of_slice("10.1.4.0/24", "node-1"), shared=True), Deadline(SOON))
        assert state_of(store) == State({whole: True}, {}, [])
