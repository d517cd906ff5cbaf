"""Telling operators by Kubernetes Events, without ever keeping anybody waiting.

What is to be told waits in a short queue, from which one thread posts it at a bounded rate. What happens
again raises the count of the event that is there. A queue that is full drops what comes, and counts that:
events are for people, who read the first hundred of a thousand, and metrics have the number.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from whereabouts.deadline import Deadline
from whereabouts.errors import WhereaboutsError
from whereabouts.log import SILENT, Log
from whereabouts.stores.kube_api import ApiClient, NotFound
from whereabouts.stores.kube_events import Event, Regarding, post, repeat
from whereabouts.stores.kube_objects import API_VERSION

COMPONENT = "whereabouts-controller"
FREED = "IPAddressGarbageCollected"
"""A dead pod's address was freed (the Go plugin's reason)."""
NOT_FREED = "IPAddressGarbageCollectionFailed"
"""An address that should have been freed could not be (the Go plugin's reason)."""

QUEUED = 500
"""Different events that wait at most."""
BURST = 50
"""Events that are posted without a pause after a quiet time."""
RATE = 10.0
"""Events a second that are posted for long."""
REMEMBERED = 500
"""Events that are counted on when they happen again. The server itself forgets them after an hour."""
POST_SECONDS = 5.0
_LONGEST_STEM = 230
"""Characters of an object's name with which the name of its event begins: both may have 253."""


def pod(ref: str, uid: str = "") -> Regarding:
    """The pod ``namespace/name``."""
    namespace, _, name = ref.partition("/")
    return Regarding("v1", "Pod", name, namespace, uid)


def node(name: str) -> Regarding:
    """A node."""
    return Regarding("v1", "Node", name, uid=name)


def pool(name: str, namespace: str) -> Regarding:
    """The IPPool of that object name."""
    return Regarding(API_VERSION, "IPPool", name, namespace)


def slice_pool(name: str, namespace: str) -> Regarding:
    """A NodeSlicePool."""
    return Regarding(API_VERSION, "NodeSlicePool", name, namespace)


def definition(ref: str, uid: str = "") -> Regarding:
    """The NetworkAttachmentDefinition ``namespace/name``."""
    namespace, _, name = ref.partition("/")
    return Regarding("k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition", name, namespace, uid)


class Counts(NamedTuple):
    """What became of events since the start."""

    posted: int = 0
    dropped: int = 0
    """The queue was full, or the recorder was closed."""
    failed: int = 0
    """The API server did not take it."""


class _Told(NamedTuple):
    name: str
    times: int


class EventRecorder:
    """Posts events from a thread of its own."""

    def __init__(
        self,
        api: ApiClient,
        log: Log = SILENT,
        *,
        component: str = COMPONENT,
        burst: int = BURST,
        rate: float = RATE,
        counted: Callable[[str, int], None] = lambda *_: None,
    ) -> None:
        """Post in the name of ``component``, and at most ``rate`` a second once ``burst`` were posted.

        ``counted`` is told how many more events were ``posted``, ``dropped`` or ``failed``, from any thread.
        """
        self._api = api
        self._log = log.about("events")
        self._component = component
        self._burst = burst
        self._rate = rate
        self._counted = counted
        self._changed = threading.Condition()
        self._waiting: OrderedDict[Event, int] = OrderedDict()
        self._told: OrderedDict[Event, _Told] = OrderedDict()
        self._counts = Counts()
        self._last = 0.0
        """The time by which the next event would be late, if they were posted evenly at the rate."""
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> Counts:
        """What became of the events so far."""
        return self._counts

    def record(self, event: Event) -> None:
        """Have the event posted some time; never waits, never raises."""
        with self._changed:
            if event in self._waiting:
                self._waiting[event] += 1
            elif self._closing or len(self._waiting) >= QUEUED:
                self._count(dropped=1)
            else:
                self._waiting[event] = 1
                self._changed.notify()

    def close(self, seconds: float = 2.0) -> None:
        """Post what is waiting, for at most ``seconds``, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        with self._changed:
            self._count(dropped=len(self._waiting))
            self._waiting.clear()

    def _run(self) -> None:
        while (next_one := self._next()) is not None:
            event, times = next_one
            try:
                self._post(event, times)
            except Exception as error:  # of any kind: this thread is the only one that tells
                self._count(failed=1)
                said = str(error) if isinstance(error, WhereaboutsError) else repr(error)
                self._log.verbose(f"{event.reason} of {event.regarding.name} cannot be told: {said}")
            else:
                self._count(posted=1)

    def _next(self) -> tuple[Event, int] | None:
        """The oldest event that waits and how often it happened, when it is time; None at the end."""
        with self._changed:
            while not self._waiting:
                if self._closing:
                    return None
                self._changed.wait()
            now = monotonic()
            self._last = max(self._last, now - self._burst / self._rate) + 1 / self._rate
            if not self._closing and self._last > now:
                self._changed.wait_for(lambda: self._closing, self._last - now)
            return self._waiting.popitem(last=False) if self._waiting else None

    def _post(self, event: Event, times: int) -> None:
        told = self._told.pop(event, None)
        if told is not None:
            try:
                self._remember(event, _Told(told.name, told.times + times), told=True)
                return
            except NotFound:
                pass  # the server has forgotten it: it is new again
        name = event.regarding.name[:_LONGEST_STEM].rstrip("-.")
        self._remember(event, _Told(f"{name}.{os.urandom(8).hex()}", times), told=False)

    def _remember(self, event: Event, now: _Told, *, told: bool) -> None:
        deadline = Deadline(POST_SECONDS)
        if told:
            repeat(self._api, event, now.name, now.times, deadline)
        else:
            post(self._api, event, self._component, now.name, deadline, now.times)
        self._told[event] = now
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)

    def _count(self, *, posted: int = 0, dropped: int = 0, failed: int = 0) -> None:
        more = Counts(posted, dropped, failed)
        with self._changed:
            self._counts = Counts(*(old + new for old, new in zip(self._counts, more, strict=True)))
        for outcome, number in more._asdict().items():
            if number:
                self._counted(outcome, number)
