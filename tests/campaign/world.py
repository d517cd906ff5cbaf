"""What a world of the campaign is: a store, nodes with agents that use it, and faults that may hit them.

Frame, load and checker know nothing else of a store. Each world has a module of its own, ``<name>_world``,
with two functions: ``missing() -> str``, what this machine lacks for it (empty: nothing), and
``open_world() -> World``.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from whereabouts.block import Block

from .fault import Fault
from .node import AgentNode


class Attachment(NamedTuple):
    """One interface of one sandbox of a pod."""

    node: str
    network: str
    """The ``name`` of the CNI network configuration."""
    pod: str
    """``namespace/name``."""
    container_id: str
    ifname: str


class Record(NamedTuple):
    """An address as it stands in the store, and for whom."""

    address: str
    """Without a prefix length, in the form of :mod:`ipaddress`."""
    pod: str
    container_id: str
    ifname: str


def records_of(block: Block) -> Iterator[Record]:
    """What a block records."""
    for offset, owner in block:
        yield Record(str(block.key.address(offset)), owner.pod_ref, owner.container_id, owner.ifname)


class World(Protocol):
    """A running world: it was opened with its store and all its agents up.

    All networks of the campaign share one space: an address has one holder, whatever range it is from.
    """

    @property
    def name(self) -> str:
        """``sqlite``, ``etcd`` or ``kubernetes``."""

    @property
    def nodes(self) -> Sequence[AgentNode]:
        """Two or more, each with an agent of its own."""

    @property
    def ipam(self) -> Mapping[str, object]:
        """The members of ``ipam`` that name the store, for the calls of all nodes.

        They have to be allowed in a network configuration (see :class:`~tests.campaign.node.AgentNode`).
        One-shot console processes are called with the same.
        """

    @property
    def left_out(self) -> Sequence[str]:
        """Sentences about faults that this machine cannot make, and why. They are printed."""

    @property
    def forgetful(self) -> bool:
        """Whether what a pod has is known to the process that gave it, and not to every process.

        Only there is the same ADD once more sure to give the same.
        """

    def faults(self) -> Sequence[Fault]:
        """All that can strike here, the same ones at each call."""

    def pod_begins(self, node: str, pod: str) -> str:
        """Before a pod's first ADD: make it known. Its UID, for CNI_ARGS; empty where there is none.

        A name that has ended may begin again, on any node.
        """

    def attached(self, attachment: Attachment, addresses: Sequence[str]) -> None:
        """After an ADD that succeeded: these are the addresses of the interface."""

    def pod_ends(self, node: str, pod: str) -> None:
        """When the pod is deleted, before the first DEL, or when it is gone without one."""

    def repair(self, alive: Sequence[Attachment]) -> None:
        """Run exactly one repair pass, as an operator would, who knows these attachments as those alive.

        Raises AssertionError with what the operator saw if the pass did not succeed.
        """

    def records(self) -> Iterator[Record]:
        """All that is recorded, read from the store itself, by no agent."""

    def damage(self) -> Sequence[str]:
        """Sentences about what is wrong in the store, leaks aside; it is quiet meanwhile.

        Blocks that cannot be read, halves that disagree, an index that differs from its records, hints by
        which addresses are left out for good.
        """

    def misled(self) -> Collection[str]:
        """Ranges of which an address is passed over until one is freed beside it, or the range is full.

        Where a store takes back a hint after it has freed an address, and a process dies in between or the
        store goes away, that costs order, and nothing else.
        """

    def save(self, directory: Path) -> None:
        """Write down there what else helps to look into what was found."""

    def close(self) -> None:
        """End everything that was started, and remove it. Twice is once."""


class _Startable(Protocol):
    """A world that was made, and whose processes do not all run yet."""

    def start(self) -> None: ...

    def close(self) -> None: ...


StartableT = TypeVar("StartableT", bound=_Startable)


def started(world: StartableT) -> StartableT:
    """The world with everything up; closed again if that fails."""
    try:
        world.start()
    except BaseException:
        world.close()
        raise
    return world


class WithoutPods:
    """Part of a world in which nobody asks which pods there are, and nothing has a log but agents."""

    forgetful = False

    def misled(self) -> Collection[str]:
        return ()

    def save(self, directory: Path) -> None:
        pass

    def pod_begins(self, node: str, pod: str) -> str:
        return ""

    def attached(self, attachment: Attachment, addresses: Sequence[str]) -> None:
        pass

    def pod_ends(self, node: str, pod: str) -> None:
        pass
