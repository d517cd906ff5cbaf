"""The campaign's checker finds what is planted, and only that."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from math import inf
from pathlib import Path
from random import Random

import pytest

from .campaign import checker
from .campaign.calls import Call, make_call
from .campaign.checker import Hold, Violation
from .campaign.journal import ADD, CHECK, COLLECT, DELETE, ENDS, Entry, Journal
from .campaign.networks import SPARSE, TIGHT, WIDE, Span
from .campaign.sqlite_world import SqliteWorld, open_world
from .campaign.world import Attachment, Record

SPAN = Span("10.0.0.0/29")


def interface(number: int, sandbox: int = 1) -> Attachment:
    return Attachment("node-a", "wide", f"default/pod-{number}", f"pod-{number}-{sandbox}", "net1")


def result(*addresses: str) -> str:
    return json.dumps({"cniVersion": "1.0.0", "ips": [{"address": f"{one}/24"} for one in addresses]})


def failure(code: int, message: str = "try again") -> str:
    return json.dumps({"cniVersion": "1.0.0", "code": code, "msg": message})


def call(
    command: str, one: Attachment, begun: float, stdout: str = "", *, took: float = 0.1, status: int = 0
) -> Entry:
    deadline = 120.0 if command == ADD else 60.0
    return Entry(command, one, begun, begun + took, deadline, status=status, stdout=stdout)


def add(number: int, begun: float, *addresses: str, sandbox: int = 1) -> Entry:
    entry = call(ADD, interface(number, sandbox), begun, result(*addresses))
    return entry._replace(ranges=len(addresses))


def delete(number: int, begun: float, sandbox: int = 1) -> Entry:
    return call(DELETE, interface(number, sandbox), begun)


def ends(number: int, at: float, sandbox: int = 1) -> Entry:
    return Entry(ENDS, interface(number, sandbox), at, at, 0.0)


def kinds(found: Sequence[Violation] | Iterator[Violation]) -> list[str]:
    return [violation.kind for violation in found]


# -------------------------------------------------------------------- given twice


def test_an_address_that_is_given_on_after_its_del_is_no_violation() -> None:
    entries = [add(1, 0.0, "10.0.0.1"), delete(1, 2.0), add(2, 2.05, "10.0.0.1"), add(3, 0.0, "10.0.0.2")]
    assert not checker.of_calls(entries)


def test_an_address_that_two_hold_at_once_is_found() -> None:
    (found,) = checker.of_calls([add(1, 0.0, "10.0.0.1"), add(2, 1.0, "10.0.0.1")])
    assert found.kind == "given twice"
    assert all(text in found.sentence for text in ("10.0.0.1", "default/pod-1", "default/pod-2"))


@pytest.mark.parametrize("ended", [delete(1, 5.0), ends(1, 5.0)], ids=["DEL", "gone"])
def test_an_address_that_was_given_again_before_its_holder_ended_is_found(ended: Entry) -> None:
    entries = [add(1, 0.0, "10.0.0.1"), add(2, 1.0, "10.0.0.1"), ended, delete(2, 3.0)]
    assert kinds(checker.of_calls(entries)) == ["given twice"]


def test_one_of_several_addresses_is_enough() -> None:
    entries = [add(1, 0.0, "10.0.0.1", "fd00::1"), add(2, 0.0, "10.0.0.2", "fd00::1")]
    assert kinds(checker.of_calls(entries)) == ["given twice"]


def test_a_long_holder_is_remembered_behind_a_short_one() -> None:
    entries = [add(1, 0.0, "10.0.0.1"), add(2, 1.0, "10.0.0.1"), delete(2, 2.0), add(3, 3.0, "10.0.0.1")]
    assert kinds(checker.of_calls(entries)) == ["given twice", "given twice"]


def test_the_next_sandbox_of_a_pod_has_the_address_of_the_last() -> None:
    entries = [add(1, 0.0, "10.0.0.1"), ends(1, 1.0), add(1, 1.0, "10.0.0.1", sandbox=2), delete(1, 2.0)]
    assert not checker.of_calls(entries)
    assert [hold.attachment.container_id for hold in checker.alive(checker.holds(entries))] == ["pod-1-2"]


def test_what_a_killed_add_was_given_nobody_holds() -> None:
    killed = add(1, 0.0, "10.0.0.1")._replace(killed=True, status=-9)
    assert not checker.holds([killed])
    assert not checker.of_calls([killed, add(2, 1.0, "10.0.0.1")])


def test_a_repeated_add_that_gives_another_address_is_found() -> None:
    assert not checker.of_calls([add(1, 0.0, "10.0.0.1"), add(1, 1.0, "10.0.0.1")])
    assert kinds(checker.of_calls([add(1, 0.0, "10.0.0.1"), add(1, 1.0, "10.0.0.2")])) == ["changed"]


def test_where_processes_know_only_what_they_gave_another_process_may_give_another_address() -> None:
    first, again = add(1, 0.0, "10.0.0.1"), add(1, 1.0, "10.0.0.2")
    assert kinds(checker.of_calls([first, again], forgetful=True)) == ["changed"]
    assert not checker.of_calls([first, again._replace(agents=(0, 1))], forgetful=True)
    assert not checker.of_calls([first, again._replace(program="console")], forgetful=True)


# ------------------------------------------------------------------------- answers


@pytest.mark.parametrize(("command", "seconds"), [(ADD, 120.0), (DELETE, 60.0), (COLLECT, 60.0)])
def test_a_late_answer_is_found(command: str, seconds: float) -> None:
    stdout = result("10.0.0.1") if command == ADD else ""
    assert not checker.of_calls([call(command, interface(1), 0.0, stdout, took=seconds + 1.0)])
    assert kinds(checker.of_calls([call(command, interface(1), 0.0, stdout, took=seconds + 3.0)])) == ["late"]


@pytest.mark.parametrize(
    ("command", "status", "stdout"),
    [
        (ADD, 0, ""),
        (ADD, 0, "{}"),
        (ADD, 0, "[]"),
        (ADD, 0, result("10.0.0.1")[:-3]),
        (ADD, 0, result("10.0.0.1", "10.0.0.2")),
        (ADD, 1, "Traceback (most recent call last):"),
        (ADD, 1, json.dumps({"code": "11", "msg": "no number"})),
        (ADD, 1, json.dumps({"code": 11})),
        (ADD, 1, json.dumps({"code": 11, "msg": "", "more": 1})),
        (ADD, -11, ""),
        (ADD, 2, failure(11)),
        (DELETE, 0, "done"),
        (DELETE, 1, ""),
    ],
)
def test_an_answer_that_is_not_cni_is_found(command: str, status: int, stdout: str) -> None:
    entry = call(command, interface(1), 0.0, stdout, status=status)
    assert kinds(checker.of_calls([entry])) == ["no CNI answer"]


def test_a_traceback_on_stderr_is_found() -> None:
    entry = add(1, 0.0, "10.0.0.1")._replace(stderr="Traceback (most recent call last):\n")
    assert kinds(checker.of_calls([entry])) == ["no CNI answer"]


def test_errors_that_faults_excuse_are_none() -> None:
    full = failure(999, f"error at storage engine: {checker.FULL}: ip: 10.0.0.1")
    entries = [
        call(ADD, interface(1), 0.0, failure(11), status=1),
        call(ADD, interface(2), 0.0, full, status=1),
        call(DELETE, interface(1), 1.0, failure(11), status=1),
        call(CHECK, interface(3), 1.0, failure(11), status=1),
    ]
    assert not checker.of_calls(entries)


@pytest.mark.parametrize("command", [ADD, DELETE, CHECK, COLLECT])
def test_an_error_that_nothing_excuses_is_found(command: str) -> None:
    for message in ("internal error, please report it: KeyError: 7", "the address is not recorded"):
        entry = call(command, interface(1), 0.0, failure(999, message), status=1)
        assert kinds(checker.of_calls([entry])) == ["wrong answer"]


# ------------------------------------------------------------------------- records


def hold(number: int, address: str) -> Hold:
    return Hold(interface(number), address, 0.0, inf)


def record(number: int, address: str) -> Record:
    one = interface(number)
    return Record(address, one.pod, one.container_id, one.ifname)


def test_a_held_address_that_is_not_recorded_is_found() -> None:
    held = [hold(1, "10.0.0.1"), hold(2, "10.0.0.2")]
    assert not kinds(checker.of_lost(held, [record(2, "10.0.0.2"), record(1, "10.0.0.1")]))
    assert kinds(checker.of_lost(held, [record(2, "10.0.0.2")])) == ["lost"]


def test_a_held_address_that_is_recorded_for_another_is_found() -> None:
    of_another = record(1, "10.0.0.1")._replace(container_id="pod-1-2")
    assert kinds(checker.of_lost([hold(1, "10.0.0.1")], [of_another])) == ["lost"]


def test_a_record_of_nobody_is_found() -> None:
    records = [record(1, "10.0.0.1"), record(2, "10.0.0.2")]
    assert kinds(checker.of_leftovers([hold(1, "10.0.0.1")], records)) == ["left over"]
    assert not kinds(checker.of_leftovers([hold(1, "10.0.0.1"), hold(2, "10.0.0.2")], records))


def test_two_records_of_one_address_are_found() -> None:
    records = [record(1, "10.0.0.1"), record(2, "10.0.0.1")]
    assert kinds(checker.of_leftovers([hold(1, "10.0.0.1")], records)) == ["given twice"]


# --------------------------------------------------------------------------- order


def test_a_quiet_add_that_leaves_a_lower_address_out_is_found() -> None:
    records = [record(1, "10.0.0.1"), record(3, "10.0.0.3")]
    assert not kinds(checker.of_quiet_add(add(9, 0.0, "10.0.0.2"), [SPAN], records))
    assert kinds(checker.of_quiet_add(add(9, 0.0, "10.0.0.4"), [SPAN], records)) == ["not lowest"]


def test_a_quiet_add_that_fails_is_found() -> None:
    failed = call(ADD, interface(9), 0.0, failure(11), status=1)
    assert kinds(checker.of_quiet_add(failed, [SPAN], [])) == ["wrong answer"]


def test_a_range_that_gives_an_address_although_it_is_full_is_found() -> None:
    records = [record(number, address) for number, address in enumerate(SPAN.usable())]
    full = call(ADD, interface(9), 0.0, failure(999, checker.FULL), status=1)
    assert not kinds(checker.of_quiet_add(full, [SPAN], records))
    assert kinds(checker.of_quiet_add(add(9, 0.0, "10.0.0.7"), [SPAN], records)) == ["not lowest"]


def test_addresses_that_a_range_never_gives_are_found() -> None:
    free = list(SPAN.usable())
    given = [add(number, float(number), address) for number, address in enumerate(free)]
    assert not kinds(checker.of_filling(given, SPAN, []))
    assert kinds(checker.of_filling(given[:-1], SPAN, [])) == ["not lowest"]
    disordered = [given[1], given[0], *given[2:]]
    assert kinds(checker.of_filling(disordered, SPAN, [])) == ["not lowest"]
    assert not kinds(checker.of_filling(disordered, SPAN, [], in_order=False))
    assert kinds(checker.of_filling(given[:-1], SPAN, [], in_order=False)) == ["not lowest"]


def test_what_ranges_may_give() -> None:
    assert list(SPAN.usable()) == [f"10.0.0.{last}" for last in range(1, 7)]
    assert len(list(TIGHT.spans[0].usable())) == 57
    assert len(list(SPARSE.spans[0].usable())) == 8 * 15
    assert "10.10.1.0" not in set(WIDE.spans[0].usable())
    assert Span("fd00::/64").lowest_free(["fd00::1"]) == "fd00::2"


# ------------------------------------------------------------------------- journal


def test_what_is_kept_is_what_is_about_those_alive(tmp_path: Path) -> None:
    journal = Journal()
    for entry in (add(1, 0.0, "10.0.0.1"), add(2, 0.0, "10.0.0.2"), delete(2, 1.0)):
        journal.write(entry)
    journal.keep({interface(1)})
    journal.save(tmp_path / "journal")
    (line,) = (tmp_path / "journal").read_text().splitlines()
    assert json.loads(line)["attachment"]["pod"] == "default/pod-1"


# --------------------------------------------------------------------- a real store


@pytest.fixture(scope="module")
def world() -> Iterator[SqliteWorld]:
    world = open_world()
    yield world
    world.close()


@pytest.fixture
def held(world: SqliteWorld) -> Iterator[list[Hold]]:
    """Some addresses, given by the agents, with a store that is as it was afterwards."""
    pods = [Attachment(node.name, "wide", f"default/{node.name}", node.name, "net1") for node in world.nodes]
    entries = []
    for node, one in zip(world.nodes, pods, strict=True):
        entries.append(make_call(Call(ADD, one, WIDE), node, world.ipam, Random(0)))
    yield checker.holds(entries)
    execute(world, "DELETE FROM blocks", "DELETE FROM records", "DELETE FROM pools")


def execute(world: SqliteWorld, *statements: str) -> None:
    with closing(sqlite3.connect(world.database)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_nothing_is_found_in_a_store_in_order(world: SqliteWorld, held: list[Hold]) -> None:
    world.repair([hold.attachment for hold in held])
    records = list(world.records())
    assert len(records) == len(held) == 3
    assert not list(checker.of_lost(held, records))
    assert not list(checker.of_leftovers(held, records))
    assert not world.damage()


def test_a_repair_pass_frees_what_has_leaked_and_nothing_else(world: SqliteWorld, held: list[Hold]) -> None:
    alive = held[:2]
    assert kinds(checker.of_leftovers(alive, list(world.records()))) == ["left over"]
    world.repair([hold.attachment for hold in alive])
    assert not kinds(checker.of_leftovers(alive, list(world.records())))
    assert not kinds(checker.of_lost(alive, list(world.records())))


def test_a_damaged_block_is_found(world: SqliteWorld, held: list[Hold]) -> None:
    execute(world, "UPDATE blocks SET owners = substr(owners, 1, 40)")
    assert any("block 10.10.0.0" in sentence for sentence in world.damage())
    assert kinds(checker.of_lost(held, list(world.records()))) == ["lost"] * 3


def test_an_index_that_misses_a_record_is_found(world: SqliteWorld, held: list[Hold]) -> None:
    execute(world, "DELETE FROM records WHERE offset = 2")
    assert any("stands in a block only" in sentence for sentence in world.damage())


def test_a_count_that_is_wrong_is_found(world: SqliteWorld, held: list[Hold]) -> None:
    execute(world, "UPDATE blocks SET allocated = 7")
    assert any("counts 7 addresses, and has 3" in sentence for sentence in world.damage())
