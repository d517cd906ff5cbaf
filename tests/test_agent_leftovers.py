"""An agent that starts tells what it finds of its node, and touches nothing."""

import json
import sys
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from whereabouts.agent import leftovers
from whereabouts.agent.host import AgentHost
from whereabouts.agent.leftovers import Leftovers, boot_time, count
from whereabouts.block import Block, BlockKey, Space
from whereabouts.config import flat_file
from whereabouts.deadline import Deadline
from whereabouts.store import StoredBlock
from whereabouts.stores.sqlite import SqliteStore

from .cni_calls import NODE
from .node_agent import agent_in_a_directory
from .store_contract import SOON, add, allocations, demand, pod

BOOT = 1_700_000_000
KEY = BlockKey(Space(), 4, 10 << 24)


def records(path: Path, *created: int, node: str = NODE) -> None:
    """Records in an embedded store that were made at these times."""
    store = SqliteStore(str(path), Deadline(SOON))
    for number, seconds in enumerate(created):
        add(store, demand("10.0.0.0/24"), pod(number, node=node)._replace(created=seconds))
    store.close()


def held(path: Path) -> list[tuple[str, str]]:
    store = SqliteStore(str(path), Deadline(SOON))
    try:
        return allocations(store)
    finally:
        store.close()


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The host's whereabouts.conf, which names an embedded store."""
    path = tmp_path / "whereabouts.conf"
    path.write_text(json.dumps({"datastore": "local", "local": {"path": str(tmp_path / "w.db")}}))
    monkeypatch.setattr(flat_file, "FLAT_FILES", (str(path),))
    return path


def metrics(host: AgentHost) -> list[str]:
    text = generate_latest(host.metrics.registry).decode()
    return [line for line in text.splitlines() if line.startswith("whereabouts_addresses_found_at_start{")]


def test_records_of_this_node_and_those_of_before_the_boot_are_counted() -> None:
    owners = {
        1: pod(1)._replace(created=BOOT - 1),
        2: pod(2)._replace(created=BOOT),
        3: pod(3)._replace(created=0),
        4: pod(4, node="node-2")._replace(created=0),
        5: pod(5, node="")._replace(created=0),
    }
    blocks = [StoredBlock(KEY, 1, Block(KEY, owners)), StoredBlock(KEY, 1, None, "damaged")]
    assert count(blocks, "node-1", BOOT) == Leftovers(recorded=3, before_boot=2, damaged=1)
    assert count(blocks, "node-1", None) == Leftovers(recorded=3, before_boot=None, damaged=1)
    assert count([], "node-1", BOOT) == Leftovers(0, 0, 0)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (Leftovers(0, 0, 0), "0 addresses are recorded for node n"),
        (Leftovers(1, None, 0), "1 address is recorded for node n"),
        (
            Leftovers(4, 1, 0),
            "4 addresses are recorded for node n; 1 was given before the last boot: "
            "the runtime's DEL or GC, or the controller frees it",
        ),
        (
            Leftovers(4, 3, 2),
            "4 addresses are recorded for node n; 3 were given before the last boot: "
            "the runtime's DEL or GC, or the controller frees them; 2 damaged blocks were not looked at",
        ),
    ],
)
def test_what_was_found_is_a_sentence(found: Leftovers, sentence: str) -> None:
    assert found.sentence("n", "the controller") == sentence


def test_the_time_of_the_boot_is_what_linux_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"btime {boot_time()}\n" in Path("/proc/stat").read_text()
    for text, expected in [
        ("cpu 1 2\nbtime 1700000000\nprocesses 1\n", BOOT),
        ("cpu 1\n", None),
        ("btime x", None),
    ]:
        (tmp_path / "stat").write_text(text)
        monkeypatch.setattr(leftovers, "STATISTICS", str(tmp_path / "stat"))
        assert boot_time() == expected
    monkeypatch.setattr(leftovers, "STATISTICS", str(tmp_path / "nothing"))
    assert boot_time() is None


def test_the_agent_tells_what_it_finds_and_frees_nothing(
    conf: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    records(tmp_path / "w.db", BOOT - 100, BOOT - 1, BOOT + 1)
    before = held(tmp_path / "w.db")
    host = AgentHost([], "verbose", {"NODENAME": NODE}, lambda: BOOT)
    assert metrics(host) == []
    host.warm_up()
    assert (
        f"3 addresses are recorded for node {NODE}; 2 were given before the last boot: "
        "the runtime's DEL or GC, or whereabouts reconcile frees them\n"
    ) in capfd.readouterr().err
    assert metrics(host) == [
        'whereabouts_addresses_found_at_start{given="any_time"} 3.0',
        'whereabouts_addresses_found_at_start{given="before_boot"} 2.0',
    ]
    host.close()
    assert held(tmp_path / "w.db") == before


def test_where_nobody_knows_of_a_boot_only_the_records_are_told(
    conf: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    records(tmp_path / "w.db", 0)
    host = AgentHost([], "verbose", {"NODENAME": NODE}, lambda: None)
    host.warm_up()
    assert capfd.readouterr().err.endswith(f"1 address is recorded for node {NODE}\n")
    assert metrics(host) == ['whereabouts_addresses_found_at_start{given="any_time"} 1.0']
    host.close()


def test_an_embedded_store_that_is_not_there_is_not_made_for_the_report(
    conf: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    host = AgentHost([], "verbose", {"NODENAME": NODE}, lambda: BOOT)
    host.warm_up()
    assert list(tmp_path.iterdir()) == [conf]
    assert capfd.readouterr().err == ""
    host.close()


def test_a_store_that_cannot_be_read_is_said_and_the_agent_goes_on(
    conf: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "w.db").write_bytes(b"no database" * 100)
    host = AgentHost([], "verbose", {"NODENAME": NODE}, lambda: BOOT)
    host.warm_up()
    assert "the host's datastore is not ready yet: " in capfd.readouterr().err
    assert metrics(host) == []
    host.close()


def test_an_agent_process_tells_it_while_it_serves() -> None:
    with agent_in_a_directory() as agent:
        conf = agent.directory / "whereabouts.conf"
        conf.write_text(json.dumps({"datastore": "local", "local": {"path": str(agent.directory / "w.db")}}))
        records(agent.directory / "w.db", 1, 2)
        program = (
            "from whereabouts.config import flat_file\n"
            f"flat_file.FLAT_FILES = ({str(conf)!r},)\n"
            "from whereabouts.cli import main\n"
            "raise SystemExit(main())\n"
        )
        agent.program = [sys.executable, "-c", program]
        agent.start()
        agent.wait_for_line(f"2 addresses are recorded for node {NODE}; 2 were given before the last boot")
        samples = agent.metrics()
        assert samples.total("whereabouts_addresses_found_at_start", given="before_boot") == 2
        assert agent.runtime(range="10.0.0.0/24").add("new") == ["10.0.0.3"]
