"""Deleting reservations that nobody has any more, while others are being made.

An ADD makes its reservation before its record: for a moment nobody seems to have it. Deleted then, it would
let the Go plugin give the same address. So it has to be nobody's for longer than any ADD takes.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from whereabouts.deadline import Deadline
from whereabouts.stores.kube_migration import delete_reservations, stale_reservations
from whereabouts.stores.kubernetes import KubernetesStore

SETTLED_SECONDS = 300.0
"""An ADD ends within a minute, and the kubelet gives up on one within four."""


class ReservationRepair:
    """Remembers since when reservations were seen to be nobody's, by their revisions."""

    def __init__(self, store: KubernetesStore, *, clock: Callable[[], float] = monotonic) -> None:
        """Repair those of ``store``. ``clock`` tells seconds."""
        self._store = store
        self._clock = clock
        self._since: dict[tuple[str, str], float] = {}

    def look(self, deadline: Deadline) -> list[str]:
        """Delete those that were nobody's at every look for :data:`SETTLED_SECONDS`; their names."""
        now = self._clock()
        stale = stale_reservations(self._store, deadline)
        self._since = {one: self._since.get(one, now) for one in stale}
        settled = [one for one, since in self._since.items() if now - since >= SETTLED_SECONDS]
        return list(delete_reservations(self._store, settled, deadline))
