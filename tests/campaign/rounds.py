"""Rounds of the campaign in one world: load and faults, heal, drain, check, repair, check again."""

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from heapq import heappop, heappush
from math import inf
from pathlib import Path
from random import Random
from time import monotonic, sleep

from . import checker
from .calls import Call, make_call
from .checker import Violation
from .fault import Fault
from .journal import ADD, DELETE, ENDS, Entry, Journal
from .load import Load
from .networks import NETWORKS, SPARSE, Network
from .schedule import Stroke, draw
from .world import Attachment, World

ROUND_SECONDS = (20.0, 40.0)
DRAIN_SECONDS = 150.0
"""How long calls that are under way, and DELs, may take when all is healed."""
SETTLING_SECONDS = 1.5
"""For what agents still do for plugins that were killed."""


class Tally:
    """What a campaign came to, over all rounds."""

    def __init__(self) -> None:
        self.rounds = self.calls = self.adds = 0
        self.loaded_seconds = 0.0
        self.misled = 0
        """How often a range was not held to its order: :meth:`~tests.campaign.world.World.misled`."""
        self.faults: Counter[str] = Counter()
        self.slowest: Entry | None = None
        """The call that came closest to its deadline."""

    def count(self, entries: Sequence[Entry]) -> None:
        """Count what was called in a round."""
        calls = [entry for entry in entries if entry.command != ENDS]
        self.rounds += 1
        self.calls += len(calls)
        self.adds += sum(entry.command == ADD for entry in calls)
        answered = [entry for entry in calls if not entry.killed]
        candidates = [*answered, *([self.slowest] if self.slowest else [])]
        self.slowest = max(candidates, key=_used_of_deadline, default=None)


def _used_of_deadline(entry: Entry) -> float:
    return (entry.ended - entry.begun) / entry.deadline


class Rounds:
    """A campaign in one world, which goes on until a round finds something."""

    def __init__(self, world: World, seed: int, faults: Sequence[Fault]) -> None:
        self.journal = Journal()
        self.tally = Tally()
        self._world = world
        self._seed = seed
        self._faults = faults
        self._load = Load(world, self.journal)
        self._quiet = itertools.count()

    def run(self, seconds: float = 0.0, longest: float = inf) -> list[Violation]:
        """One round, of so many seconds or of a usual length; what it found.

        ``longest`` is the longest time for which a fault may hold.
        """
        number = self.tally.rounds
        random = Random(f"{self._seed} {number}")
        begun = monotonic()
        length = seconds or random.uniform(*ROUND_SECONDS)
        self._load.begin(f"{self._seed} {number}", number)
        try:
            self._strike(draw(self._faults, length, longest, random), begun, length, random)
        finally:
            self._heal()
            stuck = self._load.drain(DRAIN_SECONDS)
        self.tally.loaded_seconds += monotonic() - begun
        found = [*self._crashed(), *(Violation("stuck", sentence) for sentence in stuck)]
        sleep(SETTLING_SECONDS)
        entries = self.journal.entries()
        found += checker.of_calls(entries, forgetful=self._world.forgetful)
        found += self._check_store(entries, random)
        self.tally.count([entry for entry in self.journal.entries() if entry.begun >= begun])
        if not found:
            self.journal.keep({hold.attachment for hold in self._alive()})
        return found

    # ----------------------------------------------------------------------- faults

    def _strike(self, strokes: Sequence[Stroke], begun: float, length: float, random: Random) -> None:
        """Strike and heal as planned, while the load runs."""
        plan = [(stroke.begins, order, stroke, True) for order, stroke in enumerate(strokes)]
        while plan:
            at, order, stroke, begins = heappop(plan)
            sleep(max(0.0, begun + at - monotonic()))
            if begins:
                stroke.fault.strike(random)
                self.tally.faults[stroke.fault.name] += 1
                heappush(plan, (stroke.ends, order, stroke, False))
            else:
                stroke.fault.heal()
        sleep(max(0.0, begun + length - monotonic()))

    def _heal(self) -> None:
        for fault in self._faults:
            fault.heal()

    def _crashed(self) -> Iterator[Violation]:
        """Agents that no fault ended."""
        for node in self._world.nodes:
            if why := node.ended_by_itself():
                yield Violation("crashed", why)
                node.kill()
            node.start()

    # ---------------------------------------------------------------------- checking

    def _alive(self) -> list[checker.Hold]:
        return checker.alive(checker.holds(self.journal.entries()))

    def _check_store(self, entries: Sequence[Entry], random: Random) -> Iterator[Violation]:
        """Before the repair pass nothing is lost, after it nothing is left over, and all is in order."""
        held = checker.alive(checker.holds(entries))
        yield from checker.of_lost(held, list(self._world.records()))
        yield from self._repaired(held)
        yield from checker.of_lost(held, list(self._world.records()))
        yield from checker.of_leftovers(held, list(self._world.records()))
        yield from (Violation("damage", sentence) for sentence in self._world.damage())
        before = len(self.journal.entries())
        misled = set(self._world.misled())
        self.tally.misled += len(misled)
        yield from self._quiet_adds(random, misled)
        yield from self._filling(random, misled)
        misled -= {span.text for span in SPARSE.spans}
        yield from self._quiet_adds(random, misled)
        yield from checker.of_calls(self.journal.entries()[before:], forgetful=self._world.forgetful)
        yield from checker.of_leftovers(held, list(self._world.records()))

    def _repaired(self, held: Sequence[checker.Hold]) -> Iterator[Violation]:
        try:
            self._world.repair(sorted({hold.attachment for hold in held}))
        except AssertionError as error:
            yield Violation("stuck", f"the repair pass failed: {error}")

    def _quiet_adds(self, random: Random, misled: Collection[str]) -> Iterator[Violation]:
        """One ADD in each network, one after the other: each gives the lowest, unless it is misled."""
        for network in NETWORKS:
            if any(span.text in misled for span in network.spans):
                continue
            records = list(self._world.records())
            entry = self._quiet_call(ADD, network, next(self._quiet), random)
            yield from checker.of_quiet_add(entry, network.spans, records)
            yield from self._given_back([entry], network, random)

    def _filling(self, random: Random, misled: Collection[str]) -> Iterator[Violation]:
        """ADDs of the range with many blocks until it is full: it gives all that it has, misled or not."""
        records = list(self._world.records())
        given: list[Entry] = []
        while not given or given[-1].succeeded:
            given.append(self._quiet_call(ADD, SPARSE, next(self._quiet), random))
        (span,) = SPARSE.spans
        yield from checker.of_filling(given, span, records, in_order=span.text not in misled)
        yield from self._given_back(given, SPARSE, random)

    def _given_back(self, given: Sequence[Entry], network: Network, random: Random) -> Iterator[Violation]:
        """DEL of quiet ADDs, in any order."""
        for entry in random.sample(given, len(given)):
            done = self._quiet_call(DELETE, network, int(entry.attachment.container_id[6:]), random)
            if not done.succeeded:
                yield Violation("wrong answer", f"{checker.told(done)}, when all was quiet: {done.stdout!r}")

    def _quiet_call(self, command: str, network: Network, number: int, random: Random) -> Entry:
        """A call about an interface that nobody else knows, on a node that goes by its number."""
        node = self._world.nodes[number % len(self._world.nodes)]
        one = Attachment(node.name, network.name, f"default/quiet-{number}", f"quiet-{number}", "net1")
        uid = self._world.pod_begins(node.name, one.pod) if command == ADD else ""
        entry = make_call(Call(command, one, network, uid=uid), node, self._world.ipam, random)
        if command == DELETE:
            self._world.pod_ends(node.name, one.pod)
        self.journal.write(entry)
        return entry

    def save(self, directory: Path) -> None:
        """Write down what happened, for whoever looks into it."""
        directory.mkdir(parents=True, exist_ok=True)
        self.journal.save(directory / "journal.jsonl")
        for node in self._world.nodes:
            (directory / f"{node.name}.log").write_text("\n".join(node.agent.lines) + "\n")
        self._world.save(directory)
