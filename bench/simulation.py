"""A model of node agents that give addresses at the same time, on more nodes than a machine can play.

It plays in simulated time, by discrete events, what agents do that share one API server:

* calls that meet at one block in one agent are stored by one write, in the order in which they came; those
  that come while it waits for its next try are stored with it (:mod:`whereabouts.agent.group_commit`);
* a write is conditional on the revision that the agent knows. After a conflict it waits, reads the block and
  writes again. How long it waits is not modelled: :class:`whereabouts.commit.Attempts` itself orders that, on
  the clock of the simulation;
* who fills a block calls it full in the pool; who finds it full reads the pool, once for all calls of the
  agent, and goes on to the next (:mod:`whereabouts.search`);
* a request that is turned away with 429, or gets no answer in time, is sent again
  (:mod:`whereabouts.stores.kube_api`).

Every agent knows the pool from the beginning. One wrote the first block last, the others know it as it was
before that. The server's cores take one request at a time, in the order in which they came; what a request
costs them is drawn from what was measured. The network loses nothing, and the server forgets requests that
wait when their clients give up, as the API server's queues do.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from random import Random
from typing import Any, NamedTuple, cast
from unittest.mock import patch

import simpy

from whereabouts.agent.group_commit import MAX_GROUP
from whereabouts.block import Block, BlockKey, Space
from whereabouts.commit import Attempts, Pace
from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.search import HINT_SECONDS, PROBES
from whereabouts.service import SECONDS
from whereabouts.store import Store
from whereabouts.stores.kube_api import ATTEMPT, FIRST_PAUSE, LONGEST_PAUSE, PATIENCE
from whereabouts.stores.kubernetes import NEARLY_FULL, KubernetesStore

ROOM = 255
"""Addresses that a block of an IPv4 range gives: none that ends in ``.0``."""
RETRY_AFTER = 1.0
"""Seconds that an API server tells a client to wait whom it turns away."""

WAITED_FOR = "it is simulated"
POOL = -1
"""The name of the pool among the blocks of a range, which are numbered from 0."""

Steps = Generator[simpy.Event, Any, Any]
"""What happens one after the other: each event is waited for."""


class Costs(NamedTuple):
    """Seconds of a core for one request, as samples, by how it ends."""

    read: Sequence[float]
    write: Sequence[float]
    conflict: Sequence[float]


class Shape(NamedTuple):
    """What is played."""

    agents: int
    calls: int
    """ADDs of each agent."""
    costs: Costs
    cores: int
    """Requests that the server works on at the same time."""
    latency: float
    """Seconds for which a request is on its way, there and back, with no core busy for it."""
    sliced: bool = False
    """Whether each node has blocks of its own."""
    during: float = 0.0
    """Seconds over which calls come, at random and independently; 0: all at once."""
    waiting: int | None = None
    """Requests that may wait for a core; others are turned away with 429. None: all may."""
    deadline: float = SECONDS["ADD"]
    """Seconds that a call has."""
    of_a_call: float = 0.0
    """Seconds of one of the server's cores for each call, where its agent runs there too."""


class Outcome(NamedTuple):
    """What came out."""

    latencies: Sequence[float]
    """Seconds of each call that got an address, the shortest first."""
    failed: int
    """Calls that got none."""
    requests: Counter[str]
    """By how they ended: read, write, conflict, turned away, given up."""
    seconds: float
    """From the first call to the last answer."""
    given: Sequence[tuple[int, int, int]]
    """Addresses in the order in which they were given: whose range (0: all nodes'), block, which of it."""

    @property
    def calls(self) -> int:
        """ADDs, whatever came of them."""
        return len(self.latencies) + self.failed

    def percentile(self, percent: float) -> float:
        """The seconds within which so many in a hundred of the calls that got an address had it."""
        if not self.latencies:
            return float("nan")
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * percent / 100))]

    @property
    def conflicts_an_add(self) -> float:
        """Writes that came too late."""
        return self.requests["conflict"] / self.calls

    @property
    def requests_an_add(self) -> float:
        """Requests that the server worked on."""
        return sum(self.requests[kind] for kind in Costs._fields) / self.calls

    @property
    def requests_a_second(self) -> float:
        """Requests that the server worked on."""
        return self.requests_an_add * self.calls / self.seconds

    @property
    def adds_a_second(self) -> float:
        """Addresses given."""
        return len(self.latencies) / self.seconds


def simulate(shape: Shape, seed: int = 0) -> Outcome:
    """Play it. Equal seeds, equal outcomes."""
    random = Random(seed)
    with patch("os.urandom", random.randbytes):  # what the product's random waits are made of
        return _Run(shape, random).outcome()


class _Run:
    """One play: all agents' calls, from the first to the last answer."""

    def __init__(self, shape: Shape, random: Random) -> None:
        self._shape = shape
        self._clock = _Clock(simpy.Environment())
        self._server = _Server(self._clock, shape, random)
        self._latencies: list[float] = []
        self._failed = 0
        self._given: list[tuple[int, int, int]] = []
        calls = [
            self._clock.environment.process(self._call(agent, random.random() * shape.during))
            for agent in (_Agent(self._clock, self._server, shape, n) for n in range(shape.agents))
            for _ in range(shape.calls)
        ]
        random.shuffle(calls)
        self._all = self._clock.environment.all_of(calls)

    def outcome(self) -> Outcome:
        self._clock.environment.run(self._all)
        return Outcome(
            sorted(self._latencies),
            self._failed,
            self._server.requests,
            self._clock.now(),
            self._given,
        )

    def _call(self, agent: _Agent, begins: float) -> Steps:
        yield self._clock.environment.timeout(begins)
        deadline = self._clock.deadline(self._shape.deadline)
        try:
            if self._shape.of_a_call:
                yield from self._server.occupy(self._shape.of_a_call)
            given = yield from agent.add(deadline)
        except (DeadlineExceeded, _Unavailable):
            self._failed += 1
        else:
            self._given.append(given)
            self._latencies.append(self._clock.now() - begins)


class _Clock:
    """Deadlines, and the waits that they order, in simulated time."""

    def __init__(self, environment: simpy.Environment) -> None:
        self.environment = environment
        self._ordered = 0.0

    def now(self) -> float:
        return float(self.environment.now)

    def deadline(self, seconds: float) -> Deadline:
        return Deadline(seconds, clock=self.now, sleep=self._order)

    def _order(self, seconds: float) -> None:
        self._ordered = seconds

    def pause(self, deadline: Deadline, seconds: float, *, least: float = 0.0) -> simpy.Event:
        """The end of the wait that :meth:`whereabouts.deadline.Deadline.pause` orders."""
        deadline.pause(seconds, WAITED_FOR, least=least)
        return self.environment.timeout(self._ordered)

    def wait(self, attempts: Attempts, deadline: Deadline) -> simpy.Event:
        """The end of the wait that :meth:`whereabouts.commit.Attempts.wait` orders."""
        attempts.wait(deadline)
        return self.environment.timeout(self._ordered)


# --------------------------------------------------------------------------- server


class _Unavailable(Exception):
    """The server gave no answer for too long."""


class _Unsettled(Exception):
    """A write got no answer in time."""


class _Conflict(Exception):
    """Somebody else wrote first."""


class _Stored:
    """A block, whose value is how many addresses it has given; or a pool, whose value is the number of the
    first block that is not called full."""

    __slots__ = ("revision", "value")

    def __init__(self) -> None:
        self.revision = 1
        self.value = 0


class Seen(NamedTuple):
    """Something stored, as somebody saw it."""

    revision: int
    value: int


Name = tuple[int, int]
"""Whose range (0: that of all nodes), and its block or :data:`POOL`."""


class _Server:
    """The API server."""

    def __init__(self, clock: _Clock, shape: Shape, random: Random) -> None:
        self._clock = clock
        self._shape = shape
        self._random = random
        self._cores = simpy.Resource(clock.environment, shape.cores)
        self._stored: dict[Name, _Stored] = {}
        self.requests: Counter[str] = Counter()

    def read(self, name: Name, deadline: Deadline) -> Steps:
        """GET; raises _Unavailable."""
        stored = self._stored.setdefault(name, _Stored())

        def work() -> Steps:
            yield self._busy("read")
            return Seen(stored.revision, stored.value)

        return (yield from self._send(work, deadline, writes=False))

    def first_with_room(self, range_: int, block: int, deadline: Deadline) -> Steps:
        """List bitmaps from a block on: the first that has room. A read as to costs; raises _Unavailable."""

        def work() -> Steps:
            yield self._busy("read")
            found = block
            while (stored := self._stored.get((range_, found))) and stored.value >= ROOM:
                found += 1
            return found

        return (yield from self._send(work, deadline, writes=False))

    def write(self, name: Name, before: Seen, value: int, deadline: Deadline) -> Steps:
        """PUT on condition that it is as it was ``before``; raises _Conflict, _Unsettled or _Unavailable."""
        stored = self._stored.setdefault(name, _Stored())

        def work() -> Steps:
            late = stored.revision != before.revision
            yield self._busy("conflict" if late else "write")
            if stored.revision != before.revision:
                if not late:
                    self.requests["write"] -= 1
                    self.requests["conflict"] += 1
                return None
            stored.revision, stored.value = stored.revision + 1, value
            return Seen(stored.revision, value)

        seen = yield from self._send(work, deadline, writes=True)
        if seen is None:
            raise _Conflict
        return seen

    def occupy(self, seconds: float) -> Steps:
        """Take a core for something else."""
        with self._cores.request() as core:
            yield core
            yield self._clock.environment.timeout(seconds)

    def _busy(self, kind: str) -> simpy.Event:
        self.requests[kind] += 1
        costs: Sequence[float] = getattr(self._shape.costs, kind)
        return self._clock.environment.timeout(self._random.choice(costs))

    def _send(self, work: Callable[[], Steps], deadline: Deadline, *, writes: bool) -> Steps:
        """Send a request until it is answered; see :meth:`whereabouts.stores.kube_api.ApiClient.fetch`."""
        lost, pause, patience = False, FIRST_PAUSE, deadline.grace(PATIENCE)
        while True:
            answered, answer = yield from self._attempt(work, deadline.remaining(WAITED_FOR))
            if answered:
                return answer
            least = RETRY_AFTER if answer == "turned away" else 0.0
            if least:
                patience = deadline.grace(least + PATIENCE)
            lost = lost or not least
            try:
                patience.remaining(WAITED_FOR)
            except DeadlineExceeded:
                raise (_Unsettled if lost and writes else _Unavailable) from None
            yield self._clock.pause(deadline, pause, least=least)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _attempt(self, work: Callable[[], Steps], seconds: float) -> Steps:
        """Send it once: whether it was answered, and the answer or why there is none."""
        timeout = self._clock.environment.timeout
        yield timeout(self._shape.latency / 2)
        failure = ""
        if self._shape.waiting is not None and len(self._cores.queue) >= self._shape.waiting:
            failure = "turned away"
        else:
            with self._cores.request() as core:
                yield core if core.triggered else core | timeout(min(ATTEMPT, seconds))
                if core.triggered:
                    answer = yield from work()
                else:
                    failure = "given up"
        yield timeout(self._shape.latency / 2)
        if failure:
            self.requests[failure] += 1
        return (False, failure) if failure else (True, answer)


# ---------------------------------------------------------------------------- agent


class _Outdated(Exception):
    """The hints that led to a block do not hold any more."""


class _Change:
    """What a call wants of a block: an address of it, as long as the hints that led there hold."""

    def __init__(self, clock: _Clock, pool: Seen) -> None:
        self.pool = pool
        self.turn = clock.environment.event()
        self.outcome: int | Exception | None = None
        self.settled = False

    def settle(self, outcome: int | Exception | None) -> None:
        """The how-many-th address of the block it is; None: the block has none left."""
        self.outcome, self.settled = outcome, True
        self.take_turn()

    def take_turn(self) -> None:
        if not self.turn.triggered:
            self.turn.succeed()


class _Idle:
    """A store in which nobody else writes, and no time passes."""

    conflict_pause = KubernetesStore.conflict_pause

    def read_block(self, *_: object, **__: object) -> None:
        """There is no block."""

    def write_block(self, *_: object) -> None:
        """It is done."""


_KEY = BlockKey(Space(), 4, 0)
_WRITTEN = Block(_KEY, {})


class _Tries(Attempts):
    """The tries of one write, which are told when they begin and that one was not in vain.

    They are the product's, in a store of their own in which each does nothing or is done at once: so that how
    long to wait, after what, is decided there.
    """

    def __init__(self, pace: Pace) -> None:
        super().__init__(cast(Store, _Idle()), _KEY, pace)

    def begin(self, deadline: Deadline) -> None:
        self.once(lambda block: (block, None), deadline)

    def succeed(self, deadline: Deadline) -> None:
        self.once(lambda _: (_WRITTEN, None), deadline)


class _Agent:
    """A node's agent: what it remembers, and the calls that wait for one another."""

    def __init__(self, clock: _Clock, server: _Server, shape: Shape, number: int) -> None:
        self._clock = clock
        self._server = server
        self._range = number + 1 if shape.sliced else 0
        self._waiting: dict[int, deque[_Change]] = {}
        self._pool: Seen | None = Seen(1, 0)
        self._reading: simpy.Event | None = None
        self._blocks: dict[int, Seen] = {0: Seen(1 if shape.sliced or number == 0 else 0, 0)}
        self._announced: set[int] = set()
        self._noting = simpy.Resource(clock.environment)
        self._pace = Pace(clock.now)

    def add(self, deadline: Deadline) -> Steps:
        """See :meth:`whereabouts.allocator.Allocator.add`, for one range."""
        while True:
            pool = yield from self._read_pool(deadline)
            try:
                return (yield from self._lowest(pool, deadline))
            except _Outdated:
                deadline.remaining(WAITED_FOR)

    def _lowest(self, pool: Seen, deadline: Deadline) -> Steps:
        block, full, probes = pool.value, -1, 0
        try:
            while True:
                given = yield from self._store_together(block, _Change(self._clock, pool), deadline)
                if given in (None, ROOM - 1):
                    full = block
                if given is not None:
                    return self._range, block, given
                self._pool = None  # no hint said so: others may have gone on before
                before, pool = pool, (yield from self._read_pool(deadline))
                probes = probes + 1 if pool.value == before.value else 0
                block = max(block + 1, pool.value)
                if probes == PROBES:
                    block = yield from self._server.first_with_room(self._range, block, deadline)
        finally:
            if full >= pool.value:
                yield from self._call_full(full, deadline.within(HINT_SECONDS))

    # ------------------------------------------------------------------- pool

    def _read_pool(self, deadline: Deadline) -> Steps:
        """As it is remembered, else as it is; read once for all who want it at the same time."""
        while self._pool is None:
            if self._reading is None:
                yield from self._fetch_pool(deadline)
            else:
                yield self._reading | self._clock.environment.timeout(deadline.remaining(WAITED_FOR))
        return self._pool

    def _fetch_pool(self, deadline: Deadline) -> Steps:
        self._reading = self._clock.environment.event()
        try:
            self._pool = yield from self._server.read((self._range, POOL), deadline)
            self._announced.clear()
        finally:
            self._reading.succeed()
            self._reading = None

    def _call_full(self, block: int, deadline: Deadline) -> Steps:
        """See :meth:`whereabouts.search.Hints.remember`, and how the Kubernetes store writes it."""
        pause = KubernetesStore.conflict_pause
        try:
            while True:
                pool = yield from self._read_pool(deadline)
                if pool.value > block:
                    return
                if (yield from self._write_pool(pool, block, deadline)):
                    return
                yield self._clock.pause(deadline, pause)
                pause *= 2
        except (DeadlineExceeded, _Unavailable):
            return  # it costs order, never an address

    def _write_pool(self, pool: Seen, block: int, deadline: Deadline) -> Steps:
        """Call a block full, one call after the other; whether the pool was as it was read."""
        with self._noting.request() as turn:
            yield turn | self._clock.environment.timeout(deadline.remaining(WAITED_FOR))
            if not turn.triggered or self._pool is not pool:
                return False
            if block not in self._announced:
                yield from self._announce(block, deadline)
            try:
                self._pool = yield from self._server.write((self._range, POOL), pool, block + 1, deadline)
            except (_Conflict, _Unsettled):
                self._pool = None
                return False
            return True

    def _announce(self, block: int, deadline: Deadline) -> Steps:
        """Flag a block that is going to be called full."""
        name = self._range, block
        seen = self._blocks.pop(block, None) or (yield from self._server.read(name, deadline))
        try:
            self._blocks[block] = yield from self._server.write(name, seen, seen.value, deadline)
        except (_Conflict, _Unsettled):
            return

    # ------------------------------------------------------------------ writing

    def _store_together(self, block: int, mine: _Change, deadline: Deadline) -> Steps:
        """See :class:`whereabouts.agent.group_commit.GroupCommitter`."""
        if block in self._waiting:
            self._waiting[block].append(mine)
            yield mine.turn | self._clock.environment.timeout(deadline.remaining(WAITED_FOR))
            if not mine.turn.triggered and mine in self._waiting[block]:
                self._waiting[block].remove(mine)
                deadline.remaining(WAITED_FOR)
            yield mine.turn
        else:
            self._waiting[block] = deque()
        if not mine.settled:
            yield from self._lead(block, mine, deadline)
        if isinstance(mine.outcome, Exception):
            raise mine.outcome
        return mine.outcome

    def _lead(self, block: int, mine: _Change, deadline: Deadline) -> Steps:
        """Try until the change, and those that wait with it, are stored; then let the next one lead."""
        queue, tries, fresh = self._waiting[block], _Tries(self._pace), False
        try:
            while not mine.settled:
                tries.begin(deadline)
                group = [mine]
                try:
                    yield from self._try(block, group, fresh, deadline)
                finally:
                    queue.extendleft(reversed([change for change in group[1:] if not change.settled]))
                if mine.settled:
                    tries.succeed(deadline)
                else:
                    fresh = True
                    yield self._clock.wait(tries, deadline)
        except DeadlineExceeded as error:
            mine.settle(error)
        if queue:
            queue.popleft().take_turn()
        else:
            del self._waiting[block]

    def _try(self, block: int, group: list[_Change], fresh: bool, deadline: Deadline) -> Steps:
        """Read, change and write the block, see :meth:`whereabouts.commit.Attempts.once`.

        Those that wait when the block has been read join the group. It is settled, or left as it is where
        others wrote first.
        """
        name, queue = (self._range, block), self._waiting[block]
        try:
            while True:
                seen = self._blocks.get(block)
                if seen is None or fresh:
                    seen = self._blocks[block] = yield from self._server.read(name, deadline)
                group.extend(queue.popleft() for _ in range(min(len(queue), MAX_GROUP - len(group))))
                used, outcomes = self._changed(seen.value, group)
                if used != seen.value:
                    self._blocks[block] = yield from self._server.write(name, seen, used, deadline)
                    if used >= NEARLY_FULL:
                        self._announced.add(block)
                elif not fresh:
                    fresh = True
                    continue
                break
        except (_Conflict, _Unsettled):
            self._blocks.pop(block, None)
        except _Unavailable as error:
            for change in group:
                change.settle(error)
        else:
            for change, outcome in zip(group, outcomes, strict=True):
                change.settle(outcome)

    def _changed(self, used: int, group: Sequence[_Change]) -> tuple[int, list[int | Exception | None]]:
        """How many addresses are given after the changes of a group, and the outcome of each."""
        outcomes: list[int | Exception | None] = []
        for change in group:
            if self._pool is None or self._pool.revision != change.pool.revision:
                outcomes.append(_Outdated())
            elif used < ROOM:
                outcomes.append(used)
                used += 1
            else:
                outcomes.append(None)
        return used, outcomes
