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
from whereabouts.values import TYPE_CHECKING

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
_PAUSE = 0.05
"""The longest wait, in seconds, before a reservation that changed is looked at again."""
MAX_MET = 256
"""Blocks for which it is remembered what was in the way."""

Given = tuple[int, Owner]
"""An offset in a block, and who it is for."""
Met = dict[str, float]
"""The UIDs of reservations of ours that were in the way, and since when, on the monotonic clock."""
Seen = tuple[str, str]
"""Name and revision of a reservation."""


class Reservations:
    """Keeps reservations beside the owners in blocks."""

    def __init__(self, resources: Resources) -> None:
        """Reservations in the namespace of ``resources``."""
        self._resources = resources
        self._met: dict[BlockKey, Met] = {}
        """What the last write of a block was given up for."""

    def held(self, key: BlockKey, freed: Sequence[Given], deadline: Deadline) -> list[Seen]:
        """The reservations of addresses that are to be freed, where they are of the same pod or of ours.

        One of ours that names another pod was handed on by a write that was not done. To be asked before the
        block is written: from then on they may be those of the next pod. What cannot be read waits for a
        repair.
        """
        found = []
        for offset, owner in freed:
            name = reservation_name(key.space.network_name, key.address(offset))
            try:
                content = name and self._resources.get(RESERVATIONS, name, deadline)
            except WhereaboutsError:
                continue
            if content and (_is_ours(content) or _pod_of(content) == owner.pod_ref):
                found.append(_seen(content["metadata"]))
        return found

    def reserve(
        self, key: BlockKey, given: Sequence[Given], freed: Mapping[int, Owner], deadline: Deadline
    ) -> tuple[list[Seen], list[Given]]:
        """Reserve the addresses that a write gives: the reservations that were made, and what others hold.

        ``freed`` are those that the same write takes from a pod: their reservations are handed on. Raises
        Conflict where calls on their way have some of them: the block will say more. Where it fails, what it
        made is deleted.
        """
        made: list[Seen] = []
        foreign: list[Given] = []
        met = self._met.pop(key, {}) if given else {}
        on_the_way: Conflict | None = None
        try:
            for offset, owner in given:
                name = reservation_name(key.space.network_name, key.address(offset))
                if name is None:
                    continue  # the Go plugin cannot reserve it either, nor give it
                gone = freed.get(offset)
                try:
                    if on_the_way is not None:
                        content = self._resources.get(RESERVATIONS, name, deadline)
                        self._judge(key, content, owner, gone, met)
                        continue
                    holder = self._reserve(key, name, owner, gone, made, met, deadline)
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
        self,
        key: BlockKey,
        name: str,
        owner: Owner,
        gone: Owner | None,
        made: list[Seen],
        met: Met,
        deadline: Deadline,
    ) -> Owner | None:
        """Who else has the reservation; None where ``owner`` has it, be it from the pod that is ``gone``."""
        while True:
            try:
                metadata = self._resources.create(RESERVATIONS, _of_ours(name, owner), deadline)
            except (Conflict, Unsettled) as error:
                content = self._resources.get(RESERVATIONS, name, deadline)
                if content is None and isinstance(error, Unsettled):
                    raise
            else:
                made.append(_seen(metadata))
                return None
            holder = self._judge(key, content, owner, gone, met)
            if holder is not None:
                return holder
            if content is not None and self._take(_seen(content["metadata"]), owner, deadline):
                return None  # whoever made it may have a record of it after all: it is none of ``made``
            deadline.pause(_PAUSE, _changing(name))

    def _judge(self, key: BlockKey, content: Any, owner: Owner, gone: Owner | None, met: Met) -> Owner | None:
        """Who has a reservation that ``owner`` may not take; None if it may. Conflict if time will tell."""
        if content is None:
            return None
        holder = holder_of(content, owner.range, int(time()))
        same = holder.pod_ref == owner.pod_ref and same_holder(holder, owner)
        if same and not _of_another_sandbox(content["metadata"], owner):
            return None
        if not same and gone is not None and (_is_ours(content) or holder.pod_ref == gone.pod_ref):
            return None  # the record of the pod that is gone is what the write is conditional on
        if _is_ours(content):
            self._wait_if_on_the_way(key, content["metadata"], met)
        return None if same else holder

    def _take(self, seen: Seen, owner: Owner, deadline: Deadline) -> bool:
        """Make a reservation that of ``owner``, if it is as it was seen; False if it is not, or who knows."""
        name, revision = seen
        content = _of_ours(name, owner)
        content["metadata"]["resourceVersion"] = revision
        content["metadata"]["annotations"][TAKEN] = os.urandom(8).hex()
        content["spec"] = {"ifname": None, "containerid": None, **content["spec"]}
        try:
            self._resources.merge(RESERVATIONS, name, content, deadline)
        except (Conflict, NotFound, Unsettled):
            return False
        return True

    def _wait_if_on_the_way(self, key: BlockKey, metadata: Any, met: Met) -> None:
        """Raise Conflict for one of ours that this block's calls did not meet for long."""
        now, uid = monotonic(), metadata["uid"]
        since = met.setdefault(uid, now)
        if now - since < ON_THE_WAY_SECONDS:
            if len(self._met) >= MAX_MET:
                self._met.clear()  # they are waited for anew
            self._met[key] = met
            raise Conflict(_changing(metadata["name"]))

    def drop(self, reservations: Iterable[Seen], deadline: Deadline) -> None:
        """Delete reservations that nobody needs any more. What cannot be deleted waits for a repair."""
        grace = deadline.grace(5.0)
        for name, revision in reservations:
            with suppress(WhereaboutsError):
                self._resources.delete(RESERVATIONS, name, grace, revision=revision)

    def listed(self, deadline: Deadline) -> Iterator[tuple[str, str, str]]:
        """Name, revision and pod reference of every reservation."""
        for content in self._resources.list(RESERVATIONS, deadline):
            yield *_seen(content["metadata"]), _pod_of(content)


def _of_ours(name: str, owner: Owner) -> dict[str, Any]:
    content = reservation(name, owner, OURS)
    content["metadata"]["annotations"] = {SANDBOX: owner.container_id}
    return content


def _seen(metadata: Any) -> Seen:
    return metadata["name"], metadata["resourceVersion"]


def _pod_of(content: Any) -> str:
    return (content.get("spec") or {}).get("podref") or ""


def _is_ours(content: Any) -> bool:
    return OURS.items() <= (content["metadata"].get("labels") or {}).items()


def _changing(name: str) -> str:
    return f"reservation {name} is being made or deleted by another call"


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
    """Name and revision of reservations whose address nobody holds.

    ``held`` has network names and addresses, of blocks and of the Go plugin's pools, read after the
    reservations were listed. One of another pod than the holder's keeps the address from others all the same.
    """
    expected = {reservation_name(network_name, address) for network_name, address in held}
    for name, revision, _ in listed:
        if name not in expected:
            yield name, revision
