"""What the datastore holds of this node when the agent starts: counted and told, and never touched.

After a reboot no sandbox of before is left, but the records of theirs are, until the runtime's DEL or GC or
the controller frees them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from whereabouts.store import StoredBlock

STATISTICS = "/proc/stat"
"""Where Linux says when the machine was booted, in containers, too (proc_stat(5), ``btime``)."""


class Leftovers(NamedTuple):
    """The records of one node."""

    recorded: int
    before_boot: int | None
    """Those made before the machine was booted; None where nobody knows when that was."""
    damaged: int
    """Blocks that cannot be read: they may have more."""

    def sentence(self, node: str, helper: str) -> str:
        """What a log says; ``helper`` is who frees what the runtime does not."""
        addresses = "1 address is" if self.recorded == 1 else f"{self.recorded} addresses are"
        text = f"{addresses} recorded for node {node}"
        if self.before_boot:
            were, them = ("was", "it") if self.before_boot == 1 else ("were", "them")
            text += (
                f"; {self.before_boot} {were} given before the last boot: "
                f"the runtime's DEL or GC, or {helper} frees {them}"
            )
        if self.damaged:
            text += f"; {self.damaged} damaged blocks were not looked at"
        return text


def boot_time() -> int | None:
    """When this machine was booted, in seconds since 1970; None where it does not say."""
    try:
        with open(STATISTICS, "rb") as file:
            for line in file:
                name, _, value = line.partition(b" ")
                if name == b"btime":
                    return int(value)
    except (OSError, ValueError):
        pass
    return None


def count(blocks: Iterable[StoredBlock], node: str, booted: int | None) -> Leftovers:
    """Count the records of ``node``, given the time of its boot."""
    recorded = before_boot = damaged = 0
    for stored in blocks:
        if stored.block is None:
            damaged += 1
            continue
        for owner in stored.block.holders():
            if owner.node == node:
                recorded += 1
                before_boot += booted is not None and owner.created < booted
    return Leftovers(recorded, None if booted is None else before_boot, damaged)
