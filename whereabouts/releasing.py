"""Releasing records that a person or a report names: judged first, and freed only as they were judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from whereabouts.allocator import Allocator
from whereabouts.block import BlockKey
from whereabouts.deadline import Deadline
from whereabouts.errors import WhereaboutsError
from whereabouts.findings import Record
from whereabouts.inspection import Suspect, Witness
from whereabouts.liveness import CONFLICT
from whereabouts.store import Store

GONE, CLAIMED, LIVES, UNKNOWN, CHANGED = "gone", "claimed", "lives", "unknown", "changed"


class Verdict(NamedTuple):
    """What may become of a record.

    ``state`` is ``gone`` (nobody is behind it), ``claimed`` (an address given twice, and one of its pods
    lives), ``lives``, ``unknown`` (nobody can tell), or ``changed`` (it is not recorded any more).
    """

    record: Record
    state: str
    reason: str
    seconds: float = 0.0
    """How far apart two observations have to be for it to be released."""

    @property
    def released_by_force_only(self) -> bool:
        """Whether a person has to insist."""
        return self.state in (CLAIMED, LIVES, UNKNOWN)


def judge_all(
    store: Store, records: Sequence[Record], witness: Witness | None, deadline: Deadline
) -> list[Verdict]:
    """Judge each record as it is recorded now."""
    standing = _standing(store, records, deadline)
    asked = [one for record in standing for one in claimants(record) or [record]]
    suspects = witness.suspects(asked, deadline) if witness is not None else {}
    return [
        _verdict(record, witness is not None, suspects)
        if record in standing
        else Verdict(record, CHANGED, "it is not recorded like this any more")
        for record in records
    ]


def _standing(store: Store, records: Sequence[Record], deadline: Deadline) -> set[Record]:
    """Those of the records that are still recorded so. None of a damaged block is."""
    blocks: dict[BlockKey, list[Record]] = defaultdict(list)
    for record in records:
        blocks[record.block].append(record)
    found = set()
    for key, here in blocks.items():
        stored = store.read_block(key, deadline, fresh=True)
        if stored is not None and stored.block is not None:
            for record in here:
                if stored.block.owner(key.offset(record.address)) == record.owner:
                    found.add(record)
    return found


def claimants(record: Record) -> list[Record]:
    """The two holders of an address that was given twice, as records of their own; none for any other."""
    if not record.owner.container_id.startswith(CONFLICT):
        return []
    found = []
    for claim in record.owner.container_id.removeprefix(CONFLICT).split(" and "):
        pod_ref, _, rest = claim.partition(" ")
        ifname, _, container_id = rest.partition(" ")
        owner = record.owner._replace(pod_ref=pod_ref, ifname=ifname, container_id=container_id)
        found.append(record._replace(owner=owner))
    return found


def _verdict(record: Record, asked: bool, suspects: Mapping[Record, Suspect]) -> Verdict:
    if not asked:
        return Verdict(record, UNKNOWN, "nobody here knows whether its pod lives")
    claims = claimants(record)
    if claims:
        living = [claim.owner.pod_ref for claim in claims if claim not in suspects]
        if living:
            return Verdict(record, CLAIMED, f"given twice, and {' and '.join(living)} may still use it")
        seconds = max(suspects[claim].seconds for claim in claims)
        return Verdict(record, GONE, "given twice, and both pods are gone", seconds)
    suspect = suspects.get(record)
    if suspect is not None:
        return Verdict(record, GONE, suspect.reason, suspect.seconds)
    if not record.owner.pod_ref:
        return Verdict(record, UNKNOWN, "the record names no pod")
    return Verdict(record, LIVES, "nothing says that its pod is gone")


def free_all(
    allocator: Allocator, records: Sequence[Record], deadline: Deadline
) -> tuple[list[Record], list[str]]:
    """Free records that are still what they were: those that were freed, and sentences about failures."""
    blocks: dict[BlockKey, set[Record]] = defaultdict(set)
    for record in records:
        blocks[record.block].add(record)
    freed: list[Record] = []
    failures: list[str] = []
    for key, mine in sorted(blocks.items()):

        def judged(address: object, owner: object, mine: set[Record] = mine) -> bool:
            return any(record.address == address and record.owner == owner for record in mine)

        try:
            freed += [Record(key.space, *one) for one in allocator.free(key, judged, deadline)]
        except WhereaboutsError as error:
            failures.append(str(error))
    return freed, failures
