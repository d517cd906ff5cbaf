"""Records behind which nobody seems to live, and since when: the memory between two observations.

It is lost with the process, and nothing is lost with it but time: the observations begin anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from whereabouts.block import BlockKey
from whereabouts.liveness import GONE_SECONDS, POD_FINISHED, POD_GONE, Suspicion
from whereabouts.owners import Owner
from whereabouts.values import NamedTuple

AT_ONCE = float("-inf")
"""When a suspect is due that has not to wait."""
MAX_SUSPECTS = 20_000
"""Records that are remembered at once, in about 15 MB; those beyond are observed when others are settled."""

_ENDED = {Suspicion(POD_GONE, GONE_SECONDS), Suspicion(POD_FINISHED, GONE_SECONDS)}


class Suspect(NamedTuple):
    """A record that was observed to be without a living pod.

    ``since`` is when it was first seen so, with this reason at each look in between, and ``due`` when it may
    be looked at again, both in seconds on the reconciler's clock. ``live`` tells whether it was seen in what
    the cluster says of the one pod, rather than in a list or an event, which may be behind.
    """

    owner: Owner
    suspicion: Suspicion
    since: float
    due: float
    live: bool

    def confirms(self, owner: Owner, suspicion: Suspicion) -> bool:
        """Whether the new observation is of the same record and says the same.

        A pod that has come to its end and one that is gone are the same: the second follows the first, and
        nothing leads back.
        """
        same = (self.suspicion.reason, self.suspicion.node) == (suspicion.reason, suspicion.node)
        return self.owner == owner and (same or {self.suspicion, suspicion} <= _ENDED)


class Suspects:
    """Suspects by block and offset."""

    def __init__(self) -> None:
        """Nobody is suspected."""
        self._blocks: dict[BlockKey, dict[int, Suspect]] = {}
        self._count = 0

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    def __iter__(self) -> Iterator[tuple[BlockKey, int, Suspect]]:
        """All of them, with block and offset."""
        for key, of_block in self._blocks.items():
            for offset, suspect in of_block.items():
                yield key, offset, suspect

    def observe(
        self,
        key: BlockKey,
        offset: int,
        owner: Owner,
        suspicion: Suspicion,
        since: float,
        *,
        live: bool = False,
    ) -> Suspect:
        """Note an observation made at ``since``; an earlier one of the same counts on.

        Where time is the evidence (:data:`~whereabouts.liveness.LAGGING_SECONDS`) it begins with an
        observation that is ``live``, for which the suspect is due at once.
        """
        timed = suspicion.seconds > GONE_SECONDS
        earlier = self._blocks.get(key, {}).get(offset)
        if (
            earlier is not None
            and earlier.confirms(owner, suspicion)
            and (earlier.live or not (timed and live))
        ):
            since, live = min(since, earlier.since), live or earlier.live
        due = AT_ONCE if timed and not live else since + suspicion.seconds
        suspect = Suspect(owner, suspicion, since, due, live)
        if earlier is not None or self._count < MAX_SUSPECTS:
            self._count += earlier is None
            self._blocks.setdefault(key, {})[offset] = suspect
        return suspect

    def postpone(self, key: BlockKey, offset: int, due: float) -> None:
        """Do not look again before ``due``; what was observed stands."""
        suspect = self._blocks[key][offset]
        self._blocks[key][offset] = suspect._replace(due=due)

    def clear(self, key: BlockKey, offset: int) -> None:
        """Somebody lives there, or the record is no more."""
        of_block = self._blocks.get(key, {})
        if of_block.pop(offset, None) is not None:
            self._count -= 1
            if not of_block:
                del self._blocks[key]

    def keep_only(self, key: BlockKey, offsets: Collection[int]) -> None:
        """Clear all others of a block."""
        for offset in self._blocks.get(key, {}).keys() - set(offsets):
            self.clear(key, offset)

    def forget_blocks_but(self, keys: Collection[BlockKey]) -> None:
        """Clear those of blocks that are no more."""
        for key in self._blocks.keys() - set(keys):
            self._count -= len(self._blocks.pop(key))

    def due(self, now: float) -> list[tuple[BlockKey, Mapping[int, Suspect]]]:
        """Those that may be looked at again at ``now``, by block; the blocks that wait longest first."""
        found = []
        for key, of_block in self._blocks.items():
            ready = {offset: suspect for offset, suspect in of_block.items() if suspect.due <= now}
            if ready:
                found.append((key, ready))
        return sorted(found, key=lambda one: min(suspect.due for suspect in one[1].values()))

    def next_due(self) -> float | None:
        """When the first of them may be looked at again."""
        dues = (suspect.due for of_block in self._blocks.values() for suspect in of_block.values())
        return min(dues, default=None)
