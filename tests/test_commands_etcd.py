"""Plugin, agent and commands on etcd, as a configuration names it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest

pytest.importorskip("grpc", reason="grpcio is not installed (pip install 'whereabouts-ipam[etcd]')")

from tests.cni_calls import CONSOLE, NODE, Runtime, container_of
from tests.etcd_server import EtcdServer, cluster
from whereabouts.agent.host import AgentHost
from whereabouts.config import flat_file

pytestmark = pytest.mark.etcd


@pytest.fixture(scope="module")
def server() -> Iterator[EtcdServer]:
    with cluster() as (one,):
        yield one


def command(*arguments: str) -> str:
    run = subprocess.run([CONSOLE, *arguments], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_plugin_process_keeps_its_addresses_in_etcd(server: EtcdServer, tmp_path: Path) -> None:
    where = {"etcd_host": server.host, "etcd_prefix": "/one/"}
    flat = tmp_path / "whereabouts.conf"
    flat.write_text(json.dumps(where))
    runtime = Runtime(CONSOLE, {"range": "10.3.0.0/24", **where}, version="1.1.0")
    assert [runtime.add(pod) for pod in ("a", "b", "a")] == [["10.3.0.1"], ["10.3.0.2"], ["10.3.0.1"]]
    assert command("show", "--config", str(flat)).split()[-7:-2] == ["-", "10.3.0.0/24", "254", "2", "252"]
    runtime.delete("a")
    assert runtime.add("c") == ["10.3.0.1"]
    assert runtime.call("STATUS").status == 0


def test_lists_of_a_go_plugin_are_taken_over_by_a_command(server: EtcdServer, tmp_path: Path) -> None:
    flat = tmp_path / "whereabouts.conf"
    flat.write_text(json.dumps({"etcd_host": server.host}))
    old = container_of("old")
    server.put(b"/whereabouts/10.4.0.0/24", f"10.4.0.1 {old}\n10.4.0.3 another".encode())
    assert "1 ranges taken over; addresses: 2 new" in command(
        "migrate", "--from-etcd-v0", "--config", str(flat)
    )
    assert "0 ranges taken over" in command("migrate", "--from-etcd-v0", "--config", str(flat))
    runtime = Runtime(CONSOLE, {"range": "10.4.0.0/24", "etcd_host": server.host})
    assert runtime.add("new") == ["10.4.0.2"]
    runtime.delete("old")
    assert runtime.add("newer") == ["10.4.0.1"]


def test_an_agent_opens_the_hosts_own_datastore_when_it_starts(
    server: EtcdServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    flat = tmp_path / "whereabouts.conf"
    monkeypatch.setattr(flat_file, "FLAT_FILES", (str(flat),))
    flat.write_text(json.dumps({"etcd_host": server.host}))
    host = AgentHost([], "verbose", {})
    host.warm_up()
    assert (
        f'given_twice{{datastore="etcd:{server.host}/whereabouts/v1/"}} 0.0'
        in generate_latest(host.metrics.registry).decode()
    )
    host.close()
    flat.write_text("no JSON")
    AgentHost([], "verbose", {}).warm_up()
    assert "the host's datastore is not ready yet" in capfd.readouterr().err


def test_what_no_runtime_knows_any_more_is_freed_by_a_command(server: EtcdServer, tmp_path: Path) -> None:
    where = {"etcd_host": server.host, "etcd_prefix": "/reconcile/"}
    flat, attachments = tmp_path / "whereabouts.conf", tmp_path / "list.json"
    flat.write_text(json.dumps(where))
    runtime = Runtime(CONSOLE, {"range": "10.7.0.0/24", **where})
    for pod in ("a", "b", "c"):
        runtime.add(pod)
    attachments.write_text(json.dumps([{"containerID": container_of("b"), "ifname": "net1"}]))
    reconcile = ("reconcile", "--config", str(flat), "--valid-attachments", str(attachments), "--node", NODE)
    assert command(*reconcile) == ""
    assert command(*reconcile, "--grace", "0", "--dry-run").count("would be freed") == 2
    freed = json.loads(command(*reconcile, "--grace", "0", "-o", "json"))["freed"]
    assert [(one["address"], one["node"]) for one in freed] == [("10.7.0.1", NODE), ("10.7.0.3", NODE)]
    assert command(*reconcile, "--grace", "0") == ""
    assert [runtime.add(pod) for pod in ("b", "d", "e")] == [["10.7.0.2"], ["10.7.0.1"], ["10.7.0.3"]]
