"""The index of owners against an oracle that keeps every state of every block."""

from collections.abc import Iterable
from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from whereabouts.block import Block, BlockKey, Space
from whereabouts.owners import Owner
from whereabouts.store import StoredBlock
from whereabouts.stores.kube_index import OwnerIndex

KEYS = [BlockKey(Space(), 4, base << 8) for base in range(3)]
MANY = 256

owners = st.builds(
    Owner,
    st.sampled_from(["default/a", "default/b", "default/c"]),
    st.just(""),
    st.sampled_from(["1" * 64, "2" * 64, "3" * 64]),
    st.sampled_from(["net1", "net2", ""]),
    *map(st.just, ["node", "macvlan", "10.0.0.0/16", 0]),
)
contents = st.dictionaries(st.integers(0, 5), owners, max_size=4)


def names(blocks: Iterable[Block]) -> dict[tuple[str, str], set[BlockKey]]:
    """The blocks of pods' and of containers' interfaces."""
    found: dict[tuple[str, str], set[BlockKey]] = {}
    for block in blocks:
        for owner in block.holders():
            for name in (owner.pod_ref, owner.container_id):
                found.setdefault((name, owner.ifname), set()).add(block.key)
    return found


def indexed(index: OwnerIndex, among: Iterable[tuple[str, str]]) -> dict[tuple[str, str], set[BlockKey]]:
    return {name: set(blocks) for name in among if (blocks := index.blocks_of(*name))}


def full(generation: int) -> Block:
    return Block(
        KEYS[0],
        {
            offset: Owner(
                f"default/{offset}-{generation}", "", f"{generation}-{offset}", "net1", "", "", "", 0
            )
            for offset in range(MANY)
        },
    )


@given(st.lists(st.tuples(st.sampled_from(KEYS), contents, st.booleans()), max_size=30))
def test_the_index_has_exactly_the_owners_of_the_latest_states(
    writes: list[tuple[BlockKey, dict[int, Owner], bool]],
) -> None:
    index, latest, every = OwnerIndex(), dict[BlockKey, StoredBlock](), list[Block]()
    for revision, (key, held, remembered) in enumerate(writes, 9):  # 10 is later than 9
        block = Block(key, held)
        every.append(block)
        index.see(block, str(revision), latest.get(key) if remembered else None)
        latest[key] = StoredBlock(key, str(revision), block)
        now = names(stored.trusted() for stored in latest.values())
        assert indexed(index, names(every)) == now
        assert len(index) == len(now)


@given(st.lists(st.tuples(st.sampled_from(KEYS), contents), max_size=12), st.randoms(use_true_random=False))
def test_states_in_any_order_leave_no_owner_of_the_latest_out(
    writes: list[tuple[BlockKey, dict[int, Owner]]], random: Random
) -> None:
    states = [(Block(key, held), str(revision)) for revision, (key, held) in enumerate(writes, 9)]
    index = OwnerIndex()
    for block, revision in random.sample(states, len(states)):
        index.see(block, revision)
    latest = names({block.key: block for block, _ in states}.values())
    found = indexed(index, names(block for block, _ in states))
    assert all(blocks <= found[name] for name, blocks in latest.items())
    for key in KEYS:  # what was too much goes with the next state
        index.see(Block(key, {}), "1000")
    assert len(index) == 0


@given(contents, contents, contents)
def test_what_is_expected_stays_until_a_later_state(
    held: dict[int, Owner], more: dict[int, Owner], later: dict[int, Owner]
) -> None:
    index, before = OwnerIndex(), Block(KEYS[0], held)
    index.see(before, "9")
    index.expect(Block(KEYS[0], more))
    index.see(before, "9")
    both = names([before, Block(KEYS[0], more)])
    assert indexed(index, both) == both
    index.see(Block(KEYS[0], later), "10", StoredBlock(KEYS[0], "9", before))
    now = names([Block(KEYS[0], later)])
    assert indexed(index, both | now) == now


def test_the_index_does_not_grow_with_owners_that_come_and_go() -> None:
    index, states = OwnerIndex(), [full(generation) for generation in range(20)]
    for revision, block in enumerate(states):
        index.see(block, str(revision))
        assert len(index) == 2 * MANY
    for (was, now), revision in zip(pairwise(states), range(20, 40), strict=False):
        index.see(was, str(revision - 1))
        index.see(now, str(revision), StoredBlock(was.key, str(revision - 1), was))
        assert len(index) == 2 * MANY


def test_blocks_that_are_gone_leave_it_unless_they_were_seen_since() -> None:
    index = OwnerIndex()
    for key in KEYS:
        index.see(Block(key, dict(enumerate(full(0).holders()))), "9")
    listed = index.seen()
    index.see(Block(KEYS[1], dict(list(full(1))[:1])), "10")
    del listed[KEYS[2]]
    index.drop(listed)
    assert set(index.blocks_of("default/0-0", "net1")) == {KEYS[2]}
    assert set(index.blocks_of("default/0-1", "net1")) == {KEYS[1]}
