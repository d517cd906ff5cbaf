"""The agent keeps datastores open, but not without end."""

import json
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from prometheus_client import generate_latest

from whereabouts.agent import datastores
from whereabouts.agent.datastores import MOST, Datastores
from whereabouts.agent.framing import Request
from whereabouts.agent.host import AgentHost
from whereabouts.agent.metrics import Metrics
from whereabouts.agent.trust import TrustedFiles
from whereabouts.cni.errors import WHEREABOUTS
from whereabouts.config import ConfigError, load
from whereabouts.config.host_files import HostFiles
from whereabouts.config.values import Config
from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.store import Store
from whereabouts.stores.opening import open_store
from whereabouts.stores.sqlite import SqliteStore

from .api_double import api_double
from .live_cluster import Cluster
from .store_contract import SOON, add, demand, pod


def ipam_of(path: Path) -> dict[str, Any]:
    return {"type": "whereabouts", "range": "10.0.0.0/24", "datastore": "local", "local": {"path": str(path)}}


def config_of(path: Path) -> Config:
    return load({"ipam": ipam_of(path)}, network="n", container_id="c", files=HostFiles())


def ranges(stores: Datastores) -> list[str]:
    return [row.pool.key.range for rows in stores.usage().values() for row in rows]


def test_a_connection_is_kept_for_the_next_call_and_not_shared_by_two(tmp_path: Path) -> None:
    stores = Datastores(Metrics())
    config = config_of(tmp_path / "w.db")
    with stores.use(config, Deadline(SOON)) as (first, _), stores.use(config, Deadline(SOON)) as (second, _):
        assert first is not second
    with stores.use(config, Deadline(SOON)) as (third, _):
        assert third in (first, second)
    stores.close()


def test_the_least_used_datastore_makes_room_but_never_one_in_use(tmp_path: Path) -> None:
    stores = Datastores(Metrics())
    first = config_of(tmp_path / "first.db")
    with stores.use(first, Deadline(SOON)) as (in_use, _):
        for number in range(MOST + 5):
            with stores.use(config_of(tmp_path / f"{number}.db"), Deadline(SOON)):
                pass
            assert len(stores._open) <= MOST
        assert add(in_use, demand("10.0.0.0/24"), pod(1)) == ["10.0.0.1"]
    stores.close()


def test_a_call_waits_for_another_that_opens_the_datastore_no_longer_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = Datastores(Metrics())
    config = config_of(tmp_path / "w.db")
    opening, may_go_on = Event(), Event()

    def slowly(config: Config, deadline: Deadline) -> Store:
        opening.set()
        assert may_go_on.wait(SOON)
        return open_store(config, deadline)

    def use(seconds: float) -> None:
        with stores.use(config, Deadline(seconds)):
            pass

    monkeypatch.setattr(datastores, "open_store", slowly)
    first = Thread(target=use, args=(SOON,), daemon=True)
    first.start()
    assert opening.wait(SOON)
    second_ended = Event()

    def second() -> None:
        with pytest.raises(DeadlineExceeded, match="another call is opening"):
            use(0.1)
        second_ended.set()

    Thread(target=second, daemon=True).start()
    assert second_ended.wait(SOON)
    may_go_on.set()
    first.join(SOON)
    use(SOON)
    stores.close()


@pytest.mark.parametrize("there", [True, False])
def test_a_file_that_is_replaced_while_it_is_opened_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    path = tmp_path / "w.db"
    if there:
        SqliteStore(str(path), Deadline(SOON)).close()
    times = 0

    def replaced(config: Config, deadline: Deadline) -> Store:
        nonlocal times
        times += 1
        store = open_store(config, deadline)
        if times == 1:
            path.rename(tmp_path / "was.db")
            SqliteStore(str(path), Deadline(SOON)).close()
        return store

    monkeypatch.setattr(datastores, "open_store", replaced)
    stores = Datastores(Metrics())
    with stores.use(config_of(path), Deadline(SOON)) as (store, _):
        assert add(store, demand("10.0.0.0/24"), pod(1)) == ["10.0.0.1"]
    stores.close()
    with closing(SqliteStore(str(path), Deadline(SOON))) as found:
        assert add(found, demand("10.0.0.0/24"), pod(2)) == ["10.0.0.2"]


def test_a_file_that_is_replaced_again_and_again_fails_the_call_at_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, now = tmp_path / "w.db", 0.0

    def removed(config: Config, deadline: Deadline) -> Store:
        nonlocal now
        store = open_store(config, deadline)
        path.unlink()
        now += 1.0
        return store

    monkeypatch.setattr(datastores, "open_store", removed)
    stores = Datastores(Metrics())
    with (
        pytest.raises(DeadlineExceeded, match=f"{path} is replaced by others"),
        stores.use(config_of(path), Deadline(3.0, clock=lambda: now)),
    ):
        pass
    stores.close()


def test_a_call_that_outlives_the_agent_does_not_keep_it_from_closing_its_datastores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = Datastores(Metrics())
    for name in ("first", "second"):
        with stores.use(config_of(tmp_path / f"{name}.db"), Deadline(SOON)):
            pass
    first = next(iter(stores._open.values()))
    close = first.close

    def closed_while_another_is_opened() -> None:
        close()
        with stores.use(config_of(tmp_path / "third.db"), Deadline(SOON)):
            pass

    monkeypatch.setattr(first, "close", closed_while_another_is_opened)
    stores.close()
    assert all(one._idle.empty() for one in list(stores._open.values())[:2])
    stores.close()


@pytest.mark.parametrize("key", ["log_file", "configuration_path", "kubernetes.kubeconfig"])
@pytest.mark.parametrize("end", ["", "-wal", "-shm"])
@pytest.mark.parametrize("by_link", [False, True])
def test_the_files_of_an_open_datastore_are_not_admitted_as_anything_else(
    tmp_path: Path, key: str, end: str, by_link: bool
) -> None:
    stores = Datastores(Metrics())
    files = TrustedFiles([str(tmp_path)], stores.has_open)
    named = tmp_path / f"w.db{end}"
    if by_link:
        named = tmp_path / "link"
        named.symlink_to(f"w.db{end}")
    files.admit(key, str(named))  # nothing is open yet
    with stores.use(config_of(tmp_path / "w.db"), Deadline(SOON)) as (store, _):
        add(store, demand("10.0.0.0/24"), pod(1))
    with pytest.raises(ConfigError, match=f"{key} is .*datastore"):
        files.admit(key, str(named))
    files.admit(key, str(tmp_path / "whereabouts.log"))
    stores.close()


def test_an_open_database_may_be_named_as_a_database_and_the_files_beside_it_may_not(tmp_path: Path) -> None:
    stores = Datastores(Metrics())
    files = TrustedFiles([str(tmp_path)], stores.has_open)
    with stores.use(config_of(tmp_path / "w.db"), Deadline(SOON)):
        files.admit("local.path", str(tmp_path / "w.db"))
        for end in ("-wal", "-shm"):
            with pytest.raises(ConfigError, match="datastore"):
                files.admit("local.path", str(tmp_path / f"w.db{end}"))
    stores.close()


def test_the_agent_refuses_a_configuration_that_names_its_database_as_its_log(tmp_path: Path) -> None:
    host = AgentHost([str(tmp_path)], "error", {"NODENAME": "node-1"})
    host.ready = True
    database = tmp_path / "w.db"

    def answer(number: int, **keys: str) -> Any:
        config = {"cniVersion": "1.0.0", "name": "n", "type": "macvlan", "ipam": ipam_of(database) | keys}
        environment = {
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": f"c{number}",
            "CNI_NETNS": "/var/run/netns/p",
            "CNI_IFNAME": "net1",
            "CNI_PATH": "/opt/cni/bin",
        }
        request = Request(environment, json.dumps(config).encode(), 60_000, None, None)
        return json.loads(host.handle(request, 0.0).stdout)

    assert answer(1)["ips"][0]["address"] == "10.0.0.1/24"
    before = database.read_bytes()
    refused = answer(2, log_file=str(database), log_level="debug")
    assert refused["code"] == WHEREABOUTS
    assert "log_file" in refused["msg"]
    assert database.read_bytes() == before
    assert answer(3)["ips"][0]["address"] == "10.0.0.2/24"
    host.close()


def test_counting_addresses_does_not_change_which_datastore_was_used_last(tmp_path: Path) -> None:
    stores = Datastores(Metrics())
    for number in range(MOST):
        with stores.use(config_of(tmp_path / f"{number}.db"), Deadline(SOON)) as (store, _):
            add(store, demand(f"10.0.{number}.0/24"), pod(number))
    for _ in range(2):
        assert ranges(stores)[:2] == ["10.0.63.0/24", "10.0.62.0/24"]
    with stores.use(config_of(tmp_path / "another.db"), Deadline(SOON)):
        pass
    assert ranges(stores)[-1] == "10.0.1.0/24"
    stores.close()


def test_usage_and_requests_are_counted(tmp_path: Path) -> None:
    metrics = Metrics()
    stores = Datastores(metrics)
    with stores.use(config_of(tmp_path / "w.db"), Deadline(SOON)) as (store, _):
        add(store, demand("10.0.0.0/24"), pod(1))
    ((name, rows),) = stores.usage().items()
    assert name == f"local:{tmp_path / 'w.db'}"
    assert [(row.pool.key.range, row.used, row.free) for row in rows] == [("10.0.0.0/24", 1, 253)]
    exposed = generate_latest(metrics.registry).decode()
    assert 'whereabouts_store_requests_total{outcome="ok",verb="write_block"} 1.0' in exposed
    stores.close()


def test_what_is_in_kubernetes_is_not_counted_since_every_agent_would_count_the_same(tmp_path: Path) -> None:
    with api_double() as server:
        cluster = Cluster(server, tmp_path)
        kubernetes = {"kubeconfig": cluster.kubeconfig}
        ipam = {"type": "whereabouts", "range": "10.0.0.0/24", "kubernetes": kubernetes}
        config = load({"ipam": ipam}, network="n", container_id="c", files=HostFiles())
        stores = Datastores(Metrics())
        with stores.use(config, Deadline(SOON)) as (store, _):
            add(store, demand("10.0.0.0/24"), pod(1))
        asked = len(server.asked)
        assert stores.usage() == {}
        assert len(server.asked) == asked
        stores.close()
        cluster.store.close()
