"""What a look at the blocks came to: values for those who count, log and tell."""

from __future__ import annotations

from whereabouts.addresses import Address
from whereabouts.block import BlockKey, Space
from whereabouts.changes import Allocation
from whereabouts.errors import WhereaboutsError
from whereabouts.owners import Owner
from whereabouts.values import NamedTuple


class Freed(NamedTuple):
    """A record that was freed, and why."""

    address: Address
    owner: Owner
    reason: str
    space: Space = Space()
    """Where the address is unique."""


class Audit(NamedTuple):
    """What a look at the blocks came to."""

    blocks: int
    """Blocks that were looked at, and in them:"""
    records: int
    freed: int
    suspects: int
    """Records that seem to be nobody's, and wait for another look."""
    waiting_for_operator: int
    """Records of pods that are to be gone, on nodes that are not heard of: see
    :func:`~whereabouts.liveness.waits_for_operator`."""
    failures: tuple[str, ...]
    """What could not be looked at or freed; the others were."""
    damaged: tuple[BlockKey, ...] = ()
    """Blocks that cannot be read."""
    conflicts: tuple[tuple[BlockKey, Allocation], ...] = ()
    """Addresses that two pods were given."""
    unfreed: tuple[Allocation, ...] = ()
    """What was found dead and could not be freed; it is tried again."""


class Tally:
    """An audit in the making."""

    def __init__(self) -> None:
        """Nothing was looked at yet."""
        self.blocks = self.records = self.freed = self.waiting_for_operator = 0
        self.failures: list[str] = []
        self.damaged: list[BlockKey] = []
        self.conflicts: list[tuple[BlockKey, Allocation]] = []
        self.unfreed: list[Allocation] = []

    def failed(self, what: str, error: Exception) -> None:
        """Note that ``what`` could not be done; an error that nobody expected is named by its type."""
        ours = isinstance(error, WhereaboutsError)
        self.failures.append(f"{what}: {error}" if ours else f"{what}: {type(error).__name__}: {error}")

    def result(self, suspects: int) -> Audit:
        """The audit, after which there are so many suspects."""
        return Audit(
            self.blocks,
            self.records,
            self.freed,
            suspects,
            self.waiting_for_operator,
            tuple(self.failures),
            tuple(self.damaged),
            tuple(self.conflicts),
            tuple(self.unfreed),
        )
