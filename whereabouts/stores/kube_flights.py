"""Requests that several threads want at the same time, made by one of them for all."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock, get_ident
from time import monotonic

from whereabouts.deadline import Deadline
from whereabouts.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")


class _Flight:
    """One request, for everybody who wants it before it begins."""

    __slots__ = ("begun", "landed", "over", "pilot", "result")

    def __init__(self) -> None:
        self.pilot = get_ident()
        self.begun: float | None = None
        self.over = Event()
        self.landed = False
        self.result: object = None


class Flights:
    """What is under way, and what comes next, by name."""

    def __init__(self) -> None:
        """Nothing is under way."""
        self._lock = Lock()
        self._flights: dict[str, list[_Flight]] = {}

    def share(self, name: str, ask: Callable[[], T], deadline: Deadline, *, after: float = 0.0) -> T:
        """The result of an ``ask`` of this name that began later than ``after``, on the monotonic clock.

        It is that of another thread where one has begun, or waits to. Raises what ``ask`` raises, for the
        thread whose own it is only, and :class:`~whereabouts.deadline.DeadlineExceeded`.
        """
        while True:
            flight, ahead = self._board(name, after)
            if ahead is not None:
                return self._fly(name, flight, ahead, ask, deadline)
            _await(flight, name, deadline)
            if flight.landed:
                return flight.result  # type: ignore[return-value]

    def _board(self, name: str, after: float) -> tuple[_Flight, list[_Flight] | None]:
        """The flight to share; where it is the caller's own, those that it has to wait for."""
        with self._lock:
            flights = self._flights.setdefault(name, [])
            # A thread that asks while it asks would wait for itself.
            ahead = [flight for flight in flights if flight.pilot != get_ident()]
            for flight in ahead:
                if flight.begun is None or flight.begun > after:
                    return flight, None
            flights.append(_Flight())
            return flights[-1], ahead

    def _fly(
        self, name: str, flight: _Flight, ahead: list[_Flight], ask: Callable[[], T], deadline: Deadline
    ) -> T:
        try:
            for other in ahead:  # so that all who come meanwhile share this one
                _await(other, name, deadline)
            flight.begun = monotonic()
            result = ask()
            flight.result, flight.landed = result, True
            return result
        finally:
            with self._lock:
                self._flights[name].remove(flight)
                if not self._flights[name]:
                    del self._flights[name]
            flight.over.set()


def _await(flight: _Flight, name: str, deadline: Deadline) -> None:
    deadline.wait_for(flight.over.wait, f"{name} is being read for another call")
