"""The slice of a range that a node gives addresses of first, and its pool.

On Kubernetes a controller cuts and assigns; in the other stores the node itself does, when it gives its first
address of the range.
"""

from __future__ import annotations

from whereabouts.addresses import Network, parse_network
from whereabouts.block import Space
from whereabouts.deadline import Deadline
from whereabouts.errors import WhereaboutsError
from whereabouts.pool import Pool
from whereabouts.ranges import Range
from whereabouts.slices import SlicePool, SliceRule, assign, recut
from whereabouts.store import Conflict, Store, StoredPool, StoredSlices, Unsettled
from whereabouts.usage import in_use
from whereabouts.values import NamedTuple


class NoSlice(WhereaboutsError):
    """The node has no slice of the range; the text begins as the Go plugin's, which tools match on."""


class Cut(NamedTuple):
    """A range as it is configured, how it is cut, and the node that wants a slice of it."""

    configured: Range
    rule: SliceRule
    node: str

    def none(self, store: Store) -> NoSlice:
        """Say that the node has no slice, and what can be done."""
        why = "none is left" if store.claims_slices else "the controller has given it none"
        return NoSlice(
            f"no allocated node slice for node {self.node}: of {self.configured.network}, cut into slices of "
            f"{self.rule.size} ({self.rule.pool}), {why}; make node_slice_size smaller slices, or set "
            "node_slice_borrow: true, with which a node needs none"
        )


def slice_of(store: Store, cut: Cut, deadline: Deadline, *, sure: bool = True) -> Network | None:
    """The slice that the node has, as the store says; None if it has none.

    That it has none holds now if ``sure``, else within the last minute: who can do without a slice need not
    read all of them at each ADD.
    """
    found = _assigned(cut, store.read_slices(cut.rule.pool, deadline))
    if found is not None or not sure:
        return found
    return _assigned(cut, store.read_slices(cut.rule.pool, deadline, fresh=True))


def _assigned(cut: Cut, stored: StoredSlices | None) -> Network | None:
    """The node's slice, where it is a part of the range as it is configured now."""
    text = None if stored is None else stored.pool.slice_of(cut.node)
    if text is None:
        return None
    found, whole = parse_network(text), cut.configured.network
    inside = found.version == whole.version and found.prefixlen >= whole.prefixlen
    return found if inside and found.network_address in whole else None


def claim(store: Store, cut: Cut, space: Space, deadline: Deadline) -> Network | None:
    """Take the lowest free slice for the node, and cut the range first where that was not done as it should.

    Only a slice in which no address is used, and some can be given. None where there is none.
    """
    pause = store.conflict_pause
    while True:
        stored = store.read_slices(cut.rule.pool, deadline, fresh=True)
        pool = _as_configured(cut, stored)
        nodes = {one.node for one in pool.slices} | {cut.node}
        after, _ = assign(pool, nodes, lambda text: _spoilt(store, cut, space, text, deadline))
        text = after.slice_of(cut.node)
        if text is None:
            return None
        try:
            if stored is None:
                store.create_slices(after, deadline)
            elif after != stored.pool:
                store.write_slices(stored, after, deadline)
            return parse_network(text)
        except (Conflict, Unsettled):
            deadline.pause(pause, f"the slices {cut.rule.pool} are written by others all the time")
            pause *= 2


def _as_configured(cut: Cut, stored: StoredSlices | None) -> SlicePool:
    uncut = cut.rule.uncut(cut.configured.network)
    if stored is None:
        return uncut
    same = [one.range for one in stored.pool.slices] == [one.range for one in uncut.slices]
    return stored.pool if same else recut(stored.pool, uncut)


def _spoilt(store: Store, cut: Cut, space: Space, text: str, deadline: Deadline) -> bool:
    part = parse_network(text)
    return not cut.configured.within(part).capacity() or in_use(store, space, part, deadline)


def pool_of_slice(store: Store, whole: Pool, part: Network, node: str, deadline: Deadline) -> StoredPool:
    """The pool of a node's slice, created on its first use; its space is that of the whole range.

    A slice of one block needs no hints, and is not stored where there is no pool of the Go plugin to adopt:
    who frees an address looks at all that are.
    """
    key = whole.key.of_slice(str(part), node)
    if store.claims_slices and Pool(key, whole.shared).blocks == 1:
        return StoredPool(0, Pool(key, whole.shared))
    while True:
        stored = store.read_pool(key, deadline) or store.create_pool(Pool(key, whole.shared), deadline)
        if stored.pool.shared == whole.shared:
            return stored
        # The range's pool was deleted since, to give it another space: these hints are of the old one.
        try:
            store.write_pool(stored, Pool(key, whole.shared), deadline)
        except Conflict:
            deadline.pause(store.conflict_pause, f"pool {key.name} is written by others all the time")
