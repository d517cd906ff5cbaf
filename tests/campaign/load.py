"""Load: on each node several workers that begin and end pods, as the kubelet and its runtime do.

A pod has one to three interfaces. An ADD that fails is followed by the DEL of all of them and by another
sandbox of the same pod. DEL is called again until it succeeds. Some pods stay for many rounds, some lose
their sandbox and get another before the old one's DEL, some callers die, and of some sandboxes nothing is
heard any more.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random
from time import monotonic

from .calls import NATIVE, ONE_SHOT, Call, make_call, result_of
from .journal import ADD, CHECK, COLLECT, DELETE, ENDS, Entry, Journal
from .networks import NETWORKS, Network
from .node import AgentNode
from .world import Attachment, World

BY_NAME = {network.name: network for network in NETWORKS}
MOST_SANDBOXES = 3
"""Sandboxes that are tried for one pod before it is given up."""


class Pod:
    """A pod on its node, with the sandbox that it has now."""

    def __init__(self, node: str, name: str, networks: Sequence[str], program: str, stays_until: int) -> None:
        self.node = node
        self.name = name
        self.program = program
        """By which all its calls are made: one runtime has one plugin."""
        self.stays_until = stays_until
        """The round in which it may end."""
        self.uid = ""
        self.sandboxes = 0
        self.results: dict[Attachment, Mapping[str, object]] = {}
        self._networks = networks
        self.interfaces: list[Attachment] = []

    def new_sandbox(self) -> None:
        """From here on ``interfaces`` are those of another sandbox."""
        self.sandboxes += 1
        container = f"{self.name.partition('/')[2]}-{self.sandboxes}"
        self.interfaces = [
            Attachment(self.node, network, self.name, container, f"net{number}")
            for number, network in enumerate(self._networks)
        ]


class Leaving:
    """Interfaces of a sandbox that ended, of which DEL has to succeed yet."""

    def __init__(self, pod: Pod, interfaces: Sequence[Attachment], due: float, *, again: bool) -> None:
        self.pod = pod
        self.left = list(interfaces)
        self.due = due
        self.again = again
        """Whether the pod gets another sandbox then."""


class Gate:
    """Lets GC alone onto a node, as a runtime has to (CNI SPEC, section 2: GC), and other calls together."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    @contextmanager
    def together(self) -> Iterator[None]:
        """With others."""
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Without others."""
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._closed = True
            self._changed.wait_for(lambda: self._inside == 0)
        try:
            yield
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()


class NodeLoad:
    """The pods of one node, and what is done with them."""

    def __init__(self, node: AgentNode, world: World, journal: Journal) -> None:
        self.node = node
        self.gate = Gate()
        self.living: list[Pod] = []
        self.leaving: list[Leaving] = []
        self.known: set[Attachment] = set()
        """Interfaces of sandboxes that the runtime knows: what it gives to GC."""
        self._lock = threading.Lock()
        self._world = world
        self._journal = journal
        self._made = 0

    # ------------------------------------------------------------------------ calls

    def call(self, call: Call, random: Random) -> Entry:
        """Make a call beside others, and write it down."""
        with self.gate.together():
            entry = make_call(call, self.node, self._world.ipam, random)
            self._journal.write(entry)
        return entry

    def _call(self, command: str, pod: Pod, one: Attachment, random: Random, **members: object) -> Entry:
        return self.call(Call(command, one, BY_NAME[one.network], members, pod.uid, pod.program), random)

    def _previous(self, pod: Pod, one: Attachment) -> dict[str, object]:
        """The member that later calls bring along, where the runtime has it."""
        result = pod.results.get(one)
        return {} if result is None else {"prevResult": result}

    # ------------------------------------------------------------------------- pods

    def begin_pod(self, random: Random, number: int) -> None:
        """Begin a pod, which lives or, if an ADD of it fails, goes."""
        with self._lock:
            self._made += 1
            name = f"default/r{number}-{self.node.name}-{self._made}"
        weights = [network.share for network in NETWORKS]
        interfaces = random.choices((1, 2, 3), (5, 3, 2))[0]
        networks = [network.name for network in random.choices(NETWORKS, weights, k=interfaces)]
        program = ONE_SHOT if random.random() < 0.02 else NATIVE
        stays_until = number + random.randint(1, 10) if random.random() < 0.2 else number
        pod = Pod(self.node.name, name, networks, program, stays_until)
        pod.uid = self._world.pod_begins(pod.node, pod.name)
        self._begin_sandbox(pod, random)

    def _begin_sandbox(self, pod: Pod, random: Random) -> None:
        pod.new_sandbox()
        with self._lock:
            self.known.update(pod.interfaces)
        for one in pod.interfaces:
            entry = self._call(ADD, pod, one, random)
            if not entry.succeeded or (result := result_of(entry)) is None:
                self._sandbox_failed(pod, entry, random)
                return
            pod.results[one] = result
            self._world.attached(one, entry.addresses())
            self._look_again(pod, one, random)
        with self._lock:
            self.living.append(pod)

    def _look_again(self, pod: Pod, one: Attachment, random: Random) -> None:
        """Now and then CHECK, and the same ADD once more, whose answer nobody waits for."""
        if random.random() < 0.1:
            self._call(CHECK, pod, one, random, **self._previous(pod, one))
        if random.random() < 0.05:
            self._call(ADD, pod, one, random)

    def _sandbox_failed(self, pod: Pod, entry: Entry, random: Random) -> None:
        if entry.killed and random.random() < 0.3:
            self._vanish(pod)
            return
        again = pod.sandboxes < MOST_SANDBOXES and random.random() < 0.7
        self._end(pod, again=again, seconds=random.uniform(0.0, 0.5))

    def _write_ends(self, interfaces: Sequence[Attachment]) -> None:
        now = monotonic()
        for one in interfaces:
            self._journal.write(Entry(ENDS, one, now, now, 0.0))

    def _end(self, pod: Pod, *, again: bool, seconds: float) -> None:
        """End a sandbox, and the pod unless it is to have another; its DELs begin in some seconds."""
        self._write_ends(pod.interfaces)
        if not again:
            self._world.pod_ends(pod.node, pod.name)
        with self._lock:
            self.leaving.append(Leaving(pod, pod.interfaces, monotonic() + seconds, again=again))

    def _vanish(self, pod: Pod) -> None:
        """Let the pod be gone, without a DEL."""
        self._write_ends(pod.interfaces)
        self._world.pod_ends(pod.node, pod.name)
        with self._lock:
            self.known.difference_update(pod.interfaces)

    def take_living(self, random: Random, number: int) -> Pod | None:
        """Take one out that may end in this round."""
        with self._lock:
            able = [pod for pod in self.living if pod.stays_until <= number]
            if not able:
                return None
            pod = random.choice(able)
            self.living.remove(pod)
            return pod

    def end_pod(self, random: Random, number: int) -> None:
        """End a pod that lives, or let it go on with another sandbox."""
        pod = self.take_living(random, number)
        if pod is None:
            return
        fate = random.random()
        if fate < 0.01:
            self._vanish(pod)
        elif fate < 0.1:
            self._replace_sandbox(pod, random)
        elif fate < 0.2:
            self._end(pod, again=True, seconds=0.0)
        else:
            self._end(pod, again=False, seconds=random.uniform(0.0, 0.2))

    def _replace_sandbox(self, pod: Pod, random: Random) -> None:
        """Begin another sandbox before the old one's DEL comes."""
        old = pod.interfaces
        self._write_ends(old)
        self._begin_sandbox(pod, random)
        with self._lock:
            self.leaving.append(Leaving(pod, old, monotonic() + random.uniform(0.0, 1.0), again=False))

    # -------------------------------------------------------------------------- DEL

    def take_due(self) -> Leaving | None:
        """Take out a sandbox whose DELs are due."""
        now = monotonic()
        with self._lock:
            found = next((one for one in self.leaving if one.due <= now), None)
            if found is not None:
                self.leaving.remove(found)
            return found

    def delete(self, sandbox: Leaving, random: Random, *, draining: bool) -> None:
        """DEL of what is left of a sandbox; what fails comes back later."""
        pod = sandbox.pod
        while sandbox.left:
            one = sandbox.left[-1]
            members = self._previous(pod, one) if random.random() < 0.8 else {}
            if not self._call(DELETE, pod, one, random, **members).succeeded:
                sandbox.due = monotonic() + random.uniform(0.05, 1.0)
                with self._lock:
                    self.leaving.append(sandbox)
                return
            if random.random() < 0.03:
                self._call(DELETE, pod, one, random, **members)
            sandbox.left.pop()
            with self._lock:
                self.known.discard(one)
            pod.results.pop(one, None)
        if sandbox.again and not draining:
            self._begin_sandbox(pod, random)
        elif sandbox.again:
            self._world.pod_ends(pod.node, pod.name)

    # --------------------------------------------------------------------------- GC

    def collect(self, random: Random) -> None:
        """GC of one network, while nothing else is called on the node."""
        network = random.choice(NETWORKS)
        with self.gate.alone():
            with self._lock:
                valid = [one for one in self.known if one.network == network.name]
            self._journal.write(
                make_call(collecting(self.node.name, network, valid), self.node, self._world.ipam, random)
            )


def collecting(node: str, network: Network, valid: Sequence[Attachment]) -> Call:
    """A GC call that tells a node's valid attachments."""
    listed = [{"containerID": one.container_id, "ifname": one.ifname} for one in valid]
    members = {"cniVersion": "1.1.0", "cni.dev/valid-attachments": listed}
    return Call(COLLECT, Attachment(node, network.name, "", "", ""), network, members)


class Load:
    """The load of all nodes, round by round."""

    def __init__(self, world: World, journal: Journal, *, workers: int = 4, pause: float = 0.06) -> None:
        """``workers`` of each node, which rest for about ``pause`` seconds after each step."""
        self.nodes = [NodeLoad(node, world, journal) for node in world.nodes]
        self._workers = workers
        self._pause = pause
        self._threads: list[threading.Thread] = []
        self._draining = threading.Event()
        self._giving_up = threading.Event()
        self._faults: list[BaseException] = []

    def begin(self, seed: str, number: int) -> None:
        """Begin round ``number``."""
        self._draining.clear()
        self._giving_up.clear()
        self._threads = [
            threading.Thread(target=self._work, args=(load, f"{seed} {load.node.name} {worker}", number))
            for load in self.nodes
            for worker in range(self._workers)
        ]
        for thread in self._threads:
            thread.start()

    def drain(self, seconds: float) -> list[str]:
        """Begin nothing any more, and wait until every DEL has succeeded; sentences about what did not."""
        self._draining.set()
        until = monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - monotonic()))
        self._giving_up.set()
        for thread in self._threads:
            thread.join()
        if self._faults:
            raise self._faults.pop()
        return [
            f"no DEL of {one} succeeds, {seconds:g} s after everything was healed"
            for load in self.nodes
            for sandbox in load.leaving
            for one in sandbox.left
        ]

    def _work(self, load: NodeLoad, seed: str, number: int) -> None:
        random = Random(seed)
        try:
            target = random.randint(30, 75)
            while not self._draining.wait(random.uniform(0.0, 2 * self._pause)):
                self._step(load, random, number, target)
            while load.leaving and not self._giving_up.wait(0.02):
                if (due := load.take_due()) is not None:
                    load.delete(due, random, draining=True)
        except BaseException as fault:
            self._faults.append(fault)

    def _step(self, load: NodeLoad, random: Random, number: int, target: int) -> None:
        due = load.take_due() if random.random() < 0.8 else None
        if due is not None:
            load.delete(due, random, draining=False)
        elif random.random() < 0.001:
            load.collect(random)
        elif random.random() < (0.7 if len(load.living) < target else 0.3):
            load.begin_pod(random, number)
        else:
            load.end_pod(random, number)
