"""The etcd store: every node and every process writes the same blocks, by transactions.

A block is one key. It is written by a transaction that compares its ``mod_revision``, and that writes
what is derived from it in the same step: its bitmap alone, for cheap listings, and which blocks hold
records of which pod and of which attachment. See :mod:`whereabouts.stores.etcd_keys` for the layout.

An ADD in the steady state is that one transaction. The block, the range's pool and what is known of the
pod come from memory, and the transaction compares them all: that the block is the one that was judged,
that no hint of the pool has changed (so that no lower address was freed meanwhile), and that the pod's
interface has no record that was not seen (so that a repeated ADD finds its address). Where one of them
has changed, nothing is written, and the same answer brings what holds now.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter

from whereabouts._bitmap import Bitmap
from whereabouts.block import Block, BlockKey, Space, read_bitmap
from whereabouts.deadline import Deadline
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.search import Outdated
from whereabouts.store import Conflict, Judge, StoredBlock, StoredPool, StoredSlices, StoreError, Unsettled
from whereabouts.stores import etcd_messages as messages
from whereabouts.stores import etcd_values as values
from whereabouts.stores.etcd_connection import PATIENCE, Certificates, Connection, Reply
from whereabouts.stores.etcd_endpoints import EndpointError, parse_endpoints
from whereabouts.stores.etcd_keys import DEFAULT_PREFIX, Keys, block_name
from whereabouts.stores.etcd_memory import Memory, PodBlocks, PodKey
from whereabouts.stores.etcd_slices import EtcdSlices
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from whereabouts.slices import SlicePool

BLOCKS_AT_ONCE = 32
"""Blocks in one answer, about 22 KB each when they are full."""
KEYS_AT_ONCE = 4096
"""Keys or bitmaps in one answer."""
COMPARED = 96
"""Pools and pods in the comparisons of one transaction: enough for an agent's 64 calls at once."""
PART = 30
"""Operations in one part of a transaction. etcd takes 128 (``--max-txn-ops``) less those around it."""


class EtcdStore:
    """A store in etcd v3; see :class:`whereabouts.store.Store`. One for all threads of a process."""

    conflict_pause = 0.01
    concurrent = True
    claims_slices = True
    remembered_hints = None
    given_twice = ()

    def __init__(
        self,
        host: str,
        *,
        prefix: str = DEFAULT_PREFIX,
        username: str = "",
        password: str = "",
        ca_cert_file: str = "",
        cert_file: str = "",
        key_file: str = "",
        patience: float = PATIENCE,
    ) -> None:
        """A store at ``host`` (endpoints, separated by commas), reached with the first request.

        TLS is used where an endpoint begins with ``https://``, or has no scheme and there is a file for
        it; ``cert_file`` and ``key_file`` have an effect only together. ``patience`` is for how many
        seconds the cluster may be away before a request gives up. Raises
        :class:`~whereabouts.store.StoreError` if ``host`` names no endpoint.
        """
        if not (cert_file and key_file):
            cert_file = key_file = ""
        certificates = Certificates(ca_cert_file, cert_file, key_file)
        try:
            endpoints = parse_endpoints(host, secure=any(certificates))
        except EndpointError as error:
            raise StoreError(str(error)) from error
        self._keys = Keys(prefix)
        self.connection = Connection(endpoints, certificates, username, password, prefix, patience=patience)
        self._memory = Memory()
        self._slices = EtcdSlices(self._keys, self.connection)

    def close(self) -> None:
        """See :class:`~whereabouts.store.Store`."""
        self.connection.close()

    # ------------------------------------------------------------------ blocks

    def read_block(self, key: BlockKey, deadline: Deadline, *, fresh: bool = False) -> StoredBlock | None:
        """See :class:`~whereabouts.store.Store`; from memory where it is there, unless ``fresh``."""
        remembered = None if fresh else self._memory.block(key)
        if remembered is not None:
            return remembered
        (found,) = self._read([messages.read(self._keys.block(key))], deadline)
        return self._seen_block(key, found)

    def write_block(
        self, key: BlockKey, previous: StoredBlock | None, block: Block, deadline: Deadline
    ) -> StoredBlock:
        """See :class:`~whereabouts.store.Store`.

        Raises :class:`~whereabouts.search.Outdated` where the pool, or what is known of a pod that is new
        in the block, is not what the store last answered from memory; it is what the store answers next.
        """
        step = _Step.between(previous.trusted() if previous else Block(key, {}), block)
        value = values.write_block(block)
        pools = list(dict(self._pools_that_led(step, key.space)).items())
        # In a write for very many calls the rest is not compared: no address's safety rests on these.
        del pools[COMPARED:]
        pods = [(one, self._memory.pod(one)) for one in step.new_pods[: COMPARED - len(pools)]]
        request = self._block_request(key, previous, value, step, pools, pods)
        reply = self.connection.transact(request, deadline, writes=True)
        if reply.outcome.succeeded:
            return self._written(StoredBlock(key, reply.outcome.revision, block), step, pods)
        return self._not_written(key, previous, value, reply, pools, pods)

    def _pools_that_led(self, step: _Step, space: Space) -> Iterator[tuple[PoolKey, StoredPool]]:
        """The remembered pools whose hints led to addresses that are given."""
        for text, node in step.given:
            for stored in self._memory.pools_of(PoolKey(space.network_name, text), node):
                yield stored.pool.key, stored

    def _block_request(
        self,
        key: BlockKey,
        previous: StoredBlock | None,
        value: bytes,
        step: _Step,
        pools: Sequence[tuple[PoolKey, StoredPool]],
        pods: Sequence[tuple[PodKey, PodBlocks]],
    ) -> bytes:
        keys, name = self._keys, block_name(key)
        block_key = keys.blocks() + name
        pool_keys = [(keys.pool(one), int(stored.revision)) for one, stored in pools]
        pod_keys = [(start := keys.pod(*pod), messages.end_of(start), known.revision) for pod, known in pods]
        compares = [
            messages.unchanged(block_key, int(previous.revision) if previous else 0),
            *(messages.unchanged(*pool) for pool in pool_keys),
            *(messages.none_since(*pod) for pod in pod_keys),
        ]
        success = [
            messages.put(block_key, value),
            messages.put(keys.bitmaps() + name, step.bitmap),
            *_in_parts(step.index_operations(keys, name)),
        ]
        failure = [
            messages.read(block_key),
            *(messages.read(pool) for pool, _ in pool_keys),
            *(messages.read(start, end, keys_only=True) for start, end, _ in pod_keys),
        ]
        return messages.transaction(compares, success, failure)

    def _written(
        self, stored: StoredBlock, step: _Step, pods: Sequence[tuple[PodKey, PodBlocks]]
    ) -> StoredBlock:
        memory, revision = self._memory, int(stored.revision)
        memory.remember_block(stored.key, stored)
        for pod, known in pods:  # of one that was not compared this write has told nothing
            memory.remember_pod(pod, PodBlocks(revision, known.blocks | {stored.key}))
        for pod in step.gone_pods:
            memory.forget_block_of_pod(pod, stored.key)
        return stored

    def _not_written(
        self,
        key: BlockKey,
        previous: StoredBlock | None,
        value: bytes,
        reply: Reply,
        pools: Sequence[tuple[PoolKey, StoredPool]],
        pods: Sequence[tuple[PodKey, PodBlocks]],
    ) -> StoredBlock:
        """Learn from the answer why; return the block if it is this very write that stands there."""
        block, *rest = reply.outcome.found
        stored = self._seen_block(key, block)
        if reply.lost:
            if stored is not None and block.pairs[0].value == value:
                return stored
            raise Unsettled(
                f"the answer to a write of block {key.name} was lost, and it has been written since"
            )
        if (stored and stored.revision) != (previous and previous.revision):
            # Pools and pods are learnt by the next try, which fails if this choice of a block rested on them.
            raise Conflict(f"block {key.name} was written by another process")
        for (pool, _), found in zip(pools, rest[: len(pools)], strict=True):
            self._seen_pool(pool, found)
        for (pod, _), found in zip(pods, rest[len(pools) :], strict=True):
            blocks = frozenset(self._blocks_in(found, self._keys.pod(*pod)))
            self._memory.remember_pod(pod, PodBlocks(reply.outcome.revision, blocks))
        raise Outdated(f"what was known when block {key.name} was chosen has changed")

    def _seen_block(self, key: BlockKey, found: messages.Found) -> StoredBlock | None:
        stored = _stored_block(key, found)
        self._memory.remember_block(key, stored)
        return stored

    def blocks(self, deadline: Deadline) -> Iterator[StoredBlock]:
        """See :class:`~whereabouts.store.Store`; keys that name no block are passed over."""
        beginning = self._keys.blocks()
        listed = self._list(beginning, messages.end_of(beginning), deadline, keys_only=True)
        keys = sorted(key for pair in listed if (key := self._keys.block_at(pair.key, beginning)) is not None)
        for at in range(0, len(keys), BLOCKS_AT_ONCE):
            some = keys[at : at + BLOCKS_AT_ONCE]
            reads = [messages.read(self._keys.block(key)) for key in some]
            for key, found in zip(some, self._read(reads, deadline), strict=True):
                stored = _stored_block(key, found)
                if stored is not None:
                    yield stored

    def learn(self, deadline: Deadline) -> Iterator[StoredBlock]:
        """See :class:`~whereabouts.store.Store`; there is nothing to keep."""
        return self.blocks(deadline)

    def bitmaps(
        self, space: Space, version: int, first: int, last: int, deadline: Deadline
    ) -> Iterator[tuple[BlockKey, Bitmap | None]]:
        """See :class:`~whereabouts.store.Store`."""
        beginning = self._keys.bitmaps()
        for pair in self._list(*self._keys.bitmaps_between(space, version, first, last), deadline):
            key = self._keys.block_at(pair.key, beginning)
            if key is not None:
                yield key, read_bitmap(pair.value)

    def blocks_of_pod(self, pod_ref: str, ifname: str, deadline: Deadline) -> Collection[BlockKey]:
        """See :class:`~whereabouts.store.Store`; from memory: it is :meth:`write_block` that asks etcd."""
        return sorted(self._memory.pod((pod_ref, ifname)).blocks)

    def blocks_of_attachment(
        self, container_id: str, ifname: str, deadline: Deadline
    ) -> Collection[BlockKey]:
        """See :class:`~whereabouts.store.Store`."""
        # Records that were taken over from other layouts may not know their interface.
        beginnings = [self._keys.attachment(container_id, name) for name in {ifname, ""}]
        reads = [messages.read(one, messages.end_of(one), keys_only=True) for one in beginnings]
        answers = zip(beginnings, self._read(reads, deadline), strict=True)
        return sorted({key for one, found in answers for key in self._blocks_in(found, one)})

    def _blocks_in(self, found: messages.Found, beginning: bytes) -> set[BlockKey]:
        named = (self._keys.block_at(pair.key, beginning) for pair in found.pairs)
        return {key for key in named if key is not None}

    # ------------------------------------------------------------------- pools

    def read_pool(self, key: PoolKey, deadline: Deadline) -> StoredPool | None:
        """See :class:`~whereabouts.store.Store`; from memory where it is there."""
        remembered = self._memory.pool(key)
        if remembered is not None:
            return remembered
        (found,) = self._read([messages.read(self._keys.pool(key))], deadline)
        return self._seen_pool(key, found)

    def hints_hold(self, pool: StoredPool) -> bool:
        """See :class:`~whereabouts.store.Store`: whether :meth:`write_block` would compare hints as good.

        A search that passed over no block but those which the remembered pool still calls exhausted has led
        to the lowest one. A slice's pool without a revision is not stored, and has no hints.
        """
        if not pool.revision:
            return True
        known = self._memory.pool(pool.pool.key)
        return known is not None and (known.revision == pool.revision or known.pool.has_hints_of(pool.pool))

    def create_pool(self, pool: Pool, deadline: Deadline) -> StoredPool:
        """See :class:`~whereabouts.store.Store`."""
        reply = self._put_pool(pool, 0, deadline)
        if reply.outcome.succeeded:
            return self._written_pool(pool, reply.outcome.revision)
        stored = self._seen_pool(pool.key, reply.outcome.found[0])
        if stored is None:
            raise Conflict(f"pool {pool.key.name} was deleted while it was being made")
        return stored

    def write_pool(
        self, previous: StoredPool, pool: Pool, deadline: Deadline, *, exhausted: Judge | None = None
    ) -> None:
        """See :class:`~whereabouts.store.Store`."""
        reply = self._put_pool(pool, int(previous.revision), deadline)
        if reply.outcome.succeeded:
            self._written_pool(pool, reply.outcome.revision)
            return
        (found,) = reply.outcome.found
        self._seen_pool(pool.key, found)
        if not (reply.lost and found.pairs and found.pairs[0].value == values.write_pool(pool)):
            raise Conflict(f"pool {pool.key.name} was written by another process")

    def _put_pool(self, pool: Pool, revision: int, deadline: Deadline) -> Reply:
        key = self._keys.pool(pool.key)
        request = messages.transaction(
            [messages.unchanged(key, revision)],
            [messages.put(key, values.write_pool(pool))],
            [messages.read(key)],
        )
        return self.connection.transact(request, deadline, writes=True)

    def _written_pool(self, pool: Pool, revision: int) -> StoredPool:
        stored = StoredPool(revision, pool)
        self._memory.remember_pool(pool.key, stored)
        return stored

    def _seen_pool(self, key: PoolKey, found: messages.Found) -> StoredPool | None:
        stored = None
        for pair in found.pairs:
            stored = StoredPool(pair.mod_revision, values.read_pool(pair.key, pair.value))
        self._memory.remember_pool(key, stored)
        return stored

    def pools(
        self, deadline: Deadline, network_name: str | None = None, *, hinted: bool = False
    ) -> Collection[StoredPool]:
        """See :class:`~whereabouts.store.Store`; never from memory."""
        beginning = self._keys.pools(network_name)
        listed = self._list(beginning, messages.end_of(beginning), deadline)
        stored = [StoredPool(one.mod_revision, values.read_pool(one.key, one.value)) for one in listed]
        for one in stored:
            self._memory.notice_pool(one)
        chosen = [one for one in stored if (one.pool.exhausted if hinted else not one.pool.key.node)]
        return sorted(chosen, key=lambda one: one.pool.key)

    # ------------------------------------------------------------------ slices

    def read_slices(self, name: str, deadline: Deadline, *, fresh: bool = False) -> StoredSlices | None:
        """See :class:`~whereabouts.store.Store`."""
        return self._slices.read(name, deadline, fresh=fresh)

    def slice_pools(self, deadline: Deadline) -> Iterator[StoredSlices]:
        """See :class:`~whereabouts.store.Store`."""
        return self._slices.all(deadline)

    def create_slices(self, pool: SlicePool, deadline: Deadline) -> StoredSlices:
        """See :class:`~whereabouts.store.Store`."""
        return self._slices.put(pool, 0, deadline)

    def write_slices(self, previous: StoredSlices, pool: SlicePool, deadline: Deadline) -> StoredSlices:
        """See :class:`~whereabouts.store.Store`."""
        return self._slices.put(pool, int(previous.revision), deadline)

    def delete_slices(self, previous: StoredSlices, deadline: Deadline) -> None:
        """See :class:`~whereabouts.store.Store`."""
        self._slices.delete(previous, deadline)

    # ------------------------------------------------------------------- reads

    def _read(self, reads: Sequence[bytes], deadline: Deadline) -> Sequence[messages.Found]:
        request = messages.transaction((), reads)
        return self.connection.transact(request, deadline, writes=False).outcome.found

    def _list(
        self, start: bytes, end: bytes, deadline: Deadline, *, keys_only: bool = False
    ) -> Iterator[messages.KeyValue]:
        """The pairs from ``start`` up to and without ``end``, in several answers if they are many."""
        more = True
        while more:
            read = messages.read(start, end, limit=KEYS_AT_ONCE, keys_only=keys_only)
            ((pairs, more),) = self._read([read], deadline)
            yield from pairs
            if more:
                start = pairs[-1].key + b"\0"


_POD = itemgetter(Owner._fields.index("pod_ref"), Owner._fields.index("ifname"))
_ATTACHMENT = itemgetter(Owner._fields.index("container_id"), Owner._fields.index("ifname"))


class _Step(NamedTuple):
    """What a write of a block changes elsewhere."""

    bitmap: bytes
    new_pods: Sequence[PodKey]
    gone_pods: Sequence[PodKey]
    new_attachments: Sequence[tuple[str, str]]
    gone_attachments: Sequence[tuple[str, str]]
    given: Sequence[tuple[str, str]]
    """From which ranges and to which nodes addresses are given by this write."""

    @classmethod
    def between(cls, before: Block, after: Block) -> _Step:
        """The step from one value of a block to the next."""
        changes = after.changes_since(before)
        came = {offset: owner for offset, _, owner in changes if owner is not None}
        went = {offset: owner for offset, owner, _ in changes if owner is not None}
        given = {(owner.range, owner.node) for offset, owner in came.items() if before.owner(offset) is None}
        had, has = before.holders(), after.holders()
        return cls(
            bitmap=after.bitmap(),
            new_pods=_only(_POD, came, had),
            gone_pods=_only(_POD, went, has),
            new_attachments=_only(_ATTACHMENT, came, had),
            gone_attachments=_only(_ATTACHMENT, went, has),
            given=sorted(given),
        )

    def index_operations(self, keys: Keys, name: bytes) -> list[bytes]:
        """The operations that keep the keys right which lead from pods and attachments to the block."""
        return [
            *(messages.put(keys.pod(*pod) + name, b"") for pod in self.new_pods),
            *(messages.put(keys.attachment(*one) + name, b"") for one in self.new_attachments),
            *(messages.delete(keys.pod(*pod) + name) for pod in self.gone_pods),
            *(messages.delete(keys.attachment(*one) + name) for one in self.gone_attachments),
        ]


def _only(
    name: Callable[[Owner], tuple[str, str]], owners: Mapping[int, Owner], others: Iterable[Owner]
) -> Sequence[tuple[str, str]]:
    """The names of ``owners`` that no owner of ``others`` has."""
    return sorted(set(map(name, owners.values())).difference(map(name, others))) if owners else []


def _in_parts(operations: Sequence[bytes]) -> list[bytes]:
    """The operations, in nested transactions where they are more than etcd takes in one."""
    if len(operations) <= PART:
        return list(operations)
    return [messages.nested(operations[at : at + PART]) for at in range(0, len(operations), PART)]


def _stored_block(key: BlockKey, found: messages.Found) -> StoredBlock | None:
    if not found.pairs:
        return None
    (pair,) = found.pairs
    return StoredBlock.judged(
        key, pair.mod_revision, lambda: values.read_block(key, pair.value), lambda: (("value", pair.value),)
    )
