"""A small cluster in which everything happens at once, reproducibly: pods, kubelets, API server, datastore.

One seed is one schedule. The reconciler under test is the real one; whenever it asks the store or the cluster
for something, others may go on first: attachments and detachments, step by step, pods that come, end, are
deleted by force and come again under their names, nodes that go, and time. What is said about liveness here
is the truth, from which the API server's word may differ for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from ipaddress import ip_address
from random import Random
from typing import Any

from whereabouts._bitmap import Bitmap
from whereabouts.allocator import Allocator
from whereabouts.block import BLOCK_SIZE, Block, BlockKey, Space
from whereabouts.changes import assign, release
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline
from whereabouts.liveness import Node, Pod
from whereabouts.log import SILENT
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.reconcile import Reconciler
from whereabouts.store import Conflict, StoredBlock, StoredPool, Unavailable

from .faults import Killed, Never

RANGE = "10.0.0.0/29"
KEY = BlockKey.of(Space(), ip_address("10.0.0.0"))
BARRED = ((0, 1), (5, BLOCK_SIZE))
"""Four addresses: few enough to be used again and again."""
ADDRESSES = tuple(ip_address("10.0.0.0") + offset for offset in range(6))
POOL = StoredPool(1, Pool(PoolKey("", RANGE), True))
NAMES = ("ns/a", "ns/b")
NODES = ("n1", "n2")
STALE_SECONDS = 30.0
"""How old a list may be."""
ATTACH_SECONDS = 240.0
"""How long all networks of a pod may take to be attached, and its network status to say so."""
MIRROR_SECONDS = 60.0
"""How long a running static pod may be without its mirror."""
FLAP_SECONDS = 4.0
"""How long the Node of a running node may be missing. Once: what is missing at each look is gone."""
SOON = Never()
TICKS = (0.2, 1.0, 3.0, 6.0, 6.0, 20.0, 100.0, 310.0)

Actor = Generator[None]


class Violation(BaseException):
    """An address of a live pod was freed, or given twice, or one of a dead pod was left.

    Not an Exception: nothing may catch it and go on.
    """


class Life:
    """A pod as it is: the API server's word of it, and what its node knows."""

    __slots__ = (
        "alive",
        "boxes",
        "busy",
        "go",
        "limit",
        "node",
        "pod",
        "record_uid",
        "reports",
        "static",
        "uid",
    )

    def __init__(
        self, uid: str, record_uid: str, ref: str, node: str, reports: bool, static: bool, go: bool
    ) -> None:
        self.uid = uid
        self.record_uid = record_uid
        self.node = node
        self.reports = reports
        self.static = static
        self.go = go
        self.limit = 0.0
        self.alive = True
        self.busy = True
        self.boxes: dict[str, Box] = {}
        uids = (uid + "-mirror", uid) if static else (uid,)
        self.pod = Pod(ref, uids, node, "Pending", False, False, None)


class Box:
    """An interface in a sandbox; it holds an address from the write of its record to its teardown."""

    __slots__ = ("container", "ifname", "life", "offset")

    def __init__(self, life: Life, container: str, ifname: str) -> None:
        self.life = life
        self.container = container
        self.ifname = ifname
        self.offset = -1


class World:
    """One schedule."""

    def __init__(self, seed: int, reconciler: type[Reconciler] = Reconciler) -> None:
        self.random = Random(seed).random
        self.now = 1000.0
        self.revision = 0
        self.block: StoredBlock | None = None
        self.old_blocks: list[tuple[float, StoredBlock | None]] = [(self.now, None)]
        self.api: dict[str, Pod] = {}
        self.old_apis: list[tuple[float, dict[str, Pod]]] = [(self.now, {})]
        self.known_nodes = {name: Node(name, ready=True, out_of_service=False) for name in NODES}
        self.old_nodes: list[tuple[float, dict[str, Node]]] = [(self.now, self.known_nodes)]
        self.nodes_gone: set[str] = set()
        self.lives: dict[str, Life] = {}
        self.boxes: list[Box] = []
        self.actors: list[Actor] = []
        self.duties: list[tuple[float, Callable[[], None]]] = []
        self.numbers = 0
        self.quiet = False
        self.nested = False
        self.freed: list[str] = []
        self.kind = reconciler
        self.reconcilers = [self._reconciler(), self._reconciler()]

    def _reconciler(self) -> Reconciler:
        allocator = Allocator(self, DirectCommitter(self), SILENT)  # type: ignore[arg-type]
        freed = self.freed
        both: Any = self  # a store, and a cluster
        return self.kind(both, both, allocator, lambda one: freed.append(one.reason), clock=self.clock)

    def clock(self) -> float:
        return self.now

    def chance(self, share: float) -> bool:
        return self.random() < share

    def one_of(self, things: Any) -> Any:
        return things[int(self.random() * len(things))]

    # ------------------------------------------------------------ the schedule

    def play(self) -> None:
        """Play the schedule to its end. Raises Violation."""
        for _ in range(3 + int(self.random() * 4)):
            for _ in range(1 + int(self.random() * 7)):
                self.step()
            self.tick(self.one_of(TICKS))
            self.look()
        self.settle()

    def look(self) -> None:
        choice = self.random()
        try:
            if choice < 0.55:
                self.reconcilers[0].audit(SOON)
            elif choice < 0.9:
                self.reconcilers[0].look_again(SOON)
            else:
                raise Killed
        except Unavailable:
            pass
        except Killed:
            self.reconcilers[0] = self._reconciler()

    def settle(self) -> None:
        """Nothing new happens, and what was begun ends: two audits later nothing of the dead is left."""
        self.quiet = True
        self.tick(1000.0)
        for actor in self.actors:
            for _ in actor:
                pass
        self.tick(310.0)
        for _ in range(2):
            failures = self.reconcilers[0].audit(SOON).failures
            if failures:
                raise Violation(f"an audit failed: {failures}")
            self.tick(310.0)
        recorded = dict(self.block.trusted()) if self.block else {}
        held = {box.offset for box in self.boxes if self.lives_in(box)}
        left = {
            offset: owner
            for offset, owner in recorded.items()
            if offset not in held and not self.must_be_kept(owner)
        }
        if left:
            raise Violation(f"after two quiet audits {left} are left; the pods are {list(self.api.values())}")
        if held - recorded.keys():
            raise Violation(f"in use, and not recorded: {held - recorded.keys()}")

    def must_be_kept(self, owner: Owner) -> bool:
        """Whether nobody can know that the record is of no use: its pod lives, and keeps silent."""
        pod = self.api.get(owner.pod_ref)
        return (
            pod is not None
            and owner.pod_uid in (*pod.uids, "")
            and (pod.addresses is None or pod.phase == "Pending")
        )

    def others_go_on(self) -> None:
        """Before each thing that the reconciler asks for."""
        if self.quiet or self.nested:
            return
        choice = self.random()
        if choice < 0.5:
            return
        if choice < 0.93:
            self.step()
            if choice < 0.8:
                self.step()
        elif choice < 0.95:
            self.tick(self.one_of(TICKS[:4]))
        elif choice < 0.965:
            self.nested = True
            try:
                self.reconcilers[1].audit(SOON)  # of another controller, which is the leader, too
            finally:
                self.nested = False
        elif choice < 0.985:
            raise Unavailable("the API server is away")
        else:
            raise Killed

    def step(self) -> None:
        """One thing happens, somewhere."""
        if self.actors and self.random() < 0.65:
            at = int(self.random() * len(self.actors))
            if next(self.actors[at], self) is self:
                del self.actors[at]
        elif self.duties and self.random() < 0.3:
            self.duties.pop(int(self.random() * len(self.duties)))[1]()
        else:
            self.happen()

    def tick(self, seconds: float) -> None:
        """Time passes; what has to be done by then is done."""
        later = self.now + seconds
        for duty in [duty for duty in self.duties if duty[0] <= later]:
            if duty in self.duties:
                self.duties.remove(duty)
                duty[1]()
        self.now = later

    def duty(self, seconds: float, action: Callable[[], None]) -> None:
        if self.quiet:
            action()
        else:
            self.duties.append((self.now + seconds, action))

    # ------------------------------------------------------- pods and kubelets

    def happen(self) -> None:
        """A new thing begins, at a pod of one name."""
        ref = self.one_of(NAMES)
        life = self.lives.get(ref)
        if life is None:
            if ref not in self.api:
                self.create(ref)
            return
        choice = self.random()
        if choice < 0.15:
            self.remove(life, by_force=True)
        elif life.busy or not life.alive:
            return
        elif choice < 0.28:
            self.begin(life, self.delete(life))
        elif choice < 0.36:
            self.begin(life, self.finish(life))
        elif choice < 0.48:
            self.begin(life, self.reboot(life))
        elif choice < 0.62 and life.reports:
            self.begin(life, self.plug(life))
        elif choice < 0.85:
            self.node_goes(life)
        elif life.static:
            self.lose_mirror(life)

    def begin(self, life: Life, actor: Actor) -> None:
        """The kubelet does one thing at a time for a pod, and gives up what takes too long."""
        life.busy = True
        life.limit = self.now + ATTACH_SECONDS
        self.actors.append(actor)
        self.duty(ATTACH_SECONDS, lambda: self.finish_in_time(life, actor))

    def finish_in_time(self, life: Life, actor: Actor) -> None:
        for _ in actor:
            pass
        if life.boxes:
            self.report(life, "Running")

    def create(self, ref: str) -> None:
        self.numbers += 1
        nodes = [name for name, node in self.known_nodes.items() if node.ready]
        if not nodes:
            return
        choice = self.random()
        static, go = choice < 0.1, choice > 0.9
        uid = f"{self.numbers:032x}" if static else f"uid-{self.numbers}"
        known = uid if choice < 0.7 else ""
        life = Life(uid, known, ref, self.one_of(nodes), self.chance(0.85), static and bool(known), go)
        self.lives[ref] = life
        self.publish(life)
        self.begin(life, self.start(life))

    def start(self, life: Life) -> Actor:
        """The kubelet makes the sandbox, again where that fails, and Multus reports at the end."""
        yield
        if (yield from self.attach(life, "net1")):
            if life.reports and self.chance(0.3):
                yield from self.attach(life, "net2")
            self.duty(life.limit - self.now, lambda: self.report(life, "Running"))
        life.busy = False

    def attach(self, life: Life, ifname: str) -> Generator[None, None, bool]:
        """ADD, until one comes to its end."""
        for _ in range(3):
            self.numbers += 1
            box = Box(life, f"c{self.numbers}", ifname)
            owner = self.record(life, box)
            life.go = False
            if not (yield from self.add(box, owner)):
                return False
            if not self.chance(0.15) or not life.alive:
                return True
            box.offset = -1  # killed before it came to anything; the kubelet makes another sandbox
            if self.chance(0.5):
                self.actors.append(self.detach(box, owner))
            yield
        life.boxes.pop(ifname, None)
        return False

    def record(self, life: Life, box: Box) -> Owner:
        """Who ADD says that it is; the Go plugin's records say less."""
        said = ("", "") if life.go else (box.ifname, life.node)
        return Owner(
            life.pod.ref, life.record_uid, box.container, said[0], said[1], "net", RANGE, int(self.now)
        )

    def add(self, box: Box, owner: Owner) -> Generator[None, None, bool]:
        change = assign(owner, BARRED)
        while True:
            stored = self.block
            yield
            if not box.life.alive and self.lives.get(owner.pod_ref):
                return False  # Multus compares the UID with that of the pod that has the name now
            before = stored.trusted() if stored else Block(KEY, {})
            after, given = change(before)
            if given is None:
                return False
            try:
                if after is not before:
                    self._write(stored, after, "ADD")
            except Conflict:
                continue
            box.offset = KEY.offset(given.address)
            box.life.boxes[box.ifname] = box
            self.boxes.append(box)
            self.look_for_twins(box)
            return True

    def detach(self, box: Box, owner: Owner) -> Actor:
        """DEL, as late as it may be."""
        change = release(lambda _, record: record.belongs_to(owner.container_id, owner.ifname))
        while True:
            stored = self.block
            yield
            if stored is None:
                return
            after, freed = change(stored.trusted())
            if not freed:
                return
            try:
                self._write(stored, after, "DEL")
                return
            except Conflict:
                continue

    def tear_down(self, life: Life, *, lost: float) -> None:
        """Sandboxes end; the DEL of each comes at some time, or never."""
        for box in life.boxes.values():
            box.offset = -1
            if not self.chance(lost):
                owner = self.record(life, box)
                self.actors.append(self.detach(box, owner))
        life.boxes.clear()

    def report(self, life: Life, phase: str) -> None:
        """Multus writes the network status, the kubelet the phase."""
        if not life.alive or life.pod.ref not in self.api or self.lives.get(life.pod.ref) is not life:
            return
        addresses = None
        if life.reports:
            addresses = frozenset(ADDRESSES[box.offset] for box in life.boxes.values() if box.offset >= 0)
        life.pod = life.pod._replace(phase=phase, addresses=addresses)
        self.publish(life)

    def delete(self, life: Life) -> Actor:
        if not life.alive:
            return
        life.pod = life.pod._replace(deleting=True)
        self.publish(life)
        yield
        life.alive = False
        self.tear_down(life, lost=0.4)
        yield
        self.remove(life, by_force=False)

    def finish(self, life: Life) -> Actor:
        if life.static:
            life.busy = False
            return
        yield
        if life.alive:
            self.tear_down(life, lost=0.6)
            life.alive = False
            if self.api.get(life.pod.ref) == life.pod:
                life.pod = life.pod._replace(phase="Succeeded")
                self.publish(life)

    def reboot(self, life: Life) -> Actor:
        """New sandboxes for old ones, under the same UID, while what the pod reports stays as it was."""
        names = tuple(life.boxes)
        self.tear_down(life, lost=0.6)
        for ifname in names:
            yield
            if not life.alive:
                return
            yield from self.attach(life, ifname)
        self.duty(life.limit - self.now, lambda: self.report(life, "Running"))
        life.busy = False

    def plug(self, life: Life) -> Actor:
        """An interface is plugged in, or pulled out."""
        box = life.boxes.get("net2")
        if box is None:
            yield from self.attach(life, "net2")
        else:
            owner = self.record(life, box)
            box.offset = -1
            del life.boxes["net2"]
            if self.chance(0.5):
                self.actors.append(self.detach(box, owner))
            yield
        self.duty(life.limit - self.now, lambda: self.report(life, "Running"))
        life.busy = False

    def remove(self, life: Life, *, by_force: bool) -> None:
        """The pod's object goes. By force: whatever becomes of its sandboxes."""
        ref = life.pod.ref
        if self.lives.get(ref) is not life:
            return
        life.alive = False
        del self.lives[ref]
        self.unpublish(ref)
        if by_force:
            self.tear_down(life, lost=0.5)

    def lose_mirror(self, life: Life) -> None:
        """Somebody deletes the mirror of a static pod, which runs on."""
        if life.pod.ref in self.api:
            life.static = False  # once
            self.unpublish(life.pod.ref)
            self.duty(MIRROR_SECONDS, lambda: self.report_mirror(life))

    def report_mirror(self, life: Life) -> None:
        if life.alive and self.lives.get(life.pod.ref) is life:
            uids = (life.pod.uids[0] + "-anew", life.uid)
            life.pod = life.pod._replace(uids=uids, addresses=None)
            self.publish(life)

    def node_goes(self, life: Life) -> None:
        """A node goes: its Node for a moment, its machine for good, or its connection for a while."""
        name = life.node
        if name not in self.known_nodes or name in self.nodes_gone:
            return
        self.nodes_gone.add(name)
        choice = self.random()
        if choice < 0.3:
            self.cut_off(name)
            return
        if choice < 0.5:
            self.know_nodes({**self.known_nodes, name: Node(name, False, True)})
        else:
            self.know_nodes({other: node for other, node in self.known_nodes.items() if other != name})
            if self.chance(0.7):
                for reconciler in self.reconcilers:
                    reconciler.node_deleted(name)
            if choice < 0.7:
                self.duty(FLAP_SECONDS, lambda: self.node_comes(name))
                return
        for other in self.lives_on(name):
            other.alive = False
            self.tear_down(other, lost=1.0)
            self.duty(100.0, lambda other=other: self.remove(other, by_force=True))  # type: ignore[misc]
        self.duty(150.0, lambda: self.node_comes(name))

    def cut_off(self, name: str) -> None:
        """Nobody hears of the node, its pods are evicted, and run on until it hears of that."""
        self.know_nodes({**self.known_nodes, name: Node(name, False, False)})
        for life in self.lives_on(name):
            life.pod = life.pod._replace(deleting=True, disrupted=True)
            if life.pod.ref in self.api:
                self.publish(life)
            self.duty(400.0, lambda life=life: self.actors.append(self.delete(life)))  # type: ignore[misc]
        self.duty(399.0, lambda: self.node_comes(name))

    def lives_on(self, name: str) -> list[Life]:
        return [life for life in self.lives.values() if life.node == name]

    def node_comes(self, name: str) -> None:
        self.know_nodes({**self.known_nodes, name: Node(name, True, False)})

    def know_nodes(self, nodes: dict[str, Node]) -> None:
        self.known_nodes = nodes
        self.old_nodes.append((self.now, nodes))

    # ------------------------------------------------------------------- truth

    def lives_in(self, box: Box) -> bool:
        return box.offset >= 0 and box.life.alive

    def look_for_twins(self, box: Box) -> None:
        for other in self.boxes:
            if (
                other is not box
                and other.offset == box.offset
                and self.lives_in(other)
                and self.lives_in(box)
            ):
                if other.life is box.life and other.ifname == box.ifname:
                    continue
                raise Violation(f"{ADDRESSES[box.offset]} is in {box.container} and in {other.container}")

    def _write(self, previous: StoredBlock | None, block: Block, who: str) -> StoredBlock:
        now = self.block
        if (now.revision if now else None) != (previous.revision if previous else None):
            raise Conflict("written by another")
        before = now.trusted() if now else Block(KEY, {})
        for offset, _, owner in block.changes_since(before):
            if owner is None:
                for box in self.boxes:
                    if box.offset == offset and self.lives_in(box):
                        what = f"{ADDRESSES[offset]} of the live {box.life.pod} in {box.container}"
                        raise Violation(f"{who} freed {what}: {before.owner(offset)}")
        self.revision += 1
        self.block = StoredBlock(KEY, self.revision, block, "", ())
        self.old_blocks.append((self.now, self.block))
        return self.block

    def publish(self, life: Life) -> None:
        self.api = {**self.api, life.pod.ref: life.pod}
        self.old_apis.append((self.now, self.api))

    def unpublish(self, ref: str) -> None:
        pod = self.api.get(ref)
        if pod is None:
            return
        self.api = {name: other for name, other in self.api.items() if name != ref}
        self.old_apis.append((self.now, self.api))
        if self.chance(0.7):
            for reconciler in self.reconcilers:
                reconciler.pod_deleted(pod)

    def stale(self, versions: list[tuple[float, Any]]) -> Any:
        """One of the values that something had in the last seconds, mostly the present one."""
        if self.quiet or self.random() < 0.6:
            return versions[-1][1]
        back = len(versions) - 1
        while back > 0 and versions[back][0] > self.now - STALE_SECONDS:
            back -= 1
        return versions[back + int(self.random() * (len(versions) - back))][1]

    # ------------------------------------------- what the reconciler is shown

    conflict_pause = 0.0
    remembered_hints = None

    def read_block(self, key: BlockKey, deadline: Deadline, *, fresh: bool = False) -> StoredBlock | None:
        self.others_go_on()
        stored: StoredBlock | None = self.block if fresh else self.stale(self.old_blocks)
        return stored

    def write_block(
        self, key: BlockKey, previous: StoredBlock | None, block: Block, deadline: Deadline
    ) -> StoredBlock:
        self.others_go_on()
        stored = self._write(previous, block, "reconciler")
        self.others_go_on()
        return stored

    def blocks(self, deadline: Deadline) -> Iterator[StoredBlock]:
        self.others_go_on()
        stored = self.stale(self.old_blocks)
        if stored is not None:
            yield stored

    def bitmaps(
        self, space: Space, version: int, first: int, last: int, deadline: Deadline
    ) -> Iterator[tuple[BlockKey, Bitmap | None]]:
        self.others_go_on()
        if self.block is not None:
            offsets = [offset for offset, _ in self.block.trusted()]
            yield KEY, Bitmap.from_offsets(offsets, BLOCK_SIZE)

    def pools(self, deadline: Deadline, name: str | None = None, *, hinted: bool = False) -> list[StoredPool]:
        return [] if hinted else [POOL]

    def pods(self, deadline: Deadline) -> Iterator[Pod]:
        self.others_go_on()
        yield from self.stale(self.old_apis).values()

    def pod(self, ref: str, deadline: Deadline) -> Pod | None:
        self.others_go_on()
        return self.api.get(ref)

    def nodes(self, deadline: Deadline) -> Mapping[str, Node]:
        self.others_go_on()
        return self.stale(self.old_nodes)  # type: ignore[no-any-return]

    def node(self, name: str, deadline: Deadline) -> Node | None:
        self.others_go_on()
        return self.known_nodes.get(name)
