"""Being the one of several processes that works, by a ``coordination.k8s.io/v1`` Lease.

This saves work and nothing else. Two processes can both think for a while that they hold a lease: one that
was stopped and goes on, one whose requests were slow. So everything that its holder does has to be safe
without it; here that is so because each write is conditional on what was judged.

The rules are those of Kubernetes' own components: a candidate compares what it reads with what it read before
and takes over when the record has not changed for its duration on the candidate's own monotonic clock, so
that no two clocks are ever compared. Each write is conditional on the revision that was read.

The leader election of the ``kubernetes`` package was looked at for this and left alone (release 37):

- its waits and its expiry go by the wall clock, so that setting the clock ends or prolongs a leadership;
- it catches the errors that the API server answers, and no broken connection or timeout: those end its loop
  with a traceback while the work that it started goes on;
- its requests have no timeout, so that one that hangs outlasts the leadership unnoticed;
- it cannot be told to stop, and gives nothing back when the process ends: each restart waits for the expiry;
- before its recent releases it locks ConfigMaps only, and release 31, which is enough for all else, has no
  Leases;
- importing it takes a third of a second and 38 MiB, a third of what a controller may take.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Any, NamedTuple

from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.errors import WhereaboutsError
from whereabouts.log import SILENT, Log
from whereabouts.store import Conflict, Unsettled
from whereabouts.stores.kube_api import ApiClient, NotFound, Request

API_VERSION = "coordination.k8s.io/v1"
DURATION = 15
"""Seconds for which others wait for a holder that says nothing."""
STEPS = 5
"""How often a holder renews within the duration, and a candidate looks."""


def own_identity() -> str:
    """A name that no other process has, and that says where this one is."""
    return f"{socket.gethostname()}_{os.getpid()}_{os.urandom(4).hex()}"


class _Seen(NamedTuple):
    """A record as it was first seen."""

    spec: Any
    at: float


class Lease:
    """One process's view of a lease, and its hold on it while there is one."""

    def __init__(
        self,
        api: ApiClient,
        name: str,
        *,
        namespace: str = "",
        identity: str = "",
        duration: int = DURATION,
        log: Log = SILENT,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """The lease ``name`` in ``namespace``, or in that of the credentials; ``duration`` in seconds."""
        self.identity = identity or own_identity()
        self._api = api
        self._name = name
        self._namespace = namespace or api.namespace
        self._duration = duration
        self._log = log.about(f"lease {name}")
        self._clock = clock
        self._seen: _Seen | None = None
        self._metadata: Any = None
        """Of the object as it was written last by this process, while it holds the lease."""
        self._spec: Any = None
        self._until = 0.0

    @property
    def held(self) -> bool:
        """Whether this process may go on working: its last renewal is younger than the duration."""
        return self._clock() < self._until

    @property
    def holder(self) -> str:
        """Who has it, by what was read or written last; empty where nobody does, or nothing is known."""
        if self.held:
            return self.identity
        seen = self._seen  # which another thread may replace
        return str(seen.spec.get("holderIdentity") or "") if seen is not None else ""

    def attempt(self, deadline: Deadline) -> bool:
        """Renew, take or look, whichever it is time for; whether the lease is held now.

        Holding it costs one request, looking one, taking two. Raises what
        :meth:`~whereabouts.stores.kube_api.ApiClient.send` does, but for conflicts, which mean that somebody
        else was faster; a holder whom an error, or an answer that does not come, keeps from renewing still is
        one until :attr:`held` says no.
        """
        try:
            if self._metadata is None:
                self._take(deadline)
            else:
                self._renew(deadline)
        except Conflict:
            self._metadata, self._until = None, 0.0
        except Unsettled:
            self._metadata = None  # what there is now the next attempt reads
        return self.held

    def release(self, deadline: Deadline) -> None:
        """Give the lease back, if it is held, so that nobody has to wait. A failure is passed over."""
        if self._metadata is None:
            return
        spec = {**self._renewed(self._spec), "leaseDurationSeconds": 1}
        del spec["holderIdentity"]
        try:
            self._write(self._metadata, spec, deadline)
        except WhereaboutsError as error:
            self._log.verbose(f"it could not be given back and expires by itself: {error}")
        self._metadata, self._until = None, 0.0

    def keep(self, stop: threading.Event, changed: Callable[[bool], None]) -> None:
        """Hold the lease as long as it can be had, until ``stop``; then give it back.

        ``changed`` is called when it is taken (True) and when it is lost or given back (False). Both are told
        late where a request hangs, at most one step: ask :attr:`held` before a piece of work.
        """
        step = self._duration / STEPS
        held = False
        while not stop.is_set():
            now = self._attempted(step)
            if now != held:
                held = now
                self._log.verbose(f"{'held' if held else 'no longer held'} by {self.identity}")
                changed(held)
            stop.wait(step)
        self.release(Deadline(step))
        if held:
            changed(False)

    def _attempted(self, step: float) -> bool:
        try:
            return self.attempt(Deadline(step))
        except DeadlineExceeded as error:
            self._log.debug(str(error))
        except WhereaboutsError as error:
            self._log.error(str(error))
        return self.held

    # ----------------------------------------------------------------- record

    def _renew(self, deadline: Deadline) -> None:
        try:
            self._write(self._metadata, self._renewed(self._spec), deadline)
        except NotFound as error:
            raise Conflict(f"somebody deleted it: {error}") from error

    def _take(self, deadline: Deadline) -> None:
        try:
            content = self._api.send(Request("GET", self._path(self._name)), deadline)
        except NotFound:
            metadata = {"name": self._name, "namespace": self._namespace}
            self._write(metadata, self._taken({}), deadline, create=True)
            return
        spec = content.get("spec") or {}
        if self._seen is None or self._seen.spec != spec:
            self._seen = _Seen(spec, self._clock())
        holder = spec.get("holderIdentity")
        expires = self._seen.at + (spec.get("leaseDurationSeconds") or self._duration)
        if holder == self.identity and self.held:
            self._write(content["metadata"], self._renewed(spec), deadline)
        elif not holder or holder == self.identity or self._clock() >= expires:
            self._write(content["metadata"], self._taken(spec), deadline)
        else:
            self._until = 0.0

    def _taken(self, before: Any) -> Any:
        now = _now()
        return {
            **before,
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self._duration,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": (before.get("leaseTransitions") or 0) + bool(before),
        }

    def _renewed(self, spec: Any) -> Any:
        return {**spec, "renewTime": _now()}

    def _write(self, metadata: Any, spec: Any, deadline: Deadline, *, create: bool = False) -> None:
        """Write the record; held from the moment of asking, not of the answer, others may count from."""
        asked = self._clock()
        body = {"apiVersion": API_VERSION, "kind": "Lease", "metadata": metadata, "spec": spec}
        method, name = ("POST", "") if create else ("PUT", self._name)
        written = self._api.send(Request(method, self._path(name), body), deadline)
        self._metadata, self._spec, self._seen = written["metadata"], spec, None
        self._until = asked + self._duration

    def _path(self, name: str) -> str:
        collection = f"/apis/{API_VERSION}/namespaces/{self._namespace}/leases"
        return f"{collection}/{name}" if name else collection


def _now() -> str:
    """The time as the API server wants it of a Lease: with six digits behind the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
