"""What the status page says, as values: collected by the controller's work, read by whoever asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple

from whereabouts.commands.map_text import Picture
from whereabouts.findings import KINDS
from whereabouts.overview import VERSION, ranges_as_json
from whereabouts.pool import PoolKey
from whereabouts.slices import SlicePool
from whereabouts.usage import RangeUse

MOST_OF_A_KIND = 50
"""Problems of one kind that are shown one by one."""
LONGEST_TEXT = 400
"""Characters of a text from the cluster that are shown."""


class AuditRun(NamedTuple):
    """An audit that has ended."""

    ended: float
    """In Unix time."""
    seconds: float
    blocks: int
    records: int
    freed: int
    suspects: int
    unheard: int
    """Records of pods that are to be gone, on nodes that are not heard of."""
    failures: Sequence[str]
    """What could not be done; where nothing could be, that is the only one."""


class Example(NamedTuple):
    """One of the problems of a kind: where, and what."""

    place: str
    message: str


class Problem(NamedTuple):
    """All problems of one kind."""

    kind: str
    number: int
    shown: Sequence[Example]
    """The first :data:`MOST_OF_A_KIND` of them."""


class Collected:
    """Problems of one kind while they are being counted."""

    def __init__(self, kind: str) -> None:
        """None yet."""
        self._kind = kind
        self._count = 0
        self._shown: list[Example] = []

    def add(self, place: str, message: str) -> None:
        """One more."""
        self._count += 1
        if len(self._shown) < MOST_OF_A_KIND:
            self._shown.append(Example(_shortened(place), _shortened(message)))

    def problems(self) -> Iterator[Problem]:
        """The problem, if there is one."""
        if self._count:
            yield Problem(self._kind, self._count, tuple(self._shown))


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 3]}..."


class View(NamedTuple):
    """What a look at the datastore saw."""

    taken: float
    """In Unix time."""
    uses: Sequence[RangeUse]
    pictures: Mapping[PoolKey, Picture]
    """Of the first ranges."""
    problems: Sequence[Problem]


class Kind(NamedTuple):
    """A kind of problem."""

    title: str
    meaning: str
    remedy: str


def _as_check_says(title: str, kind: str) -> Kind:
    return Kind(title, KINDS[kind].meaning, KINDS[kind].remedy)


PROBLEMS: Mapping[str, Kind] = MappingProxyType(
    {
        "conflict": _as_check_says("Given twice", "conflict"),
        "damaged-block": _as_check_says("Damaged block", "damaged-block"),
        "full-range": Kind(
            "Full range",
            "a range of which no address is left",
            "enlarge it; by whom its addresses are used is said by whereabouts explain range",
        ),
        "node-without-slice": Kind(
            "Node without slice",
            "a node for which no slice of the range is left",
            "use a larger range, smaller slices, or node_slice_borrow",
        ),
        "bad-definition": Kind(
            "Bad definition",
            "a NetworkAttachmentDefinition that cannot be served as it is",
            "correct it; pods that use it do not start",
        ),
        "unheard-node": Kind(
            "Node not heard of",
            "addresses of pods that are to be gone, on nodes that are not ready",
            "if the machine is off for sure, give its Node the taint node.kubernetes.io/out-of-service",
        ),
        "suspect": Kind(
            "Suspect",
            "an address whose pod seems to be gone",
            "nothing: it is freed when it is seen so once more",
        ),
        "failure": Kind(
            "Failure",
            "something that the last pass could not do",
            "the controller's log says more; what failed is tried again",
        ),
    }
)
"""The kinds of problems by their names, which are stable; the worst first."""


class Status(NamedTuple):
    """All that a controller that leads knows."""

    view: View | None = None
    """None before the first look."""
    view_fault: str = ""
    """Why the last look came to nothing."""
    audits: Sequence[AuditRun] = ()
    """The last ones, the newest first."""
    slices: Sequence[SlicePool] = ()
    slicing: Sequence[Problem] = ()
    """What is wrong with definitions and slices, and what could not be done about them."""

    @property
    def problems(self) -> Sequence[Problem]:
        """What there is of each kind, the worst first."""
        found = [*self.slicing, *(self.view.problems if self.view else ()), *self._failures()]
        together = {}
        for kind in PROBLEMS:
            of_kind = [problem for problem in found if problem.kind == kind]
            shown = [example for problem in of_kind for example in problem.shown]
            number = sum(problem.number for problem in of_kind)
            together[kind] = Problem(kind, number, tuple(shown[:MOST_OF_A_KIND]))
        return tuple(problem for problem in together.values() if problem.number)

    def _of_view(self, kind: str) -> Iterator[Problem]:
        for problem in self.view.problems if self.view else ():
            if problem.kind == kind:
                yield problem

    def _failures(self) -> Iterator[Problem]:
        failures, unheard = Collected("failure"), 0
        damage = {example.message for one in self._of_view("damaged-block") for example in one.shown}
        if self.view_fault:
            failures.add("status page", self.view_fault)
        for run in self.audits[:1]:
            for failure in run.failures:
                if _shortened(failure) not in damage:  # that has been said already
                    failures.add("audit", failure)
            unheard = run.unheard
        yield from failures.problems()
        if unheard:
            yield Problem("unheard-node", unheard, ())


class Process(NamedTuple):
    """Which of the controllers this one is."""

    identity: str
    leading: bool
    leader: str
    """The identity of the one that works; empty where that is not known."""


def as_json(process: Process, status: Status) -> dict[str, object]:
    """The content of the page for programs. ``ranges`` are those of ``whereabouts show -o json``."""
    view = status.view
    return {
        "version": VERSION,
        "process": process.identity,
        "leading": process.leading,
        "leader": process.leader,
        "taken": moment(view.taken) if view else None,
        "ranges": ranges_as_json(view.uses if view else ())["ranges"],
        "audits": [
            {
                "ended": moment(run.ended),
                "seconds": round(run.seconds, 3),
                "blocks": run.blocks,
                "allocations": run.records,
                "freed": run.freed,
                "suspects": run.suspects,
                "failures": [_shortened(failure) for failure in run.failures[:MOST_OF_A_KIND]],
            }
            for run in status.audits
        ],
        "problems": [
            {
                "kind": problem.kind,
                "count": problem.number,
                "shown": [example._asdict() for example in problem.shown],
            }
            for problem in status.problems
        ],
        "slices": [
            {
                "pool": pool.name,
                "range": pool.range,
                "slice_size": pool.slice_size,
                "slices": len(pool.slices),
                "free": free_slices(pool),
            }
            for pool in status.slices
        ],
    }


def free_slices(pool: SlicePool) -> int:
    """Slices that no node has."""
    return sum(not one.node for one in pool.slices)


def moment(seconds: float) -> str:
    """A Unix time as RFC 3339 writes it, in whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
