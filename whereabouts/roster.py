"""All pods of a cluster, and where records of which pod are, in little memory.

An audit needs the pods at hand while the blocks go by. As values fifty thousand of them take 40 MB, here 15;
between two audits nothing is kept but a number for each record.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from sys import intern

from whereabouts.block import Block, BlockKey
from whereabouts.liveness import Pod

_UNKNOWN = "?"
_UID = re.compile(r"[-.\w]{1,128}", re.ASCII)
"""A UID. Two of a pod's stand in annotations, where whoever makes pods may write whatever they like."""
_OFFSET_BITS = 8
_PLACE_BITS = 32
"""Bits of a block's number and an offset; as many again are a digest of the pod's reference."""
_ALL_BITS = (1 << 64) - 1


class Roster:
    """Pods by name, each as one text."""

    def __init__(self, pods: Iterable[Pod]) -> None:
        """The pods; of those that come more than once the last one counts."""
        self._pods = {pod.ref: packed(pod) for pod in pods}

    def __len__(self) -> int:
        """How many pods there are."""
        return len(self._pods)

    def get(self, ref: str) -> Pod | None:
        """The pod ``namespace/name``; None where there is none."""
        text = self._pods.get(ref)
        return None if text is None else unpacked(ref, text)


def packed(pod: Pod) -> str:
    """A pod as a short text without its name, and without what is no UID; that of equal pods is the same.

    A node or a phase with a NUL character is none: of a pod's status the API server takes any text.
    """
    uids = ",".join(filter(_UID.fullmatch, pod.uids))
    addresses = _UNKNOWN if pod.addresses is None else ",".join(sorted(map(str, pod.addresses)))
    flags = "01"[pod.deleting] + "01"[pod.disrupted]
    node, phase = ("" if "\0" in text else text for text in (pod.node, pod.phase))
    return "\0".join((uids, node, phase, flags, addresses))


def unpacked(ref: str, text: str) -> Pod:
    """The pod ``ref`` that was packed."""
    uids, node, phase, flags, addresses = text.split("\0")
    known = None
    if addresses != _UNKNOWN:
        known = frozenset(map(ip_address, filter(None, addresses.split(","))))
    identities = tuple(filter(None, uids.split(",")))
    # By position: by name it takes three times as long, and an audit does it for every record.
    return Pod(ref, identities, intern(node), intern(phase), flags[0] == "1", flags[1] == "1", known)


class PodIndex:
    """Where records of a pod may be; a few places too many, by accident of a digest, none too few."""

    def __init__(self) -> None:
        """An index of nothing."""
        self._blocks: list[BlockKey] = []
        self._entries = array("Q")

    def add(self, block: Block) -> None:
        """Note the records of a block. No block twice."""
        place = len(self._blocks) << _OFFSET_BITS
        self._blocks.append(block.key)
        self._entries.extend(
            hash(owner.pod_ref) << _PLACE_BITS & _ALL_BITS | place | offset for offset, owner in block
        )

    def sort(self) -> None:
        """To be done after the last block, and before the first question."""
        self._entries = array("Q", sorted(self._entries))

    def places_of(self, pod_ref: str) -> Iterator[tuple[BlockKey, int]]:
        """Blocks and offsets in which records of the pod may be."""
        wanted = hash(pod_ref) << _PLACE_BITS & _ALL_BITS
        for at in range(bisect_left(self._entries, wanted), len(self._entries)):
            place = self._entries[at] - wanted
            if place >> _PLACE_BITS:
                return
            yield self._blocks[place >> _OFFSET_BITS], place & ((1 << _OFFSET_BITS) - 1)
