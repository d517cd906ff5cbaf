"""Taking over the pools of nodes' slices that the Go plugin keeps, all of a range at once.

As long as one of them has its records in its map, an address of the whole range may be in use without a
record in a block. So they come first, and only then may the range's own pool be ours.
"""

from __future__ import annotations

from whereabouts.deadline import Deadline
from whereabouts.pool import Pool, PoolKey
from whereabouts.stores import kube_objects as objects
from whereabouts.stores.kube_adoption import Adoption
from whereabouts.stores.kube_objects import POOLS
from whereabouts.stores.kube_pool_keys import PoolKeys
from whereabouts.stores.kube_resources import Resources
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any


class _Part(NamedTuple):
    empty: bool
    key: PoolKey
    ours: bool


def adopt_slices(
    resources: Resources, adoption: Adoption, whole: PoolKey, shared: bool | None, deadline: Deadline
) -> bool | None:
    """Adopt the pools of all slices of a range; whether they share the space of their network.

    ``shared`` holds unless one of them says otherwise already. Where nobody has said, and it is None, the Go
    plugin's reservations tell, as for other pools; None is the answer where there are no slices.
    """
    keys = PoolKeys(resources, deadline)
    if all(pool.range != whole.range for pool in keys.slices):
        return shared
    parts: list[_Part] = []
    for content in resources.list(POOLS, deadline):
        key = keys.of(content)
        if key is not None and key.node and key.of_whole == whole:
            shared = _said(content, shared)
            parts.append(_Part(not _has_map(content), key, objects.is_ours(content)))
    theirs = sorted(part for part in set(parts) if not part.ours)
    for part in theirs:  # those with records first: they tell
        pool = adoption.adopt(part.key, shared, deadline)
        shared = shared if pool is None else pool.shared
    if theirs and shared:
        adoption.honour(Pool(whole, shared), deadline)
    return shared


def _said(content: Any, otherwise: bool | None) -> bool | None:
    if objects.is_ours(content):
        return objects.is_shared(content["metadata"])
    begun_as = objects.adopted_as(content)
    return otherwise if begun_as is None else begun_as


def _has_map(content: Any) -> bool:
    return bool((content.get("spec") or {}).get("allocations"))
