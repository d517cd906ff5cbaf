"""Every fault that is planted is found, and nothing is found where nothing is wrong."""

import json
import random
import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from tests.documents import ROOT
from tests.fault_corpus import PLANTS, Planted, State, plant_some
from tests.faults import Never
from tests.memory_store import MemoryStore
from tests.small_cluster import SmallCluster
from tests.store_contract import add, demand, pod
from whereabouts.block import BlockKey, Space
from whereabouts.cluster_witness import ClusterWitness
from whereabouts.collect import Listing
from whereabouts.deadline import Deadline
from whereabouts.findings import HARMLESS, KINDS, Finding, Judged, Report, ReportError, read_report
from whereabouts.inspection import Inspector, Surroundings
from whereabouts.list_witness import ListWitness
from whereabouts.overview import records_in
from whereabouts.pool import PoolKey, view_of
from whereabouts.store import StoredBlock


def inspect(state: State, store: Any = None) -> list[Finding]:
    witness = ClusterWitness(state.cluster)
    inspector = Inspector(store or state.store, configured=state.configured, witness=witness)
    return list(inspector.inspect(Never()).findings)


@pytest.mark.parametrize("seed", range(100))
def test_nothing_is_found_in_what_calls_leave_behind(seed: int) -> None:
    assert inspect(State(seed)) == []


@pytest.mark.parametrize("name", PLANTS)
def test_a_fault_is_found_by_its_kind_and_place_and_nothing_else_is(name: str) -> None:
    planted = 0
    for seed in range(12):
        state = State(seed)
        one = PLANTS[name](state)
        if one is not None:
            planted += 1
            assert list(map(Planted.of, inspect(state))) == [one]
    assert planted >= 6


@pytest.mark.parametrize("seed", range(1000, 1060))
def test_of_many_faults_at_once_all_are_found_and_nothing_else_is(seed: int) -> None:
    state = State(seed)
    wanted = plant_some(state, state.dice.randrange(1, 30))
    found = inspect(state)
    assert set(map(Planted.of, found)) == wanted
    assert len(found) == len(wanted)


class Restless:
    """A store beside which calls are served all the time."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._dice = random.Random(state.dice.random())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state.store, name)

    def _stir(self) -> None:
        for _ in range(self._dice.randrange(4)):
            self._state.step()

    def blocks(self, deadline: Deadline) -> Iterator[StoredBlock]:
        self._stir()
        for stored in self._state.store.blocks(deadline):
            yield stored
            self._stir()

    def pools(self, *arguments: Any, **options: Any) -> Any:
        self._stir()
        return self._state.store.pools(*arguments, **options)


@pytest.mark.parametrize("seed", range(2000, 2040))
def test_nothing_is_found_while_calls_are_served(seed: int) -> None:
    state = State(seed)
    assert inspect(state, Restless(state)) == []


class Moving(MemoryStore):
    """Between the reading of two blocks a pod loses its address in the first, and gets one in the second."""

    def blocks(self, deadline: Deadline) -> Iterator[StoredBlock]:
        stored = list(super().blocks(deadline))
        if len(stored) != 2:
            yield from stored
            return
        first, second = stored
        yield first
        moved = first.trusted().owner(8)
        if moved is not None:
            self.write_block(first.key, first, first.trusted().without([8]), deadline)
            second = self.write_block(second.key, second, second.trusted().with_owner(99, moved), deadline)
        yield second


def test_a_pod_whose_address_moves_while_blocks_are_read_has_no_duplicate() -> None:
    store = Moving()
    for number in range(300):
        add(store, demand("10.0.0.0/22"), pod(number))
    found = Inspector(store, configured={}).inspect(Never()).findings
    assert [finding for finding in found if finding.kind == "duplicate"] == []
    records = {str(record.address) for record in records_in(store.blocks(Never()))}
    assert ("10.0.0.8" in records, "10.0.1.99" in records) == (False, True)


def test_two_records_of_a_living_pod_are_reported_once_where_nobody_knows_which_is_used() -> None:
    store = MemoryStore()
    add(store, demand("10.0.0.0/24"), pod(1))
    key = BlockKey.of(Space(), ip_address("10.0.0.0"))
    stored = store.read_block(key, Never())
    assert stored is not None
    owner = stored.trusted().owner(1)
    assert owner is not None
    store.write_block(key, stored, stored.trusted().with_owner(77, owner), Never())
    (finding,) = Inspector(store, configured={}).inspect(Never()).findings
    assert (finding.kind, finding.pod, finding.releasable) == ("duplicate", "default/pod-1", False)
    assert "10.0.0.1, 10.0.0.77" in finding.message


def test_a_list_of_valid_attachments_speaks_of_its_network_and_node_only() -> None:
    store = MemoryStore()
    owners = [pod(1), pod(2), pod(3, node="node-2"), pod(4)._replace(network="other")]
    for owner in owners:
        add(store, demand("10.0.0.0/24"), owner)
    valid = [(owners[0].container_id, "net1")]
    for node, network, gone in (
        (None, None, {"10.0.0.2", "10.0.0.3", "10.0.0.4"}),
        ("node-1", None, {"10.0.0.2", "10.0.0.4"}),
        ("node-1", "macvlan", {"10.0.0.2"}),
    ):
        witness = ListWitness(Listing(valid, node, network))
        found = Inspector(store, configured={}, witness=witness).inspect(Never()).findings
        assert {str(one.record.address) for one in found if one.record} == gone
        assert {one.kind for one in found} <= {"leak"}


@pytest.mark.parametrize(
    ("age", "static", "kind"),
    [(10, False, "suspect"), (299, False, "suspect"), (301, False, "leak"), (9999, True, "suspect")],
)
def test_what_takes_minutes_to_be_sure_is_no_problem_before(age: int, static: bool, kind: str) -> None:
    store, cluster = MemoryStore(), SmallCluster()
    owner = pod(1)._replace(pod_ref="default/static-node-1" if static else "default/pod-1")
    add(store, demand("10.0.0.0/24"), owner)
    cluster.run("default/another", "node-1")
    if not static:
        cluster.run(owner.pod_ref, "node-1", ip_address("192.0.2.7"))  # it reports another address
    witness = ClusterWitness(cluster, clock=lambda: owner.created + age)
    (finding,) = Inspector(store, configured={}, witness=witness).inspect(Never()).findings
    assert (finding.kind, finding.releasable) == (kind, True)
    assert (finding.severity == HARMLESS) == (kind == "suspect")


def test_what_is_wrong_once_only_is_not_reported() -> None:
    looks: list[int] = []

    def surroundings(blocks: object, deadline: Deadline) -> Surroundings:
        looks.append(1)
        return Surroundings([Finding("misnamed-block", f"look {len(looks)}", place=f"{len(looks) // 2}")])

    store = MemoryStore()
    assert Inspector(store, configured={}, surroundings=surroundings).inspect(Never()).findings == []
    assert len(looks) == 2


class Rewritten(MemoryStore):
    """Its pools are written between any two readings."""

    def pools(self, *arguments: Any, **options: Any) -> Any:
        for key, stored in self.stored_pools.items():
            self.stored_pools[key] = stored._replace(revision=int(stored.revision) + 1)
        return super().pools(*arguments, **options)


@pytest.mark.parametrize(("make", "found"), [(MemoryStore, 1), (Rewritten, 0)])
def test_a_hint_is_wrong_only_where_its_pool_did_not_change_around_the_reading_of_the_block(
    make: type[MemoryStore], found: int
) -> None:
    store = make()
    add(store, demand("10.0.0.0/22"), pod(1))
    key, base = PoolKey("", "10.0.0.0/22"), int(ip_address("10.0.0.0"))
    stored = store.stored_pools[key]
    lie = stored.pool.with_exhausted(view_of(demand("10.0.0.0/22").ranges[0]), [base])
    store.stored_pools[key] = stored._replace(pool=lie)
    assert len(Inspector(store, configured={}).inspect(Never()).findings) == found


def test_a_pool_that_is_being_taken_over_is_not_judged_by_its_space() -> None:
    store = MemoryStore()
    add(store, demand("10.0.0.0/24", shared=False), pod(1))
    key = PoolKey("", "10.0.0.0/24")
    shared = store.stored_pools[key]
    store.stored_pools[key] = shared._replace(pool=type(shared.pool)(key, shared=True))
    (finding,) = Inspector(store, configured={}).inspect(Never()).findings
    assert finding.kind == "wrong-space"
    settling = Inspector(store, configured={}, surroundings=lambda *_: Surroundings(unsettled=[key]))
    assert settling.inspect(Never()).findings == []


def test_the_worst_is_said_first_and_harmless_findings_are_no_problem() -> None:
    state = State(5)
    plant_some(state, 30)
    findings = inspect(state)
    severities = [finding.severity for finding in findings]
    assert severities == sorted(severities, key=["error", "warning", "harmless"].index)
    report = Report("local:x", 0, 1, 1, [], findings)
    assert report.problems == len(findings) - severities.count(HARMLESS)


def test_a_report_gives_back_what_is_to_be_released() -> None:
    state = State(7)
    wanted = plant_some(state, 25)
    findings = inspect(state)
    text = json.dumps(Report("local:x", 12, 1, 1, ["this"], findings).as_json()).encode()
    read = read_report(text)
    assert (read.store, read.checked) == ("local:x", 12)
    assert read.judged == [Judged(one.kind, one.record) for one in findings if one.releasable and one.record]
    assert {one.kind for one in read.judged} == {one.kind for one in wanted} & {
        *("leak", "completed-pod", "duplicate", "conflict")
    }


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b'{"version": 2}',
        b'{"version": 1, "store": "x", "checked": 1, "findings": [{"kind": "leak"}]}',
        b'{"version": 1, "store": "x", "checked": 1, "findings": [{"kind": "x", "release": {"owner": {}}}]}',
        b'{"version": 1, "store": 5, "checked": 1, "findings": []}',
        b'{"version": 1, "store": "x", "checked": Infinity, "findings": []}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_what_is_no_report_is_refused(text: bytes) -> None:
    with pytest.raises(ReportError):
        read_report(text)


def test_the_documentation_has_every_kind_with_its_severity_and_remedy() -> None:
    page = (ROOT / "docs/tools.md").read_text()
    rows = [
        line for line in page.splitlines() if re.match(r"\| `[\w-]+` \| (error|warning|harmless) \|", line)
    ]
    assert rows == [
        f"| `{name}` | {one.severity} | {one.meaning} | {one.remedy} |" for name, one in KINDS.items()
    ]
