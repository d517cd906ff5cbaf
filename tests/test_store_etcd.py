"""The contract over etcd, and what is its own: memory, transactions, failures, values, TLS and users."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any, TypeVar

import pytest

from tests.store_contract import (
    KEY,
    SOON,
    StoreContract,
    add,
    allocations,
    attachment,
    block_with,
    delete,
    demand,
    pod,
)
from whereabouts.agent.group_commit import GroupCommitter, Groups
from whereabouts.allocator import Allocator, Demand
from whereabouts.block import BLOCK_SIZE, Block, BlockKey, Space
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline
from whereabouts.log import SILENT
from whereabouts.owners import Owner
from whereabouts.pool import PoolKey
from whereabouts.store import Conflict, StoreDamaged, StoreError, Unavailable, Unsettled

pytest.importorskip("grpc", reason="grpcio is not installed (pip install 'whereabouts-ipam[etcd]')")

from tests.etcd_server import Certificates, EtcdServer, cluster
from whereabouts.search import Outdated
from whereabouts.stores.etcd import EtcdStore
from whereabouts.stores.etcd_connection import Connection, Reply
from whereabouts.stores.etcd_keys import DEFAULT_PREFIX, Keys

pytestmark = pytest.mark.etcd

T = TypeVar("T")
USER, PASSWORD = "whereabouts", "s3cret-of-the-test"
_numbers = itertools.count()


def new_prefix() -> str:
    return f"/test/{next(_numbers)}/"


@pytest.fixture(scope="module")
def server() -> Iterator[EtcdServer]:
    with cluster() as (one,):
        yield one


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def guarded(certificates: Certificates) -> Iterator[EtcdServer]:
    """A server that asks for certificates and users."""
    with cluster(certificates=certificates) as (one,):
        one.add_user(USER, PASSWORD, "/test/")
        one.ask_for_users()
        yield one


class TestEtcd(StoreContract):
    @pytest.fixture
    def open_store(self, server: EtcdServer) -> Callable[[], EtcdStore]:
        prefix = new_prefix()
        return lambda: EtcdStore(server.host, prefix=prefix)


class TestEtcdWithTlsAndUsers(StoreContract):
    @pytest.fixture
    def open_store(self, guarded: EtcdServer, certificates: Certificates) -> Callable[[], EtcdStore]:
        prefix = new_prefix()
        return lambda: guarded_store(guarded, certificates, prefix)


def guarded_store(server: EtcdServer, certificates: Certificates, prefix: str, **options: str) -> EtcdStore:
    settings = {
        "username": USER,
        "password": PASSWORD,
        "ca_cert_file": certificates.authority,
        "cert_file": certificates.client,
        "key_file": certificates.client_key,
        **options,
    }
    return EtcdStore(f"https://{server.host}", prefix=prefix, patience=1.0, **settings)


@pytest.fixture
def store(server: EtcdServer) -> Iterator[EtcdStore]:
    store = EtcdStore(server.host, prefix=new_prefix())
    yield store
    store.close()


@pytest.fixture
def other(server: EtcdServer, store: EtcdStore) -> Iterator[EtcdStore]:
    """Another process with the same data."""
    other = EtcdStore(server.host, prefix=store._keys._prefix)
    yield other
    other.close()


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was sent to etcd."""
    sent: list[bytes] = []
    transact = Connection.transact

    def counted(self: Connection, request: bytes, deadline: Deadline, *, writes: bool) -> Reply:
        sent.append(request)
        return transact(self, request, deadline, writes=writes)

    monkeypatch.setattr(Connection, "transact", counted)
    return sent


# -------------------------------------------------------- what an ADD costs


def test_an_add_in_the_steady_state_is_one_transaction(store: EtcdStore, requests: list[bytes]) -> None:
    wanted = demand("10.0.0.0/16")
    add(store, wanted, pod(0))
    for n in range(1, 5):
        requests.clear()
        assert add(store, wanted, pod(n)) == [f"10.0.0.{n + 1}"]
        assert len(requests) == 1


def test_an_add_of_two_ranges_is_two_transactions(store: EtcdStore, requests: list[bytes]) -> None:
    wanted = demand("10.0.0.0/16", "fd00::/64")
    add(store, wanted, pod(0))
    requests.clear()
    assert add(store, wanted, pod(1)) == ["10.0.0.2", "fd00::2"]
    assert len(requests) == 2


def test_what_another_process_wrote_costs_one_more_read(
    store: EtcdStore, other: EtcdStore, requests: list[bytes]
) -> None:
    wanted = demand("10.0.0.0/16")
    add(store, wanted, pod(0))
    add(other, wanted, pod(1))
    requests.clear()
    assert add(store, wanted, pod(2)) == ["10.0.0.3"]
    assert len(requests) == 3


def test_memory_of_blocks_is_bounded_and_the_oldest_is_read_again(
    store: EtcdStore, requests: list[bytes]
) -> None:
    keys = [BlockKey(Space(), 4, BLOCK_SIZE * number) for number in range(100)]
    for key in keys:
        store.write_block(key, None, block_with(key, 1), Deadline(SOON))
    assert len(store._memory._blocks) < len(keys)
    requests.clear()
    for key in (keys[0], keys[-1]):
        stored = store.read_block(key, Deadline(SOON))
        assert stored is not None
        assert stored.trusted() == block_with(key, 1)
    assert len(requests) == 1


# ------------------------------------------------- several processes at once


def test_a_pod_keeps_its_address_whichever_process_is_asked(store: EtcdStore, other: EtcdStore) -> None:
    wanted = demand("10.0.0.0/23")
    for n in range(260):
        add(store, wanted, pod(n))
    assert delete(store, wanted, pod(0)) == ["10.0.0.1"]
    assert add(other, wanted, pod(259, sandbox="b")) == ["10.0.1.5"]
    assert add(store, wanted, pod(259, sandbox="c")) == ["10.0.1.5"]


def test_one_pod_added_by_many_processes_at_once_has_one_address(server: EtcdServer) -> None:
    prefix, wanted = new_prefix(), demand("10.0.0.0/24")
    given: list[str] = []

    def work() -> None:
        mine = EtcdStore(server.host, prefix=prefix)
        given.extend(add(mine, wanted, pod(7)))
        mine.close()

    in_threads([work] * 6)
    assert given == ["10.0.0.1"] * 6


def in_threads(works: list[Callable[[], None]]) -> None:
    failures: list[BaseException] = []

    def guarded_work(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded_work, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_threads_that_share_a_store_and_its_group_commit_get_the_lowest_addresses(store: EtcdStore) -> None:
    wanted, groups = demand("10.0.0.0/24"), Groups(lambda size: None)
    given: list[str] = []

    def work(worker: int) -> None:
        mine = Allocator(store, GroupCommitter(groups, DirectCommitter(store)), SILENT)
        for n in range(25):
            given.extend(map(str, mine.add(wanted, pod(1000 * worker + n), Deadline(SOON))))

    in_threads([lambda worker=worker: work(worker) for worker in range(8)])  # type: ignore[misc]
    assert sorted(given, key=ip_address) == [f"10.0.0.{last}" for last in range(1, 201)]


class Burst:
    """ADDs of one process in threads of their own, the writes of which are held back until all are there."""

    def __init__(self, store: EtcdStore, wanted: Demand, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given: dict[int, list[str]] = {}
        self._store = store
        self._wanted = wanted
        self._groups = Groups(lambda size: None)
        self._threads: list[threading.Thread] = []
        self._gate = threading.Event()
        self._writing = threading.Event()
        transact = store.connection.transact

        def held(request: bytes, deadline: Deadline, *, writes: bool) -> Reply:
            if writes:
                self._writing.set()
                assert self._gate.wait(SOON)
            return transact(request, deadline, writes=writes)

        monkeypatch.setattr(store.connection, "transact", held)

    def start(self, *numbers: int) -> None:
        """Begin the ADDs of these pods: the very first leads, all others wait behind it."""
        for number in numbers:
            self._threads.append(threading.Thread(target=self._add, args=(number,)))
            self._threads[-1].start()
            if len(self._threads) == 1:
                assert self._writing.wait(SOON)
            while self._waiting() < len(self._threads) - 1:
                time.sleep(0.001)

    def finish(self) -> dict[int, list[str]]:
        """The addresses that were given, by pod."""
        self._gate.set()
        for thread in self._threads:
            thread.join(SOON)
        return self.given

    def _add(self, number: int) -> None:
        mine = Allocator(self._store, GroupCommitter(self._groups, DirectCommitter(self._store)), SILENT)
        self.given[number] = list(map(str, mine.add(self._wanted, pod(number), Deadline(SOON))))

    def _waiting(self) -> int:
        return sum(map(len, self._groups._waiting.values()))


def record_of(number: int, wanted: Demand) -> Owner:
    """A record of an address that the one range of ``wanted`` gave."""
    return pod(number)._replace(range=str(wanted.ranges[0].network))


def test_a_pod_keeps_its_address_in_a_group_of_as_many_adds_as_an_agent_has_workers(
    store: EtcdStore, other: EtcdStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record is in another block, and it comes last in the order in which pods are compared."""
    wanted = demand("10.0.0.0/23")
    add(other, wanted, pod(0))
    elsewhere = BlockKey.of(Space(), ip_address("10.0.1.0"))
    other.write_block(elsewhere, None, Block(elsewhere, {5: record_of(999, wanted)}), Deadline(SOON))
    burst = Burst(store, wanted, monkeypatch)
    burst.start(1, *range(936, 1000))
    given = burst.finish()
    assert given.pop(999) == ["10.0.1.5"]
    assert sorted(given.values()) == sorted([f"10.0.0.{last}"] for last in range(2, 66))


def test_pods_that_were_not_compared_are_not_taken_for_known(store: EtcdStore, other: EtcdStore) -> None:
    """A transaction does not hold the comparisons of a whole block of pods."""
    wanted = demand("10.0.0.0/23")
    add(other, wanted, pod(0))
    lower, higher = (BlockKey.of(Space(), ip_address(text)) for text in ("10.0.0.0", "10.0.1.0"))
    before = other.read_block(lower, Deadline(SOON))
    assert before is not None
    other.write_block(lower, before, before.trusted().with_owner(7, record_of(1255, wanted)), Deadline(SOON))
    full = Block(higher, {offset: record_of(1000 + offset, wanted) for offset in range(BLOCK_SIZE)})
    store.write_block(higher, None, full, Deadline(SOON))
    assert add(store, wanted, pod(1255, sandbox="b")) == ["10.0.0.7"]


def test_adds_that_queue_behind_one_that_an_old_hint_led_get_the_lowest_addresses_too(
    store: EtcdStore, other: EtcdStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them searched by the hint; only what the first one sends tells that it is gone."""
    wanted = demand("10.0.0.0/22")
    first = BlockKey.of(Space(), ip_address("10.0.0.0"))
    nearly = Block(first, {offset: record_of(offset, wanted) for offset in range(1, 255)})
    store.write_block(first, None, nearly, Deadline(SOON))
    assert add(store, wanted, pod(255)) == ["10.0.0.255"]
    assert add(store, wanted, pod(256)) == ["10.0.1.1"]
    burst = Burst(store, wanted, monkeypatch)
    for number in (7, 8, 9):
        assert delete(other, wanted, pod(number)) == [f"10.0.0.{number}"]
    burst.start(1000, 1001, 1002)
    assert sorted(burst.finish().values()) == [["10.0.0.7"], ["10.0.0.8"], ["10.0.0.9"]]


def test_hints_of_a_search_hold_as_long_as_none_of_them_is_known_to_be_gone(
    store: EtcdStore, other: EtcdStore
) -> None:
    wanted, base = demand("10.0.0.0/16"), int(ip_address("10.0.0.0"))
    add(store, wanted, pod(0))
    pool = store.read_pool(PoolKey("", "10.0.0.0/16"), Deadline(SOON))
    assert pool is not None
    hinted = pool.pool.with_exhausted("view", [base])
    store.write_pool(pool, hinted, Deadline(SOON))
    led = store.read_pool(hinted.key, Deadline(SOON))
    assert led is not None
    assert store.hints_hold(pool)
    assert store.hints_hold(led)
    assert not other.hints_hold(led)  # it knows nothing of this pool, and its write would not compare it
    more = hinted.with_exhausted("view", [base + BLOCK_SIZE])
    store.write_pool(led, more, Deadline(SOON))
    assert store.hints_hold(led)
    now = store.read_pool(hinted.key, Deadline(SOON))
    assert now is not None
    store.write_pool(now, more.without_exhausted(base), Deadline(SOON))
    assert not store.hints_hold(led)
    assert not store.hints_hold(now)
    assert store.hints_hold(pool)


def test_a_listing_of_pools_drives_none_out_of_memory(
    store: EtcdStore, other: EtcdStore, requests: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whereabouts.stores.etcd_memory.MAX_POOLS", 2)
    for number in range(5):
        add(other, demand(f"10.{number}.0.0/16"), pod(number))
    wanted = demand("10.0.0.0/16")
    add(store, wanted, pod(10))
    assert len(store.pools(Deadline(SOON))) == 5
    requests.clear()
    assert add(store, wanted, pod(11)) == ["10.0.0.3"]
    assert len(requests) == 1


def test_a_write_that_rests_on_an_old_pool_is_outdated_and_the_next_one_is_not(
    store: EtcdStore, other: EtcdStore
) -> None:
    wanted = demand("10.0.0.0/16")
    add(store, wanted, pod(0))
    key = PoolKey("", "10.0.0.0/16")
    theirs = other.read_pool(key, Deadline(SOON))
    assert theirs is not None
    other.write_pool(
        theirs, theirs.pool.with_exhausted("view", [int(ip_address("10.0.9.0"))]), Deadline(SOON)
    )
    block = BlockKey.of(Space(), ip_address("10.0.0.0"))
    stored = store.read_block(block, Deadline(SOON))
    assert stored is not None
    more = stored.trusted().with_owner(9, pod(9)._replace(range="10.0.0.0/16"))
    with pytest.raises(Outdated):
        store.write_block(block, stored, more, Deadline(SOON))
    store.write_block(block, stored, more, Deadline(SOON))


def test_a_del_stored_together_with_an_add_is_not_failed_by_hints_of_that_which_changed(
    store: EtcdStore, other: EtcdStore
) -> None:
    """As a group commit has it: the write fails for both, and the DEL does not rest on what the ADD does."""
    wanted = demand("10.0.0.0/16")
    add(store, wanted, pod(0))
    theirs = other.read_pool(PoolKey("", "10.0.0.0/16"), Deadline(SOON))
    assert theirs is not None
    other.write_pool(
        theirs, theirs.pool.with_exhausted("view", [int(ip_address("10.0.9.0"))]), Deadline(SOON)
    )
    outdated: list[Outdated] = []

    class WithAnAdd(DirectCommitter):
        def commit(self, key: BlockKey, change: Callable[[Block], tuple[Block, T]], deadline: Deadline) -> T:
            def both(block: Block) -> tuple[Block, T]:
                after, outcome = change(block)
                return after.with_owner(9, pod(9)._replace(range="10.0.0.0/16")), outcome

            try:
                return super().commit(key, change if outdated else both, deadline)
            except Outdated as error:
                outdated.append(error)
                raise

    one = Allocator(store, WithAnAdd(store), SILENT)
    freed = one.delete(wanted, attachment(pod(0)), [ip_address("10.0.0.1")], Deadline(SOON))
    assert [str(address) for address, _ in freed] == ["10.0.0.1"]
    assert len(outdated) == 1
    assert allocations(store) == []


def test_a_write_conflicts_with_one_of_another_process_that_changed_nothing_else(
    store: EtcdStore, other: EtcdStore
) -> None:
    first = store.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))
    other.write_block(KEY, first, block_with(KEY, 1, 2), Deadline(SOON))
    with pytest.raises(Conflict) as raised:
        store.write_block(KEY, first, block_with(KEY, 1), Deadline(SOON))
    assert not isinstance(raised.value, Outdated)


def test_a_pool_that_was_deleted_is_made_again(store: EtcdStore, server: EtcdServer) -> None:
    wanted = demand("10.0.0.0/24")
    add(store, wanted, pod(1))
    key = PoolKey("", "10.0.0.0/24")
    server.delete(store._keys.pool(key))
    assert add(store, wanted, pod(2)) == ["10.0.0.2"]
    assert store.pools(Deadline(SOON), "")


def test_a_whole_block_is_written_and_freed_at_once(store: EtcdStore) -> None:
    """That is more operations than etcd takes in one transaction."""
    full = Block(KEY, {offset: pod(offset) for offset in range(BLOCK_SIZE)})
    stored = store.write_block(KEY, None, full, Deadline(SOON))
    for n in (0, 99, 100, 255):
        assert store.blocks_of_attachment(pod(n).container_id, "net1", Deadline(SOON)) == [KEY]
    swapped = Block(KEY, {offset: pod(1000 + offset) for offset in range(BLOCK_SIZE)})
    stored = store.write_block(KEY, stored, swapped, Deadline(SOON))
    assert store.blocks_of_attachment(pod(99).container_id, "net1", Deadline(SOON)) == []
    assert store.blocks_of_attachment(pod(1255).container_id, "net1", Deadline(SOON)) == [KEY]
    store.write_block(KEY, stored, Block(KEY, {}), Deadline(SOON))
    assert store.blocks_of_attachment(pod(1255).container_id, "net1", Deadline(SOON)) == []


def test_long_lists_come_in_several_answers(
    store: EtcdStore, requests: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whereabouts.stores.etcd.KEYS_AT_ONCE", 3)
    monkeypatch.setattr("whereabouts.stores.etcd.BLOCKS_AT_ONCE", 2)
    keys = [BlockKey(Space(), 4, BLOCK_SIZE * number) for number in range(7)]
    for key in keys:
        store.write_block(key, None, block_with(key, 1), Deadline(SOON))
    requests.clear()
    assert [stored.key for stored in store.blocks(Deadline(SOON))] == keys
    assert len(requests) == 3 + 4
    assert [key for key, _ in store.bitmaps(Space(), 4, 0, 2**32 - 1, Deadline(SOON))] == keys


# ------------------------------------------------------------------- damage


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda value: value[:10], "cut short"),
        (lambda value: value[:-1], "length"),
        (lambda value: value + b"x", "length"),
        (lambda value: b"XXXX" + value[4:], "begins with b'XXXX'"),
        (lambda value: value[:-6] + bytes([value[-6] ^ 1]) + value[-5:], "checksum"),
        (lambda value: b"", "cut short"),
    ],
)
def test_a_damaged_block_is_never_written_over_and_counts_as_used(
    store: EtcdStore, other: EtcdStore, server: EtcdServer, damage: Callable[[bytes], bytes], sentence: str
) -> None:
    wanted = demand("10.0.0.0/22")
    add(store, wanted, pod(1))
    key = BlockKey.of(Space(), ip_address("10.0.0.0"))
    damaged = damage(server.get(store._keys.block(key)))
    server.put(store._keys.block(key), damaged)
    for process in (store, other):
        stored = process.read_block(key, Deadline(SOON), fresh=True)
        assert stored is not None
        assert stored.block is None
        assert sentence in stored.damage
    assert add(store, wanted, pod(2)) == ["10.0.1.1"]
    assert add(other, wanted, pod(3)) == ["10.0.1.2"]
    assert server.get(store._keys.block(key)) == damaged


def test_a_block_that_stands_in_the_place_of_another_is_damaged(store: EtcdStore, server: EtcdServer) -> None:
    store.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))
    elsewhere = KEY._replace(base=KEY.base + BLOCK_SIZE)
    server.put(store._keys.block(elsewhere), server.get(store._keys.block(KEY)))
    stored = store.read_block(elsewhere, Deadline(SOON))
    assert stored is not None
    assert stored.damage == "block 10.1.3.0: its value in etcd is that of block 10.1.2.0"
    assert [one.block is None for one in store.blocks(Deadline(SOON))] == [False, True]


def test_keys_of_others_under_the_prefix_are_passed_over(store: EtcdStore, server: EtcdServer) -> None:
    store.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))
    server.put(store._keys.blocks() + b"-/-/4/10.1.2.0", b"not zero-padded")
    server.put(store._keys.blocks() + b"note", b"to myself")
    assert [stored.key for stored in store.blocks(Deadline(SOON))] == [KEY]


@pytest.mark.parametrize(
    "value", [b"", b"WAP1", b"XXXX\x01\x03\x00a\0b", b"WAP1\x01\x03\x00abc", b"\xff" * 9]
)
def test_a_pool_that_cannot_be_read_is_named(store: EtcdStore, server: EtcdServer, value: bytes) -> None:
    key = PoolKey("blue", "10.0.0.0/24")
    server.put(store._keys.pool(key), value)
    with pytest.raises(StoreDamaged, match=r"/pools/blue/10\.0\.0\.0%2F24 holds no pool: delete it"):
        store.read_pool(key, Deadline(SOON))


# ------------------------------------------------------------ lost answers


class Loss:
    """Loses what a store sends, or the answers to it, when it is told to."""

    def __init__(self, store: EtcdStore, monkeypatch: pytest.MonkeyPatch) -> None:
        import grpc

        class LostAnswer(grpc.RpcError):
            def code(self) -> grpc.StatusCode:
                return grpc.StatusCode.UNAVAILABLE

            def details(self) -> str:
                return "recvmsg:Connection reset by peer"

        self.before_answer: Callable[[], None] | None = None
        self.requests_to_lose = self.answers_to_lose = 0
        connection = store.connection
        find_member = connection._member

        def member() -> object:
            index, real = find_member()

            class Lossy:
                authenticate = real.authenticate
                channel = real.channel

                @staticmethod
                def transact(request: bytes, **options: Any) -> bytes:
                    if self.requests_to_lose:
                        self.requests_to_lose -= 1
                        raise LostAnswer
                    answer: bytes = real.transact(request, **options)
                    if self.answers_to_lose:
                        self.answers_to_lose -= 1
                        if self.before_answer:
                            self.before_answer()
                        raise LostAnswer
                    return answer

            return index, Lossy

        monkeypatch.setattr(connection, "_member", member)


@pytest.fixture
def loss(store: EtcdStore, monkeypatch: pytest.MonkeyPatch) -> Loss:
    return Loss(store, monkeypatch)


@pytest.mark.parametrize("times", [1, 3])
def test_a_write_whose_answer_was_lost_is_recognised(store: EtcdStore, loss: Loss, times: int) -> None:
    first = store.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))
    loss.answers_to_lose = times
    second = store.write_block(KEY, first, block_with(KEY, 1, 2), Deadline(SOON))
    assert second.revision == first.revision + 1  # type: ignore[operator]
    third = store.write_block(KEY, second, block_with(KEY, 3), Deadline(SOON))
    assert third.revision == first.revision + 2  # type: ignore[operator]


def test_a_write_that_was_lost_on_its_way_is_sent_again(store: EtcdStore, loss: Loss) -> None:
    loss.requests_to_lose = 2
    first = store.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))
    assert store.read_block(KEY, Deadline(SOON), fresh=True) == first


def test_a_write_that_was_lost_and_written_over_is_unsettled(
    store: EtcdStore, other: EtcdStore, loss: Loss
) -> None:
    first = store.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))

    def write_over() -> None:
        now = other.read_block(KEY, Deadline(SOON), fresh=True)
        other.write_block(KEY, now, block_with(KEY, 7), Deadline(SOON))

    loss.answers_to_lose, loss.before_answer = 1, write_over
    with pytest.raises(Unsettled, match=r"block 10\.1\.2\.0 was lost"):
        store.write_block(KEY, first, block_with(KEY, 1, 2), Deadline(SOON))


def test_adds_whose_answers_are_lost_give_each_address_once(
    store: EtcdStore, other: EtcdStore, loss: Loss
) -> None:
    wanted = demand("10.0.0.0/24")
    given = []
    others = map(pod, itertools.count(1000))
    loss.before_answer = lambda: given.extend(add(other, wanted, next(others)))
    for n in range(20):
        loss.answers_to_lose = n % 3
        given += add(store, wanted, pod(n))
    assert len(set(given)) == len(given)
    assert {address for address, _ in allocations(store)} == set(given)


def test_a_write_that_is_never_answered_is_unsettled_and_a_read_is_not(
    store: EtcdStore, loss: Loss, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.connection, "_patience", 0.2)
    loss.answers_to_lose = 1000
    with pytest.raises(Unsettled, match=r"etcd at 127\.0\.0\.1:\d+ did not answer: recvmsg:Connection reset"):
        store.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))
    with pytest.raises(Unsettled, match=r"no answer within 0\.1 s: etcd at"):
        store.write_block(KEY, None, block_with(KEY, 1), Deadline(0.1))
    with pytest.raises(Unavailable, match="did not answer"):
        store.read_block(KEY, Deadline(SOON), fresh=True)


@pytest.mark.parametrize(("lost", "raised"), [(0, Unavailable), (1, Unsettled)])
def test_a_write_for_which_a_certificate_cannot_be_read_any_more_is_unsettled_if_an_answer_was_lost(
    guarded: EtcdServer,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    lost: int,
    raised: type[Exception],
) -> None:
    """The files are read anew for the connection that the request is sent on again."""
    mine = guarded_store(guarded, certificates, new_prefix())
    loss = Loss(mine, monkeypatch)
    loss.answers_to_lose = lost

    def take_away() -> None:
        gone = mine.connection._certificates._replace(authority="/nonexistent/ca.pem")
        monkeypatch.setattr(mine.connection, "_certificates", gone)
        mine.connection._members.clear()

    if lost:
        loss.before_answer = take_away
    else:
        take_away()
    with pytest.raises(raised, match=r"etcd_ca_cert_file: /nonexistent/ca\.pem cannot be read: No such file"):
        mine.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))
    mine.close()


# --------------------------------------------------------------------- keys


def test_the_layout_is_the_documented_one(store: EtcdStore, server: EtcdServer) -> None:
    add(store, demand("10.0.0.0/24"), pod(1))
    add(store, demand("fd00::/64", network_name="Blue/1", shared=False), pod(2))
    prefix = store._keys._prefix
    container = ["a" + f"{n:063x}" for n in (1, 2)]
    wide = "Blue%2F1/fd00::%2F64/6/fd00:0000:0000:0000:0000:0000:0000:0000"
    assert server.keys(prefix) == [
        f"{prefix}attachments/{container[0]}/net1/-/-/4/010.000.000.000",
        f"{prefix}attachments/{container[1]}/net1/{wide}",
        f"{prefix}bitmaps/-/-/4/010.000.000.000",
        f"{prefix}bitmaps/{wide}",
        f"{prefix}blocks/-/-/4/010.000.000.000",
        f"{prefix}blocks/{wide}",
        f"{prefix}pods/default%2Fpod%2D1/net1/-/-/4/010.000.000.000",
        f"{prefix}pods/default%2Fpod%2D2/net1/{wide}",
        f"{prefix}pools/-/10.0.0.0%2F24",
        f"{prefix}pools/Blue%2F1/fd00::%2F64",
    ]


def test_the_prefix_is_given_its_slash(server: EtcdServer) -> None:
    assert Keys("/a").blocks() == Keys("/a/").blocks() == b"/a/blocks/"
    assert EtcdStore(server.host)._keys.blocks() == DEFAULT_PREFIX.encode() + b"blocks/"


def test_a_host_that_is_no_endpoint_is_refused() -> None:
    with pytest.raises(StoreError, match="etcd_host is empty"):
        EtcdStore("")
