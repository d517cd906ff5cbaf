"""``whereabouts reconcile --now``: what the controller does, once, at the word of an operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic, sleep

from whereabouts.allocator import Allocator
from whereabouts.audit import Audit, Freed
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline
from whereabouts.log import Log
from whereabouts.reconcile import Cluster, Reconciler
from whereabouts.store import Store

WAIT_SECONDS = 30.0
"""How long to wait for second observations. What needs longer is left to the controller, or another run."""
MARGIN = 0.05


def reconcile_now(
    store: Store,
    cluster: Cluster,
    log: Log,
    wait_seconds: float,
    *,
    clock: Callable[[], float] = monotonic,
    pause: Callable[[float], None] = sleep,
) -> tuple[Sequence[Freed], Audit, Sequence[str]]:
    """Audit, wait, and look again; what was freed, the last look, and what could not be judged.

    Raises what the lists of pods and nodes raise.
    """
    freed: list[Freed] = []
    allocator = Allocator(store, DirectCommitter(store), log)
    reconciler = Reconciler(store, cluster, allocator, freed.append, clock=clock)
    end = clock() + wait_seconds
    look = reconciler.audit(Deadline.none())
    failures = dict.fromkeys(look.failures)
    while (due := reconciler.due_in()) is not None and clock() + due <= end:
        pause(due + MARGIN)
        look = reconciler.look_again(Deadline.none())
        failures.update(dict.fromkeys(look.failures))
    return freed, look, list(failures)
