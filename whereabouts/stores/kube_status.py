"""The status of pools: what ``kubectl get ippools`` shows, and what an operator should know of each.

Nothing rests on a status, so it is written without a condition, and only where it differs. Blocks are listed
by their metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from time import time

from whereabouts.addresses import Address
from whereabouts.deadline import Deadline
from whereabouts.overview import exact
from whereabouts.pool import PoolKey
from whereabouts.stores import kube_objects as objects
from whereabouts.stores.kube_api import NotFound
from whereabouts.stores.kube_objects import POOLS
from whereabouts.stores.kube_pool_keys import PoolKeys
from whereabouts.stores.kubernetes import KubernetesStore
from whereabouts.usage import RangeUse, range_uses
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

AUDIT_SECONDS = 600.0
"""How old the time of the last audit may become where nothing else changes."""
EXHAUSTED, CONFLICT, DAMAGED = "Exhausted", "Conflict", "Damaged"
_SHOWN = 10


class Audited(NamedTuple):
    """What an audit saw beside numbers."""

    at: float
    """When it ended, in Unix time."""
    conflicts: Mapping[PoolKey, Sequence[Address]]
    """Addresses that two pods were given."""


class Trouble(NamedTuple):
    """A condition that has become true."""

    pool: str
    """The name of the IPPool."""
    type: str
    message: str


def write_status(
    store: KubernetesStore, audited: Audited | None, deadline: Deadline
) -> tuple[list[RangeUse], list[Trouble]]:
    """Bring the status of every pool up to date; the use of the ranges, and what has got worse.

    Without an audit only the numbers are written.
    """
    uses = range_uses(store, deadline)
    now = {use.pool.key: use for use in uses}
    worse: list[Trouble] = []
    keys = PoolKeys(store.resources, deadline)
    for content in list(store.resources.list(POOLS, deadline)):
        key = keys.of(content)
        use = now.get(key) if key is not None else None
        if use is None or not objects.is_ours(content):
            continue
        name, before = content["metadata"]["name"], content.get("status") or {}
        status = {**before, **_numbers(use)}
        if audited is not None:
            conditions = list(_conditions(use, audited, before.get("conditions") or ()))
            worse += _worse(name, conditions, before.get("conditions") or ())
            status["conditions"] = conditions
            if status != before or _too_old(before.get("lastAudit"), audited.at):
                status["lastAudit"] = objects.timestamp(audited.at)
        if status != before:
            _write(store, name, status, deadline)
    return uses, worse


def _write(store: KubernetesStore, name: str, status: Mapping[str, Any], deadline: Deadline) -> None:
    try:
        store.resources.merge(POOLS, name, {"status": status}, deadline, "/status")
    except NotFound as error:
        if error.named != (POOLS, name):
            raise
        # It was deleted since: there is nothing to tell of it.


def _numbers(use: RangeUse) -> dict[str, int | str]:
    return {"capacity": exact(use.capacity), "allocated": exact(use.used), "free": exact(use.free)}


def _too_old(before: str | None, at: float) -> bool:
    """Whether the time of an audit, as it is written, is too long before ``at``. Such texts sort as times."""
    return before is None or before <= objects.timestamp(at - AUDIT_SECONDS)


def _conditions(use: RangeUse, audited: Audited, before: Iterable[Any]) -> Iterator[dict[str, str]]:
    since = {one["type"]: one for one in before}
    conflicts = audited.conflicts.get(use.pool.key, ())
    for kind, holds, reasons, message in (
        (EXHAUSTED, use.free <= 0, ("NoAddressLeft", "AddressesLeft"), _exhausted(use)),
        (CONFLICT, bool(conflicts), ("GivenTwice", "GivenOnce"), _conflict(conflicts)),
        (DAMAGED, use.damaged > 0, ("BlocksUnreadable", "BlocksReadable"), _damaged(use)),
    ):
        status = "True" if holds else "False"
        known = since.get(kind)
        unchanged = known is not None and known["status"] == status
        yield {
            "type": kind,
            "status": status,
            "reason": reasons[not holds],
            "message": message,
            "lastTransitionTime": (
                known["lastTransitionTime"] if known and unchanged else objects.timestamp(time())
            ),
        }


def _exhausted(use: RangeUse) -> str:
    if use.free > 0:
        return "the range has addresses left"
    return "every address of the range is used: an ADD fails until one is freed"


def _conflict(addresses: Sequence[Address]) -> str:
    if not addresses:
        return "no address is known to be given twice"
    shown = ", ".join(map(str, addresses[:_SHOWN]))
    more = f" and {len(addresses) - _SHOWN} more" if len(addresses) > _SHOWN else ""
    return f"two pods were given {shown}{more}: delete one of them, then run whereabouts release"


def _damaged(use: RangeUse) -> str:
    if not use.damaged:
        return "every block can be read"
    return (
        f"{use.damaged} of the range's blocks cannot be read; their addresses count as used: "
        "whereabouts check tells which, and why"
    )


def _worse(pool: str, now: Iterable[Mapping[str, str]], before: Iterable[Any]) -> Iterator[Trouble]:
    was = {one["type"] for one in before if one["status"] == "True"}
    for one in now:
        if one["status"] == "True" and one["type"] not in was:
            yield Trouble(pool, one["type"], one["message"])
