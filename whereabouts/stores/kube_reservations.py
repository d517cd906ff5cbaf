"""Sharing ranges with nodes that still run the Go plugin: a reservation for each address that we use.

It is made before the address is written into its block and deleted after it was freed there, so that neither
side gives what the other one has. A reservation of the Go plugin is honoured: its holder is recorded. One
that we made for another pod or sandbox is that of an ADD or DEL on its way, and is waited for.

Nothing is deleted but what was seen to belong to the record that goes, by its UID: under the same name there
may be that of the next ADD by then. And none is used that another call may be about to delete: one that is
met and is of the same pod is made anew, under a UID of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
SANDBOX = f"{GROUP}/sandbox"
"""The annotation with the container ID that a reservation of ours was made for."""
ON_THE_WAY_SECONDS = 5.0
"""How long a reservation of ours whose address no block shows is taken for that of a call on its way.

After that it was left by one that died, or is very slow. If the pod is the same, the reservation is made
anew; else its holder is recorded, which keeps the address from everybody until an audit.
"""
MAX_MET = 256
"""Blocks for which it is remembered what was in the way."""

Given = tuple[int, Owner]
"""An offset in a block, and who it is for."""
Met = dict[str, float]
"""The UIDs of reservations of ours that were in the way, and since when, on the monotonic clock."""
Made = tuple[str, str]
"""Name and UID of a reservation."""


class Reservations:
    """Keeps reservations beside the owners in blocks."""

    def __init__(self, resources: Resources) -> None:
        """Reservations in the namespace of ``resources``."""
        self._resources = resources
        self._met: dict[BlockKey, Met] = {}
        """What the last write of a block was given up for."""

    def held(self, key: BlockKey, freed: Sequence[Given], deadline: Deadline) -> dict[int, Made]:
        """The reservations of addresses that are to be freed, by offset, where they are of the same pod.

        To be asked before the block is written: from then on there may be others for the next pod. What
        cannot be read waits for a repair.
        """
        found = {}
        for offset, owner in freed:
            name = reservation_name(key.space.network_name, key.address(offset))
            try:
                content = name and self._resources.get(RESERVATIONS, name, deadline)
            except WhereaboutsError:
                continue
            if content and (content.get("spec") or {}).get("podref") == owner.pod_ref:
                found[offset] = content["metadata"]["name"], content["metadata"]["uid"]
        return found

    def reserve(
        self, key: BlockKey, given: Sequence[Given], deadline: Deadline
    ) -> tuple[list[Made], list[Given]]:
        """Reserve addresses of a block: the reservations that were made, and what others hold.

        Raises Conflict where calls on their way have some of them: the block will say more. Where it fails,
        what it made is deleted.
        """
        made: list[Made] = []
        foreign: list[Given] = []
        met = self._met.pop(key, {}) if given else {}
        on_the_way: Conflict | None = None
        try:
            for offset, owner in given:
                name = reservation_name(key.space.network_name, key.address(offset))
                if name is None:
                    continue  # the Go plugin cannot reserve it either, nor give it
                try:
                    holder = self._reserve(key, name, owner, made, met, deadline)
                except Conflict as conflict:
                    on_the_way = conflict  # the others are looked at, so that all are waited for at once
                    continue
                if holder is not None:
                    foreign.append((offset, holder))
            if on_the_way is not None:
                raise on_the_way
        except BaseException:
            self.drop(made, deadline)
            raise
        return made, foreign

    def _reserve(
        self, key: BlockKey, name: str, owner: Owner, made: list[Made], met: Met, deadline: Deadline
    ) -> Owner | None:
        """Who else has the reservation; None where it was made just now."""
        again = False
        while True:
            try:
                metadata = self._resources.create(RESERVATIONS, _of_ours(name, owner), deadline)
            except (Conflict, Unsettled):
                content = self._resources.get(RESERVATIONS, name, deadline)
            else:
                if not again:  # whoever made the last one may have its record after all, which needs one
                    made.append((name, metadata["uid"]))
                return None
            if content is not None:
                holder = holder_of(content, owner.range, int(time()))
                same = holder.pod_ref == owner.pod_ref and same_holder(holder, owner)
                if not same or _of_another_sandbox(content["metadata"], owner):
                    self._wait_if_on_the_way(key, content["metadata"], met)
                if not same:
                    return holder
                again = self._resources.delete(RESERVATIONS, name, deadline, uid=content["metadata"]["uid"])

    def _wait_if_on_the_way(self, key: BlockKey, metadata: Any, met: Met) -> None:
        """Raise Conflict if a reservation is one of ours that this block's calls did not meet for long."""
        if not OURS.items() <= (metadata.get("labels") or {}).items():
            return
        now, uid = monotonic(), metadata["uid"]
        since = met.setdefault(uid, now)
        if now - since < ON_THE_WAY_SECONDS:
            if len(self._met) >= MAX_MET:
                self._met.clear()  # they are waited for anew
            self._met[key] = met
            raise Conflict(f"reservation {metadata['name']} is being made or deleted by another call")

    def drop(self, reservations: Iterable[Made], deadline: Deadline) -> None:
        """Delete reservations that nobody needs any more. What cannot be deleted waits for a repair."""
        grace = deadline.grace(5.0)
        for name, uid in reservations:
            try:
                self._resources.delete(RESERVATIONS, name, grace, uid=uid)
            except (WhereaboutsError, Unsettled):
                continue

    def listed(self, deadline: Deadline) -> Iterator[tuple[str, str, str]]:
        """Name, UID and pod reference of every reservation."""
        for content in self._resources.list(RESERVATIONS, deadline):
            metadata = content["metadata"]
            yield metadata["name"], metadata["uid"], (content.get("spec") or {}).get("podref") or ""


def _of_ours(name: str, owner: Owner) -> dict[str, Any]:
    content = reservation(name, owner, OURS)
    content["metadata"]["annotations"] = {SANDBOX: owner.container_id}
    return content


def _of_another_sandbox(metadata: Any, owner: Owner) -> bool:
    """Whether it says so; those of the Go plugin and of earlier versions of ours do not say."""
    sandbox = (metadata.get("annotations") or {}).get(SANDBOX)
    return bool(sandbox) and sandbox != owner.container_id


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
    listed: Sequence[tuple[str, str, str]], held: Iterable[tuple[str, Address]]
) -> Iterator[tuple[str, str]]:
    """Name and UID of reservations whose address nobody holds.

    ``held`` has network names and addresses, of blocks and of the Go plugin's pools, read after the
    reservations were listed. One of another pod than the holder's keeps the address from others all the same.
    """
    expected = {reservation_name(network_name, address) for network_name, address in held}
    for name, uid, _ in listed:
        if name not in expected:
            yield name, uid
