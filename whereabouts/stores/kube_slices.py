"""NodeSlicePools: the slices of a range and their nodes, in the Go plugin's shape.

The status is an ordinary field of the object. What others keep in its metadata stays.
"""

from __future__ import annotations

from collections.abc import Iterator

from whereabouts.deadline import Deadline
from whereabouts.slices import Slice, SlicePool, ordered
from whereabouts.store import Conflict, StoredSlices
from whereabouts.stores.kube_api import NotFound
from whereabouts.stores.kube_objects import API_VERSION, SLICES, named, object_name
from whereabouts.stores.kube_resources import Resources
from whereabouts.stores.slice_memory import SliceMemory
from whereabouts.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


class KubeSlices:
    """The pools of slices in one namespace; see :class:`whereabouts.store.Store`."""

    def __init__(self, resources: Resources) -> None:
        """NodeSlicePools among ``resources``."""
        self._resources = resources
        self._memory = SliceMemory()

    def read(self, name: str, deadline: Deadline, *, fresh: bool = False) -> StoredSlices | None:
        """See :meth:`~whereabouts.store.Store.read_slices`."""
        known = None if fresh else self._memory.get(name)
        if known is not None:
            return known
        content = self._resources.get(SLICES, object_name(name), deadline)
        if content is None:
            self._memory.forget(name)
            return None
        return self._memory.remember(_stored(name, content))

    def all(self, deadline: Deadline) -> Iterator[StoredSlices]:
        """See :meth:`~whereabouts.store.Store.slice_pools`; none where the kind is not installed."""
        found = {}
        try:
            for content in self._resources.list(SLICES, deadline):
                name = _name(content)
                if name is not None:
                    found[name] = _stored(name, content)
        except NotFound:
            return
        for name in sorted(found):
            yield self._memory.remember(found[name])

    def create(self, pool: SlicePool, deadline: Deadline) -> StoredSlices:
        """See :meth:`~whereabouts.store.Store.create_slices`."""
        content = {
            "apiVersion": API_VERSION,
            "kind": "NodeSlicePool",
            "metadata": {"name": object_name(pool.name)},
            **fields(pool),
        }
        metadata = self._resources.create(SLICES, content, deadline)
        return self._memory.remember(StoredSlices(metadata["resourceVersion"], pool))

    def write(self, previous: StoredSlices, pool: SlicePool, deadline: Deadline) -> StoredSlices:
        """See :meth:`~whereabouts.store.Store.write_slices`."""
        patch = {"metadata": {"resourceVersion": previous.revision}, **fields(pool)}
        self._memory.forget(pool.name)
        try:
            metadata = self._resources.merge(SLICES, object_name(pool.name), patch, deadline)
        except NotFound as error:
            raise Conflict(f"NodeSlicePool {pool.name} was deleted") from error
        return self._memory.remember(StoredSlices(metadata["resourceVersion"], pool))

    def delete(self, previous: StoredSlices, deadline: Deadline) -> None:
        """See :meth:`~whereabouts.store.Store.delete_slices`."""
        name = previous.pool.name
        self._memory.forget(name)
        self._resources.delete(SLICES, object_name(name), deadline, revision=str(previous.revision))


def fields(pool: SlicePool) -> dict[str, Any]:
    """What an object says of a pool of slices."""
    return {
        "spec": {"range": pool.range, "sliceSize": pool.slice_size},
        "status": {"allocations": [{"nodeName": one.node, "sliceRange": one.range} for one in pool.slices]},
    }


def _name(content: Any) -> str | None:
    try:
        return named(content["metadata"]["name"])
    except ValueError:
        return None


def _stored(name: str, content: Any) -> StoredSlices:
    spec, status = content.get("spec") or {}, content.get("status") or {}
    slices = (
        Slice(one.get("sliceRange") or "", one.get("nodeName") or "")
        for one in status.get("allocations") or ()
    )
    pool = SlicePool(name, spec.get("range") or "", spec.get("sliceSize") or "", ordered(slices))
    return StoredSlices(content["metadata"]["resourceVersion"], pool)
