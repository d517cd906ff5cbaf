"""Sharing ranges with nodes that still run the Go plugin: a reservation for each address that we use.

It is made before the address is written into its block and deleted after it was freed there, so that neither
side gives what the other one has. A reservation of the Go plugin is honoured: its holder is recorded. One
that we made for another pod is that of an ADD or DEL on its way, and is waited for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from time import monotonic, time

from whereabouts.addresses import Address
from whereabouts.block import Block, BlockKey
from whereabouts.deadline import Deadline
from whereabouts.errors import WhereaboutsError
from whereabouts.owners import Owner
from whereabouts.store import Conflict, Unsettled
from whereabouts.stores.kube_objects import GROUP, RESERVATIONS
from whereabouts.stores.kube_resources import Resources
from whereabouts.stores.kube_upstream import holder_of, reservation, reservation_name, same_holder
from whereabouts.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

OURS = {f"{GROUP}/made-for": "blocks"}
"""Labels of reservations that we have made."""
ON_THE_WAY_SECONDS = 5.0
"""How long a reservation of ours whose address no block shows is taken for that of a call on its way.

After that it was left by one that died, or is very slow: then its holder is recorded, which keeps the address
from everybody until an audit.
"""
MAX_MET = 256
"""Blocks for which it is remembered what was in the way."""

Given = tuple[int, Owner]
"""An offset in a block, and who it is for."""
Met = tuple[str, float]
"""The UID of a reservation of ours that was in the way, and since when, on the monotonic clock."""


class Reservations:
    """Keeps reservations beside the owners in blocks."""

    def __init__(self, resources: Resources) -> None:
        """Reservations in the namespace of ``resources``."""
        self._resources = resources
        self._met: dict[BlockKey, Met] = {}
        """What the last write of a block was given up for."""

    def reserve(
        self, key: BlockKey, given: Sequence[Given], deadline: Deadline
    ) -> tuple[list[str], list[Given]]:
        """Reserve addresses of a block: the names of the reservations that were made, and what others hold.

        Raises Conflict where a call on its way has one of them: the block will say more. Where it fails, what
        it made is deleted.
        """
        made: list[str] = []
        foreign: list[Given] = []
        met = self._met.pop(key, None) if given else None
        try:
            for offset, owner in given:
                name = reservation_name(key.space.network_name, key.address(offset))
                if name is None:
                    continue  # the Go plugin cannot reserve it either, nor give it
                holder = self._reserve(key, name, owner, made, met, deadline)
                if holder is not None:
                    foreign.append((offset, holder))
        except BaseException:
            self.drop(made, deadline)
            raise
        return made, foreign

    def _reserve(
        self, key: BlockKey, name: str, owner: Owner, made: list[str], met: Met | None, deadline: Deadline
    ) -> Owner | None:
        """Who else has the reservation; None where ``owner`` has it, or it was made just now."""
        while True:
            try:
                self._resources.create(RESERVATIONS, reservation(name, owner, OURS), deadline)
                made.append(name)
                return None
            except (Conflict, Unsettled):
                content = self._resources.get(RESERVATIONS, name, deadline)
            if content is not None:
                holder = holder_of(content, owner.range, int(time()))
                if holder.pod_ref == owner.pod_ref and same_holder(holder, owner):
                    return None
                self._wait_if_on_the_way(key, content["metadata"], met)
                return holder

    def _wait_if_on_the_way(self, key: BlockKey, metadata: Any, met: Met | None) -> None:
        """Raise Conflict if a reservation is one of ours that this block's calls did not meet for long."""
        if not OURS.items() <= (metadata.get("labels") or {}).items():
            return
        now, uid = monotonic(), metadata["uid"]
        since = met[1] if met is not None and met[0] == uid else now
        if now - since < ON_THE_WAY_SECONDS:
            if len(self._met) >= MAX_MET:
                self._met.clear()  # they are waited for anew
            self._met[key] = uid, since
            raise Conflict(f"reservation {metadata['name']} is being made or deleted by another call")

    def drop(self, names: Sequence[str], deadline: Deadline) -> None:
        """Delete reservations that were made for nothing. What cannot be deleted waits for a repair."""
        grace = deadline.grace(5.0)
        for name in names:
            try:
                self._resources.delete(RESERVATIONS, name, grace)
            except (WhereaboutsError, Unsettled):
                continue

    def release(self, key: BlockKey, freed: Sequence[Given], deadline: Deadline) -> None:
        """Delete the reservations of addresses that were freed, where they are of the same pod."""
        for offset, owner in freed:
            name = reservation_name(key.space.network_name, key.address(offset))
            if name is not None:
                try:
                    self._release(name, owner, deadline)
                except (WhereaboutsError, Unsettled):
                    continue  # a repair finds it

    def _release(self, name: str, owner: Owner, deadline: Deadline) -> None:
        content = self._resources.get(RESERVATIONS, name, deadline)
        if content is not None and (content.get("spec") or {}).get("podref") == owner.pod_ref:
            self._resources.delete(RESERVATIONS, name, deadline, uid=content["metadata"]["uid"])

    def listed(self, deadline: Deadline) -> Iterator[tuple[str, str, str]]:
        """Name, UID and pod reference of every reservation."""
        for content in self._resources.list(RESERVATIONS, deadline):
            metadata = content["metadata"]
            yield metadata["name"], metadata["uid"], (content.get("spec") or {}).get("podref") or ""


def given_and_freed(before: Block, after: Block) -> tuple[list[Given], list[Given]]:
    """The offsets that get another pod by a write, and those that lose theirs.

    A record without a container ID was made for a reservation of somebody else, who may have deleted that
    since: the pod that takes it over is given the address like any other.
    """
    changes = after.changes_since(before)
    given = [
        (offset, now)
        for offset, was, now in changes
        if now is not None and (was is None or was.pod_ref != now.pod_ref or not was.container_id)
    ]
    freed = [
        (offset, was)
        for offset, was, now in changes
        if was is not None and (now is None or now.pod_ref != was.pod_ref)
    ]
    return given, freed


def unaccounted(
    listed: Sequence[tuple[str, str, str]], held: Mapping[tuple[str, Address], str]
) -> Iterator[tuple[str, str]]:
    """Name and UID of reservations whose address nobody of that pod holds.

    ``held`` has the pod references by network name and address, of blocks and of the Go plugin's pools, read
    after the reservations were listed.
    """
    expected = {
        (reservation_name(network_name, address), pod_ref)
        for (network_name, address), pod_ref in held.items()
    }
    for name, uid, pod_ref in listed:
        if (name, pod_ref) not in expected:
            yield name, uid
