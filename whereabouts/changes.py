"""The changes that calls make to one block: pure functions from a block to its next value."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from whereabouts.addresses import Address
from whereabouts.block import Block, Interval
from whereabouts.owners import Owner
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from whereabouts.commit import Change


class Assigned(NamedTuple):
    """An address and its record.

    ``new`` is false where the pod's interface held the address before the call. ``exhausted`` tells
    that the block has nothing left for the range.
    """

    address: Address
    owner: Owner
    new: bool
    exhausted: bool


Allocation = tuple[Address, Owner]
"""An address and who holds it."""


def assign(
    owner: Owner, barred: Sequence[Interval], ensure_lowest: Callable[[], None] = lambda: None
) -> Change[Assigned | None]:
    """Give ``owner`` the address it holds already, else the lowest free one outside ``barred``.

    The outcome is None where the block has no room. ``ensure_lowest`` raises where this is no longer known
    to be the lowest block with room.
    """

    def change(block: Block) -> tuple[Block, Assigned | None]:
        held = _take_over(block, owner)
        if held is not None:
            return held
        ensure_lowest()
        offset = block.lowest_free(barred)
        if offset is None:
            return block, None
        after = block.with_owner(offset, owner)
        exhausted = after.lowest_free(barred) is None
        return after, Assigned(block.key.address(offset), owner, new=True, exhausted=exhausted)

    return change


def reassign(owner: Owner) -> Change[Assigned | None]:
    """Give ``owner`` the address that it holds in this block; None where it holds none."""

    def change(block: Block) -> tuple[Block, Assigned | None]:
        return _take_over(block, owner) or (block, None)

    return change


def _take_over(block: Block, owner: Owner) -> tuple[Block, Assigned | None] | None:
    """A pod's interface keeps its address when its sandbox was made anew: the record follows it."""
    offset = block.offset_held(owner.pod_ref, owner.ifname, owner.range)
    if offset is None:
        return None
    held = block.owner(offset)
    same = held is not None and held.belongs_to(owner.container_id, owner.ifname)
    after = block if same else block.with_owner(offset, owner)
    return after, Assigned(block.key.address(offset), owner, new=False, exhausted=False)


def release(judged: Callable[[Address, Owner], bool]) -> Change[list[Allocation]]:
    """Free the allocations for which ``judged`` is true; the outcome lists them."""

    def change(block: Block) -> tuple[Block, list[Allocation]]:
        chosen = [(offset, owner) for offset, owner in block if judged(block.key.address(offset), owner)]
        if not chosen:
            return block, []
        after = block.without([offset for offset, _ in chosen])
        return after, [(block.key.address(offset), owner) for offset, owner in chosen]

    return change
