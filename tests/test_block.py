"""Blocks: names that nobody shares, halves that belong together."""

import re
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whereabouts.block import BLOCK_SIZE, Block, BlockDamaged, BlockKey, Space

from .test_owners import typical

OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

own_ranges = st.one_of(
    st.just(""),
    st.sampled_from(["10.1.0.0/16", "::/64", "fd00::/64", "fd00::/65", "0.0.0.0/0", "10.1.0.0/17"]),
)
network_names = st.one_of(
    st.just(""),
    st.text(max_size=60),
    st.sampled_from(
        ["blue", "own-10-1-0-0-16", "hex-61", "a", "10", "10.1.2.0", "Blue", "blue_1", "a.b", "-", "ä"]
    ),
)
spaces = st.builds(
    Space, network_names.filter(lambda name: name.isprintable() and len(name.encode()) < 70), own_ranges
)
keys = st.one_of(
    st.builds(BlockKey, spaces, st.just(4), st.integers(0, 2**24 - 1).map(lambda block: block * 256)),
    st.builds(BlockKey, spaces, st.just(6), st.integers(0, 2**120 - 1).map(lambda block: block * 256)),
)


@given(keys, keys)
def test_two_blocks_never_share_a_name(one: BlockKey, other: BlockKey) -> None:
    assert (one.name == other.name) == (one == other)


@given(keys)
def test_every_name_is_a_kubernetes_object_name(key: BlockKey) -> None:
    assert OBJECT_NAME.fullmatch(key.name)
    assert len(key.name) <= 253


@pytest.mark.parametrize(
    ("space", "address", "name"),
    [
        (Space(), "10.1.2.3", "10.1.2.0"),
        (Space(), "::1", "0-0-0-0-0-0-0-0"),
        (Space(), "fd00::1ff", "fd00-0-0-0-0-0-0-100"),
        (Space("blue"), "10.1.2.3", "blue.10.1.2.0"),
        (Space("", "10.1.0.0/16"), "10.1.2.3", "own-10-1-0-0-16.10.1.2.0"),
        (Space("Blue"), "10.1.2.3", "hex-426c7565.10.1.2.0"),
    ],
)
def test_names_are_as_documented(space: Space, address: str, name: str) -> None:
    assert BlockKey.of(space, ip_address(address)).name == name


def test_ranges_that_overlap_meet_in_the_same_block() -> None:
    address = ip_address("10.1.2.77")
    assert BlockKey.of(Space(), address) == BlockKey.of(Space(), ip_address("10.1.2.0"))
    assert BlockKey.of(Space(), address).cidr == ip_network("10.1.2.0/24")


@given(keys, st.integers(0, 255))
def test_addresses_and_offsets_are_each_others_inverse(key: BlockKey, offset: int) -> None:
    address = key.address(offset)
    assert key.offset(address) == offset
    assert BlockKey.of(key.space, address) == key


def test_an_address_of_another_block_has_no_offset() -> None:
    key = BlockKey.of(Space(), ip_address("10.1.2.0"))
    for other in ("10.1.3.0", "10.1.1.255", "::10.1.2.0"):
        with pytest.raises(ValueError, match=r"not in block 10\.1\.2\.0/24"):
            key.offset(ip_address(other))


KEY = BlockKey.of(Space("blue"), ip_address("10.1.2.0"))


def filled(*offsets: int) -> Block:
    return Block(KEY, dict(zip(offsets, typical(len(offsets)), strict=True)))


@given(st.sets(st.integers(0, 255)))
def test_halves_give_the_block_back(offsets: set[int]) -> None:
    block = filled(*offsets)
    again = Block.from_halves(KEY, block.bitmap(), block.owners())
    assert again == block
    assert again.lowest_free() == block.lowest_free()


def test_halves_of_two_moments_are_damage() -> None:
    before, after = filled(1, 2), filled(1, 3)
    with pytest.raises(BlockDamaged, match=r"blue\.10\.1\.2\.0: bitmap and owners do not belong together"):
        Block.from_halves(KEY, before.bitmap(), after.owners())


@pytest.mark.parametrize("half", ["bitmap", "owners"])
def test_every_changed_bit_is_damage(half: str) -> None:
    block = filled(1, 2, 3, 200)
    halves = {"bitmap": block.bitmap(), "owners": block.owners()}
    for bit in range(len(halves[half]) * 8):
        damaged = bytearray(halves[half])
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BlockDamaged):
            Block.from_halves(KEY, **{**halves, half: bytes(damaged)})


def test_the_lowest_free_offset_is_outside_what_is_barred() -> None:
    block = filled(1, 2, 5)
    assert block.lowest_free() == 0
    assert block.lowest_free([(0, 1)]) == 3
    assert block.lowest_free([(0, 4), (6, 250)]) == 4
    assert block.lowest_free([(0, 5), (6, BLOCK_SIZE)]) is None


def test_changes_give_a_new_block_and_leave_the_old_one() -> None:
    block = filled(1, 2)
    (owner,) = typical(1, seed=9)
    more = block.with_owner(7, owner)
    less = more.without([1, 7])
    assert [offset for offset, _ in block] == [1, 2]
    assert [offset for offset, _ in more] == [1, 2, 7]
    assert [offset for offset, _ in less] == [2]
    assert less.lowest_free([(0, 1)]) == 1
    with pytest.raises(KeyError):
        less.without([7])


def test_a_pods_interface_is_found_by_range() -> None:
    (owner,) = typical(1)
    block = Block(KEY, {4: owner, 9: owner._replace(range="10.1.2.0/24")})
    assert block.offset_held(owner.pod_ref, "net1", "10.1.2.0/24") == 9
    assert block.offset_held(owner.pod_ref, "net2", "10.1.2.0/24") is None


def test_what_changed_between_two_values_is_told_with_both_owners() -> None:
    one, two, three = typical(3)
    before = Block(KEY, {1: one, 2: two, 9: three})
    after = before.without([2]).with_owner(9, three._replace(ifname="net2")).with_owner(4, two)
    assert after.changes_since(before) == [
        (2, two, None),
        (4, None, two),
        (9, three, three._replace(ifname="net2")),
    ]
    assert before.changes_since(before) == []
