"""The time by which a call must have answered."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic, sleep

from whereabouts.errors import WhereaboutsError
from whereabouts.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self


class DeadlineExceeded(WhereaboutsError):
    """The call's time was over before its work was done; nothing is known to be wrong otherwise."""


class Deadline:
    """A point in time on the monotonic clock, handed down through every wait of a call."""

    __slots__ = ("_clock", "_expires", "_seconds", "_sleep")

    def __init__(
        self,
        seconds: float,
        *,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], None] = sleep,
    ) -> None:
        """A deadline ``seconds`` from now."""
        self._clock = clock
        self._sleep = sleep
        self._seconds = seconds
        self._expires = clock() + seconds

    @classmethod
    def none(cls) -> Self:
        """A deadline too far away to matter, for work that a person started and can stop."""
        return cls(10 * 365 * 86400.0)

    def grace(self, seconds: float) -> Deadline:
        """A deadline ``seconds`` from now on the same clock, for cleaning up when this one is over."""
        return Deadline(seconds, clock=self._clock, sleep=self._sleep)

    def within(self, seconds: float) -> Deadline:
        """A deadline ``seconds`` from now, or this one if it is sooner."""
        return self.grace(max(0.0, min(seconds, self._expires - self._clock())))

    def remaining(self, what: str) -> float:
        """Seconds that are left, more than zero.

        Raises :class:`DeadlineExceeded` when none are; ``what`` says what was being waited for.
        """
        left = self._expires - self._clock()
        if left <= 0:
            raise DeadlineExceeded(f"no answer within {self._seconds:g} s: {what}")
        return left

    def wait_for(self, wait: Callable[[float], bool], what: str) -> None:
        """Call ``wait`` with the seconds that are left until it says that what it waits for is there.

        Raises :class:`DeadlineExceeded` as :meth:`remaining` does.
        """
        while not wait(self.remaining(what)):
            pass

    def pause(self, seconds: float, what: str, *, least: float = 0.0) -> None:
        """Wait for ``least`` and a random time up to ``seconds``, or until the deadline if that is sooner.

        The randomness keeps processes that met once from meeting again. Raises
        :class:`DeadlineExceeded` when no time is left.
        """
        jitter = int.from_bytes(os.urandom(2)) / 65536
        self._sleep(min(least + seconds * jitter, self.remaining(what)))
