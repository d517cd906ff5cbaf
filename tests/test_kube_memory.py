"""What is remembered of pools, where there are more than are remembered."""

from collections.abc import Iterable

import pytest

from whereabouts.block import Block, BlockKey, Space
from whereabouts.pool import Pool, PoolKey
from whereabouts.store import StoredBlock, StoredPool
from whereabouts.stores import kube_memory
from whereabouts.stores.kube_memory import WRITING, KnownBlock, KnownPool, Memory
from whereabouts.stores.kube_objects import Marks, pool_name

FEW = 4
KEYS = [PoolKey("", f"10.{n}.0.0/16") for n in range(3 * FEW)]
NAMES = [pool_name(key) for key in KEYS]


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    monkeypatch.setattr(kube_memory, "MAX_POOLS", FEW)
    return Memory()


def known(key: PoolKey, withdrawn: int = 0) -> KnownPool:
    return KnownPool(StoredPool("7", Pool(key, True)), withdrawn)


def tell(memory: Memory, names: Iterable[str]) -> None:
    """A block says of pools that hints were taken back."""
    for revision, name in enumerate(names):
        block = Block(BlockKey(Space(), 4, 0), {})
        stored = StoredBlock(block.key, str(revision), block)
        memory.remember_block(KnownBlock(stored, {name: Marks(5)}, {}))


def test_an_answer_from_before_a_pool_was_forgotten_stays_out_however_many_others_are_forgotten(
    memory: Memory,
) -> None:
    asked = memory.asked(NAMES[0])
    for name in NAMES:
        memory.forget_pool(name)
    for key, name in zip(KEYS, NAMES, strict=True):
        memory.remember_pool(name, known(key), asked)
        assert memory.pool(name) is None
    memory.remember_pool(NAMES[0], known(KEYS[0]), memory.asked(NAMES[0]))
    assert memory.pool(NAMES[0]) is not None


def test_only_so_many_pools_are_remembered_and_what_blocks_told_of_only_so_many(memory: Memory) -> None:
    tell(memory, NAMES)
    assert [memory.told(name) for name in NAMES] == [0] * (2 * FEW) + [5] * FEW
    for key, name in zip(KEYS, NAMES, strict=True):
        memory.remember_pool(name, known(key, withdrawn=5), memory.asked(name))
    assert [memory.pool(name) is not None for name in NAMES] == [False] * (2 * FEW) + [True] * FEW


def test_a_pool_that_blocks_told_of_too_long_ago_is_forgotten_when_the_block_is_used(memory: Memory) -> None:
    tell(memory, [*NAMES[1:], NAMES[0]])
    tell(memory, NAMES[1:])
    memory.remember_pool(NAMES[0], known(KEYS[0], withdrawn=4), memory.asked(NAMES[0]))
    tell(memory, [NAMES[0]])
    assert memory.pool(NAMES[0]) is None


def test_pools_share_the_locks_of_their_writers(memory: Memory) -> None:
    locks = {memory.writing(f"10.0.{n}.0-24") for n in range(1000)}
    assert 1 < len(locks) <= WRITING
    assert memory.writing(NAMES[0]) is memory.writing(NAMES[0])
