"""The pool: one range of one network as people see it, with hints about its blocks.

A pool is never an authority on an address. It says in which space the range lives, which must not
change while the range has allocations, and remembers blocks in which a search found nothing left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network

from whereabouts._bitmap import Bitmap
from whereabouts._codec import CodecError, decode, encode
from whereabouts.addresses import is_decimal
from whereabouts.block import BLOCK_SIZE, BlockKey, Space
from whereabouts.ranges import Range
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Self

MAX_VIEWS = 16
"""Views a pool remembers hints for; the oldest gives way."""
MAX_LEFT = 4
"""Fronts that a view has left and that are kept: the lowest, from which searches were led away last."""


_LONGEST_NUMBER = 39
"""Digits of a block's number: of any number below 2**128."""


class PoolKey(NamedTuple):
    """Which pool: a network name (may be empty) and a range, as the text of its network.

    Or that of a node's slice: then ``range`` is the slice, and ``whole`` the range that it is a part of. It
    has nothing but hints, for the searches of that node; space and records are those of the whole range.
    """

    network_name: str
    range: str
    node: str = ""
    whole: str = ""

    @property
    def name(self) -> str:
        """The name of the IPPool object, spelled as the Go plugin spells it.

        ``blue-10.0.0.0-8``, and ``blue-node-1-10.0.0.0-24`` for a slice.
        """
        text = self.range.replace(":", "-").replace("/", "-")
        return "-".join(part for part in (self.network_name, self.node, text) if part)

    @property
    def of_whole(self) -> PoolKey:
        """The pool of the whole range; this one, if it is of no slice."""
        return PoolKey(self.network_name, self.whole or self.range)

    def of_slice(self, slice_range: str, node: str) -> PoolKey:
        """The pool of a node's slice of this range."""
        return PoolKey(self.network_name, slice_range, node, self.range)


class Pool:
    """A range's space and hints; a value: changes give a new one.

    ``shared`` tells whether the range shares the space of its network (``enable_overlapping_ranges``).

    The hints are bitmaps of exhausted blocks, one bit a block in address order. Configurations of one
    range may differ in bounds and excludes, so what is exhausted for one is not for another: the hints
    are kept by *view* (see :func:`view_of`). A bit that is set without need costs a read and, until it
    is cleared, the lowest-first order; it never makes a range full, because the blocks are looked at
    before that is said.

    Beside its hints a view has a *front*: the first address of the lowest block that its hints leave, which
    is where its searches begin. Bits alone do not tell, since a configuration may leave out whole blocks.

    The fronts that a view has *left* are those above, from which taking back a hint has led its searches
    away: who remembers the time before searches there still. See :meth:`leaving`.
    """

    __slots__ = ("_first", "_last", "_version", "exhausted", "fronts", "key", "left", "shared")

    def __init__(
        self,
        key: PoolKey,
        shared: bool,
        exhausted: Mapping[str, Bitmap] | None = None,
        fronts: Mapping[str, int] | None = None,
        left: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        """A pool, with the hints of each view, its front if it has one, and the fronts it has left."""
        self.key = key
        self.shared = shared
        self.exhausted: Mapping[str, Bitmap] = dict(exhausted or {})
        self.fronts: Mapping[str, int] = dict(fronts or {})
        self.left: Mapping[str, Sequence[int]] = dict(left or {})
        network = ip_network(key.range)
        self._version = network.version
        self._first, self._last = int(network.network_address), int(network.broadcast_address)

    @classmethod
    def with_hints(cls, key: PoolKey, shared: bool, hints: str) -> Self:
        """The pool with hints as :meth:`hints` wrote them; those that cannot be read are dropped."""
        pool = cls(key, shared)
        exhausted, fronts = {}, {}
        left: dict[str, list[int]] = {}
        for entry in hints.split():
            name, separator, text = entry.partition("=")
            view, _, number = name.partition("@")
            if not (view.isascii() and view.isprintable()):
                continue
            front = pool._base(int(number)) if is_decimal(number, _LONGEST_NUMBER) else -1
            is_front = pool._index(front) is not None
            if separator and not text:
                if is_front:
                    left.setdefault(view, []).append(front)
                continue
            try:
                exhausted[view] = decode(text, pool.blocks)
            except CodecError:
                continue
            if is_front:
                fronts[view] = front
        pool.exhausted, pool.fronts, pool.left = exhausted, fronts, left
        return pool

    def hints(self) -> str:
        """The hints as text: ``view@front=bitmap``, the front as a block's number, separated by blanks.

        A front that a view has left has no bitmap: ``view@front=``. Releases that do not know of those pass
        over them, like over anything that they cannot read.
        """
        hints = [
            f"{view}@{self._index(self.fronts[view])}={encode(bitmap)}"
            if view in self.fronts
            else f"{view}={encode(bitmap)}"
            for view, bitmap in self.exhausted.items()
        ]
        left = [f"{view}@{self._index(front)}=" for view, fronts in self.left.items() for front in fronts]
        return " ".join(hints + left)

    @property
    def space(self) -> Space:
        """The space in which the range's addresses are given once."""
        return Space(self.key.network_name, "" if self.shared else self.key.of_whole.range)

    def first_unexhausted(self, view: str, base: int) -> int | None:
        """The first block at or after ``base`` that is not known to be exhausted; None past the end."""
        hints = self.exhausted.get(view)
        index = self._index(base)
        if hints is None or index is None:
            return base
        free = hints.first_free(index)
        return None if free is None else base + (free - index) * BLOCK_SIZE

    def is_exhausted(self, key: BlockKey) -> bool:
        """Whether any view calls this block exhausted; False for a block of another space."""
        index = self._index(key.base)
        if key.space != self.space or key.version != self._version or index is None:
            return False
        return any(hints.test(index) for hints in self.exhausted.values())

    def with_exhausted(self, view: str, bases: Iterable[int]) -> Self:
        """The pool in which ``view`` calls the blocks that begin at ``bases`` exhausted."""
        views = {name: hints for name, hints in self.exhausted.items() if name != view}
        while len(views) >= MAX_VIEWS:
            del views[next(iter(views))]
        hints = self.exhausted.get(view)
        views[view] = Bitmap(self.blocks) if hints is None else hints.copy()
        for base in bases:
            index = self._index(base)
            if index is None:
                raise ValueError(f"no block of {self.key.range} begins at {base}")
            views[view].set(index)
        fronts = {name: front for name, front in self.fronts.items() if name in views and name != view}
        return type(self)(self.key, self.shared, views, fronts)

    def with_front(self, view: str, base: int | None) -> Self:
        """The pool in which the searches of ``view`` begin at ``base``; None: its hints leave no block."""
        fronts = {name: front for name, front in self.fronts.items() if name != view}
        if base is not None and view in self.exhausted:
            fronts[view] = base
        return type(self)(self.key, self.shared, self.exhausted, fronts)

    def without_exhausted(self, base: int) -> Self:
        """The pool in which no view calls the block at ``base`` exhausted."""
        index = self._index(base)
        views = {name: hints.copy() for name, hints in self.exhausted.items()}
        fronts = dict(self.fronts)
        if index is not None:
            for view, hints in views.items():
                if hints.clear(index):
                    fronts[view] = min(base, fronts.get(view, base))
        left = {name: hints for name, hints in views.items() if hints.count()}
        return type(self)(
            self.key, self.shared, left, {view: front for view, front in fronts.items() if view in left}
        )

    def leaving(self, before: Pool) -> Self:
        """The pool as it follows ``before``, with the fronts that its views have left by then.

        They are those above the view's front that no hint of it has reached: who searches there finds room.
        """
        left: dict[str, list[int]] = {}
        for view in {**before.left, **before.fronts}:
            hints, front = self.exhausted.get(view), self.fronts.get(view, -1)
            fronts = {*before.left.get(view, ()), before.fronts.get(view, -1)}
            above = sorted(
                one
                for one in fronts
                if one > front
                and ((index := self._index(one)) is not None and not (hints and hints.test(index)))
            )
            if above:
                left[view] = above[:MAX_LEFT]
        while len(left) > MAX_VIEWS:
            del left[next(iter(left))]
        return type(self)(self.key, self.shared, self.exhausted, self.fronts, left)

    def hints_as(self, other: Pool) -> bool:
        """Whether both have the same hints and fronts."""
        return self.exhausted == other.exhausted and self.fronts == other.fronts

    def has_hints_of(self, other: Pool) -> bool:
        """Whether both are of one space, and each view calls exhausted here what it does in ``other``."""
        return self.space == other.space and not any(
            other.exhausted_beyond(self, view) for view in other.exhausted
        )

    def exhausted_beyond(self, other: Pool, view: str) -> list[int]:
        """The first addresses of the blocks that ``view`` calls exhausted here and not in ``other``."""
        hints, others = self.exhausted.get(view), other.exhausted.get(view)
        if hints is None:
            return []
        return [self._base(index) for index in (hints if others is None else hints - others)]

    @property
    def blocks(self) -> int:
        """How many blocks the range touches."""
        return self._last // BLOCK_SIZE - self._first // BLOCK_SIZE + 1

    def goes_on_behind(self, key: BlockKey) -> bool:
        """Whether the range has this block and others behind it, where a search may go on."""
        index = self._index(key.base)
        return index is not None and index < self.blocks - 1

    def _base(self, index: int) -> int:
        return (self._first // BLOCK_SIZE + index) * BLOCK_SIZE

    def _index(self, base: int) -> int | None:
        index = base // BLOCK_SIZE - self._first // BLOCK_SIZE
        return index if 0 <= index < self.blocks else None


def view_of(configured: Range) -> str:
    """A short name for what a configuration may give of its range: equal views, equal hints.

    Two views that share a name by accident (one in four thousand million) disturb only the order in
    which addresses are given.
    """
    return f"{configured.digest:08x}"
