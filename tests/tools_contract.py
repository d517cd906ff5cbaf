"""What the commands that look and repair do on every datastore. A test module per datastore inherits it."""

import json
import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from time import time
from typing import Any, NamedTuple

import pytest

from tests.store_contract import SOON, add, allocations, delete, demand, pod
from whereabouts import inspection
from whereabouts.allocator import Demand, RangeFull
from whereabouts.block import Block, BlockKey, Space
from whereabouts.cli import main
from whereabouts.commands.evidence import read_netconf
from whereabouts.deadline import Deadline
from whereabouts.liveness import CONFLICT
from whereabouts.owners import Owner
from whereabouts.pool import PoolKey, view_of
from whereabouts.slices import assign
from whereabouts.store import Store


class Run(NamedTuple):
    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def rows(self) -> list[list[str]]:
        return [line.split() for line in self.out.splitlines()]


class Tools:
    """The commands on one datastore, and that datastore."""

    def __init__(
        self, options: Sequence[str], open_store: Callable[[], Store], folder: Path, capsys: Any
    ) -> None:
        self.options = options
        self.folder = folder
        self.open_store = open_store
        self.store = open_store()
        self._capsys = capsys

    def run(self, command: str, *arguments: str) -> Run:
        try:
            status = main([command, *arguments, *self.options])
        except SystemExit as end:
            status = int(str(end.code))
        return Run(status, *self._capsys.readouterr())

    def attachments(self, *owners: Owner) -> list[str]:
        """The option that says that only these live."""
        path = self.folder / "attachments.json"
        listed = [(one.container_id, one.ifname) for one in owners] or [("cc", "net1")]
        path.write_text(json.dumps([{"containerID": one, "ifname": ifname} for one, ifname in listed]))
        return ["--valid-attachments", str(path)]

    def netconf(self, **ipam: Any) -> list[str]:
        path = self.folder / "netconf.json"
        own = {"type": "whereabouts", "datastore": "local", **ipam}
        path.write_text(json.dumps({"cniVersion": "1.0.0", "name": "n", "type": "macvlan", "ipam": own}))
        return ["--netconf", str(path)]

    def record(self, address: str, owner: Owner, space: Space = Space()) -> None:  # noqa: B008
        """Write a record behind everybody's back."""
        key = BlockKey.of(space, ip_address(address))
        stored = self.store.read_block(key, Deadline(SOON), fresh=True)
        assert stored is not None
        block = stored.trusted().with_owner(key.offset(ip_address(address)), owner)
        self.store.write_block(key, stored, block, Deadline(SOON))

    def addresses(self) -> list[str]:
        return [address for address, _ in allocations(self.store)]


WIDE = demand("10.0.0.0/22")
NOW = Deadline(SOON * 60)


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter pauses between two looks."""
    monkeypatch.setattr(inspection, "SETTLING_SECONDS", 0.05)
    monkeypatch.setattr(inspection, "LONGEST_PAUSE", 0.1)


class ToolsContract:
    """Subclasses give the fixture ``tools``."""

    # ---------------------------------------------------------------- show

    def test_show_tells_use_blocks_and_nodes_of_ranges(self, tools: Tools) -> None:
        for number in range(300):
            add(tools.store, WIDE, pod(number, node=f"node-{number % 3}"))
        add(tools.store, demand("fd00::/64", network_name="blue"), pod(7))
        assert tools.run("show").rows() == [
            ["NETWORK", "RANGE", "CAPACITY", "USED", "FREE", "USE%", "BLOCKS"],
            ["-", "10.0.0.0/22", "1019", "300", "719", "29", "2"],
            ["blue", "fd00::/64", str(2**64 - 2), "1", str(2**64 - 3), "0", "1"],
        ]
        first, second = tools.run("show", "-o", "json").json()["ranges"]
        (view,) = first.pop("hinted_blocks")
        assert view == view_of(WIDE.ranges[0])
        assert first == {
            "pool": "10.0.0.0-22",
            "network_name": "",
            "range": "10.0.0.0/22",
            "overlapping": True,
            "capacity": 1019,
            "used": 300,
            "free": 719,
            "percent": 29,
            "blocks": 2,
            "damaged_blocks": 0,
            "nodes": {"node-0": 100, "node-1": 100, "node-2": 100},
        }
        assert (second["capacity"], second["free"]) == (str(2**64 - 2), str(2**64 - 3))
        assert tools.run("show", "-o", "name").out == "10.0.0.0-22\nblue-fd00---64\n"
        assert [row[1] for row in tools.run("show", "--network", "blue").rows()[1:]] == ["fd00::/64"]
        assert [row[1] for row in tools.run("show", "--network", "").rows()[1:]] == ["10.0.0.0/22"]

    def test_show_finds_allocations_by_address_pod_node_and_block(self, tools: Tools) -> None:
        for number in range(260):
            add(tools.store, WIDE, pod(number, node=f"node-{number % 2}"))
        add(tools.store, demand("10.0.0.0/22", network_name="blue"), pod(3))
        (allocation,) = tools.run("show", "-o", "json", "--network", "", "--address", "10.0.0.4").json()[
            "allocations"
        ]
        assert allocation == {
            "address": "10.0.0.4",
            "network_name": "",
            "range": "10.0.0.0/22",
            "block": "10.0.0.0",
            "pod": "default/pod-3",
            "pod_uid": "",
            "container_id": pod(3).container_id,
            "interface": "net1",
            "node": "node-1",
            "cni_network": "macvlan",
            "created": 1_700_000_000,
        }
        shown = tools.run("show", "--address", "10.0.0.4")
        assert "2023-11-14 22:13:20Z" in shown.out
        assert "10.0.0.4 lies in range 10.0.0.0/22 of network blue.\n" in shown.out
        assert tools.run("show", "--pod", "default/pod-3", "-o", "name").out == "10.0.0.4\n10.0.0.1\n"
        assert len(tools.run("show", "--node", "node-1").rows()) == 1 + 130 + 1
        assert len(tools.run("show", "--block", "10.0.1.0/24").rows()) == 1 + 5
        assert tools.run("show", "--block", "blue.10.0.0.0", "-o", "name").out == "10.0.0.1\n"
        assert len(tools.run("show", "--block", "10.0.0.0/22", "-o", "name").rows()) == 261

    def test_show_and_release_find_records_that_no_pool_leads_to(self, tools: Tools) -> None:
        add(tools.store, demand("10.0.0.0/24"), pod(1))
        lost = Space("lost", "192.0.2.0/24")
        for space, address in ((Space("", "10.0.0.0/24"), "10.0.0.7"), (lost, "192.0.2.9")):
            key = BlockKey.of(space, ip_address(address))
            tools.store.write_block(key, None, Block(key, {key.offset(ip_address(address)): pod(2)}), NOW)
            assert tools.run("show", "--address", address, "-o", "name").out == f"{address}\n"
            assert tools.run("release", address, "--yes", "--force").status == 0
        assert tools.addresses() == ["10.0.0.1"]

    def test_show_of_what_nobody_holds_says_so_and_fails(self, tools: Tools) -> None:
        add(tools.store, WIDE, pod(1))
        assert tools.run("show", "--address", "10.0.0.9")[:2] == (1, "10.0.0.9 lies in range 10.0.0.0/22.\n")
        assert tools.run("show", "--address", "192.0.2.1")[:2] == (
            1,
            "192.0.2.1 lies in no range that was ever used.\n",
        )
        assert tools.run("show", "--pod", "default/none")[:2] == (1, "No allocation.\n")
        assert tools.run("show", "--address", "10.0.0.300").status == 2
        assert tools.run("show", "--pod", "a/b/c").status == 2

    # --------------------------------------------------------------- check

    def test_check_finds_nothing_in_what_calls_leave(self, tools: Tools) -> None:
        owners = [pod(number) for number in range(300)]
        for owner in owners:
            add(tools.store, WIDE, owner)
        add(tools.store, demand("10.0.0.0/24", shared=False), owners[0])
        run = tools.run("check", *tools.attachments(*owners))
        assert (run.status, run.err) == (0, "")
        assert run.out.splitlines()[0] == "No problem in 3 blocks with 301 allocations."

    def test_check_finds_nothing_while_calls_are_served(self, tools: Tools) -> None:
        for number in range(260):
            add(tools.store, WIDE, pod(number))
        done = threading.Event()
        failures: list[BaseException] = []

        def serve(worker: int) -> None:
            store, dice = tools.open_store(), random.Random(worker)
            numbers = [1000 * worker + number for number in range(40)]
            try:
                while not done.is_set():
                    (add if dice.random() < 0.5 else delete)(store, WIDE, pod(dice.choice(numbers)))
            except BaseException as error:
                failures.append(error)
            finally:
                store.close()

        workers = [threading.Thread(target=serve, args=(worker,)) for worker in (1, 2)]
        for worker in workers:
            worker.start()
        try:
            runs = [tools.run("check", "-o", "json", *tools.attachments(*everybody())) for _ in range(6)]
        finally:
            done.set()
            for worker in workers:
                worker.join()
        assert failures == []
        assert [run.json()["findings"] for run in runs] == [[]] * 6

    def test_check_finds_leaks_and_release_frees_what_its_report_says(self, tools: Tools) -> None:
        owners = [pod(number) for number in range(4)]
        for owner in owners:
            add(tools.store, WIDE, owner)
        report = tools.folder / "report.json"
        known = tools.attachments(owners[0], owners[3])
        run = tools.run("check", "--report", str(report), "-o", "json", *known)
        assert run.status == 1
        assert json.loads(report.read_text()) == run.json()
        assert report.stat().st_mode & 0o777 == 0o600
        assert [(one["kind"], one["address"]) for one in run.json()["findings"]] == [
            ("leak", "10.0.0.2"),
            ("leak", "10.0.0.3"),
        ]
        assert "leak (2): release it" in tools.run("check", *known).out
        tools.record("10.0.0.3", pod(9)._replace(range="10.0.0.0/22"))  # it changed since the report

        from_report = ("release", "--from-report", str(report), *known)
        dry = tools.run(*from_report, "--dry-run")
        assert [row[:2] for row in dry.rows()] == [
            ["DO", "ADDRESS"],
            ["release", "10.0.0.2"],
            ["keep", "10.0.0.3"],
        ]
        assert len(tools.addresses()) == 4
        run = tools.run(*from_report, "--yes")
        assert (run.status, run.out.splitlines()[-1]) == (1, "Released 1 of 2.")
        assert tools.addresses() == ["10.0.0.1", "10.0.0.3", "10.0.0.4"]
        assert add(tools.store, WIDE, pod(77)) == ["10.0.0.2"]

    def test_check_does_not_judge_by_a_list_what_is_younger_than_it(self, tools: Tools) -> None:
        add(tools.store, WIDE, pod(1))
        young = tools.attachments(pod(1))
        add(tools.store, WIDE, pod(2)._replace(created=int(time()) - 10))
        assert tools.run("check", *young).status == 0
        add(tools.store, WIDE, pod(3)._replace(created=int(time()) - 100))
        assert tools.run("check", *young).status == 1

    def test_check_judges_excludes_by_the_configurations_that_are_given(self, tools: Tools) -> None:
        for number in range(3):
            add(tools.store, WIDE, pod(number))
        alive = tools.attachments(*map(pod, range(3)))
        assert tools.run("check", *tools.netconf(range="10.0.0.0/22"), *alive).status == 0
        excluding = tools.netconf(range="10.0.0.0/22", exclude=["10.0.0.2/32"])
        run = tools.run("check", "-o", "json", *excluding, *alive)
        assert run.status == 1
        assert [(one["kind"], one["address"]) for one in run.json()["findings"]] == [("excluded", "10.0.0.2")]

    def test_check_tells_of_a_hint_that_is_wrong_and_calls_it_no_problem(self, tools: Tools) -> None:
        add(tools.store, WIDE, pod(1))
        stored = tools.store.read_pool(PoolKey("", "10.0.0.0/22"), Deadline(SOON))
        assert stored is not None
        base = int(ip_address("10.0.0.0"))
        lie = stored.pool.with_exhausted(view_of(WIDE.ranges[0]), [base])
        tools.store.write_pool(stored, lie, Deadline(SOON))
        run = tools.run("check", *tools.attachments(pod(1)))
        assert run.status == 0
        assert "harmless  false-hint" in run.out
        assert "No problem, 1 harmless finding in 1 block with 1 allocation." in run.out
        explained = tools.run("explain", "next", "10.0.0.0/22")
        assert "gives 10.0.1.1, unless" in explained.out
        assert "10.0.0.2 is lower and free, but the pool calls its block exhausted" in explained.out
        assert add(tools.store, WIDE, pod(2)) == ["10.0.1.1"]

    def test_check_says_what_it_could_not_look_at_and_what_was_used_wrongly(self, tools: Tools) -> None:
        assert "give the network configurations with --netconf" in tools.run("check").out
        assert tools.run("check", "--node", "node-1").status == 2
        assert tools.run("check", "--valid-attachments", "/does/not/exist").status == 2
        assert tools.run("check", "--report", "/does/not/exist").status == 2
        empty = tools.folder / "empty.json"
        empty.write_text("[]")
        assert "so that nobody would live" in tools.run("check", "--valid-attachments", str(empty)).err
        assert tools.run("check", "-o", "name").status == 2

    def test_check_takes_a_configuration_for_gc_at_its_word_for_its_own_network(self, tools: Tools) -> None:
        for number, network in enumerate(("red", "blue")):
            add(tools.store, WIDE, pod(number)._replace(network=network))
        path = tools.folder / "gc.json"
        entry = {"containerID": "cc", "ifname": "net1"}
        path.write_text(json.dumps({"name": "blue", "cni.dev/valid-attachments": [entry]}))
        told = tools.run("check", "-o", "json", "--valid-attachments", str(path))
        assert [one["address"] for one in json.loads(told.out)["findings"]] == ["10.0.0.2"]

    def test_check_keeps_what_a_list_may_have_missed_whatever_the_date_of_its_file(
        self, tools: Tools
    ) -> None:
        add(tools.store, WIDE, pod(1)._replace(created=int(time())))
        option, path = tools.attachments()
        os.utime(path, (time() + 10_000, time() + 10_000))
        assert tools.run("check", option, path).status == 0
        assert tools.run("check", option, path, "--grace", "0").status == 1

    # ------------------------------------------------------------- release

    def test_release_keeps_what_may_live_unless_it_is_forced(self, tools: Tools) -> None:
        owners = [pod(number) for number in range(3)]
        for owner in owners:
            add(tools.store, WIDE, owner)
        known = tools.attachments(owners[0])
        kept = tools.run("release", "10.0.0.1", "--yes", *known)
        assert kept.status == 1
        assert "nothing says that its pod is gone" in kept.out
        assert "--force" in kept.err
        assert tools.run("release", "10.0.0.2", "--yes", *known)[:2] == (
            0,
            "DO       ADDRESS   POD            INTERFACE  NODE    NETWORK  WHY\n"
            "release  10.0.0.2  default/pod-1  net1       node-1  -        "
            "the list of valid attachments does not have its container and interface\nReleased 1 of 1.\n",
        )
        assert tools.run("release", "10.0.0.1", "--yes", "--force", *known).status == 0
        assert tools.addresses() == ["10.0.0.3"]
        assert tools.run("release", "10.0.0.9", "--yes", *known)[:2] == (
            1,
            "Nothing is recorded that could be released.\n",
        )

    def test_release_asks_and_does_nothing_without_a_yes(
        self, tools: Tools, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add(tools.store, WIDE, pod(1))
        add(tools.store, demand("fd00::/64"), pod(1))
        known = tools.attachments()
        arguments = ("release", "--pod", "default/pod-1", *known)
        assert tools.run(*arguments).status == 2  # no terminal to ask at
        for answer, status, left in (("", 1, 2), ("n\n", 1, 2), ("yes\n", 0, 0)):
            monkeypatch.setattr("sys.stdin", Terminal(answer))
            run = tools.run(*arguments)
            assert "Release 2 addresses? [y/N] " in run.out
            assert (run.status, len(tools.addresses())) == (status, left)

    def test_release_wants_one_thing_said(self, tools: Tools) -> None:
        for arguments in ([], ["10.0.0.1", "--pod", "a/b"], ["nonsense"], ["--from-report", "/none"]):
            assert tools.run("release", "--yes", *arguments).status == 2
        add(tools.store, WIDE, pod(1))
        add(tools.store, demand("10.0.0.0/22", network_name="blue"), pod(2))
        run = tools.run("release", "10.0.0.1", "--yes", "--force", *tools.attachments())
        assert run.status == 2
        assert "is recorded in several networks ('', 'blue'): say --network" in run.err
        forced = ("release", "10.0.0.1", "--yes", "--network", "blue", *tools.attachments())
        assert tools.run(*forced).status == 0
        assert allocations(tools.store) == [("10.0.0.1", "default/pod-1")]

    def test_an_address_given_twice_is_released_when_neither_pod_lives(self, tools: Tools) -> None:
        add(tools.store, WIDE, pod(1))
        one, other = pod(1), pod(2)
        claims = " and ".join(
            f"{owner.pod_ref} {owner.ifname} {owner.container_id}" for owner in (one, other)
        )
        record = one._replace(pod_ref="", ifname="", container_id=CONFLICT + claims, range="10.0.0.0/22")
        tools.record("10.0.0.1", record)
        assert "was given to two pods: default/pod-1 net1" in tools.run("check", "-o", "wide").out
        alive = tools.run("release", "10.0.0.1", "--yes", *tools.attachments(other))
        assert alive.status == 1
        assert "given twice, and default/pod-2 may still use it" in alive.out
        assert tools.run("release", "10.0.0.1", "--yes", *tools.attachments()).status == 0
        assert tools.addresses() == []

    # ------------------------------------------------------------- explain

    def test_explain_pod_tells_what_is_below_its_address(self, tools: Tools) -> None:
        narrow = demand("10.0.0.0/22", start="10.0.0.4", excludes=["10.0.0.8/30"])
        for number in range(300):
            add(tools.store, narrow, pod(number))
        known = tools.netconf(range="10.0.0.0/22", range_start="10.0.0.4", exclude=["10.0.0.8/30"])
        assert tools.run("release", "10.0.0.5", "--yes", "--force").status == 0
        run = tools.run("explain", "pod", "default/pod-299", *known)
        assert run.status == 0
        assert "default/pod-299 net1 has 10.0.1.52 since 2023-11-14 22:13:20Z on node-1." in run.out
        lines = [line.split(maxsplit=1) for line in run.out.splitlines() if line.startswith("  ")]
        assert lines == [
            ["1", "never given: the network's first or last"],
            ["3", "never given: outside range_start and range_end"],
            ["4", "never given: excluded"],
            ["1", "never given: they end in .0"],
            ["298", "in use"],
            ["1", "free"],
        ]
        assert "10.0.0.5 is lower and free now" in run.out
        (value,) = tools.run("explain", "pod", "default/pod-299", "-o", "json", *known).json()["pod"]
        assert value["lowest_free_below"] == "10.0.0.5"
        assert tools.run("explain", "pod", "default/pod-299", "--interface", "net2", *known).status == 1
        assert tools.run("explain", "pod", *known).status == 2

    def test_explain_range_accounts_for_every_address(self, tools: Tools) -> None:
        for number in range(14):
            add(tools.store, demand("10.0.0.0/28"), pod(number))
        add(tools.store, demand("10.0.0.0/24"), pod(20))
        run = tools.run("explain", "range", "10.0.0.0/28", *tools.attachments(*map(pod, [*range(10), 20])))
        assert run.status == 0
        assert "It is full. whereabouts release would free 4." in run.out
        alive = tools.attachments(*map(pod, range(14)))
        (value,) = tools.run("explain", "range", "10.0.0.0/28", "-o", "json", *alive).json()["range"]
        assert value["addresses"] == {
            "addresses": 16,
            "edges": 2,
            "outside": 0,
            "excluded": 0,
            "dot_zero": 0,
            "usable": 14,
            "used": 14,
            "free": 0,
        }
        assert value["holders"] == {"this range": 14, "range 10.0.0.0/24": 1}  # whose first is 10.0.0.15
        assert list(value["suspects"].values()) == [1]
        (wide,) = tools.run("explain", "range", "10.0.0.0/24", "-o", "json").json()["range"]
        assert wide["holders"] == {"range 10.0.0.0/28": 14, "this range": 1}
        assert tools.run("explain", "range", "192.0.2.0/24").status == 1
        assert tools.run("explain", "range", "nonsense").status == 2
        assert tools.run("explain", "range").status == 2

    @pytest.mark.parametrize(
        ("used", "skipped"),
        [
            (0, set()),
            (3, set()),
            (254, set()),
            (300, {"10.0.0.0/24"}),
            (763, {"10.0.0.0/24", "10.0.2.0/24", "10.0.3.0/24"}),
        ],
    )
    def test_explain_next_says_what_the_next_add_gives(
        self, tools: Tools, used: int, skipped: set[str]
    ) -> None:
        excludes = ["10.0.1.0/24", "10.0.2.128/32"]
        wanted = demand("10.0.0.0/22", excludes=excludes)
        for number in range(used):
            add(tools.store, wanted, pod(number))
        known = tools.netconf(range="10.0.0.0/22", exclude=excludes)
        run = tools.run("explain", "next", "-o", "json", *known)
        (value,) = run.json()["next"]
        assert {one["cidr"] for one in value["skipped"]} == skipped
        if value["address"] is None:
            assert run.status == 1
            with pytest.raises(RangeFull):
                add(tools.store, wanted, pod(9999))
        else:
            assert add(tools.store, wanted, pod(9999)) == [value["address"]]

    def test_explain_next_searches_the_slice_of_a_node(self, tools: Tools) -> None:
        known = tools.netconf(range="10.0.0.0/22", node_slice_size="/24")
        ((configured, _, rule),) = read_netconf(known[1]).ranges
        assert rule is not None
        nodes = ["node-1", "node-2"]
        tools.store.create_slices(assign(rule.uncut(configured.network), nodes, lambda _: False)[0], NOW)
        wanted = Demand("", True, [configured], {"10.0.0.0/22": rule})
        owners = [pod(number, node=nodes[number % 2]) for number in range(300)]
        for owner in owners:
            add(tools.store, wanted, owner)
        for node, address in (("node-1", "10.0.0.151"), ("node-2", "10.0.1.151")):
            run = tools.run("explain", "next", "--of-node", node, *known)
            assert f"which is {node}'s slice of 10.0.0.0/22 (as configured)" in run.out
            assert f"gives {address}, unless" in run.out
        assert "say which with --of-node" in tools.run("explain", "next", *known).out
        assert tools.run("explain", "next", "--of-node", "node-3", *known).status == 2
        assert tools.run("explain", "range", "10.0.0.0/22", "--of-node", "node-1").status == 2
        assert tools.run("check", *known, *tools.attachments(*owners)).out.startswith(
            "No problem in 2 blocks"
        )


def everybody() -> Iterator[Owner]:
    """All pods that tests here have."""
    yield from map(pod, [*range(400), *range(1000, 1040), *range(2000, 2040)])


class Terminal:
    """Somebody who types."""

    def __init__(self, answer: str) -> None:
        self._answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return self._answer
