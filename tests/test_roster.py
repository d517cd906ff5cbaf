"""Pods and places of records in little memory: what goes in comes out, and nothing is missed."""

from collections import defaultdict
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whereabouts.block import Block, BlockKey, Space
from whereabouts.liveness import Pod
from whereabouts.owners import Owner
from whereabouts.roster import PodIndex, Roster, packed

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-.", max_size=12)
pods = st.builds(
    Pod,
    ref=st.builds("{}/{}".format, names, names),
    uids=st.lists(names.filter(bool), max_size=3).map(tuple),
    node=names,
    phase=st.sampled_from(["", "Pending", "Running", "Succeeded", "Failed", "Unknown"]),
    deleting=st.booleans(),
    disrupted=st.booleans(),
    addresses=st.none() | st.frozensets(st.ip_addresses(), max_size=4),
)


@given(st.lists(pods, max_size=20))
def test_a_roster_gives_back_the_pods_that_it_was_given_the_last_of_each_name(given_pods: list[Pod]) -> None:
    roster = Roster(given_pods)
    expected = {pod.ref: pod for pod in given_pods}
    assert len(roster) == len(expected)
    assert {ref: roster.get(ref) for ref in expected} == expected
    assert roster.get("ns/never-seen") is None


def test_no_address_and_no_known_address_are_told_apart() -> None:
    silent = Pod("ns/a", ("u",), "n", "Running", deleting=False, disrupted=False, addresses=None)
    roster = Roster([silent, silent._replace(ref="ns/b", addresses=frozenset())])
    found = roster.get("ns/a"), roster.get("ns/b")
    assert [pod and pod.addresses for pod in found] == [None, frozenset()]


@pytest.mark.parametrize("text", ["a\0b", "a,b", "a" * 100_000, "a b"])
def test_what_somebody_wrote_instead_of_a_uid_neither_breaks_a_roster_nor_fills_it(text: str) -> None:
    pod = Pod("ns/a", ("u", text), "n", "Running", deleting=False, disrupted=False, addresses=None)
    assert len(packed(pod)) < 100
    assert Roster([pod]).get("ns/a") == pod._replace(uids=("u",))


def test_a_node_or_phase_that_no_kubelet_would_write_does_not_break_a_roster() -> None:
    pod = Pod("ns/a", ("u",), "n", "Running", deleting=False, disrupted=False, addresses=None)
    roster = Roster([pod._replace(phase="a\0b"), pod._replace(ref="ns/b", node="\0")])
    assert [roster.get("ns/a"), roster.get("ns/b")] == [
        pod._replace(phase=""),
        pod._replace(ref="ns/b", node=""),
    ]


def block(number: int, refs: dict[int, str]) -> Block:
    key = BlockKey.of(Space(), ip_address("10.0.0.0") + 256 * number)
    return Block(key, {offset: Owner(ref, "", "c", "net1", "n", "m", "r", 0) for offset, ref in refs.items()})


@given(st.lists(st.dictionaries(st.integers(0, 255), st.sampled_from("abcdefgh")), max_size=6))
def test_the_index_knows_every_place_of_every_pod(contents: list[dict[int, str]]) -> None:
    index = PodIndex()
    expected = defaultdict(set)
    for number, refs in enumerate(contents):
        index.add(block(number, refs))
        for offset, ref in refs.items():
            expected[ref].add((block(number, {}).key, offset))
    index.sort()
    for ref in "abcdefgh":
        assert set(index.places_of(ref)) == expected[ref]


def test_an_index_of_nothing_knows_no_place() -> None:
    index = PodIndex()
    index.sort()
    assert list(index.places_of("ns/a")) == []
