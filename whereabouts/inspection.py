"""Looking at a whole datastore for everything that should not be.

Nothing is read twice unless something looks wrong. Then, after a pause, all is looked at once more, and only
what is found both times is reported: between the reading of two blocks an ADD or DEL may have changed the
second, and a hint, a reservation or a pod may be a moment ahead of the block that it belongs to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import NamedTuple, Protocol

from whereabouts.addresses import text_of
from whereabouts.block import Space
from whereabouts.deadline import Deadline
from whereabouts.false_hints import Configured, FalseHint, as_findings, false_hints, still_false
from whereabouts.findings import KINDS, Finding, Record
from whereabouts.liveness import CONFLICT
from whereabouts.overview import records_in
from whereabouts.pool import Pool, PoolKey
from whereabouts.ranges import Range
from whereabouts.store import Store, StoredBlock

SETTLING_SECONDS = 0.5
"""The pause before the second look where nothing asks for a longer one."""
LONGEST_PAUSE = 5.0
"""The longest pause before the second look, in seconds."""
_SHOWN = 4


class Suspect(NamedTuple):
    """Why a record is likely to have nobody behind it any more."""

    kind: str
    """``leak`` or ``completed-pod``; ``suspect`` where more time has to pass before that is sure."""
    reason: str
    seconds: float
    """How far apart two observations have to be for the record to be freed."""


class Witness(Protocol):
    """Something that knows which pods or attachments live."""

    def suspects(self, records: Sequence[Record], deadline: Deadline) -> Mapping[Record, Suspect]:
        """Those of the records that nobody seems to be behind, as it is now."""


class Surroundings(NamedTuple):
    """What a store has beside blocks and pools that can be read."""

    findings: Sequence[Finding] = ()
    unsettled: Collection[PoolKey] = ()
    """Pools that are being taken over, whose space is not settled yet."""


class Inspection(NamedTuple):
    """What was looked at, and what was found."""

    blocks: int
    allocations: int
    findings: Sequence[Finding]


class Inspector:
    """Looks at one datastore."""

    def __init__(
        self,
        store: Store,
        *,
        configured: Configured,
        witness: Witness | None = None,
        surroundings: Callable[[Sequence[StoredBlock], Deadline], Surroundings] = lambda *_: Surroundings(),
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        """An inspector of ``store``.

        ``surroundings`` looks at what the store has beside the blocks that were read. ``progress`` is told
        what is being done, in a few words.
        """
        self._store = store
        self._configured = configured
        self._witness = witness
        self._surroundings = surroundings
        self._progress = progress

    def inspect(self, deadline: Deadline) -> Inspection:
        """Everything that is found twice, the worst first."""
        first = self._look(deadline)
        if not first.findings and not first.hints:
            return Inspection(first.blocks, first.allocations, [])
        self._progress(f"looking once more in {first.pause:g} s")
        deadline.pause(0.0, "looking once more", least=first.pause)
        second = self._look(deadline)
        before = {finding.identity for finding in first.findings}
        kept = [finding for finding in second.findings if finding.identity in before]
        hints = set(first.hints) & set(second.hints)
        if hints:
            kept += as_findings(still_false(self._store, hints, self._configured, deadline))
        return Inspection(second.blocks, second.allocations, sorted(kept, key=_order))

    def _look(self, deadline: Deadline) -> _Look:
        blocks = []
        for stored in self._store.blocks(deadline):
            blocks.append(stored)
            if len(blocks) % 64 == 0:
                self._progress(f"{len(blocks)} blocks read")
        pools = {stored.pool.key: stored.pool for stored in self._store.pools(deadline)}
        around = self._surroundings(blocks, deadline)
        records = list(records_in(blocks))
        suspects: Mapping[Record, Suspect] = {}
        if self._witness is not None:
            self._progress(f"{len(records)} records; asking who lives")
            suspects = self._witness.suspects(records, deadline)
        findings = [
            *_damaged(blocks),
            *around.findings,
            *_by_themselves(records, pools, self._configured, around.unsettled),
            *_nobody_behind(records, suspects),
        ]
        hinted = [stored.pool for stored in self._store.pools(deadline, hinted=True)]
        hints = false_hints(hinted, {one.key: one.block for one in blocks}, self._configured)
        longest = max((suspect.seconds for suspect in suspects.values()), default=SETTLING_SECONDS)
        pause = max(SETTLING_SECONDS, min(longest, LONGEST_PAUSE))
        return _Look(len(blocks), len(records), findings, hints, pause)


class _Look(NamedTuple):
    """What one look found, and how long to wait before the next."""

    blocks: int
    allocations: int
    findings: Sequence[Finding]
    hints: Sequence[FalseHint]
    pause: float


def _order(finding: Finding) -> tuple[object, ...]:
    severity = list(dict.fromkeys(kind.severity for kind in KINDS.values())).index(finding.severity)
    address = finding.record.address if finding.record else None
    return (
        severity,
        list(KINDS).index(finding.kind),
        finding.network_name,
        (address.version, int(address)) if address else (0, 0),
        finding.place,
        finding.pod,
    )


def _damaged(blocks: Sequence[StoredBlock]) -> Iterator[Finding]:
    for stored in blocks:
        if stored.block is None:
            key = stored.key
            yield Finding(
                "damaged-block", f"{stored.damage} ({key.cidr})", key.space.network_name, place=key.name
            )


# ------------------------------------------------------------ record by record


def _by_themselves(
    records: Sequence[Record],
    pools: Mapping[PoolKey, Pool],
    configured: Configured,
    unsettled: Collection[PoolKey],
) -> Iterator[Finding]:
    """What is wrong with single records, as far as they, pools and configurations tell."""
    homes: dict[tuple[Space, str], _Home] = {}
    for record in records:
        if record.owner.container_id.startswith(CONFLICT):
            yield _conflict(record)
        where = (record.space, record.owner.range)
        home = homes.get(where)
        if home is None:
            key = PoolKey(record.space.network_name, record.owner.range)
            home = homes[where] = _Home(record.space, key, pools, configured.get(key, ()), key in unsettled)
        fault = home.fault(record)
        if fault is not None:
            yield fault


def _conflict(record: Record) -> Finding:
    claims = record.owner.container_id.removeprefix(CONFLICT)
    message = f"{text_of(record.address)} was given to two pods: {claims}"
    return _about(record, "conflict", message, releasable=True)


class _Home:
    """Where the records of one range in one space should be."""

    def __init__(
        self,
        space: Space,
        key: PoolKey,
        pools: Mapping[PoolKey, Pool],
        configured: Sequence[Range],
        unsettled: bool,
    ) -> None:
        self._text = key.range
        self._configured = configured
        self._bounds = _bounds(key.range)
        pool = pools.get(key)
        self._astray = ""
        if pool is None:
            self._kind = "no-pool"
            self._astray = f"no pool of range {key.range} exists"
        elif pool.space != space and not unsettled:
            self._kind = "wrong-space"
            own, shared = f"a space of range {space.own_range} alone", "the space that ranges share"
            here, there = (own, shared) if space.own_range else (shared, "a space of its own")
            self._astray = f"it stands in {here}, but pool {key.name} lives in {there}"

    def fault(self, record: Record) -> Finding | None:
        """The worst that is wrong with a record."""
        kind, why = self._fault(record)
        return _about(record, kind, f"{text_of(record.address)} {why}") if kind else None

    def _fault(self, record: Record) -> tuple[str, str]:
        value = int(record.address)
        if self._bounds is None:
            return "outside-range", f"is recorded for the range {self._text!r}, which is none"
        version, first, last = self._bounds
        if version != record.address.version or not first <= value <= last:
            return "outside-range", f"is recorded for range {self._text}, which does not have it"
        if self._astray:
            return self._kind, f"is recorded for range {self._text}: {self._astray}"
        if (
            self._configured
            and not any(one.contains(value) for one in self._configured)
            and not record.owner.container_id.startswith(CONFLICT)
        ):
            return "excluded", f"is in use, but range {self._text} as it is configured now would not give it"
        return "", ""


def _bounds(text: str) -> tuple[int, int, int] | None:
    try:
        network = ip_network(text)
    except ValueError:
        return None
    return network.version, int(network.network_address), int(network.broadcast_address)


def _about(record: Record, kind: str, message: str, *, releasable: bool = False) -> Finding:
    owner = record.owner
    who = f" ({_holder(record)})" if owner.pod_ref else ""
    return Finding(
        kind,
        message + who,
        record.space.network_name,
        place=record.block.name,
        record=record,
        pod=owner.pod_ref,
        releasable=releasable,
    )


def _holder(record: Record) -> str:
    owner = record.owner
    words = [owner.pod_ref, owner.ifname, f"on {owner.node}" if owner.node else ""]
    return " ".join(filter(None, words))


# ----------------------------------------------------------------- who is there


def _nobody_behind(records: Sequence[Record], suspects: Mapping[Record, Suspect]) -> Iterator[Finding]:
    """Records of nobody, and interfaces with several records of one range."""
    seen: dict[tuple[Space, str, str, str], Record] = {}
    several: dict[tuple[Space, str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        owner = record.owner
        if owner.pod_ref:
            whose = (record.space, owner.pod_ref, owner.ifname, owner.range)
            other = seen.setdefault(whose, record)
            if other is not record:
                several[whose] = several[whose] or [other]
                several[whose].append(record)
    left = dict(suspects)
    for group in several.values():
        live = [record for record in group if record not in suspects]
        if not live:
            continue
        addresses = _listed([text_of(record.address) for record in group])
        if len(live) > 1:
            owner = live[0].owner
            message = (
                f"{owner.pod_ref} {owner.ifname} has {len(group)} records of range {owner.range}: {addresses}"
            )
            yield _about(live[0], "duplicate", message)
        for record in group:
            suspect = left.pop(record, None)
            if suspect is not None:
                message = (
                    f"{text_of(record.address)}, one of {len(group)} records ({addresses}): {suspect.reason}"
                )
                yield _about(record, "duplicate", message, releasable=True)
    for record, suspect in left.items():
        yield _about(record, suspect.kind, f"{text_of(record.address)}: {suspect.reason}", releasable=True)


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more
