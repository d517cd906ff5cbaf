"""What a process remembers of node slices for a while, so that an ADD does not ask for them.

A node that loses its slice meanwhile goes on giving addresses of it: they are unique all the same.
"""

from __future__ import annotations

from threading import Lock
from time import monotonic

from whereabouts.store import StoredSlices

SECONDS = 60.0
"""How long slices are remembered."""


class SliceMemory:
    """Pools of slices by name. For any number of threads."""

    def __init__(self) -> None:
        """An empty memory."""
        self._lock = Lock()
        self._known: dict[str, tuple[float, StoredSlices]] = {}

    def get(self, name: str) -> StoredSlices | None:
        """The pool, if it was remembered within the last minute."""
        with self._lock:
            since, stored = self._known.get(name, (0.0, None))
            return stored if monotonic() - since < SECONDS else None

    def remember(self, stored: StoredSlices) -> StoredSlices:
        """Remember a pool that was read or written just now; it is given back."""
        with self._lock:
            self._known[stored.pool.name] = monotonic(), stored
        return stored

    def forget(self, name: str) -> None:
        """Have the pool read the next time."""
        with self._lock:
            self._known.pop(name, None)
