"""The reconciler over a store: when it looks, what it reads, what stops nobody, and what it tells."""

from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from whereabouts.addresses import Address
from whereabouts.audit import Audit, Freed
from whereabouts.block import Block, BlockKey, Space
from whereabouts.deadline import Deadline
from whereabouts.deletions import MOST_REPORTED
from whereabouts.errors import WhereaboutsError
from whereabouts.liveness import (
    GONE_SECONDS,
    LAGGING_SECONDS,
    NODE_GONE,
    NODE_OUT_OF_SERVICE,
    POD_FINISHED,
    POD_GONE,
    Node,
    Pod,
)
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.reconcile import RETRY_SECONDS, Reconciler
from whereabouts.store import StoredBlock, Unavailable
from whereabouts.stores.sqlite import SqliteStore

from .store_contract import SOON, add, allocator, demand

RANGE = "10.0.0.0/16"
READY = Node("n1", ready=True, out_of_service=False)


def owner(name: str, *, uid: str = "", ifname: str = "net1", container: str = "c", node: str = "n1") -> Owner:
    return Owner(f"ns/{name}", uid or f"uid-of-{name}", container, ifname, node, "macvlan", "", 0)


def pod(name: str, *reported: str, uid: str = "", node: str = "n1", phase: str = "Running") -> Pod:
    addresses = frozenset(map(ip_address, reported))
    return Pod(f"ns/{name}", (uid or f"uid-of-{name}",), node, phase, False, False, addresses)


class ToldCluster:
    """A cluster that says what it was told to say, and counts what it is asked."""

    def __init__(self) -> None:
        self.by_ref: dict[str, Pod] = {}
        self.by_name = {"n1": READY, "n2": READY._replace(name="n2")}
        self.listed: list[Pod] | None = None
        """What a list says, where that is not what there is."""
        self.asked: list[str] = []
        self.broken: set[str] = set()
        self.before: Callable[[str], None] = lambda _: None

    def _ask(self, what: str) -> None:
        self.before(what)
        self.asked.append(what)
        if what in self.broken:
            raise Unavailable(f"nobody answers about {what}")

    def pods(self, deadline: Deadline) -> Iterator[Pod]:
        self._ask("pods")
        return iter(self.by_ref.values() if self.listed is None else self.listed)

    def pod(self, ref: str, deadline: Deadline) -> Pod | None:
        self._ask(ref)
        return self.by_ref.get(ref)

    def nodes(self, deadline: Deadline) -> Mapping[str, Node]:
        self._ask("nodes")
        return self.by_name

    def node(self, name: str, deadline: Deadline) -> Node | None:
        self._ask(name)
        return self.by_name.get(name)

    def has(self, *pods: Pod) -> None:
        self.by_ref = {one.ref: one for one in pods}


class Scene:
    """A store, a cluster, a clock, and a reconciler over them."""

    def __init__(self, path: Path) -> None:
        self.store: Any = SqliteStore(
            f"{path}/w.db", Deadline(SOON)
        )  # Any: tests put calls in place of its own
        self.store._connection.execute("PRAGMA synchronous = OFF")
        self.cluster = ToldCluster()
        self.now = 1000.0
        self.freed: list[Freed] = []
        self.reconciler = self.started(self.store)

    def started(self, store: Any) -> Reconciler:
        return Reconciler(store, self.cluster, allocator(store), self.freed.append, clock=lambda: self.now)

    def give(self, record: Owner, *, wanted: str = RANGE, network: str = "", shared: bool = True) -> str:
        (address,) = add(self.store, demand(wanted, network_name=network, shared=shared), record)
        return address

    def audit(self, after: float = 0.0) -> Audit:
        self.now += after
        return self.reconciler.audit(Deadline(SOON))

    def look_again(self, after: float = 0.0) -> Audit:
        self.now += after
        return self.reconciler.look_again(Deadline(SOON))

    def recorded(self) -> dict[str, str]:
        """Pod references by address."""
        return {
            str(stored.key.address(offset)): record.pod_ref
            for stored in self.store.blocks(Deadline(SOON))
            for offset, record in stored.trusted()
        }

    def reasons(self) -> list[tuple[str, str]]:
        return [(str(one.address), one.reason) for one in self.freed]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.store.close()


# ---- two audits ----


def test_two_audits_free_what_a_dead_pod_left_and_nothing_else(scene: Scene) -> None:
    mine, other = scene.give(owner("dead")), scene.give(owner("alive"))
    scene.cluster.has(pod("alive", other))
    first = scene.audit()
    assert (first.blocks, first.records, first.freed, first.suspects) == (1, 2, 0, 1)
    second = scene.audit(after=60.0)
    assert (second.freed, second.suspects, second.failures) == (1, 0, ())
    assert scene.recorded() == {other: "ns/alive"}
    assert scene.reasons() == [(mine, POD_GONE)]
    assert scene.freed[0].owner.pod_ref == "ns/dead"


def test_two_audits_closer_than_the_rule_asks_free_nothing(scene: Scene) -> None:
    scene.give(owner("dead"))
    scene.audit()
    assert scene.audit(after=GONE_SECONDS - 0.1).freed == 0
    assert scene.audit(after=0.1).freed == 1


def test_the_time_between_counts_from_the_end_of_the_first_look_to_the_beginning_of_the_second(
    scene: Scene,
) -> None:
    scene.give(owner("dead"))

    def lists_take_long(what: str) -> None:
        scene.now += GONE_SECONDS if what == "pods" else 0.0

    scene.cluster.before = lists_take_long
    scene.audit()
    assert scene.audit(after=1.0).freed == 0


def test_after_an_audit_the_second_look_needs_no_list(scene: Scene) -> None:
    scene.give(owner("dead"))
    scene.audit()
    assert scene.reconciler.due_in() == GONE_SECONDS
    scene.cluster.asked.clear()
    assert scene.look_again(after=GONE_SECONDS).freed == 1
    assert scene.cluster.asked == ["ns/dead"]
    assert scene.reconciler.due_in() is None


def test_a_look_that_says_otherwise_begins_the_observation_anew(scene: Scene) -> None:
    address = scene.give(owner("a"))
    scene.audit()
    scene.cluster.has(pod("a", address))
    assert scene.audit(after=60.0).suspects == 0
    scene.cluster.has()
    assert scene.audit(after=60.0).freed == 0
    assert scene.audit(after=60.0).freed == 1


def test_a_restart_forgets_what_was_observed_and_frees_two_looks_later(scene: Scene) -> None:
    scene.give(owner("dead"))
    scene.audit()
    scene.reconciler = scene.started(scene.store)
    assert scene.audit(after=60.0).freed == 0
    assert scene.audit(after=60.0).freed == 1


def test_what_a_running_pod_does_not_report_takes_its_time(scene: Scene) -> None:
    first = scene.give(owner("a"))
    scene.give(owner("a", ifname="net2"))
    scene.cluster.has(pod("a", first))
    scene.audit()
    assert scene.audit(after=LAGGING_SECONDS - 1).freed == 0
    assert scene.audit(after=1.0).freed == 1
    assert scene.recorded() == {first: "ns/a"}


def test_a_list_that_is_behind_does_not_begin_the_time_in_which_a_pod_may_report(scene: Scene) -> None:
    address = scene.give(owner("a"))
    scene.cluster.has(pod("a", address))
    scene.cluster.listed = [pod("a")]
    assert scene.audit().suspects == 0
    scene.cluster.listed = None
    scene.cluster.has(pod("a"))
    scene.audit(after=LAGGING_SECONDS)
    assert scene.audit(after=LAGGING_SECONDS - 1).freed == 0
    assert scene.audit(after=1.0).freed == 1


def test_a_range_with_hints_gives_the_freed_address_to_the_next(scene: Scene) -> None:
    small = "10.7.0.0/23"
    for number in range(300):
        scene.give(owner(f"p{number}"), wanted=small)
    names = [f"p{number}" for number in range(300) if number != 17]
    scene.cluster.has(*(pod(name, uid=f"uid-of-{name}")._replace(addresses=None) for name in names))
    scene.audit()
    scene.audit(after=60.0)
    assert scene.reasons() == [("10.7.0.18", POD_GONE)]
    assert scene.give(owner("next"), wanted=small) == "10.7.0.18"


# ---- the live read, and the write ----


def test_a_pod_that_only_the_list_did_not_have_is_kept(scene: Scene) -> None:
    address = scene.give(owner("a"))
    scene.cluster.has(pod("a", address))
    scene.cluster.listed = []
    scene.audit()
    assert scene.audit(after=60.0).freed == 0
    assert scene.recorded() == {address: "ns/a"}


def test_a_node_that_only_the_list_did_not_have_is_there(scene: Scene) -> None:
    address = scene.give(owner("a"))
    scene.cluster.has(pod("a", address))
    there = scene.cluster.by_name
    scene.cluster.by_name = {}
    scene.audit()
    scene.cluster.before = lambda what: setattr(
        scene.cluster, "by_name", there if what in ("ns/a", "n1") else {}
    )
    assert scene.audit(after=60.0).freed == 0
    assert scene.recorded() == {address: "ns/a"}


def test_a_pod_that_came_again_and_took_the_address_over_in_the_last_moment_keeps_it(scene: Scene) -> None:
    address = scene.give(owner("a"))
    scene.audit()
    allocates: Any = scene.reconciler._allocator
    free = allocates.free

    def taken_over_first(*args: Any) -> Any:
        scene.give(owner("a", uid="uid-of-another", container="c2"))
        return free(*args)

    allocates.free = taken_over_first
    assert scene.audit(after=60.0).freed == 0
    assert scene.recorded() == {address: "ns/a"}
    assert scene.freed == []


def test_writes_of_others_in_the_same_block_do_not_stop_the_free(scene: Scene) -> None:
    scene.give(owner("dead"))
    scene.audit()
    writes = iter(range(20))
    write = scene.store.write_block

    def others_first(*args: Any) -> Any:
        scene.store.write_block = write
        number = next(writes, None)
        if number is not None:
            scene.give(owner(f"other-{number}"))
            scene.store.write_block = others_first
        return write(*args)

    scene.store.write_block = others_first
    assert scene.audit(after=60.0).freed == 1
    assert len(scene.recorded()) == 20


def test_all_dead_of_a_block_are_freed_by_one_write_and_each_pod_is_asked_for_once(scene: Scene) -> None:
    for number in range(100):
        scene.give(owner(f"p{number // 2}", ifname=f"net{number % 2}"))
    scene.audit()
    scene.cluster.asked.clear()
    before = [stored.revision for stored in scene.store.blocks(Deadline(SOON))]
    assert scene.look_again(after=60.0).freed == 100
    after = [stored.revision for stored in scene.store.blocks(Deadline(SOON))]
    assert after == [int(revision) + 1 for revision in before]
    assert sorted(scene.cluster.asked) == sorted(f"ns/p{number}" for number in range(50))


# ---- what fails stops nobody else ----


def test_a_pod_that_cannot_be_read_is_kept_and_does_not_stop_the_others(scene: Scene) -> None:
    mine = scene.give(owner("unreadable"))
    for name in ("a", "b"):
        scene.give(owner(name))
    scene.cluster.broken = {"ns/unreadable"}
    scene.audit()
    result = scene.audit(after=60.0)
    assert (result.freed, result.suspects) == (2, 1)
    assert result.failures == (f"{mine} of ns/unreadable is kept: nobody answers about ns/unreadable",)
    assert scene.reconciler.due_in() == RETRY_SECONDS
    scene.cluster.broken = set()
    assert scene.look_again(after=RETRY_SECONDS).freed == 1


def test_an_error_that_nobody_expected_keeps_the_record_and_is_named(scene: Scene) -> None:
    scene.give(owner("odd"))
    scene.audit()

    def breaks(what: str) -> None:
        if what == "ns/odd":
            raise KeyError("metadata")

    scene.cluster.before = breaks
    assert scene.audit(after=60.0).failures == ("10.0.0.1 of ns/odd is kept: KeyError: 'metadata'",)


def test_a_damaged_block_is_told_of_and_the_others_are_looked_at(scene: Scene) -> None:
    scene.give(owner("a"), network="damaged")
    address = scene.give(owner("b"), network="sound")
    scene.store._connection.execute("UPDATE blocks SET owners = x'00' WHERE network_name = 'damaged'")
    scene.audit()
    result = scene.audit(after=60.0)
    assert scene.reasons() == [(address, POD_GONE)]
    (failure,) = result.failures
    assert "damaged.10.0.0.0" in failure


def test_a_block_that_cannot_be_written_does_not_stop_the_others_and_is_tried_again(scene: Scene) -> None:
    for network in ("locked", "open"):
        scene.give(owner(network), network=network)
    write = scene.store.write_block

    def locked(key: BlockKey, *args: Any) -> Any:
        if key.space.network_name == "locked":
            raise Unavailable("it is locked")
        return write(key, *args)

    scene.store.write_block = locked
    scene.audit()
    result = scene.audit(after=60.0)
    assert (result.freed, result.failures) == (1, ("block locked.10.0.0.0: it is locked",))
    assert [held.pod_ref for _, held in result.unfreed] == [owner("locked").pod_ref]
    scene.store.write_block = write
    again = scene.look_again(after=RETRY_SECONDS)
    assert (again.freed, again.unfreed) == (1, ())


def test_a_list_of_blocks_that_is_cut_short_forgets_nothing(scene: Scene) -> None:
    for network in ("a", "b"):
        scene.give(owner(network), network=network)
    scene.audit()
    blocks = scene.store.blocks

    def cut_short(deadline: Deadline) -> Iterator[StoredBlock]:
        yield next(blocks(deadline))
        raise Unavailable("the connection is gone")

    scene.store.blocks = cut_short
    result = scene.audit(after=60.0)
    assert result.failures == ("the list of blocks was cut short: the connection is gone",)
    assert result.freed == 2


@pytest.mark.parametrize("what", ["pods", "nodes"])
def test_without_a_list_of_pods_and_nodes_nothing_is_judged(scene: Scene, what: str) -> None:
    scene.give(owner("a"))
    scene.audit()
    scene.cluster.broken = {what}
    with pytest.raises(WhereaboutsError):
        scene.audit(after=60.0)
    assert len(scene.recorded()) == 1


def test_a_deadline_that_passes_leaves_the_rest_for_the_next_look(scene: Scene) -> None:
    for network in ("a", "b"):
        scene.give(owner(network), network=network)
    scene.audit()
    clock = iter([0.0, 0.0, 0.0, 0.0])
    deadline = Deadline(10.0, clock=lambda: next(clock, 11.0))
    scene.now += 60.0
    result = scene.reconciler.look_again(deadline)
    assert result.freed + result.suspects == 2
    assert result.suspects >= 1
    assert any("no answer within 10 s" in failure for failure in result.failures)
    assert scene.look_again(after=RETRY_SECONDS).suspects == 0


def test_a_listener_that_fails_stops_nobody(scene: Scene) -> None:
    def deaf(freed: Freed) -> None:
        raise ValueError("no ears")

    scene.reconciler = Reconciler(
        scene.store, scene.cluster, allocator(scene.store), deaf, clock=lambda: scene.now
    )
    for name in ("a", "b"):
        scene.give(owner(name))
    scene.audit()
    result = scene.audit(after=60.0)
    assert (result.freed, scene.recorded()) == (2, {})
    assert result.failures[0] == "10.0.0.1 of ns/a is free, but that could not be told: ValueError: no ears"


# ---- events ----


def test_a_deleted_pod_is_followed_after_the_time_that_del_has(scene: Scene) -> None:
    address = scene.give(owner("a"))
    scene.cluster.has(pod("a", address))
    scene.audit()
    scene.cluster.has()
    scene.reconciler.pod_deleted(pod("a", address))
    assert scene.look_again(after=GONE_SECONDS - 0.1).freed == 0
    assert scene.reconciler.due_in() == pytest.approx(0.1)
    scene.cluster.asked.clear()
    assert scene.look_again(after=0.1).freed == 1
    assert scene.cluster.asked == ["ns/a"]
    assert scene.reasons() == [(address, POD_GONE)]


def test_a_deleted_pod_whose_del_came_costs_one_bitmap_and_nobody_is_asked(scene: Scene) -> None:
    address = scene.give(owner("a"))
    scene.give(owner("b"))
    scene.audit()
    allocator(scene.store).free(
        BlockKey.of(Space(), ip_address(address)), lambda _, one: one.pod_ref == "ns/a", Deadline(SOON)
    )
    scene.cluster.asked.clear()
    read: list[BlockKey] = []
    scene.store.read_block = lambda key, *_, **__: read.append(key)
    scene.reconciler._suspects.forget_blocks_but(())
    scene.reconciler.pod_deleted(pod("a", address))
    scene.look_again(after=GONE_SECONDS)
    assert (scene.cluster.asked, read) == ([], [])


def test_a_deleted_pod_that_reported_nothing_is_found_where_the_last_audit_saw_its_records(
    scene: Scene,
) -> None:
    address = scene.give(owner("a"), network="blue")
    silent = pod("a")._replace(addresses=None)
    scene.cluster.has(silent)
    scene.audit()
    scene.cluster.has()
    scene.reconciler.pod_deleted(silent)
    assert scene.look_again(after=GONE_SECONDS).freed == 1
    assert scene.reasons() == [(address, POD_GONE)]


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"network": "blue"},
        {"shared": False},
        {"network": "blue", "shared": False},
        {"wanted": "fd00::/64"},
    ],
    ids=str,
)
def test_what_a_pod_reported_is_found_in_whichever_pool_without_any_audit(
    scene: Scene, where: dict[str, Any]
) -> None:
    address = scene.give(owner("a"), **where)
    scene.reconciler.pod_deleted(pod("a", address, "10.244.3.7"))
    assert scene.look_again(after=GONE_SECONDS).freed == 1
    assert scene.recorded() == {}


def test_a_pod_that_reported_more_than_it_can_have_costs_no_more_than_others_and_is_found(
    scene: Scene,
) -> None:
    address = scene.give(owner("a"))
    boaster = pod("a", *(f"10.0.{block}.1" for block in range(1, 256)))
    scene.audit()
    scene.reconciler._suspects.forget_blocks_but(())
    asked: list[int] = []
    original = scene.store.bitmaps

    def bitmaps(space: Space, version: int, first: int, *rest: Any) -> Any:
        asked.append(first)
        return original(space, version, first, *rest)

    scene.store.bitmaps = bitmaps
    scene.reconciler.pod_deleted(boaster)
    assert scene.look_again(after=GONE_SECONDS).freed == 1
    assert scene.reasons() == [(address, POD_GONE)]
    assert len(asked) <= MOST_REPORTED + 1


def test_a_pod_that_is_deleted_and_came_again_keeps_what_is_its_own(scene: Scene) -> None:
    old = scene.give(owner("a", container="c1", ifname="net2"))
    new = scene.give(owner("a", uid="uid-of-another", container="c2"))
    scene.cluster.has(pod("a", new, uid="uid-of-another", node="n2"))
    scene.reconciler.pod_deleted(pod("a", old, new))
    assert scene.look_again(after=GONE_SECONDS).freed == 1
    assert scene.recorded() == {new: "ns/a"}


def test_a_pod_of_which_only_the_event_says_that_it_is_gone_is_kept(scene: Scene) -> None:
    address = scene.give(owner("a"))
    scene.cluster.has(pod("a", address))
    scene.reconciler.pod_deleted(pod("a", address))
    assert scene.look_again(after=GONE_SECONDS).suspects == 0
    assert scene.recorded() == {address: "ns/a"}


def test_a_pod_that_has_come_to_its_end_is_followed_like_one_that_was_deleted(scene: Scene) -> None:
    address = scene.give(owner("job"))
    done = pod("job", address, phase="Succeeded")
    scene.cluster.has(done)
    scene.reconciler.pod_deleted(done)
    assert scene.look_again(after=GONE_SECONDS).freed == 1
    assert scene.reasons() == [(address, POD_FINISHED)]


def test_records_of_pods_on_a_deleted_node_are_freed_by_one_audit_after_the_event(scene: Scene) -> None:
    mine, other = scene.give(owner("a")), scene.give(owner("b", node="n2"))
    scene.cluster.has(pod("a", mine), pod("b", other, node="n2"))
    scene.audit()
    del scene.cluster.by_name["n1"]
    scene.reconciler.node_deleted("n1")
    assert scene.look_again(after=GONE_SECONDS - 0.1).freed == 0
    assert scene.look_again(after=0.1).freed == 1
    assert scene.reasons() == [(mine, NODE_GONE)]
    assert scene.reconciler.due_in() is None


def test_a_node_that_came_back_before_the_second_look_loses_nothing(scene: Scene) -> None:
    address = scene.give(owner("a"))
    scene.cluster.has(pod("a", address))
    scene.reconciler.node_deleted("n1")
    assert scene.look_again(after=GONE_SECONDS).suspects == 0
    assert scene.reconciler.due_in() is None
    assert scene.recorded() == {address: "ns/a"}


def test_a_node_event_is_not_lost_when_the_lists_fail_and_does_not_spin(scene: Scene) -> None:
    scene.cluster.has(pod("a", scene.give(owner("a"))))
    del scene.cluster.by_name["n1"]
    scene.reconciler.node_deleted("n1")
    scene.cluster.broken = {"pods"}
    with pytest.raises(WhereaboutsError):
        scene.look_again(after=GONE_SECONDS)
    assert scene.reconciler.due_in() == RETRY_SECONDS
    scene.cluster.broken = set()
    assert scene.look_again(after=RETRY_SECONDS).freed == 1


def test_the_taint_out_of_service_frees_what_the_pods_of_a_dead_node_hold(scene: Scene) -> None:
    scene.cluster.has(pod("a", scene.give(owner("a"))))
    scene.cluster.by_name["n1"] = Node("n1", ready=False, out_of_service=True)
    scene.audit()
    assert scene.audit(after=60.0).freed == 1
    assert [reason for _, reason in scene.reasons()] == [NODE_OUT_OF_SERVICE]


def test_records_that_only_an_operator_can_free_are_counted(scene: Scene) -> None:
    evicted = pod("a", scene.give(owner("a")))._replace(deleting=True, disrupted=True)
    scene.cluster.has(evicted, pod("b", scene.give(owner("b")), node="n2"))
    scene.cluster.by_name["n1"] = Node("n1", ready=False, out_of_service=False)
    assert scene.audit().waiting_for_operator == 1
    assert scene.audit(after=600.0).freed == 0


def test_pools_that_cannot_be_listed_leave_deleted_pods_to_the_index_and_the_audit(scene: Scene) -> None:
    address = scene.give(owner("a"))
    scene.audit()
    scene.reconciler._suspects.forget_blocks_but(())

    def away(*_: object) -> Any:
        raise Unavailable("the store is away")

    scene.store.pools = away
    scene.reconciler.pod_deleted(pod("a", address))
    result = scene.look_again(after=GONE_SECONDS)
    assert "pools cannot be listed" in result.failures[0]
    assert scene.reasons() == [(address, POD_GONE)]


def test_a_block_that_cannot_be_read_does_not_stop_the_following_of_others(scene: Scene) -> None:
    addresses: list[Address] = []
    for network in ("damaged", "sound"):
        addresses.append(ip_address(scene.give(owner(network), network=network, wanted="10.0.0.0/24")))
    scene.store._connection.execute("UPDATE blocks SET owners = x'00' WHERE network_name = 'damaged'")
    for network, address in zip(("damaged", "sound"), addresses, strict=True):
        scene.reconciler.pod_deleted(pod(network, str(address)))
    result = scene.look_again(after=GONE_SECONDS)
    assert len(result.failures) == 1
    assert [one.owner.pod_ref for one in scene.freed] == ["ns/sound"]


def test_a_block_taken_out_of_the_store_is_forgotten(scene: Scene) -> None:
    scene.give(owner("a"))
    scene.audit()
    scene.store._connection.execute("DELETE FROM blocks")
    assert scene.audit(after=1.0).suspects == 0


def test_a_record_outside_kubernetes_is_never_suspected(scene: Scene) -> None:
    key = BlockKey.of(Space(), ip_address("10.0.0.0"))
    outside = Owner("0123abcd", "", "0123abcd", "eth0", "host", "net", RANGE, 0)
    scene.store.create_pool(Pool(PoolKey("", RANGE), True), Deadline(SOON))
    scene.store.write_block(key, None, Block(key, {1: outside}), Deadline(SOON))
    assert scene.audit().suspects == 0
