"""The Kubernetes store: blocks and pools as custom resources of the cluster's API server.

An ADD in the steady state is one conditional write of a block, from memory. What keeps the order of
addresses right across nodes without a second request is said in :mod:`whereabouts.stores.kube_memory`; the
other half is here, in what a write that frees an address does *before* it frees it, if a pool may call the
block exhausted: it takes the pool's hint back under a new number, leaves that number with the blocks where
others search now, and only then frees the address, in a block that says that nobody calls it exhausted any
more. Who wants to call a block exhausted reads the pool first, flags the block, and then writes the pool on
condition that it is as it was read. So, of the two, whoever comes second sees the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from copy import copy
from time import monotonic, time

from whereabouts._bitmap import Bitmap
from whereabouts.block import BLOCK_SIZE, Block, BlockKey, Space
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline
from whereabouts.errors import WhereaboutsError
from whereabouts.pool import Pool, PoolKey
from whereabouts.store import (
    Conflict,
    Judge,
    NameTaken,
    RememberedHints,
    StoredBlock,
    StoredPool,
    StoredSlices,
    Unsettled,
)
from whereabouts.stores import kube_objects as objects
from whereabouts.stores.kube_access import Source
from whereabouts.stores.kube_adoption import Adoption, Clash, post_event
from whereabouts.stores.kube_api import PATIENCE, ApiClient, NotFound
from whereabouts.stores.kube_flights import Flights
from whereabouts.stores.kube_memory import Asked, KnownBlock, KnownPool, Memory
from whereabouts.stores.kube_objects import BLOCKS, POOLS, BlockMarks, Marks
from whereabouts.stores.kube_pool_keys import PoolKeys
from whereabouts.stores.kube_reservations import Reservations, given_and_freed
from whereabouts.stores.kube_resources import Resources
from whereabouts.stores.kube_slice_adoption import adopt_slices
from whereabouts.stores.kube_slices import KubeSlices
from whereabouts.stores.kube_upstream import allocations_of
from whereabouts.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from whereabouts.slices import SlicePool

NEARLY_FULL = 254
"""From so many used addresses on a block is flagged by the write that uses them: the next step is a hint."""
READ_ONE_BY_ONE = 4
"""Up to so many blocks are read one by one rather than listed."""
ANNOUNCED_AT_ONCE = 64
"""Blocks that one write of a pool calls exhausted; the others keep until the next search."""
EVENT_SECONDS = 2.0
"""How long an event may take: it is told once, and nothing rests on it."""
_TOUCH_PAUSE = 0.02


class KubernetesStore:
    """A store in custom resources; see :class:`whereabouts.store.Store`. One for all threads of a process."""

    conflict_pause = 0.02
    concurrent = True
    claims_slices = False

    def __init__(
        self,
        source: Source,
        *,
        namespace: str = "",
        coexist_with_upstream: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        """A store that asks with the credentials of ``source``, in their namespace unless one is given.

        ``coexist_with_upstream`` keeps the Go plugin's reservations beside our records. ``patience`` is for
        how many seconds the API server may be away before a request gives up. Raises
        :class:`~whereabouts.stores.kube_access.AccessError`.
        """
        self.resources = Resources(ApiClient(source, patience=patience), namespace)
        self._memory = Memory()
        self._flights = Flights()
        self._slices = KubeSlices(self.resources)
        self._reservations: Reservations | None = None
        self.clashes: list[Clash] = []
        """Addresses that this process saw given twice, by the Go plugin and by us."""
        # What is adopted has its reservations already, so that is done by a twin which makes none.
        self._adoption = Adoption(self.resources, DirectCommitter(copy(self)), self._clashed)
        if coexist_with_upstream:
            self._reservations = Reservations(self.resources)
        self.remembered_hints: RememberedHints = self._memory

    @property
    def coexists(self) -> bool:
        """Whether the Go plugin's reservations are kept beside our records."""
        return self._reservations is not None

    @property
    def given_twice(self) -> Sequence[str]:
        """See :class:`~whereabouts.store.Store`."""
        return [clash.sentence() for clash in self.clashes]

    def close(self) -> None:
        """See :class:`~whereabouts.store.Store`."""
        self.resources.api.close()

    # ------------------------------------------------------------------ blocks

    def read_block(self, key: BlockKey, deadline: Deadline, *, fresh: bool = False) -> StoredBlock | None:
        """See :class:`~whereabouts.store.Store`; from memory where it is there, unless ``fresh``."""
        known = None if fresh else self._memory.block(key.name)
        if known is None:
            known = self._get_block(key, deadline)
        return None if known is None else known.stored

    def _get_block(self, key: BlockKey, deadline: Deadline) -> KnownBlock | None:
        content = self.resources.get(BLOCKS, key.name, deadline)
        if content is None:
            self._memory.forget_block(key.name)
            return None
        return self._remembered(objects.read_block(key, content), content["metadata"])

    def _remembered(self, stored: StoredBlock, metadata: Any) -> KnownBlock:
        known = KnownBlock(stored, objects.read_marks(metadata), metadata)
        self._memory.remember_block(known)
        return known

    def write_block(
        self, key: BlockKey, previous: StoredBlock | None, block: Block, deadline: Deadline
    ) -> StoredBlock:
        """See :class:`~whereabouts.store.Store`."""
        try:
            if self._reservations is not None and not key.space.own_range:
                return self._write_reserved(self._reservations, key, previous, block, deadline)
            return self._write_block(previous, block, deadline)
        except Conflict:
            self._memory.forget_block(key.name)
            raise
        except Unsettled:
            self._memory.expect_owners(block)
            self._memory.forget_block(key.name)
            raise
        except NotFound as error:
            self._memory.forget_block(key.name)
            raise Conflict(f"block {key.name} was deleted") from error

    def _write_block(self, previous: StoredBlock | None, block: Block, deadline: Deadline) -> StoredBlock:
        if previous is None:
            return self._create_block(block, {}, deadline)
        return self._replace_block(previous, block, deadline)

    def _write_reserved(
        self,
        reservations: Reservations,
        key: BlockKey,
        previous: StoredBlock | None,
        block: Block,
        deadline: Deadline,
    ) -> StoredBlock:
        """Reserve what is given, write the block, and release what is freed.

        Where the Go plugin holds an address, that is what is written, and the caller chooses again.
        """
        before = previous.trusted() if previous else Block(key, {})
        given, freed = given_and_freed(before, block)
        others = dict(given).keys()
        held = reservations.held(key, [one for one in freed if one[0] not in others], deadline)
        made, foreign = reservations.reserve(key, given, dict(freed), deadline)
        try:
            if foreign:
                for offset, holder in foreign:
                    before = before.with_owner(offset, holder)
                self._write_block(previous, before, deadline)
                raise Conflict(f"{key.address(foreign[0][0])} is held by a pod of the Go plugin")
            stored = self._write_block(previous, block, deadline)
        except Unsettled:
            raise  # it may have been done: a reservation too many is repaired, one too few is not
        except WhereaboutsError:
            reservations.drop(made, deadline)
            raise
        reservations.drop(held, deadline)
        return stored

    def _create_block(self, block: Block, marks: BlockMarks, deadline: Deadline) -> StoredBlock:
        metadata = self.resources.create(BLOCKS, objects.block_object(block, marks), deadline)
        return self._written(block, metadata)

    def _replace_block(self, previous: StoredBlock, block: Block, deadline: Deadline) -> StoredBlock:
        known = self._memory.block(block.key.name)
        if known is None or known.stored.revision != previous.revision:
            raise Conflict(f"block {block.key.name} was written by another thread")
        before = previous.trusted()
        marks = known.marks
        if any(now is None for _, _, now in block.changes_since(before)):
            marks = self._take_hints_back(block.key, marks, deadline)
        announced = self._announcing(before, block)
        if announced:
            marks = {**marks, **{name: _flagged(marks, name) for name in announced}}
        content = objects.block_object(block, marks, known.metadata)
        metadata = self.resources.replace(BLOCKS, block.key.name, content, deadline)
        for pool in announced.values():
            pool.announced.add(block.key.base)
        return self._written(block, metadata)

    def _written(self, block: Block, metadata: Any) -> StoredBlock:
        return self._remembered(StoredBlock(block.key, metadata["resourceVersion"], block), metadata).stored

    def _announcing(self, before: Block, after: Block) -> dict[str, KnownPool]:
        """The pools that may soon call the block exhausted, by the names of their objects, as remembered."""
        if len(after) < NEARLY_FULL:
            return {}
        new = {
            (PoolKey(after.key.space.network_name, now.range), now.node)
            for _, was, now in after.changes_since(before)
            if was is None and now is not None
        }
        pools = {name: pool for one in new for name, pool in self._memory.pools_of(*one).items()}
        return {name: pool for name, pool in pools.items() if pool.stored.pool.goes_on_behind(after.key)}

    def blocks(self, deadline: Deadline) -> Iterator[StoredBlock]:
        """See :class:`~whereabouts.store.Store`; objects that are no block of ours are passed over."""
        found = {}
        for content in self.resources.list(BLOCKS, deadline):
            key = objects.key_of_block(content)
            if key is not None:
                found[key] = content
        for key in sorted(found):
            yield objects.read_block(key, found.pop(key))

    def learn(self, deadline: Deadline) -> Iterator[StoredBlock]:
        """See :class:`~whereabouts.store.Store`; who holds what is kept, for :meth:`blocks_of_attachment`."""
        since, gone = monotonic(), self._memory.seen_blocks()
        self._adopt_all(deadline)
        for stored in self.blocks(deadline):
            gone.pop(stored.key, None)
            if stored.block is not None:
                self._memory.remember_owners(stored.block, stored.revision)
            yield stored
        self._memory.indexed(since, gone)

    def bitmaps(
        self, space: Space, version: int, first: int, last: int, deadline: Deadline
    ) -> Iterator[tuple[BlockKey, Bitmap | None]]:
        """See :class:`~whereabouts.store.Store`; metadata only."""
        start, stop = -(-first // BLOCK_SIZE), last // BLOCK_SIZE + 1
        if stop - start <= READ_ONE_BY_ONE:
            for index in range(start, stop):
                key = BlockKey(space, version, index * BLOCK_SIZE)
                content = self.resources.get(BLOCKS, key.name, deadline, metadata_only=True)
                if content is not None:
                    yield key, objects.read_bitmap(content["metadata"])
            return
        selector = f"{objects.SPACE}={objects.space_label(space, version)}"
        found = {}
        for content in self.resources.list(BLOCKS, deadline, selector=selector, metadata_only=True):
            listed = objects.key_in_space(space, version, content["metadata"]["name"])
            if listed is not None and first <= listed.base <= last:
                found[listed] = content["metadata"]
        for key in sorted(found):
            yield key, objects.read_bitmap(found[key])

    def blocks_of_pod(self, pod_ref: str, ifname: str, deadline: Deadline) -> Collection[BlockKey]:
        """See :class:`~whereabouts.store.Store`; only what this process knows."""
        return self._memory.blocks_of_pod(pod_ref, ifname)

    def blocks_of_attachment(
        self, container_id: str, ifname: str, deadline: Deadline
    ) -> Collection[BlockKey]:
        """See :class:`~whereabouts.store.Store`; from the index, which one listing of all blocks makes."""
        found = self._memory.blocks_of_attachment(container_id, ifname)
        if found is None:
            for _ in self.learn(deadline):
                pass
            found = self._memory.blocks_of_attachment(container_id, ifname)
        return found or ()

    # ------------------------------------------------------------------- pools

    def hints_hold(self, pool: StoredPool) -> bool:
        """See :class:`~whereabouts.store.Store`."""
        return self._memory.hints_hold(pool)

    def read_pool(self, key: PoolKey, deadline: Deadline) -> StoredPool | None:
        """See :class:`~whereabouts.store.Store`; from memory where it is there.

        An object of the Go plugin is no pool yet: :meth:`create_pool` adopts it.
        """
        name = objects.pool_name(key)
        known = self._memory.pool(name)
        if known is None:
            after = self._memory.forgotten(name)
            known = self._flights.share(
                name, lambda: self._get_pool(key, None, deadline), deadline, after=after
            )
        if known is None:
            return None
        _require(key, known.stored.pool.key)
        return known.stored

    def _get_pool(self, key: PoolKey, shared: bool | None, deadline: Deadline) -> KnownPool | None:
        """Read a pool. One of the Go plugin is adopted if ``shared`` is not None, as what that says."""
        name = objects.pool_name(key)
        asked = self._memory.asked(name)
        content = self.resources.get(POOLS, name, deadline)
        if content is None:
            self._memory.forget_pool(name)
            return None
        _require(key, PoolKeys(self.resources, deadline).asked_for(content, key))
        if not objects.is_ours(content) and shared is None:
            return None
        if not objects.is_ours(content) or allocations_of(key, content, 0):
            self._adopt(key, shared, deadline)
            asked = self._memory.asked(name)
            content = self.resources.get(POOLS, name, deadline)
            if content is None or not objects.is_ours(content):
                return None
        return self._seen_pool(key, content["metadata"], asked)

    def _adopt_all(self, deadline: Deadline) -> None:
        """Adopt what the Go plugin left: who looks for an attachment may be looking for one of its."""
        keys = PoolKeys(self.resources, deadline)
        for content in self.resources.list(POOLS, deadline):
            key = keys.of(content)
            if key is not None and allocations_of(key, content, 0):
                self._adopt(key, None, deadline)

    def adopt(self, key: PoolKey, deadline: Deadline) -> None:
        """Adopt a pool of the Go plugin that no configuration has used yet."""
        self._adopt(key, None, deadline)
        self._memory.forget(key)

    def _adopt(self, key: PoolKey, shared: bool | None, deadline: Deadline) -> None:
        """Adopt a pool; before that of a range those of its slices, before that of a slice that of its range.

        ``shared`` as for :meth:`~whereabouts.stores.kube_adoption.Adoption.adopt`.
        """
        whole = self.read_pool(key.of_whole, deadline) if key.node else None
        if key.node and whole is None:
            shared = self._adopt_slices(key.of_whole, shared, deadline)
            whole = self.create_pool(Pool(key.of_whole, shared is not False), deadline)
        if not key.node:
            shared = self._adopt_slices(key, shared, deadline)
        self._adoption.adopt(key, whole.pool.shared if whole else shared, deadline)

    def _adopt_slices(self, whole: PoolKey, shared: bool | None, deadline: Deadline) -> bool | None:
        return adopt_slices(self.resources, self._adoption, whole, shared, deadline)

    def _clashed(self, pool: str, clash: Clash) -> None:
        self.clashes.append(clash)
        post_event(self.resources, pool, clash, Deadline(EVENT_SECONDS))

    def _seen_pool(self, key: PoolKey, metadata: Any, asked: Asked) -> KnownPool:
        withdrawn = max(asked.told, objects.read_withdrawn(metadata))
        stored = StoredPool(metadata["resourceVersion"], objects.read_pool(key, metadata))
        known = KnownPool(stored, withdrawn)
        self._memory.remember_pool(objects.pool_name(key), known, asked)
        return known

    def create_pool(self, pool: Pool, deadline: Deadline) -> StoredPool:
        """See :class:`~whereabouts.store.Store`.

        Before the pool of a range is made, those of its slices are adopted that the Go plugin has.
        """
        name = f"{objects.pool_name(pool.key)} as {'shared' if pool.shared else 'its own'}"
        return self._flights.share(name, lambda: self._create_pool(pool, deadline), deadline)

    def _create_pool(self, pool: Pool, deadline: Deadline) -> StoredPool:
        name = objects.pool_name(pool.key)
        known = self._memory.pool(name)
        if known is not None:
            return known.stored  # another thread was faster
        if not pool.key.node:
            pool = Pool(pool.key, bool(self._adopt_slices(pool.key, pool.shared, deadline)))
        annotations = {name: value for name, value in objects.pool_annotations(pool, 0).items() if value}
        asked = self._memory.asked(name)
        try:
            metadata = self.resources.create(POOLS, objects.new_pool(pool, annotations), deadline)
        except (Conflict, Unsettled):
            known = self._get_pool(pool.key, pool.shared, deadline)
            if known is None:
                raise Conflict(f"pool {name} was deleted while it was being made") from None
            return known.stored
        return self._seen_pool(pool.key, metadata, asked).stored

    def write_pool(
        self, previous: StoredPool, pool: Pool, deadline: Deadline, *, exhausted: Judge | None = None
    ) -> None:
        """See :class:`~whereabouts.store.Store`. A hint for a block that has just changed is left out.

        Threads that want to write a pool do so one after the other, so that those who come second find the
        conflict without a request.
        """
        name = objects.pool_name(pool.key)
        what, writing = f"pool {name} is being written by other calls", self._memory.writing(name)
        deadline.wait_for(lambda seconds: writing.acquire(timeout=seconds), what)
        try:
            self._known_as(previous, pool.key)
            pool = self._announced(previous, pool, exhausted, deadline)
            if not pool.hints_as(previous.pool):
                self._write_pool(previous, pool, deadline)
        finally:
            writing.release()

    def _known_as(self, previous: StoredPool, key: PoolKey) -> KnownPool:
        """The pool as it is remembered; raises Conflict where that is not ``previous``."""
        name = objects.pool_name(key)
        known = self._memory.pool(name)
        if known is None or known.stored.revision != previous.revision:
            raise Conflict(f"pool {name} was written by another thread")
        return known

    def _write_pool(
        self,
        previous: StoredPool,
        pool: Pool,
        deadline: Deadline,
        *,
        number: int = 0,
        freed: BlockKey | None = None,
    ) -> int:
        """Write a pool, and where hints are taken back tell the fronts; the number they were told.

        ``freed`` is the block in which an address is going to be free.
        """
        name = objects.pool_name(pool.key)
        known = self._known_as(previous, pool.key)
        fronts = _fronts_to_tell(previous.pool, pool, freed)
        pool = pool.leaving(previous.pool)
        if fronts and not number:
            number = self._next_number(name)
        withdrawn = number or known.withdrawn
        patch = {
            "metadata": {
                "resourceVersion": previous.revision,
                "managedFields": objects.NO_MANAGED_FIELDS,
                "annotations": objects.pool_annotations(pool, withdrawn),
            }
        }
        asked = Asked(0, monotonic())  # what was told of is in ``withdrawn``
        try:
            metadata = self.resources.merge(POOLS, name, patch, deadline)
        except (Conflict, NotFound) as error:
            self._memory.forget_pool(name)
            raise Conflict(f"pool {name} was written by another process") from error
        except Unsettled as error:
            self._memory.forget_pool(name)
            self._tell_all(fronts, name, number, deadline)  # it may have been done, and would not be again
            raise Conflict(f"it is not known whether pool {name} was written: {error}") from error
        self._seen_pool(pool.key, metadata, asked)
        self._tell_all(fronts, name, number, deadline)
        return number

    def _tell_all(self, fronts: Collection[BlockKey], name: str, number: int, deadline: Deadline) -> None:
        for key in fronts:
            self._tell(key, name, number, deadline)

    def _next_number(self, name: str) -> int:
        """A number above all that were used for this pool, also for an earlier one of its name."""
        known = self._memory.pool(name)
        return max(int(time() * 1000), (known.withdrawn if known else 0) + 1, self._memory.told(name) + 1)

    def pools(
        self, deadline: Deadline, network_name: str | None = None, *, hinted: bool = False
    ) -> Collection[StoredPool]:
        """See :class:`~whereabouts.store.Store`; those of the Go plugin that nobody has used yet included."""
        found = []
        keys = PoolKeys(self.resources, deadline)
        for content in self.resources.list(POOLS, deadline):
            key = keys.of(content)
            if key is not None and network_name in (None, key.network_name):
                metadata = content["metadata"]
                found.append(StoredPool(metadata["resourceVersion"], objects.read_pool(key, metadata)))
        chosen = [one for one in found if (one.pool.exhausted if hinted else not one.pool.key.node)]
        return sorted(chosen, key=lambda stored: stored.pool.key)

    # ------------------------------------------------------------------ slices

    def read_slices(self, name: str, deadline: Deadline, *, fresh: bool = False) -> StoredSlices | None:
        """See :class:`~whereabouts.store.Store`."""
        return self._slices.read(name, deadline, fresh=fresh)

    def slice_pools(self, deadline: Deadline) -> Iterator[StoredSlices]:
        """See :class:`~whereabouts.store.Store`."""
        return self._slices.all(deadline)

    def create_slices(self, pool: SlicePool, deadline: Deadline) -> StoredSlices:
        """See :class:`~whereabouts.store.Store`."""
        return self._slices.create(pool, deadline)

    def write_slices(self, previous: StoredSlices, pool: SlicePool, deadline: Deadline) -> StoredSlices:
        """See :class:`~whereabouts.store.Store`."""
        return self._slices.write(previous, pool, deadline)

    def delete_slices(self, previous: StoredSlices, deadline: Deadline) -> None:
        """See :class:`~whereabouts.store.Store`."""
        self._slices.delete(previous, deadline)

    # ------------------------------------------------------- hints taken back

    def _take_hints_back(self, key: BlockKey, marks: BlockMarks, deadline: Deadline) -> BlockMarks:
        """Before an address of a block is freed: see to it that no pool calls the block exhausted.

        The marks that the block gets in the write that frees. That write is conditional on the block: who
        flags it in between makes it fail.
        """
        after = dict(marks)
        for name, mark in marks.items():
            if mark.flags:
                number = self._take_hint_back(name, key, mark, deadline)
                if number:
                    after[name] = Marks(number)
                else:
                    del after[name]
        return after

    def _take_hint_back(self, name: str, key: BlockKey, mark: Marks, deadline: Deadline) -> int:
        """Take back what one pool says of a block; the number of it, 0 where there is no such pool.

        The pool is written even if it says nothing: it may be just about to. Or somebody has taken it back
        who frees an address as well, and may never come to tell those who search above. Raises Conflict
        where others have written it, who may have taken back the same: then the block says so.
        """
        known = self._memory.pool(name) or self._pool_by_name(name, deadline)
        if known is None:
            return 0
        number = max(self._next_number(name), mark.withdrawn + 1)
        pool = known.stored.pool.without_exhausted(key.base)
        return self._write_pool(known.stored, pool, deadline, number=number, freed=key)

    def _pool_by_name(self, name: str, deadline: Deadline) -> KnownPool | None:
        asked = self._memory.asked(name)
        content = self.resources.get(POOLS, name, deadline)
        key = None if content is None else PoolKeys(self.resources, deadline).of(content)
        return None if key is None else self._seen_pool(key, content["metadata"], asked)

    def _tell(self, key: BlockKey, name: str, number: int, deadline: Deadline) -> None:
        """Leave with a block where others search now that hints were taken back.

        Their next write there conflicts, and what they read then tells them.
        """
        known = self._memory.block(key.name)
        marks, revision = (known.marks, str(known.stored.revision)) if known else (None, "")
        while True:
            if marks is None:
                revision = ""
                content = self.resources.get(BLOCKS, key.name, deadline, metadata_only=True)
                if content is None:
                    if self._create_empty(key, {name: Marks(number)}, deadline):
                        return
                    continue
                marks = objects.read_marks(content["metadata"])
            mark = marks.get(name, Marks(0))
            if mark.withdrawn >= number:
                return
            after = {**marks, name: Marks(number, mark.flags)}
            try:
                self._change_marks(key, marks, after, revision, deadline)
                return
            except (Conflict, Unsettled, NotFound):
                marks = None
                deadline.pause(_TOUCH_PAUSE, f"block {key.name} is written by others all the time")

    def _create_empty(self, key: BlockKey, marks: BlockMarks, deadline: Deadline) -> bool:
        try:
            self._create_block(Block(key, {}), marks, deadline)
        except (Conflict, Unsettled):
            return False
        return True

    def _change_marks(
        self, key: BlockKey, marks: BlockMarks, after: BlockMarks, revision: str, deadline: Deadline
    ) -> Any:
        """Change a block's marks if they still are ``marks``, and if ``revision`` is given, only at that."""
        path = f"/metadata/annotations/{objects.HINTED.replace('/', '~1')}"
        operations = [
            {"op": "test", "path": path, "value": objects.print_marks(marks) or None},
            {"op": "add", "path": path, "value": objects.print_marks(after)},
        ]
        if revision:
            operations.insert(0, {"op": "test", "path": "/metadata/resourceVersion", "value": revision})
        metadata = self.resources.change(BLOCKS, key.name, operations, deadline)
        known = self._memory.block(key.name)
        if known is not None and known.stored.revision == revision:
            self._remembered(known.stored._replace(revision=metadata["resourceVersion"]), metadata)
        else:
            self._memory.forget_block(key.name)
        return metadata

    # ------------------------------------------------------------ hints given

    def _announced(self, previous: StoredPool, pool: Pool, judge: Judge | None, deadline: Deadline) -> Pool:
        """The pool without the new hints for blocks that could not be flagged, or had room by then."""
        known = self._memory.pool(objects.pool_name(pool.key))
        already = known.announced if known and known.stored.revision == previous.revision else set()
        exhausted, fronts = dict(pool.exhausted), dict(pool.fronts)
        for view in pool.exhausted:
            bases = pool.exhausted_beyond(previous.pool, view)
            dropped = [base for base in bases if base not in already]
            for base in dropped[:ANNOUNCED_AT_ONCE]:
                if self._announce(BlockKey(pool.space, _version(pool), base), previous, judge, deadline):
                    dropped.remove(base)
            if dropped:
                last = Pool(pool.key, pool.shared, {view: exhausted[view]}, fronts)
                for base in dropped:
                    last = last.without_exhausted(base)
                fronts = {**fronts, **last.fronts}
                exhausted.pop(view)
                exhausted.update(last.exhausted)
        return Pool(
            pool.key, pool.shared, exhausted, {v: front for v, front in fronts.items() if v in exhausted}
        )

    def _announce(self, key: BlockKey, previous: StoredPool, judge: Judge | None, deadline: Deadline) -> bool:
        """Flag a block that a pool is going to call exhausted; False if it may not do so.

        An address that is freed from then on makes the pool's write fail. One that was freed before, after a
        search had seen the block, shows in the block that is flagged. Raises Conflict if the pool is not
        ``previous`` any more: where the block is flagged already, it may well say what it is to say.
        """
        name = objects.pool_name(previous.pool.key)
        known = self._memory.block(key.name)
        if known is not None:
            marks, revision = known.marks, str(known.stored.revision)
        else:
            content = self.resources.get(BLOCKS, key.name, deadline, metadata_only=True)
            if content is None:
                return judge is None or judge(key, Bitmap(BLOCK_SIZE))  # nobody holds an address there
            marks, revision = objects.read_marks(content["metadata"]), content["metadata"]["resourceVersion"]
        if marks.get(name, Marks(0)).flags:
            self._require_current(previous, deadline)
        try:
            flagged = {**marks, name: _flagged(marks, name)}
            metadata = self._change_marks(key, marks, flagged, revision, deadline)
        except (Conflict, Unsettled):
            self._memory.forget_block(key.name)
            return False
        used = objects.read_bitmap(metadata)
        return judge is None or used is None or judge(key, used)

    def _require_current(self, previous: StoredPool, deadline: Deadline) -> None:
        """Raise Conflict unless the pool still is ``previous``."""
        name = objects.pool_name(previous.pool.key)
        content = self.resources.get(POOLS, name, deadline, metadata_only=True)
        if content is None or content["metadata"]["resourceVersion"] != previous.revision:
            self._memory.forget_pool(name)
            raise Conflict(f"pool {name} was written by another process")


def _require(key: PoolKey, found: PoolKey | None) -> None:
    """Raise NameTaken unless the pool of that name is the one that was asked for."""
    if found != key:
        theirs = f"that of {found.range} of network_name {found.network_name!r}" if found else "nobody's"
        raise NameTaken(
            f"range {key.range} of network_name {key.network_name!r} would have the IPPool {key.name}, which "
            f"is {theirs}: choose another network_name"
        )


def _flagged(marks: BlockMarks, name: str) -> Marks:
    mark = marks.get(name, Marks(0))
    return mark._replace(flags=mark.flags + 1)


def _version(pool: Pool) -> int:
    return 6 if ":" in pool.key.range else 4


def _fronts_to_tell(before: Pool, after: Pool, freed: BlockKey | None) -> Collection[BlockKey]:
    """The blocks where others may be searching, above one that a hint no longer keeps them from.

    Above ``freed`` that may be a hint which is gone already.
    """
    version = _version(before)
    told = set()
    for view in {*before.fronts, *before.left}:
        opened = before.exhausted_beyond(after, view)
        fronts = [*before.left.get(view, ())]
        if opened and view in before.fronts:
            fronts.append(before.fronts[view])
        if freed is not None:
            opened.append(freed.base)
        told |= {BlockKey(before.space, version, one) for one in fronts if opened and min(opened) < one}
    return told
