"""etcd that is away, full, locked, or loses members: what a caller sees, and that nothing is lost."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.store_contract import KEY, SOON, add, allocations, block_with, delete, demand, pod
from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.store import Unavailable

pytest.importorskip("grpc", reason="grpcio is not installed (pip install 'whereabouts-ipam[etcd]')")

from tests.etcd_server import LOOPBACK, Certificates, EtcdServer, cluster, free_port
from whereabouts.stores.etcd import EtcdStore

pytestmark = pytest.mark.etcd

USER, PASSWORD = "whereabouts", "s3cret-of-the-test"


@pytest.fixture(scope="module")
def server() -> Iterator[EtcdServer]:
    with cluster() as (one,):
        yield one


@pytest.fixture(scope="module")
def with_users() -> Iterator[EtcdServer]:
    """A server that asks for users, over plain connections."""
    with cluster() as (one,):
        one.add_user(USER, PASSWORD, "/whereabouts/v1/")
        one.ask_for_users()
        yield one


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def with_tls(certificates: Certificates) -> Iterator[EtcdServer]:
    with cluster(certificates=certificates) as (one,):
        yield one


def write_and_read(store: EtcdStore) -> None:
    now = store.read_block(KEY, Deadline(SOON), fresh=True)
    store.write_block(KEY, now, block_with(KEY, 1), Deadline(SOON))
    stored = store.read_block(KEY, Deadline(SOON), fresh=True)
    assert stored is not None
    assert stored.trusted() == block_with(KEY, 1)
    store.close()


def refusal(store: EtcdStore) -> str:
    """What a caller is told; it never has the password."""
    with pytest.raises(Unavailable) as raised:
        store.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))
    store.close()
    seen: BaseException | None = raised.value
    while seen is not None:
        assert PASSWORD not in repr(seen)
        seen = seen.__cause__ or seen.__context__
    return str(raised.value)


# ------------------------------------------------------------------ being away


def test_a_server_that_is_away_is_named_when_patience_is_over() -> None:
    store = EtcdStore(f"{LOOPBACK}:{free_port()}", patience=0.2)
    assert "Connection refused" in refusal(store)


def test_a_server_that_is_away_is_waited_for_no_longer_than_the_deadline() -> None:
    store = EtcdStore(f"{LOOPBACK}:{free_port()}")
    with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.3 s: etcd at 127\.0\.0\.1:\d+ cannot"):
        store.read_block(KEY, Deadline(0.3))
    store.close()


def test_the_next_endpoint_is_asked_when_one_is_away(server: EtcdServer) -> None:
    write_and_read(EtcdStore(f"{LOOPBACK}:{free_port()},http://{server.host}/", prefix="/failover/"))


def test_a_server_that_does_not_answer_is_left_for_the_next(
    server: EtcdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whereabouts.stores.etcd_connection.ATTEMPT", 0.3)
    with cluster() as (silent,):
        assert silent.process is not None
        os.kill(silent.process.pid, signal.SIGSTOP)
        write_and_read(EtcdStore(f"{silent.host},{server.host}", prefix="/silent/"))


def test_a_server_that_comes_back_is_used_again() -> None:
    with cluster() as (one,):
        store = EtcdStore(one.host)
        wanted = demand("10.0.0.0/24")
        assert add(store, wanted, pod(1)) == ["10.0.0.1"]
        one.kill()
        back = threading.Timer(0.5, one.start)
        back.start()
        assert add(store, wanted, pod(2)) == ["10.0.0.2"]
        back.join()
        store.close()


def test_what_is_no_etcd_is_called_so() -> None:
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    other = grpc.server(ThreadPoolExecutor(1))
    port = other.add_insecure_port(f"{LOOPBACK}:0")
    other.start()
    assert "not an etcd server" in refusal(EtcdStore(f"{LOOPBACK}:{port}"))
    other.stop(None).wait()


# ----------------------------------------------------------------------- users


def user_store(server: EtcdServer, **options: str) -> EtcdStore:
    return EtcdStore(server.host, **{"username": USER, "password": PASSWORD, **options}, patience=1.0)


def test_a_user_may_use_the_keys_of_its_role(with_users: EtcdServer) -> None:
    write_and_read(user_store(with_users))


def test_a_wrong_password_is_told_without_it(with_users: EtcdServer) -> None:
    sentence = refusal(user_store(with_users, username="nobody"))
    assert "does not accept user nobody with the given etcd_password" in sentence


def test_a_missing_user_is_told(with_users: EtcdServer) -> None:
    assert "set etcd_username and etcd_password" in refusal(EtcdStore(with_users.host))


def test_a_prefix_outside_the_role_is_told(with_users: EtcdServer) -> None:
    sentence = refusal(user_store(with_users, prefix="/elsewhere/"))
    assert f"does not let user {USER} at the keys under /elsewhere/" in sentence


def test_a_user_that_the_server_does_not_ask_for_is_no_error(server: EtcdServer) -> None:
    write_and_read(user_store(server, prefix="/user/"))


def test_a_token_that_is_no_longer_valid_is_renewed(with_users: EtcdServer) -> None:
    store = user_store(with_users)
    store.read_block(KEY, Deadline(SOON))
    first = store.connection._token
    store.connection._token = "none.1"
    store.read_block(KEY, Deadline(SOON), fresh=True)
    # The users change: tokens of before are for an old revision of them.
    root = with_users.call("/v3/auth/authenticate", {"name": "root", "password": "root"})["token"]
    with_users.call("/v3/auth/user/add", {"name": "another", "password": "x"}, root)
    write_and_read(store)
    assert store.connection._token not in (None, "", first, "none.1")


def test_a_server_that_forgot_its_tokens_is_asked_for_new_ones() -> None:
    with cluster() as (one,):
        one.add_user(USER, PASSWORD, "/whereabouts/v1/")
        one.ask_for_users()
        store = EtcdStore(one.host, username=USER, password=PASSWORD)
        assert add(store, demand("10.0.0.0/24"), pod(1)) == ["10.0.0.1"]
        one.kill()
        one.start()
        assert add(store, demand("10.0.0.0/24"), pod(2)) == ["10.0.0.2"]
        store.close()


# ------------------------------------------------------------------------- TLS


def test_files_without_a_scheme_mean_tls(with_tls: EtcdServer, certificates: Certificates) -> None:
    write_and_read(
        EtcdStore(
            with_tls.host,
            ca_cert_file=certificates.authority,
            cert_file=certificates.client,
            key_file=certificates.client_key,
        )
    )


def test_a_server_of_another_authority_is_not_trusted(with_tls: EtcdServer, tmp_path: Path) -> None:
    others = Certificates.make(tmp_path)
    sentence = refusal(EtcdStore(f"https://{with_tls.host}", ca_cert_file=others.authority, patience=0.2))
    assert "CERTIFICATE_VERIFY_FAILED" in sentence


def test_a_client_without_a_certificate_is_refused(with_tls: EtcdServer, certificates: Certificates) -> None:
    host = f"https://{with_tls.host}"
    refusal(EtcdStore(host, ca_cert_file=certificates.authority, patience=0.2))


def test_a_file_that_cannot_be_read_is_named(with_tls: EtcdServer, tmp_path: Path) -> None:
    missing = str(tmp_path / "ca.pem")
    sentence = refusal(EtcdStore(f"https://{with_tls.host}", ca_cert_file=missing))
    assert sentence == f"etcd_ca_cert_file: {missing} cannot be read: No such file or directory"


def test_files_are_read_again_for_a_new_connection(
    with_tls: EtcdServer, certificates: Certificates, tmp_path: Path
) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text(Path(Certificates.make(tmp_path).authority).read_text())
    store = EtcdStore(
        f"https://{with_tls.host}",
        ca_cert_file=str(authority),
        cert_file=certificates.client,
        key_file=certificates.client_key,
        patience=0.2,
    )
    with pytest.raises(Unavailable):
        store.read_block(KEY, Deadline(SOON))
    authority.write_text(Path(certificates.authority).read_text())
    write_and_read(store)


# ---------------------------------------------------- compaction and no space


def test_compaction_changes_nothing(server: EtcdServer) -> None:
    store = EtcdStore(server.host, prefix="/compacted/")
    wanted = demand("10.0.0.0/24")
    for n in range(5):
        add(store, wanted, pod(n))
    server.call("/v3/kv/compaction", {"revision": str(server.revision()), "physical": True})
    assert add(store, wanted, pod(9)) == ["10.0.0.6"]
    assert delete(store, wanted, pod(0)) == ["10.0.0.1"]
    assert len(allocations(store)) == 5
    store.close()


def test_a_server_without_space_says_what_to_do_and_goes_on_when_it_is_done() -> None:
    with cluster(1, f"--quota-backend-bytes={1 << 20}") as (full,):
        store = EtcdStore(full.host)
        wanted = demand("10.0.0.0/16")
        given = 0
        sentence = ""
        while not sentence:
            assert given < 2000
            try:
                add(store, wanted, pod(given))
                given += 1
            except Unavailable as error:
                sentence = str(error)
        assert "no space left" in sentence
        assert "etcdctl alarm disarm" in sentence
        assert len(allocations(store)) == given
        with pytest.raises(Unavailable, match="no space left"):
            delete(store, wanted, pod(0))
        full.call("/v3/kv/compaction", {"revision": str(full.revision()), "physical": True})
        full.call("/v3/maintenance/defragment")
        for alarm in full.call("/v3/maintenance/alarm", {"action": "GET"})["alarms"]:
            full.call("/v3/maintenance/alarm", {"action": "DEACTIVATE", **alarm})
        assert delete(store, wanted, pod(0)) == ["10.0.0.1"]
        assert add(store, wanted, pod(5000)) == ["10.0.0.1"]
        assert len(allocations(store)) == given
        store.close()


# ----------------------------------------------------------------- the leader


def test_no_address_is_lost_or_given_twice_when_the_leader_dies_in_a_burst() -> None:
    with cluster(3) as members:
        hosts = [member.host for member in members]
        given: dict[str, str] = {}
        failures: list[BaseException] = []
        begun, dead = threading.Barrier(7), threading.Event()
        lock = threading.Lock()

        def work(worker: int) -> None:
            # Each asks another member first.
            store = EtcdStore(",".join(hosts[worker % 3 :] + hosts[: worker % 3]))
            wanted = demand("10.0.0.0/22")
            begun.wait()
            number, after = 0, 0
            try:
                while after < 15:
                    owner = pod(1000 * worker + number)
                    number, after = number + 1, after + dead.is_set()
                    (address,) = add(store, wanted, owner)
                    with lock:
                        assert address not in given, f"{address} was given twice"
                        given[address] = owner.pod_ref
                    if number % 5 == 0:
                        with lock:
                            del given[address]
                        assert delete(store, wanted, owner) == [address]
            except BaseException as error:
                failures.append(error)
            finally:
                store.close()

        workers = [threading.Thread(target=work, args=(worker,)) for worker in range(6)]
        for worker in workers:
            worker.start()
        begun.wait()
        time.sleep(0.5)
        the_leader(members).kill()
        dead.set()
        for worker in workers:
            worker.join()
        assert failures == []
        (survivor, *_) = (member for member in members if member.process is not None)
        store = EtcdStore(survivor.host)
        assert dict(allocations(store)) == given
        store.close()


def the_leader(members: Sequence[EtcdServer]) -> EtcdServer:
    return next(member for member in members if member.is_leader())
