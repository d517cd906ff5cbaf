"""Cutting ranges into slices and giving them to nodes, against an oracle that takes the rules by the word."""

import json
from ipaddress import ip_network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whereabouts.slices import (
    MAX_SLICES,
    Slice,
    SliceError,
    SlicePool,
    SliceRule,
    assign,
    cut,
    ordered,
    parse_size,
    recut,
)
from whereabouts.stores.kube_slices import fields

NAMES = [f"node-{letter}" for letter in "abcdefgh"]
RANGES = [str(part) for part in cut(ip_network("10.0.0.0/24"), 27)]

names = st.sampled_from(NAMES)
node_sets = st.sets(names)
used_sets = st.sets(st.sampled_from(RANGES))


def pool_of(*nodes: str) -> SlicePool:
    slices = tuple(Slice(text, node) for text, node in zip(RANGES, nodes, strict=False))
    return SlicePool("net", "10.0.0.0/24", "/27", slices)


pools = st.lists(st.one_of(st.just(""), names), min_size=len(RANGES), max_size=len(RANGES)).map(
    lambda nodes: pool_of(*nodes)
)


def nodes_of(pool: SlicePool) -> list[str]:
    return [one.node for one in pool.slices]


def oracle(pool: SlicePool, nodes: set[str], used: set[str]) -> tuple[list[str], list[str]]:
    """The rules one after another, each over all slices."""
    now = nodes_of(pool)
    for place, node in enumerate(list(now)):
        if node and (node not in nodes or node in nodes_of(pool)[:place]) and RANGES[place] not in used:
            now[place] = ""
    left = []
    for node in sorted(nodes):
        if node in now:
            continue
        free = [place for place in range(len(now)) if not now[place] and RANGES[place] not in used]
        if free:
            now[free[0]] = node
        else:
            left.append(node)
    return now, left


# ---- cutting ----


def test_a_range_is_cut_into_all_its_slices_lowest_first() -> None:
    assert [str(part) for part in cut(ip_network("10.0.0.0/22"), 24)] == [
        "10.0.0.0/24",
        "10.0.1.0/24",
        "10.0.2.0/24",
        "10.0.3.0/24",
    ]


def test_ipv6_ranges_are_cut_like_all_others() -> None:
    parts = cut(ip_network("fd00::/112"), 118)
    assert (len(parts), str(parts[0]), str(parts[-1])) == (64, "fd00::/118", "fd00::fc00/118")


@given(st.integers(0, 2**128 - 1), st.integers(0, 126), st.integers(0, 12))
def test_slices_of_any_range_are_apart_and_cover_it(value: int, prefixlen: int, more: int) -> None:
    network = ip_network((value, prefixlen), strict=False)
    size = min(prefixlen + more, network.max_prefixlen - 2)
    if size < prefixlen:
        return
    parts = cut(network, size)
    assert parts[0].network_address == network.network_address
    assert parts[-1].broadcast_address == network.broadcast_address
    assert all(int(one.broadcast_address) + 1 == int(other.network_address) for one, other in pairwise(parts))


@pytest.mark.parametrize(
    ("network", "size", "words"),
    [
        ("10.0.0.0/24", 23, "slices of /23 are larger than the range 10.0.0.0/24"),
        ("10.0.0.0/24", 31, "the smallest are of /30"),
        ("10.0.0.0/24", 32, "the smallest are of /30"),
        ("10.0.0.0/24", 64, "the smallest are of /30"),
        ("fd00::/112", 127, "the smallest are of /126"),
        ("10.0.0.0/8", 30, "range 10.0.0.0/8 has 4194304 slices of /30"),
        ("fd00::/64", 78, "take slices of /77 or larger"),
        ("::/0", 126, "more than 8192 do not fit in one object"),
    ],
)
def test_a_size_that_cannot_be_is_refused_with_what_can(network: str, size: int, words: str) -> None:
    with pytest.raises(SliceError, match=words):
        cut(ip_network(network), size)


@pytest.mark.parametrize("text", ["", "/", "big", "/24x", "-1", "0", "/0", "/1000", "²⁴", "/24 ", "//24"])
def test_a_text_that_is_no_prefix_length_is_refused(text: str) -> None:
    with pytest.raises(SliceError, match="expected a prefix length such as /24"):
        parse_size(text)


@pytest.mark.parametrize(("text", "size"), [("/24", 24), ("24", 24), ("/112", 112), ("024", 24)])
def test_a_size_may_have_a_slash(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("slices", "length", "fit"),
    [(MAX_SLICES, 63, True), (MAX_SLICES, 115, True), (4_700, 253, True), (4_800, 253, False)],
)
def test_the_most_slices_fit_into_one_object_of_etcd_unless_names_are_very_long(
    slices: int, length: int, fit: bool
) -> None:
    longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"
    pool = SlicePool("x" * 253, longest, "/128", (Slice(longest, "n" * length),) * slices)
    around = 4096  # metadata
    assert (len(json.dumps(fields(pool), separators=(",", ":"))) + around <= 1536 << 10) is fit


def test_a_range_can_be_cut_into_the_most_slices() -> None:
    assert len(SliceRule("net", 65, "/65").uncut(ip_network("fd00::/52")).slices) == MAX_SLICES


# ---- order ----


def test_slices_of_an_object_are_taken_in_the_order_of_addresses_and_what_is_no_network_is_left_out() -> None:
    texts = ["10.0.10.0/24", "10.0.9.0/24", "nonsense", "", "fd00::/120", "10.0.9.0/25"]
    assert [one.range for one in ordered(Slice(text, "n") for text in texts)] == [
        "10.0.9.0/24",
        "10.0.9.0/25",
        "10.0.10.0/24",
        "fd00::/120",
    ]


def test_a_node_has_the_first_slice_with_its_name() -> None:
    pool = pool_of("a", "b", "b")
    assert pool.slice_of("b") == RANGES[1]
    assert pool.slice_of("c") is None
    assert pool_of("", "a").slice_of("") is None


# ---- assigning ----


@given(pools, node_sets, used_sets)
def test_slices_are_given_as_the_rules_say(pool: SlicePool, nodes: set[str], used: set[str]) -> None:
    after, left = assign(pool, nodes, used.__contains__)
    assert (nodes_of(after), left) == oracle(pool, nodes, used)
    assert after._replace(slices=()) == pool._replace(slices=())
    assert [one.range for one in after.slices] == [one.range for one in pool.slices]


@given(pools, node_sets, used_sets)
def test_a_node_that_has_a_slice_keeps_it(pool: SlicePool, nodes: set[str], used: set[str]) -> None:
    after, _ = assign(pool, nodes, used.__contains__)
    assert all(after.slice_of(node) == pool.slice_of(node) for node in nodes if pool.slice_of(node))


@given(pools, node_sets, used_sets)
def test_a_slice_in_use_is_never_passed_on(pool: SlicePool, nodes: set[str], used: set[str]) -> None:
    after, _ = assign(pool, nodes, used.__contains__)
    for one, other in zip(pool.slices, after.slices, strict=True):
        assert one.range not in used or other.node == one.node


@given(pools, node_sets, used_sets)
def test_a_second_assignment_changes_nothing(pool: SlicePool, nodes: set[str], used: set[str]) -> None:
    after, left = assign(pool, nodes, used.__contains__)
    assert assign(after, nodes, used.__contains__) == (after, left)


@given(pools, node_sets, used_sets)
def test_no_node_waits_while_a_slice_is_to_be_had(pool: SlicePool, nodes: set[str], used: set[str]) -> None:
    after, left = assign(pool, nodes, used.__contains__)
    free = [one for one in after.slices if not one.node and one.range not in used]
    gone = [one for one in after.slices if one.node not in nodes and one.node and one.range not in used]
    assert not left or (not free and not gone)


@given(pools, node_sets, used_sets)
def test_nobody_is_asked_twice_nor_about_slices_that_stay(
    pool: SlicePool, nodes: set[str], used: set[str]
) -> None:
    asked: list[str] = []

    def in_use(text: str) -> bool:
        asked.append(text)
        return text in used

    assign(pool, nodes, in_use)
    assert len(asked) == len(set(asked))
    assert not {pool.slice_of(node) for node in nodes} & set(asked)


def test_a_replacement_node_gets_the_slice_that_became_free_at_once() -> None:
    full = pool_of(*NAMES)
    after, left = assign(full, {*NAMES[1:], "node-new"}, lambda _: False)
    assert (nodes_of(after), left) == (["node-new", *NAMES[1:]], [])


# ---- cutting anew ----


def test_smaller_slices_leave_each_node_the_lowest_part_of_its_own() -> None:
    before = pool_of("a", "", "b")._replace(range="10.0.0.0/24")
    now = SliceRule("net", 28, "/28").uncut(ip_network("10.0.0.0/24"))
    after = recut(before, now)
    assert [(one.range, one.node) for one in after.slices if one.node] == [
        ("10.0.0.0/28", "a"),
        ("10.0.0.64/28", "b"),
    ]


def test_a_larger_slice_is_a_node_s_only_if_no_other_node_had_a_part_of_it() -> None:
    now = SliceRule("net", 26, "/26").uncut(ip_network("10.0.0.0/24"))
    after = recut(pool_of("a", "", "b", "c", "d", "d", "", "e"), now)
    assert nodes_of(after) == ["a", "", "d", "e"]


@given(pools, st.integers(24, 30))
def test_cutting_anew_gives_every_node_one_slice_at_most_and_nobody_else_s(
    pool: SlicePool, size: int
) -> None:
    after = recut(pool, SliceRule("net", size, f"/{size}").uncut(ip_network("10.0.0.0/24")))
    named = [one.node for one in after.slices if one.node]
    assert len(named) == len(set(named))
    for one in after.slices:
        overlapped = {
            other.node for other in pool.slices if ip_network(other.range).overlaps(ip_network(one.range))
        }
        assert not one.node or overlapped - {""} == {one.node}


@given(pools)
def test_cutting_the_same_again_keeps_the_slice_of_every_node(pool: SlicePool) -> None:
    after = recut(pool, SliceRule("net", 27, "/27").uncut(ip_network("10.0.0.0/24")))
    assert all(after.slice_of(node) == pool.slice_of(node) for node in NAMES)
