"""``whereabouts reconcile`` on the embedded store: what is not on the list is freed, and nothing in doubt."""

import io
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from time import time

import pytest

from whereabouts.block import Block, BlockKey, Space
from whereabouts.cli import main
from whereabouts.deadline import Deadline
from whereabouts.owners import Owner
from whereabouts.stores.sqlite import SqliteStore

from .store_contract import SOON, add, allocations, demand, pod

WANTED = demand("10.0.0.0/22")
OWNERS = [pod(1), pod(2), pod(3, node="node-2"), pod(4)._replace(network="other"), pod(5)]
Fill = Callable[[Iterable[Owner]], str]


@pytest.fixture
def fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fill:
    """Gives owners addresses in an embedded store, and its file's name."""
    monkeypatch.setenv("NODENAME", "node-1")
    path = str(tmp_path / "w.db")

    def fill(owners: Iterable[Owner]) -> str:
        store = SqliteStore(path, Deadline(SOON))
        for owner in owners:
            add(store, WANTED, owner)
        store.close()
        return path

    return fill


def held(path: str) -> set[str]:
    store = SqliteStore(path, Deadline(SOON))
    try:
        return {ref.removeprefix("default/pod-") for _, ref in allocations(store)}
    finally:
        store.close()


def listed(tmp_path: Path, owners: Iterable[Owner]) -> str:
    path = tmp_path / "list.json"
    path.write_text(json.dumps([{"containerID": one.container_id, "ifname": one.ifname} for one in owners]))
    return str(path)


def reconcile(path: str, attachments: str, *options: str) -> int:
    return main(["reconcile", "--local", path, "--valid-attachments", attachments, *options])


def test_only_this_nodes_addresses_that_are_not_listed_are_freed(
    fill: Fill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fill(OWNERS)
    assert reconcile(path, listed(tmp_path, [pod(1), pod(5)])) == 0
    assert held(path) == {"1", "3", "5"}
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        f"10.0.0.2: freed; pod default/pod-2, container {pod(2).container_id}, interface net1, node node-1, "
        "network macvlan",
        f"10.0.0.4: freed; pod default/pod-4, container {pod(4).container_id}, interface net1, node node-1, "
        "network other",
    ]
    assert captured.err == ""


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--node", "node-2"], {"1", "2", "4", "5"}),
        (["--node", "node-3"], {"1", "2", "3", "4", "5"}),
        (["--all-nodes"], {"1"}),
        (["--network", "other"], {"1", "2", "3", "5"}),
        (["--all-nodes", "--network", "macvlan"], {"1", "4"}),
    ],
)
def test_a_list_speaks_of_a_node_and_a_network_only(
    fill: Fill, tmp_path: Path, options: list[str], left: set[str]
) -> None:
    path = fill(OWNERS)
    assert reconcile(path, listed(tmp_path, [pod(1)]), *options) == 0
    assert held(path) == left


def test_another_interface_of_a_listed_container_is_not_listed(fill: Fill, tmp_path: Path) -> None:
    path = fill([pod(1), pod(1, ifname="net2"), pod(2), pod(3)._replace(ifname="")])
    assert reconcile(path, listed(tmp_path, [pod(1), pod(3, ifname="net7")])) == 0
    store = SqliteStore(path, Deadline(SOON))
    assert [address for address, _ in allocations(store)] == ["10.0.0.1", "10.0.0.4"]
    store.close()


def test_a_dry_run_tells_and_frees_nothing(
    fill: Fill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fill(OWNERS)
    assert reconcile(path, listed(tmp_path, [pod(1), pod(5)]), "--dry-run") == 0
    assert held(path) == {"1", "2", "3", "4", "5"}
    assert [line.partition(";")[0] for line in capsys.readouterr().out.splitlines()] == [
        "10.0.0.2: would be freed",
        "10.0.0.4: would be freed",
    ]


def test_json_has_what_was_freed(fill: Fill, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = fill(OWNERS)
    assert reconcile(path, listed(tmp_path, [pod(1), pod(5)]), "-o", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dry_run"] is False
    assert [(one["address"], one["pod"], one["cni_network"]) for one in told["freed"]] == [
        ("10.0.0.2", "default/pod-2", "macvlan"),
        ("10.0.0.4", "default/pod-4", "other"),
    ]


@pytest.mark.parametrize("form", ["list", "configuration"])
def test_a_list_may_come_on_standard_input(fill: Fill, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fill(OWNERS)
    entries = [{"containerID": pod(1).container_id, "ifname": "net1"}]
    value = entries if form == "list" else {"cni.dev/valid-attachments": entries}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(value).encode())))
    assert reconcile(path, "-") == 0
    assert held(path) == {"1", "3"}


def test_a_configuration_for_gc_speaks_of_its_own_network_only(
    fill: Fill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fill(OWNERS)
    file = tmp_path / "gc.json"
    entry = {"containerID": pod(1).container_id, "ifname": "net1"}
    file.write_text(json.dumps({"name": "macvlan", "cni.dev/valid-attachments": [entry]}))
    assert reconcile(path, str(file), "--network", "other") == 2
    assert 'the list is of network "macvlan", not of "other"' in capsys.readouterr().err
    assert held(path) == {"1", "2", "3", "4", "5"}
    assert reconcile(path, str(file)) == 0
    assert held(path) == {"1", "3", "4"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "there is no input, not even an empty list"),
        ("\n", "there is no input, not even an empty list"),
        ("[", "no JSON: Expecting value"),
        ("[" * 100_000, "no JSON: "),
        ("\xff", "expected a list of attachments, found a string"),
        ("17", "expected a list of attachments, found a number"),
        ("null", "expected a list of attachments, found null"),
        ("{}", "missing cni.dev/valid-attachments"),
        ('{"name": 1, "cni.dev/valid-attachments": []}', 'key "name": expected a string'),
        ('{"cni.dev/valid-attachments": 1}', "expected a list, found a number"),
        ('["a"]', "attachment[0]: expected an object, found a string"),
        (
            '[{"containerID": "a", "ifname": "b"}, {}]',
            "attachment[1]: containerID and ifname must both be given",
        ),
        ('[{"containerID": 1, "ifname": "b"}]', 'attachment[0]: key "containerID": expected a string'),
        ("[]", "the list is empty, and would free everything: give --allow-empty"),
        ('{"cni.dev/valid-attachments": null}', "the list is empty"),
    ],
)
def test_a_list_that_is_not_one_frees_nothing_and_is_explained(
    fill: Fill, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, complaint: str
) -> None:
    path = fill(OWNERS)
    file = tmp_path / "list.json"
    file.write_text(json.dumps(text) if text == "\xff" else text)
    assert reconcile(path, str(file), "--all-nodes") == 2
    assert held(path) == {"1", "2", "3", "4", "5"}
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"whereabouts: --valid-attachments {file}: ")
    assert complaint in said.err


def test_text_that_is_not_utf_8_and_a_file_that_is_not_there_are_explained(
    fill: Fill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fill(OWNERS)
    (tmp_path / "latin").write_bytes(b'["\xe4"]')
    assert reconcile(path, str(tmp_path / "latin")) == 2
    assert "no JSON" in capsys.readouterr().err
    assert reconcile(path, str(tmp_path / "nothing")) == 2
    assert "nothing: No such file or directory" in capsys.readouterr().err


def test_an_empty_list_frees_all_of_a_node_where_that_is_wanted(fill: Fill, tmp_path: Path) -> None:
    path = fill(OWNERS)
    assert reconcile(path, listed(tmp_path, []), "--allow-empty") == 0
    assert held(path) == {"3"}


def test_what_was_given_shortly_before_the_list_was_made_is_kept_and_told(
    fill: Fill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = int(time()) - 1000
    ages = {1: 10_000, 2: 31, 3: 29, 4: -5}
    path = fill(pod(number)._replace(created=made - age) for number, age in ages.items())
    file = listed(tmp_path, [pod(9)])
    os.utime(file, (made, made))
    assert reconcile(path, file, "--grace", "30") == 0
    assert held(path) == {"3", "4"}
    assert "kept: 2 more that are not on the list; they were given less than 30 s" in capsys.readouterr().err
    assert reconcile(path, file, "--grace", "0") == 0
    assert held(path) == {"4"}


def test_what_was_given_while_the_list_was_read_is_kept(fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fill([pod(1), pod(2)._replace(created=int(time()) + 1)])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"[]")))
    assert reconcile(path, "-", "--allow-empty", "--grace", "0") == 0
    assert held(path) == {"2"}


def test_an_address_that_was_given_twice_is_kept(fill: Fill, tmp_path: Path) -> None:
    path = fill([pod(1), pod(2)._replace(container_id="conflict: a/b net1 1 and c/d net1 2", pod_ref="")])
    assert reconcile(path, listed(tmp_path, []), "--allow-empty", "--all-nodes") == 0
    assert len(held(path)) == 1


def test_a_damaged_block_is_told_and_the_others_are_worked_on(
    fill: Fill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fill([pod(1), pod(2)])
    store = SqliteStore(path, Deadline(SOON))
    key = BlockKey(Space(), 4, BlockKey.of(Space(), WANTED.ranges[0].network[512]).base)
    store.write_block(key, None, Block(key, {7: pod(3)}), Deadline(SOON))
    store._connection.execute("UPDATE blocks SET owners = x'00' WHERE name = '10.0.0.0'")
    store.close()
    assert reconcile(path, listed(tmp_path, []), "--allow-empty") == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("10.0.2.7: freed; ")
    assert "1 freed, but not everything was looked at: block 10.0.0.0" in captured.err


def test_no_store_is_made_where_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reconcile(str(tmp_path / "w.db"), listed(tmp_path, [pod(1)]), "--node", "node-1") == 1
    assert "no embedded store gave an address there" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--node", "a", "--all-nodes"], ["--grace", "-1"], ["--grace", "x"]])
def test_options_that_make_no_sense_are_refused(
    fill: Fill, tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = fill([pod(1)])
    with pytest.raises(SystemExit, match="2"):
        reconcile(path, listed(tmp_path, [pod(2)]), *options)
    assert held(path) == {"1"}
