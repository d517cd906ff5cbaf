"""Calls about one attachment, one after the other.

A runtime that gives up on an ADD kills the plugin and calls DEL. The agent still has the ADD: a DEL that
was served beside it would find nothing, and the ADD's address would be nobody's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from threading import Event, Lock


class Turns:
    """Lets callers with equal keys work one at a time, in the order in which they came."""

    def __init__(self) -> None:
        """Nobody waits yet."""
        self._lock = Lock()
        self._queues: dict[Hashable, deque[Event]] = {}

    @contextmanager
    def turn(self, key: Hashable, seconds: float) -> Iterator[bool]:
        """Wait for up to ``seconds``; whether it is the caller's turn, which lasts as long as the context."""
        mine = Event()
        with self._lock:
            queue = self._queues.setdefault(key, deque())
            queue.append(mine)
            queue[0].set()
        try:
            yield mine.wait(seconds)
        finally:
            with self._lock:
                queue.remove(mine)
                if queue:
                    queue[0].set()
                else:
                    del self._queues[key]
