"""The commands that look and repair, on the embedded store, and what only it can have wrong."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.store_contract import SOON, add, demand, pod
from tests.tools_contract import WIDE, Tools, ToolsContract, quickly
from whereabouts.addresses import Address
from whereabouts.allocator import Allocator
from whereabouts.block import BlockKey
from whereabouts.deadline import Deadline
from whereabouts.owners import Owner
from whereabouts.store import Unavailable
from whereabouts.stores.sqlite import SqliteStore


@pytest.fixture
def tools(quickly: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Tools:
    path = str(tmp_path / "w.db")
    return Tools(["--local", path], lambda: SqliteStore(path, Deadline(SOON)), tmp_path, capsys)


__all__ = ["quickly"]  # a fixture


class TestTools(ToolsContract):
    pass


def found(tools: Tools) -> list[tuple[str, str, str]]:
    run = tools.run("check", "-o", "json")
    return [(one["kind"], one["place"], one["address"]) for one in run.json()["findings"]]


def change(tools: Tools, statement: str, *values: object) -> None:
    with sqlite3.connect(tools.folder / "w.db") as connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()


def test_halves_that_do_not_fit_are_found(tools: Tools) -> None:
    other = "SELECT bitmap FROM blocks WHERE name = '10.9.0.0'"
    copied = f"UPDATE blocks SET bitmap = ({other}) WHERE name = '10.0.0.0'"
    for number in range(3):
        add(tools.store, WIDE, pod(number))
        add(tools.store, demand("10.9.0.0/24"), pod(number + 10))
    change(tools, copied)
    assert found(tools) == []  # they say the same
    add(tools.store, demand("10.9.0.0/24"), pod(99))
    change(tools, copied)
    assert found(tools) == [("damaged-block", "10.0.0.0", "")]
    shown = tools.run("show", "--block", "10.0.0.0")
    assert (shown.status, "bitmap and owners do not belong together" in shown.err) == (1, True)
    assert "nothing can be released there" in tools.run("release", "10.0.0.1", "--yes").err


def test_a_row_under_a_wrong_name_is_found(tools: Tools) -> None:
    add(tools.store, WIDE, pod(1))
    change(tools, "UPDATE blocks SET name = '10.0.9.0'")
    assert ("misnamed-block", "10.0.9.0", "") in found(tools)


def test_an_index_that_differs_from_the_records_is_found(tools: Tools) -> None:
    for number in range(3):
        add(tools.store, WIDE, pod(number))
    change(tools, "DELETE FROM records WHERE offset = 1")
    change(tools, "UPDATE records SET container_id = 'another' WHERE offset = 2")
    change(tools, "INSERT INTO records SELECT rowid, 99, 'a/b', 'c', 'net1' FROM blocks")
    assert found(tools) == [
        ("index", "10.0.0.0 99", ""),
        ("index", "10.0.0.0", "10.0.0.1"),
        ("index", "10.0.0.0", "10.0.0.2"),
    ]


def test_a_store_that_cannot_be_read_is_another_status_than_problems(tools: Tools) -> None:
    (tools.folder / "other.db").write_bytes(b"no database at all, but long enough to be looked at" * 30)
    tools.options = ["--local", str(tools.folder / "other.db")]
    run = tools.run("check")
    assert (run.status, run.out) == (3, "")
    tools.options = ["--local", str(tools.folder / "none.db")]
    assert tools.run("check").status == 3


def test_what_a_pod_calls_itself_reaches_no_terminal_as_a_command(tools: Tools) -> None:
    add(tools.store, WIDE, pod(1)._replace(pod_ref="a/\x1b]0;owned\x07"))
    for arguments in (["show", "--address", "10.0.0.1"], ["explain", "pod", "a/\x1b]0;owned\x07"]):
        run = tools.run(*arguments)
        assert "\\x1b]0;owned" in run.out
        assert "\x1b" not in run.out + run.err


def test_what_is_released_is_told_although_another_block_could_not_be_written(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    for base in ("10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"):
        add(tools.store, demand(base), pod(1))
    free = Allocator.free

    def away(self: Allocator, key: BlockKey, *arguments: Any) -> list[tuple[Address, Owner]]:
        if key.name == "10.0.1.0":
            raise Unavailable("the disk is away")
        return free(self, key, *arguments)

    monkeypatch.setattr(Allocator, "free", away)
    run = tools.run("release", "--pod", "default/pod-1", "--yes", "--force")
    assert (run.status, tools.addresses()) == (1, ["10.0.1.1"])
    assert "the disk is away" in run.err
    assert run.out.endswith("Released 2 of 3. 1 changed meanwhile, or could not be written, and stay.\n")
