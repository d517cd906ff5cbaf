"""Taking over the lists of the Go plugin's etcd backend."""

from collections.abc import Callable, Iterator

import pytest

from tests.store_contract import SOON, add, allocations, demand, pod
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline
from whereabouts.log import SILENT
from whereabouts.store import Unsettled

pytest.importorskip("grpc", reason="grpcio is not installed (pip install 'whereabouts-ipam[etcd]')")

from tests.etcd_server import EtcdServer, cluster
from tests.faults import WAYS, FaultyStore, Killed
from whereabouts.store import StoreError
from whereabouts.stores.etcd import EtcdStore
from whereabouts.stores.etcd_v0 import OldLists, TakenOver, take_over

pytestmark = pytest.mark.etcd

FIRST, SECOND, THIRD = (letter * 64 for letter in "abc")


@pytest.fixture(scope="module")
def one_server() -> Iterator[EtcdServer]:
    with cluster() as (one,):
        yield one


@pytest.fixture
def server(one_server: EtcdServer) -> EtcdServer:
    for key in one_server.keys("/whereabouts/"):
        one_server.delete(key.encode())
    return one_server


@pytest.fixture
def store(server: EtcdServer) -> Iterator[EtcdStore]:
    store = EtcdStore(server.host)
    yield store
    store.close()


@pytest.fixture
def run(store: EtcdStore) -> Callable[[], TakenOver]:
    def run() -> TakenOver:
        lists = OldLists(store.connection)
        return take_over(lists, store, DirectCommitter(store), 1_700_000_000, SILENT, Deadline(SOON))

    return run


def put_list(server: EtcdServer, range_text: str, *lines: str) -> None:
    server.put(f"/whereabouts/{range_text}".encode(), "\n".join(lines).encode())


def test_lists_become_records_and_their_addresses_are_not_given_again(
    server: EtcdServer, store: EtcdStore, run: Callable[[], TakenOver]
) -> None:
    put_list(server, "10.0.0.0/16", f"10.0.0.1 {FIRST}", f"10.0.0.3 {SECOND}", f"10.0.1.0 {THIRD}")
    put_list(server, "fd00::/64", f"fd00::1 {FIRST}")
    put_list(server, "192.168.2.224/28")
    assert run() == TakenOver(ranges=3, new=4, known=0, faults=[])
    assert {address for address, _ in allocations(store)} == {"10.0.0.1", "10.0.0.3", "10.0.1.0", "fd00::1"}
    stored = next(store.blocks(Deadline(SOON)))
    owner = stored.trusted().owner(3)
    assert owner is not None
    assert (owner.container_id, owner.range, owner.created) == (SECOND, "10.0.0.0/16", 1_700_000_000)
    assert (owner.pod_ref, owner.ifname, owner.node, owner.network) == ("", "", "", "")
    assert add(store, demand("10.0.0.0/16", "fd00::/64"), pod(1)) == ["10.0.0.2", "fd00::2"]


def test_it_happens_once_and_the_lists_are_kept_aside(
    server: EtcdServer, store: EtcdStore, run: Callable[[], TakenOver]
) -> None:
    text = f"10.0.0.1 {FIRST}"
    put_list(server, "10.0.0.0/16", text)
    assert run().new == 1
    assert server.get(b"/whereabouts/v0/10.0.0.0/16") == text.encode()
    assert "/whereabouts/10.0.0.0/16" not in server.keys("/whereabouts/")
    assert run() == TakenOver(0, 0, 0, [])


def test_what_cannot_be_read_is_told_and_stays_and_the_rest_is_taken(
    server: EtcdServer, store: EtcdStore, run: Callable[[], TakenOver]
) -> None:
    lines = [
        f"10.0.0.1 {FIRST}",
        "10.0.0.2",
        f"nonsense {SECOND}",
        f"11.0.0.1 {SECOND}",
        f"10.0.0.1 {SECOND}",
    ]
    put_list(server, "10.0.0.0/16", *lines)
    done = run()
    assert (done.ranges, done.new) == (0, 1)
    assert done.faults == [
        "/whereabouts/10.0.0.0/16: line 2 names no container: '10.0.0.2'",
        f"/whereabouts/10.0.0.0/16: line 3 begins with no address: 'nonsense {SECOND}'",
        "/whereabouts/10.0.0.0/16: line 4: 11.0.0.1 is outside the range",
        "/whereabouts/10.0.0.0/16: line 5: 10.0.0.1 stands there twice, for two containers",
    ]
    put_list(server, "10.0.0.0/16", lines[0], f"10.0.0.2 {SECOND}")
    assert run() == TakenOver(ranges=1, new=1, known=1, faults=[])


def test_an_address_that_another_holds_stays_with_it_and_is_told(
    server: EtcdServer, store: EtcdStore, run: Callable[[], TakenOver]
) -> None:
    assert add(store, demand("10.0.0.0/24"), pod(1)) == ["10.0.0.1"]
    put_list(server, "10.0.0.0/16", f"10.0.0.1 {FIRST}", f"10.0.0.2 {SECOND}")
    done = run()
    assert (done.ranges, done.new, done.known) == (0, 1, 0)
    assert done.faults == [
        f"/whereabouts/10.0.0.0/16: 10.0.0.1 of container {FIRST} is recorded for default/pod-1"
        " in range 10.0.0.0/24"
    ]


def test_a_range_whose_lock_is_held_is_left_alone(server: EtcdServer, run: Callable[[], TakenOver]) -> None:
    put_list(server, "10.0.0.0/16", f"10.0.0.1 {FIRST}")
    server.put(b"/whereabouts/10.0.0.0/16/694d77aa9e38260f", b"")
    (fault,) = run().faults
    assert "an old plugin is at work there: stop it" in fault
    server.delete(b"/whereabouts/10.0.0.0/16/694d77aa9e38260f")
    assert run().new == 1


def test_a_list_that_is_written_meanwhile_is_not_lost(
    server: EtcdServer, store: EtcdStore, run: Callable[[], TakenOver], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_list(server, "10.0.0.0/16", f"10.0.0.1 {FIRST}")
    read = OldLists.read

    def read_too_early(self: OldLists, deadline: Deadline) -> object:
        lists = read(self, deadline)
        put_list(server, "10.0.0.0/16", f"10.0.0.1 {FIRST}", f"10.0.0.2 {SECOND}")
        return lists

    with monkeypatch.context() as patched:
        patched.setattr(OldLists, "read", read_too_early)
        assert run().faults == ["/whereabouts/10.0.0.0/16 was written meanwhile: run this again"]
    assert run() == TakenOver(ranges=1, new=1, known=1, faults=[])


def test_a_later_process_takes_over_what_an_earlier_one_had_to_leave(
    server: EtcdServer, store: EtcdStore, run: Callable[[], TakenOver]
) -> None:
    """All old records are of the pod without a name, so that each process finds records it did not make."""
    put_list(server, "10.0.0.0/16", f"10.0.0.1 {FIRST}")
    assert run() == TakenOver(ranges=1, new=1, known=0, faults=[])
    put_list(server, "10.1.0.0/16", f"10.1.0.1 {SECOND}", f"10.1.7.1 {THIRD}")
    later = EtcdStore(server.host)
    done = take_over(OldLists(later.connection), later, DirectCommitter(later), 1, SILENT, Deadline(SOON))
    assert done == TakenOver(ranges=1, new=2, known=0, faults=[])
    assert {address for address, _ in allocations(later)} == {"10.0.0.1", "10.1.0.1", "10.1.7.1"}
    later.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_run_that_was_interrupted_anywhere_is_gone_on_with(
    server: EtcdServer, store: EtcdStore, way: str
) -> None:
    expected = {f"10.{number}.0.{last}" for number in range(3) for last in range(1, 4)}
    for at in range(30):
        for key in server.keys("/whereabouts/"):
            server.delete(key.encode())
        for number in range(3):
            put_list(
                server, f"10.{number}.0.0/16", *(f"10.{number}.0.{last} {FIRST}" for last in range(1, 4))
            )
        interrupted = EtcdStore(server.host)
        faulty, lists = FaultyStore(interrupted, at, way), OldLists(interrupted.connection)
        failed = False
        try:
            take_over(lists, faulty, DirectCommitter(faulty), 1, SILENT, Deadline(SOON))
        except (StoreError, Unsettled, Killed):
            failed = True
        interrupted.close()
        # Another process goes on: what the first one knew died with it.
        mine = EtcdStore(server.host)
        lists = OldLists(mine.connection)
        done = take_over(lists, mine, DirectCommitter(mine), 1, SILENT, Deadline(SOON))
        assert done.faults == []
        assert {address for address, _ in allocations(mine)} == expected
        mine.close()
        if not failed and len(faulty.calls) <= at:
            break
    assert at > 5
