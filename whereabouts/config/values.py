"""A configuration as checked values: what every later step works with."""

from __future__ import annotations

from whereabouts.addresses import Address
from whereabouts.cni.results import DNS, IPConfig, Route
from whereabouts.ranges import Range
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from whereabouts.slices import SliceRule


class Secret:
    """A text that does not show itself in logs, errors and dumps."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Keep ``text``."""
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret('***')" if self._text else "Secret('')"


class ConfiguredRange(NamedTuple):
    """A range to give an address of, and the gateway that the address is reported with."""

    range: Range
    gateway: Address | None = None
    """Of the range's family: the range's own, else the one of the whole configuration."""
    slices: SliceRule | None = None
    """How the range is cut into slices for nodes, if it is."""


class EtcdConfig(NamedTuple):
    """How an etcd cluster is reached."""

    host: str
    """One or several endpoints, as they were configured."""
    username: str
    password: Secret
    key_file: str
    cert_file: str
    ca_cert_file: str
    prefix: str
    """What all keys begin with; ends in ``/``."""


class LeaderTimes(NamedTuple):
    """The times of leader election, in milliseconds."""

    lease_duration: int
    renew_deadline: int
    retry_period: int


class Config(NamedTuple):
    """Everything that a call's configuration says. Paths and texts that are not set are empty."""

    network: str
    """The ``name`` of the network configuration."""
    cni_version: str
    pod_ref: str
    """``namespace/name`` of the pod; the container ID where the runtime names no pod."""
    pod_uid: str
    ranges: tuple[ConfiguredRange, ...]
    """``range`` first, then ``ipRanges`` in order."""
    static: tuple[IPConfig, ...]
    """Addresses that are reported but not recorded: ``addresses``, then those of ``CNI_ARGS``."""
    routes: tuple[Route, ...]
    dns: DNS
    network_name: str
    """The name of a space of addresses apart from others."""
    overlapping: bool
    """``enable_overlapping_ranges``: an address is given once among all ranges of the network name."""
    node_slice_borrow: bool
    """A node whose slice is full, or that has none, takes the lowest free address of the whole range."""
    datastore: str
    """``local``, ``etcd`` or ``kubernetes``."""
    local_path: str
    kubeconfig: str
    """Set where the datastore is ``kubernetes``."""
    coexist_with_upstream: bool
    etcd: EtcdConfig | None
    """Set where the datastore is ``etcd``."""
    configuration_path: str
    """The directory with the file ``nodename``, or a flat file beside it."""
    log_file: str
    log_level: str
    """``panic``, ``error``, ``verbose`` or ``debug``."""
    leader: LeaderTimes
    warnings: tuple[str, ...]
    """What was passed over, for a log."""

    @property
    def is_sliced(self) -> bool:
        """Whether any range is cut into slices for nodes."""
        return any(one.slices is not None for one in self.ranges)
