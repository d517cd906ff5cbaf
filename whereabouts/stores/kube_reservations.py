"""Sharing ranges with nodes that still run the Go plugin: a reservation for each address that we use.

It is made before the address is written into its block and deleted after it was freed there, so that neither
side gives what the other one has. A reservation of the Go plugin is honoured: its holder is recorded. One
that we made for another pod or sandbox is that of an ADD or DEL on its way, and is waited for.

Nothing is deleted but what was seen to belong to the record that goes, by its revision: the next ADD may have
it by then. Such a reservation is never deleted and made again, but taken over by a write that is conditional
on its revision too: whoever would still delete it does not.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from time import monotonic, time

from whereabouts.addresses import Address
from whereabouts.block import Block, BlockKey
from whereabouts.deadline import Deadline
from whereabouts.errors import WhereaboutsError
from whereabouts.owners import Owner
from whereabouts.store import Conflict, Unsettled
from whereabouts.stores.kube_api import NotFound
from whereabouts.stores.kube_objects import GROUP, RESERVATIONS
from whereabouts.stores.kube_resources import Resources
from whereabouts.stores.kube_upstream import holder_of, reservation, reservation_name, same_holder
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

OURS = {f"{GROUP}/made-for": "blocks"}
"""Labels of reservations that we have made."""
SANDBOX = f"{GROUP}/sandbox"
"""The annotation with the container ID that a reservation of ours was made for."""
TAKEN = f"{GROUP}/taken"
"""An annotation with another value each time: a takeover that changed nothing would keep the revision."""
ON_THE_WAY_SECONDS = 5.0
"""How long a reservation of ours whose address no block shows is taken for that of a call on its way.

After that it was left by one that died, or is very slow. If the pod is the same, the reservation is
taken over; else its holder is recorded, which keeps the address from everybody until an audit.
"""
MAX_MET = 256
"""Blocks for which it is remembered what was in the way."""

Given = tuple[int, Owner]
"""An offset in a block, and who it is for."""
Met = dict[str, float]
"""The UIDs of reservations of ours that were in the way, and since when, on the monotonic clock."""
Seen = tuple[str, str]
"""Name and revision of a reservation."""


class Reserved(NamedTuple):
    """What came of reserving the addresses that a write gives."""

    made: list[Seen]
    handed_on: list[tuple[Seen, Owner]]
    """Those of pods whose addresses the same write frees, with the pods."""
    foreign: list[Given]
    """The offsets that others hold."""


class Reservations:
    """Keeps reservations beside the owners in blocks."""

    def __init__(self, resources: Resources) -> None:
        """Reservations in the namespace of ``resources``."""
        self._resources = resources
        self._met: dict[BlockKey, Met] = {}
        """What the last write of a block was given up for."""

    def held(self, key: BlockKey, freed: Sequence[Given], deadline: Deadline) -> list[Seen]:
        """The reservations of addresses that are to be freed, where they are of the same pod.

        To be asked before the block is written: from then on they may be those of the next pod. What cannot
        be read waits for a repair.
        """
        found = []
        for offset, owner in freed:
            name = reservation_name(key.space.network_name, key.address(offset))
            try:
                content = name and self._resources.get(RESERVATIONS, name, deadline)
            except WhereaboutsError:
                continue
            if content and (content.get("spec") or {}).get("podref") == owner.pod_ref:
                found.append(_seen(content["metadata"]))
        return found

    def reserve(
        self, key: BlockKey, given: Sequence[Given], freed: Mapping[int, Owner], deadline: Deadline
    ) -> Reserved:
        """Reserve the addresses that a write of a block gives; ``freed`` are those that it takes from a pod.

        Raises Conflict where calls on their way have some of them: the block will say more. Where it fails,
        all is given back.
        """
        reserved = Reserved([], [], [])
        met = self._met.pop(key, {}) if given else {}
        on_the_way: Conflict | None = None
        try:
            for offset, owner in given:
                name = reservation_name(key.space.network_name, key.address(offset))
                if name is None:
                    continue  # the Go plugin cannot reserve it either, nor give it
                try:
                    if on_the_way is not None:
                        self._meet(key, name, owner, met, deadline)
                        continue
                    holder = self._reserve(key, name, owner, freed.get(offset), reserved, met, deadline)
                except Conflict as conflict:
                    on_the_way = conflict  # the others are looked at, so that all are waited for at once
                    continue
                if holder is not None:
                    reserved.foreign.append((offset, holder))
            if on_the_way is not None:
                raise on_the_way
        except BaseException:
            self.give_back(reserved, deadline)
            raise
        return reserved

    def _reserve(
        self,
        key: BlockKey,
        name: str,
        owner: Owner,
        gone: Owner | None,
        reserved: Reserved,
        met: Met,
        deadline: Deadline,
    ) -> Owner | None:
        """Who else has the reservation; None where ``owner`` has it, be it from the pod that is ``gone``."""
        while True:
            try:
                metadata = self._resources.create(RESERVATIONS, _of_ours(name, owner), deadline)
            except (Conflict, Unsettled):
                content = self._resources.get(RESERVATIONS, name, deadline)
            else:
                reserved.made.append(_seen(metadata))
                return None
            if content is None:
                continue
            holder = _holder(content, owner)
            same = _same(holder, owner)
            if not same and (gone is None or holder.pod_ref != gone.pod_ref):
                self._wait_if_on_the_way(key, content["metadata"], met)
                return holder
            if same and _of_another_sandbox(content["metadata"], owner):
                self._wait_if_on_the_way(key, content["metadata"], met)
            try:
                taken = self._take(_seen(content["metadata"]), owner, deadline)
            except (Conflict, NotFound, Unsettled):
                continue
            if not same and gone is not None:
                reserved.handed_on.append((taken, gone))
            return None  # whoever made it may have a record of it after all, so it is not given back

    def _meet(self, key: BlockKey, name: str, owner: Owner, met: Met, deadline: Deadline) -> None:
        """Look at a reservation that is not made in this try, so that its time begins."""
        content = self._resources.get(RESERVATIONS, name, deadline)
        if content is not None and not _same(_holder(content, owner), owner):
            self._wait_if_on_the_way(key, content["metadata"], met)

    def _take(self, seen: Seen, owner: Owner, deadline: Deadline) -> Seen:
        """Make a reservation that of ``owner``, if it is as it was seen."""
        name, revision = seen
        content = _of_ours(name, owner)
        content["metadata"]["resourceVersion"] = revision
        content["metadata"]["annotations"][TAKEN] = os.urandom(8).hex()
        content["spec"] = {"ifname": None, "containerid": None, **content["spec"]}
        return _seen(self._resources.merge(RESERVATIONS, name, content, deadline))

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

    def give_back(self, reserved: Reserved, deadline: Deadline) -> None:
        """Undo what was reserved for a write that was not done."""
        grace = deadline.grace(5.0)
        for seen, gone in reserved.handed_on:
            with suppress(WhereaboutsError):
                self._take(seen, gone, grace)
        self.drop(reserved.made, deadline)

    def drop(self, reservations: Iterable[Seen], deadline: Deadline) -> None:
        """Delete reservations that nobody needs any more. What cannot be deleted waits for a repair."""
        grace = deadline.grace(5.0)
        for name, revision in reservations:
            with suppress(WhereaboutsError):
                self._resources.delete(RESERVATIONS, name, grace, revision=revision)

    def listed(self, deadline: Deadline) -> Iterator[tuple[str, str, str]]:
        """Name, UID and pod reference of every reservation."""
        for content in self._resources.list(RESERVATIONS, deadline):
            metadata = content["metadata"]
            yield metadata["name"], metadata["uid"], (content.get("spec") or {}).get("podref") or ""


def _of_ours(name: str, owner: Owner) -> dict[str, Any]:
    content = reservation(name, owner, OURS)
    content["metadata"]["annotations"] = {SANDBOX: owner.container_id}
    return content


def _seen(metadata: Any) -> Seen:
    return metadata["name"], metadata["resourceVersion"]


def _holder(content: Any, owner: Owner) -> Owner:
    return holder_of(content, owner.range, int(time()))


def _same(holder: Owner, owner: Owner) -> bool:
    return holder.pod_ref == owner.pod_ref and same_holder(holder, owner)


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
