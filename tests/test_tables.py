"""Tables fit the terminal, documents are YAML and JSON, and no text reaches a terminal as a command."""

import fcntl
import importlib
import json
import os
import pty
import struct
import subprocess
import termios
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cni_calls import CONSOLE
from tests.store_contract import SOON, add, demand, pod
from whereabouts.commands.formats import document
from whereabouts.commands.tables import printable, table
from whereabouts.deadline import Deadline
from whereabouts.stores.sqlite import SqliteStore

cells = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
rows = st.lists(st.tuples(cells, cells, cells), max_size=8)


@given(rows, st.one_of(st.none(), st.integers(1, 120)))
def test_a_table_has_a_line_a_row_and_never_a_control_character(
    some: list[tuple[str, str, str]], width: int | None
) -> None:
    lines = table(["ONE", "TWO", "THREE"], some, width=width).split("\n")
    assert len(lines) == 1 + len(some)
    assert all(line.isprintable() for line in lines)


@given(rows, st.integers(30, 120))
def test_a_table_is_no_wider_than_the_terminal_where_that_can_be(
    some: list[tuple[str, str, str]], width: int
) -> None:
    assert max(map(len, table(["ONE", "TWO", "THREE"], some, width=width).split("\n"))) <= width


def test_the_widest_column_is_the_one_that_is_shortened() -> None:
    shown = table(["A", "B", "N"], [("short", "x" * 30, 5), ("y", "z", 12345)], numbers=["N"], width=28)
    assert shown.split("\n") == [
        "A      B                   N",
        "short  xxxxxxxxxxxxx…      5",
        "y      z               12345",
    ]


def test_without_a_terminal_nothing_is_shortened() -> None:
    assert table(["A"], [("x" * 500,)]).split("\n") == ["A", "x" * 500]


def test_empty_cells_can_be_seen() -> None:
    assert table(["A", "B"], [("", 0)]).split("\n") == ["A  B", "-  0"]


@given(st.text())
def test_what_is_printable_can_be_printed_and_stays_what_it_was_where_it_could(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


values: Any = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(st.characters(exclude_categories=["Cs"]))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["some_key", "null", "no", "1", ""]), inner),
    ),
    max_leaves=20,
)


@given(values)
def test_documents_say_the_same_in_yaml_and_json(value: Any) -> None:
    yaml: Any = importlib.import_module("yaml")
    assert yaml.safe_load(document(value, "yaml")) == value
    assert json.loads(document(value, "json")) == value


@pytest.mark.parametrize("columns", [80, 120])
def test_what_is_shown_at_a_terminal_fits_it(tmp_path: Path, columns: int) -> None:
    path = str(tmp_path / "w.db")
    name = f"default/{'long-' * 20}"
    with closing(SqliteStore(path, Deadline(SOON))) as store:
        for number in range(3):
            add(store, demand("10.0.0.0/24"), pod(number)._replace(pod_ref=f"{name}{number}"))
    shown = _at_terminal(columns, ["show", "--node", "node-1", "--local", path])
    assert max(map(len, shown.splitlines())) == columns
    assert f"{name}0" not in shown
    assert f"{name}0" in _at_terminal(columns, ["show", "--node", "node-1", "-o", "wide", "--local", path])


def _at_terminal(columns: int, arguments: list[str]) -> str:
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    run = subprocess.Popen([CONSOLE, *arguments], stdout=inner)
    os.close(inner)
    shown = b""
    try:
        while part := os.read(outer, 4096):
            shown += part
    except OSError:  # the other end is closed
        pass
    os.close(outer)
    assert run.wait() == 0
    return shown.decode()
