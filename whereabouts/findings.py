"""What is wrong in a datastore, as values, and the report that carries them from one command to another.

Only what is recorded counts here, not how it was found: see :mod:`whereabouts.inspection`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from whereabouts.addresses import Address, parse_address, text_of
from whereabouts.block import BlockKey, Space
from whereabouts.errors import WhereaboutsError
from whereabouts.owners import Owner

REPORT_VERSION = 1


class ReportError(WhereaboutsError, ValueError):
    """A text that is no report of ``whereabouts check``."""


class Record(NamedTuple):
    """An address of a space, and who is recorded to hold it."""

    space: Space
    address: Address
    owner: Owner

    @property
    def block(self) -> BlockKey:
        """The block that it stands in."""
        return BlockKey.of(self.space, self.address)


class Kind(NamedTuple):
    """A kind of fault. ``severity`` is ``error``, ``warning`` or ``harmless``."""

    severity: str
    meaning: str
    remedy: str


ERROR, WARNING, HARMLESS = "error", "warning", "harmless"

_RELEASE = "release it: whereabouts release --from-report, or with its address"
_LOOK = "compare with the interface in the pod, and release the record that is not used"

KINDS: Mapping[str, Kind] = {
    "leak": Kind(ERROR, "an address whose pod, container or node is gone", _RELEASE),
    "completed-pod": Kind(ERROR, "an address of a pod that has run to its end", _RELEASE),
    "duplicate": Kind(ERROR, "two records of one range for one interface of a pod", _LOOK),
    "conflict": Kind(
        ERROR,
        "an address that two pods were given, one by each plugin",
        "delete both pods or move them to other addresses, then release the address",
    ),
    "damaged-block": Kind(
        ERROR,
        "a block that cannot be read, or whose halves do not fit: all its addresses count as used",
        "nothing is written there until it is replaced from a backup or deleted",
    ),
    "misnamed-block": Kind(
        ERROR,
        "a block under a name that is not its own: nobody looks for its addresses there",
        "delete it if it is a copy; otherwise give it the name that follows from its fields",
    ),
    "misnamed-pool": Kind(
        WARNING,
        "an IPPool whose name does not follow from its range: nobody uses it",
        "delete it, or make it anew under the name that follows from its range",
    ),
    "outside-range": Kind(
        ERROR,
        "a record of a range that does not have the address, or that names no range",
        _LOOK,
    ),
    "wrong-space": Kind(
        ERROR,
        "a record outside the space in which its range lives now: the address may be given again",
        "restart the pod, so that it gets an address of the range as it is now",
    ),
    "no-pool": Kind(
        WARNING,
        "a record of a range that has no pool, so that nothing says in which space it lives",
        "nothing, if the range is still configured: the next ADD makes the pool",
    ),
    "excluded": Kind(
        WARNING,
        "an address in use which no known configuration of its range would give",
        "restart the pod if the address is needed for something else",
    ),
    "index": Kind(
        ERROR,
        "the store's index of pods and attachments differs from its records: a DEL may not find one",
        "restart the pod; if that does not help, release its address",
    ),
    "stray-bitmap": Kind(
        ERROR,
        "in etcd, a bitmap beside a block that does not say what the block says: searches are misled by it",
        "the next ADD or DEL in the block writes both",
    ),
    "foreign-allocation": Kind(
        ERROR,
        "an allocation of the Go plugin in a pool whose records are in blocks",
        "whereabouts migrate --to blocks takes it over",
    ),
    "unreadable-allocation": Kind(
        WARNING,
        "an entry in the Go plugin's part of an IPPool that cannot be read",
        "look at it, and delete the entry",
    ),
    "stale-reservation": Kind(
        WARNING,
        "a reservation of an address that nobody holds: nobody is given it",
        "whereabouts migrate --repair-reservations deletes it",
    ),
    "missing-reservation": Kind(
        ERROR,
        "a record without the reservation that keeps the Go plugin from giving the address",
        "restart the pod, or end the time in which both plugins run",
    ),
    "suspect": Kind(
        HARMLESS,
        "an address that nobody seems to use, which is not sure before some minutes have passed",
        "look again later; release judges it once more when the time has passed",
    ),
    "false-hint": Kind(
        HARMLESS,
        "a pool that calls a block exhausted which has room: lower addresses are left out for now",
        "nothing: it costs order only, and the next address that is freed there corrects it",
    ),
}
"""The kinds of faults by their names, which are stable."""


class Finding(NamedTuple):
    """A fault. Texts that have no meaning for its kind are empty."""

    kind: str
    message: str
    network_name: str = ""
    place: str = ""
    """The block, pool or other object that it is in."""
    record: Record | None = None
    """The record that is wrong."""
    pod: str = ""
    releasable: bool = False
    """Whether releasing the record repairs it."""

    @property
    def severity(self) -> str:
        """``error``, ``warning`` or ``harmless``."""
        return KINDS[self.kind].severity

    @property
    def identity(self) -> tuple[object, ...]:
        """What is the same when the same fault is found once more."""
        return (self.kind, self.network_name, self.place, self.pod, self.record)

    def as_json(self) -> dict[str, object]:
        """The finding as it stands in a report."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "network_name": self.network_name,
            "place": self.place,
            "address": text_of(self.record.address) if self.record else "",
            "pod": self.pod,
            "message": self.message,
            "remedy": KINDS[self.kind].remedy,
            "release": record_as_json(self.record) if self.record and self.releasable else None,
        }


class Report(NamedTuple):
    """What an inspection found."""

    store: str
    checked: int
    """When it was looked at last, in whole seconds since 1970 UTC."""
    blocks: int
    allocations: int
    skipped: Sequence[str]
    """Sentences about what was not looked at."""
    findings: Sequence[Finding]

    @property
    def problems(self) -> int:
        """How many findings are more than harmless."""
        return sum(finding.severity != HARMLESS for finding in self.findings)

    def as_json(self) -> dict[str, object]:
        """The report as JSON has it."""
        return {
            "version": REPORT_VERSION,
            "store": self.store,
            "checked": self.checked,
            "blocks": self.blocks,
            "allocations": self.allocations,
            "problems": self.problems,
            "skipped": list(self.skipped),
            "findings": [finding.as_json() for finding in self.findings],
        }


class Judged(NamedTuple):
    """A record that a report would have released."""

    kind: str
    record: Record


class Judgements(NamedTuple):
    """What a report says is to be released, in which datastore, and when it was judged."""

    store: str
    checked: int
    judged: Sequence[Judged]


def record_as_json(record: Record) -> dict[str, object]:
    """A record with all that tells it from others."""
    return {
        "network_name": record.space.network_name,
        "own_range": record.space.own_range,
        "address": text_of(record.address),
        "owner": record.owner._asdict(),
    }


def read_report(text: bytes) -> Judgements:
    """Read what :meth:`Report.as_json` wrote. Raises :class:`ReportError` for anything else."""
    try:
        content = json.loads(text)
        if content["version"] != REPORT_VERSION:
            raise ReportError(f"it is of version {content['version']}, this program knows {REPORT_VERSION}")
        judged = [
            Judged(finding["kind"], _record(finding["release"]))
            for finding in content["findings"]
            if finding["release"] is not None
        ]
        return Judgements(_text(content["store"]), int(content["checked"]), judged)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, ReportError):
            raise
        raise ReportError(
            f"it is no report of whereabouts check ({type(error).__name__}: {error})"
        ) from error


def _record(content: Mapping[str, object]) -> Record:
    owner = content["owner"]
    if not isinstance(owner, dict) or owner.keys() != set(Owner._fields):
        raise ReportError("it is no report of whereabouts check: an owner does not have the fields of one")
    created = owner["created"]
    if not isinstance(created, int):
        raise ReportError("it is no report of whereabouts check: an owner's time is no number")
    texts = {field: _text(owner[field]) for field in Owner._fields if field != "created"}
    return Record(
        Space(_text(content["network_name"]), _text(content["own_range"])),
        parse_address(_text(content["address"])),
        Owner(**texts, created=created),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ReportError(f"it is no report of whereabouts check: {value!r} should be a text")
    return value
