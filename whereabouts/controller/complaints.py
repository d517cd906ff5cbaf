"""What is wrong with definitions and slices, told once and again when it changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from whereabouts.cluster import events
from whereabouts.controller.slicing import Sliced
from whereabouts.log import Log
from whereabouts.stores.kube_events import WARNING, Event, Regarding
from whereabouts.stores.kube_objects import object_name

BAD_DEFINITION = "WhereaboutsConfigurationInvalid"
NO_SLICE = "NodeWithoutSlice"
MOST_NODES = 10
"""Nodes without a slice that are named one by one."""


class Complaints:
    """Remembers what was told, so that a pass each minute does not tell it each minute."""

    def __init__(self, record: Callable[[Event], None], namespace: str, log: Log) -> None:
        """Tell by events, through ``record``, and in the log. NodeSlicePools are in ``namespace``."""
        self._record = record
        self._namespace = namespace
        self._log = log
        self._told: frozenset[Event] = frozenset()

    def about(self, sliced: Sliced) -> None:
        """Tell what a pass found that the last one did not."""
        found = frozenset(
            [
                *(
                    _event(events.definition(name), BAD_DEFINITION, why)
                    for name, why in sliced.faults.items()
                ),
                *(
                    _event(events.slice_pool(object_name(name), self._namespace), NO_SLICE, _without(nodes))
                    for name, nodes in sliced.without.items()
                ),
            ]
        )
        for event in sorted(found - self._told):
            self._log.error(f"{event.regarding.kind} {event.regarding.name}: {event.message}")
            self._record(event)
        self._told = found


def _event(regarding: Regarding, reason: str, message: str) -> Event:
    return Event(regarding, reason, message, WARNING)


def _without(nodes: Sequence[str]) -> str:
    shown = ", ".join(nodes[:MOST_NODES])
    more = f" and {len(nodes) - MOST_NODES} more" if len(nodes) > MOST_NODES else ""
    return (
        f"no slice is left for {shown}{more}: use a larger range or smaller slices; with node_slice_borrow a "
        "node without addresses of its own takes those of others"
    )
