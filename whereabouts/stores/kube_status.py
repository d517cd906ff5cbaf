"""The numbers that ``kubectl get ippools`` shows."""

from __future__ import annotations

from whereabouts.deadline import Deadline
from whereabouts.stores import kube_objects as objects
from whereabouts.stores.kube_objects import POOLS
from whereabouts.stores.kubernetes import KubernetesStore
from whereabouts.usage import Usage, usage

LARGEST_NUMBER = 2**53
"""Beyond this a JSON number is not exact for everybody: such counts are written as text."""


def write_usage(store: KubernetesStore, deadline: Deadline) -> int:
    """Bring the status of every pool up to date with its blocks; how many were written.

    Blocks are listed by their metadata, once a pool. Nothing rests on a status, so it is written without a
    condition, and only where it differs.
    """
    now = {(row.network_name, row.range): row for row in usage(store, deadline)}
    written = 0
    for content in list(store.resources.list(POOLS, deadline)):
        key = objects.key_of_pool(content)
        row = now.get(key) if key is not None else None
        if row is None or not objects.is_ours(content):
            continue
        status = _status(row)
        if content.get("status") != status:
            name = content["metadata"]["name"]
            store.resources.merge(POOLS, name, {"status": status}, deadline, "/status")
            written += 1
    return written


def _status(row: Usage) -> dict[str, int | str]:
    numbers = {"capacity": row.capacity, "allocated": row.used, "free": row.free}
    return {name: value if value < LARGEST_NUMBER else str(value) for name, value in numbers.items()}
