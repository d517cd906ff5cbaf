"""Which blocks have records of a pod or of an attachment, as a process saw them.

The names of owners are kept as numbers: the index of a large cluster is most of what an agent holds in
memory, and the texts are in the blocks. Names that share a number by accident cost a read of a block that
has no record of the owner, which is what every user of an index has to expect: since it was seen others may
have freed the record.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Mapping
from operator import itemgetter

from whereabouts.block import Block, BlockKey
from whereabouts.owners import Owner
from whereabouts.store import Revision, StoredBlock
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    Names = array[int]
    """The number of each owner's pod, and that of its attachment."""

_NUMBER = (1 << 60) - 1
"""The largest that CPython holds in two digits."""
_of_pod = itemgetter(Owner._fields.index("pod_ref"), Owner._fields.index("ifname"))
_of_attachment = itemgetter(Owner._fields.index("container_id"), Owner._fields.index("ifname"))


class Seen(NamedTuple):
    """A block as it was seen last."""

    revision: Revision
    names: Names
    exact: bool
    """Whether its owners have no other names than these."""
    here: tuple[BlockKey]
    """The block, as those names have it that are in no other: a set for each name would hold up every thread
    whenever the garbage collector looks at them."""


class OwnerIndex:
    """Blocks by the names of their owners. Not for several threads at a time."""

    def __init__(self) -> None:
        """An empty index."""
        self._blocks: dict[int, tuple[BlockKey, ...]] = {}
        self._seen: dict[BlockKey, Seen] = {}

    def __len__(self) -> int:
        """How many names it has."""
        return len(self._blocks)

    def blocks_of(self, name: str, ifname: str) -> Collection[BlockKey]:
        """The blocks of a pod's or of a container's interface; some may have lost the record meanwhile."""
        return self._blocks.get(hash((name, ifname)) & _NUMBER, ())

    def seen(self) -> dict[BlockKey, Seen]:
        """The blocks that the index has at present."""
        return dict(self._seen)

    def see(self, block: Block, revision: Revision, before: StoredBlock | None = None) -> None:
        """A block has these owners and no others, unless a later state of it was seen.

        ``before`` is an earlier state, if the caller has one: what they have in common is not looked at.
        """
        seen = self._seen.get(block.key)
        if seen is None:
            seen = Seen("", array("Q"), True, (block.key,))
        elif seen.revision == revision or is_later(seen.revision, revision):
            self.expect(block)  # takes nothing out; and revisions begin again where a datastore is restored
            return
        was = before.block if before is not None and before.revision == seen.revision else None
        if was is not None and seen.exact:
            changes = block.changes_since(was)
            gone = _names(was for _, was, _ in changes if was is not None)
            come = _names(now for _, _, now in changes if now is not None)
            names = _without(seen.names, gone) + come
        else:
            gone, names = seen.names, _names(block.holders())
            come = names
        self._seen[block.key] = Seen(revision, names, True, seen.here)
        self._add(come, seen.here)
        if gone:
            self._discard(set(gone).difference(names), block.key)

    def expect(self, block: Block) -> None:
        """A block may have these owners besides those that it was seen with, as its next state will show."""
        seen = self._seen.get(block.key) or Seen("", array("Q"), False, (block.key,))
        new = set(_names(block.holders())).difference(seen.names)
        if new:
            self._seen[block.key] = seen._replace(names=seen.names + array("Q", new), exact=False)
            self._add(new, seen.here)

    def drop(self, blocks: Mapping[BlockKey, Seen]) -> None:
        """These blocks are gone, but for those of which more was seen meanwhile."""
        for key, seen in blocks.items():
            if self._seen.get(key) is seen:
                self._discard(set(seen.names), key)
                del self._seen[key]

    def _add(self, names: Iterable[int], here: tuple[BlockKey]) -> None:
        blocks = self._blocks
        for name in names:
            others = blocks.setdefault(name, here)
            if here[0] not in others:
                blocks[name] = tuple(sorted((*others, *here)))

    def _discard(self, names: Collection[int], key: BlockKey) -> None:
        blocks = self._blocks
        for name in names:
            left = tuple(other for other in blocks[name] if other != key)
            if len(left) > 1:
                blocks[name] = left
            elif left:
                blocks[name] = self._seen[left[0]].here
            else:
                del blocks[name]


def is_later(one: Revision, other: Revision) -> bool:
    """Whether a resourceVersion is later than another of the same kind, which Kubernetes lets clients ask."""
    one, other = str(one), str(other)
    return one.isdecimal() and other.isdecimal() and int(one) > int(other)


def _names(owners: Iterable[Owner]) -> Names:
    owners = list(owners)
    names = [*map(_of_pod, owners), *map(_of_attachment, owners)]
    return array("Q", [number & _NUMBER for number in map(hash, names)])


def _without(names: Names, gone: Names) -> Names:
    """Each as often as it was, less as often as it is gone: a pod may have several records in a block."""
    left = names[:]
    for name in gone:
        if name in left:
            left.remove(name)
    return left
