"""``whereabouts export`` and ``whereabouts import`` as commands: files, exit statuses, and what they say."""

import io
import json
import os
import signal
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from whereabouts.block import Block, BlockKey
from whereabouts.cli import main
from whereabouts.deadline import Deadline
from whereabouts.export_format import Damaged, Header, LeftOut, Writer
from whereabouts.pool import Pool, PoolKey
from whereabouts.stores.sqlite import SqliteStore

from .api_double import api_double
from .api_server import kubeconfig, resources
from .cni_calls import CONSOLE, LONG
from .processes import ending
from .store_contract import SOON, add, demand, pod
from .test_owners import typical
from .transfer_contract import PLACES, state_of


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A store with three allocations."""
    path = tmp_path / "source.db"
    with closing(SqliteStore(str(path), Deadline(SOON))) as store:
        for number in range(3):
            add(store, demand("10.0.0.0/24"), pod(number))
    return path


def state(path: Path) -> Any:
    with closing(SqliteStore(str(path), Deadline(SOON))) as store:
        return state_of(store)


def test_a_backup_is_a_file_for_its_owner_and_makes_the_same_store_again(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup, copy = tmp_path / "backup.jsonl", tmp_path / "new" / "copy.db"
    backup.write_text("of yesterday")
    backup.chmod(0o644)
    assert main(["export", "--local", str(source), str(backup)]) == 0
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert main(["import", "--local", str(copy), str(backup)]) == 0
    assert capsys.readouterr() == (
        "pools: 1 put in, 0 there before; allocations: 3 put in, 0 there before; "
        "0 contradict what is there\n",
        "",
    )
    assert state(copy) == state(source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.jsonl", "new", "source.db"]


def test_a_dry_run_says_what_would_be_done(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup, other = str(tmp_path / "backup.jsonl"), tmp_path / "other.db"
    main(["export", "--local", str(source), backup])
    with closing(SqliteStore(str(other), Deadline(SOON))) as store:
        add(store, demand("10.0.0.0/24"), pod(0))
    before = state(other)
    assert main(["import", "--dry-run", "--local", str(other), backup]) == 0
    assert "allocations: 2 would be put in, 1 there before" in capsys.readouterr().out
    assert state(other) == before
    assert main(["import", "--dry-run", "--local", str(tmp_path / "none.db"), backup]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_conflicts_are_listed_and_are_a_failure(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup, other = str(tmp_path / "backup.jsonl"), tmp_path / "other.db"
    main(["export", "--local", str(source), backup])
    with closing(SqliteStore(str(other), Deadline(SOON))) as store:
        add(store, demand("10.0.0.0/24"), pod(9))
    assert main(["import", "--local", str(other), backup]) == 1
    captured = capsys.readouterr()
    assert "allocations: 2 put in, 0 there before; 1 contradict what is there" in captured.out
    assert captured.err.startswith(
        "whereabouts: 10.0.0.1 of network_name '' is held here by default/pod-9 net1"
    )


def test_a_pipe_carries_an_export_from_one_store_into_another(source: Path, tmp_path: Path) -> None:
    pipe = f"'{CONSOLE}' export --local source.db | '{CONSOLE}' import --local copy.db"
    run = subprocess.run(["bash", "-c", pipe], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert state(tmp_path / "copy.db") == state(source)


def test_a_file_that_is_not_whole_is_refused_before_anything_is_written(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    backup, copy = tmp_path / "backup.jsonl", tmp_path / "copy.db"
    main(["export", "--local", str(source), str(backup)])
    whole = backup.read_bytes()
    for text, reason in [
        (whole[:-40], "it is no export, or cut short"),
        (whole.replace(b"default/pod-1", b"default/pod-7"), "it is not as it was written: the check"),
        (b"", "it is no export, or cut short"),
    ]:
        backup.write_bytes(text)
        assert main(["import", "--local", str(copy), str(backup)]) == 1
        assert capsys.readouterr().err.startswith(f"whereabouts: {backup}: {reason}")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
        assert main(["import", "--local", str(copy)]) == 1
        assert capsys.readouterr().err.startswith(f"whereabouts: standard input: {reason}")
    assert not copy.exists()


def test_an_export_that_cannot_be_written_leaves_what_was_there(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--local", str(source), str(tmp_path / "none" / "backup")]) == 1
    assert "none/backup cannot be written: No such file or directory" in capsys.readouterr().err
    os.mkfifo(tmp_path / "fifo")
    assert main(["export", "--local", str(source), str(tmp_path / "fifo")]) == 1
    assert "fifo is no regular file: write to - and redirect it" in capsys.readouterr().err
    backup = tmp_path / "backup"
    backup.write_text("of yesterday")
    main(["export", "--local", str(tmp_path / "missing.db"), str(backup)])
    assert backup.read_text() == "of yesterday"
    assert main(["import", "--local", str(source), str(tmp_path / "missing")]) == 1
    assert "missing cannot be read: No such file or directory" in capsys.readouterr().err


def test_what_is_damaged_or_left_out_is_said_on_both_sides(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(SqliteStore(str(source), Deadline(SOON))) as store:
        store._connection.execute("UPDATE blocks SET owners = x'00'")
    backup, copy = tmp_path / "backup.jsonl", tmp_path / "copy.db"
    assert main(["export", "--local", str(source), str(backup)]) == 1
    assert capsys.readouterr().err.startswith("whereabouts: block 10.0.0.0: ")
    assert main(["import", "--local", str(copy), str(backup)]) == 1
    assert "block 10.0.0.0/24 of network_name '' is damaged in the file" in capsys.readouterr().err
    assert main(["import", "--hold-damaged", "--local", str(copy), str(backup)]) == 1
    assert "allocations: 256 put in" in capsys.readouterr().out


def test_control_characters_of_a_file_do_not_reach_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup = tmp_path / "backup.jsonl"
    with open(backup, "wb") as file:
        writer = Writer(file.write)
        writer.add(Header("x", 0))
        writer.add(LeftOut("\x1b[2J", "because"))
        writer.add(Damaged(PLACES[3], "\x1b[2J"))
        writer.finish()
    assert main(["import", "--local", str(tmp_path / "w.db"), str(backup)]) == 1
    assert "\x1b" not in capsys.readouterr().err


def test_allocations_that_a_cluster_has_in_no_block_are_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with api_double() as server:
        namespace = server.namespace()
        content = {
            "apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
            "kind": "IPPool",
            "metadata": {"name": "10.6.0.0-24", "namespace": namespace},
            "spec": {
                "range": "10.6.0.0/24",
                "allocations": {"2": {"id": "i", "podref": "a/b", "ifname": "e"}},
            },
        }
        assert server.call("POST", resources(namespace, "ippools"), content).status == 201
        path = kubeconfig(tmp_path / "kubeconfig", server.server, namespace)
        backup = tmp_path / "backup.jsonl"
        assert main(["export", "--kubeconfig", path, str(backup)]) == 1
        reason = "1 allocations of the Go plugin are in no block yet: "
        reason += "whereabouts migrate --to blocks takes them over"
        assert capsys.readouterr().err == f"whereabouts: left out: IPPool 10.6.0.0-24: {reason}\n"
        lines = [json.loads(line) for line in backup.read_text().splitlines()]
        assert {"left_out": {"what": "IPPool 10.6.0.0-24", "reason": reason}} in lines
        assert main(["migrate", "--kubeconfig", path, "--to", "blocks"]) == 0
        assert main(["export", "--kubeconfig", path, str(backup)]) == 0
        assert main(["import", "--local", str(tmp_path / "w.db"), str(backup)]) == 0
    (owners,) = state(tmp_path / "w.db").blocks.values()
    assert {offset: owner.pod_ref for offset, owner in owners.items()} == {2: "a/b"}


def test_an_import_process_that_is_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    backup, copy = tmp_path / "backup.jsonl", tmp_path / "copy.db"
    with open(backup, "wb") as file:
        writer = Writer(file.write)
        writer.add(Header("x", 0))
        writer.add(Pool(PoolKey("", "10.0.0.0/8"), shared=True))
        for index in range(64):
            key = BlockKey(PLACES[0].space, 4, (10 << 24) + 256 * index)
            writer.add(Block(key, dict(enumerate(typical(128, seed=index)))))
        writer.finish()
    command = [str(CONSOLE), "import", "--local", str(copy), str(backup)]
    with ending(subprocess.Popen(command, stdout=subprocess.PIPE)) as process:
        with closing(SqliteStore(str(copy), Deadline(SOON))) as store:
            while len(list(store.blocks(Deadline(SOON)))) < 5:
                assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    found = sum(map(len, state(copy).blocks.values()))
    run = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    total = 64 * 128
    assert f"allocations: {total - found} put in, {found} there before" in run.stdout
    assert sum(map(len, state(copy).blocks.values())) == total
