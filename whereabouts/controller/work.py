"""What the controller does while it leads: one thread that works, and one for each kind that it watches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Event, Thread
from time import monotonic
from traceback import format_exc
from typing import Any, NamedTuple

from whereabouts.cluster.watching import Watch
from whereabouts.errors import WhereaboutsError
from whereabouts.log import Log

AGAIN = 5.0
"""Before a watch that broke down is begun anew, in seconds."""
TICK = 0.5
"""How often the controller looks whether something is due, in seconds."""


class Task(NamedTuple):
    """Something to do again and again."""

    name: str
    due: Callable[[], bool]
    run: Callable[[], None]


class Follower(NamedTuple):
    """A kind of objects that is watched, and who wants to know what happens to them."""

    watch: Watch[Any]
    tell: Callable[[Any], None]
    """Takes a Change or Synced in the thread of the watch: it writes down what there is to do, no more."""


class Work:
    """Runs tasks, one at a time, in a thread of its own, beside the threads of watches.

    A task that fails is told and does not stop the others; it comes again when it is due.
    """

    def __init__(
        self,
        tasks: list[Task],
        followers: list[Follower],
        failed: Callable[[str], None],
        log: Log,
        may_go_on: Callable[[], bool],
    ) -> None:
        """``failed`` gets the name of a task that failed; ``may_go_on`` is asked before each task."""
        self._tasks = tasks
        self._followers = followers
        self._failed = failed
        self._log = log
        self._may_go_on = may_go_on
        self._stopping = Event()
        self.beat = monotonic()
        """When the working thread was last seen between two tasks, on the monotonic clock."""
        self._threads = [
            Thread(target=self._follow, args=(follower,), name=f"watch {at}", daemon=True)
            for at, follower in enumerate(followers)
        ]
        self._threads.append(Thread(target=self._run, name="work", daemon=True))

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> bool:
        """End after the task that is under way; False if that took longer than ``seconds``."""
        self._stopping.set()
        for follower in self._followers:
            follower.watch.stop()
        end = monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _follow(self, follower: Follower) -> None:
        """Tell what a watch sees. It lives through what the API server does; here, through our own faults."""
        while not self._stopping.is_set():
            self._attempt("watch", lambda: self._told(follower))
            self._stopping.wait(AGAIN)

    def _told(self, follower: Follower) -> None:
        for change in follower.watch.changes():
            follower.tell(change)

    def _run(self) -> None:
        while not self._stopping.wait(TICK):
            self.beat = monotonic()
            for task in self._tasks:
                if self._stopping.is_set() or not self._may_go_on():
                    break
                self._attempt(task.name, partial(_when_due, task))

    def _attempt(self, name: str, run: Callable[[], None]) -> None:
        try:
            run()
        except WhereaboutsError as error:
            self._failed(name)
            self._log.error(f"{name}: {error}")
        except Exception:
            self._failed(name)
            self._log.error(f"{name}: internal error, please report it: {format_exc()}")


def _when_due(task: Task) -> None:
    if task.due():
        task.run()
