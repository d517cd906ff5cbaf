"""The way of a call: bytes → request → configuration → allocator → store → bytes.

Console script and node agent both serve calls with this code; they differ in where stores come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_interface
from time import time

from whereabouts.addresses import Address, Interface
from whereabouts.allocator import Allocator, Attachment, Demand
from whereabouts.changes import Allocation
from whereabouts.cni.args import read_args
from whereabouts.cni.errors import PLUGIN_NOT_AVAILABLE, TRY_AGAIN_LATER, WHEREABOUTS, CniError, shorten
from whereabouts.cni.netns import check_netns
from whereabouts.cni.request import Request, read_request, version_of
from whereabouts.cni.results import IPConfig, Result, print_error, print_result
from whereabouts.cni.versions import print_version
from whereabouts.commit import Committer
from whereabouts.config import Config, ConfigError, Files, load, node_name
from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.errors import WhereaboutsError
from whereabouts.log import Log, to_stderr
from whereabouts.owners import Owner
from whereabouts.store import Conflict, Store, Unavailable, Unsettled
from whereabouts.values import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

SECONDS = {"ADD": 120.0, "DEL": 60.0}
"""How long a call may take, as with the Go plugin; others have as long as DEL."""

MOST_WARNINGS = 32
"""Warnings of one configuration that are logged: it may be made of mistakes, a mebibyte of them."""


class Host(Protocol):
    """Where a call is served: what differs between a process of its own and the node agent."""

    @property
    def files(self) -> Files:
        """The host's files, and which of them a network configuration may name."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of the serving process, which may name the node."""

    def log(self, config: Config) -> Log:
        """The log that the configuration asks for."""

    def store(self, config: Config, deadline: Deadline) -> AbstractContextManager[tuple[Store, Committer]]:
        """The store of a configuration, and what carries changes into it, for the time of a call."""


class Call(NamedTuple):
    """What a runtime started the plugin with. Namespaces are (device, inode), None if not known."""

    environment: Mapping[str, str]
    stdin: bytes
    plugin_netns: tuple[int, int] | None = None
    pod_netns: tuple[int, int] | None = None
    seconds: float | None = None
    """How long the caller will wait, if it said so."""


class Answer(NamedTuple):
    """What the plugin prints, and its exit status."""

    status: int
    stdout: bytes


class Service:
    """Serves CNI calls, one after another or from several threads."""

    def __init__(self, host: Host) -> None:
        """A service on ``host``."""
        self._host = host

    def answer(self, call: Call) -> Answer:
        """Serve a call. Whatever goes wrong becomes an error object; nothing is raised."""
        try:
            request = read_request(call.environment, call.stdin)
        except CniError as error:
            return Answer(1, print_error(error, version_of(call.stdin)))
        try:
            return Answer(0, self._serve(request, call))
        except Exception as error:
            return Answer(1, print_error(_as_cni_error(request.command, error), request.cni_version))

    def _serve(self, request: Request, call: Call) -> bytes:
        if request.command == "VERSION":
            return print_version()
        if request.command in ("ADD", "DEL") and call.plugin_netns is not None:
            check_netns(call.plugin_netns, call.pod_netns, request.netns_override)
        seconds = SECONDS.get(request.command, SECONDS["DEL"])
        deadline = Deadline(seconds if call.seconds is None else min(seconds, call.seconds))
        config = load(
            request.config,
            cni_version=request.cni_version,
            network=request.network,
            container_id=request.container_id,
            args=read_args(request.args),
            files=self._host.files,
            lenient=request.command in ("DEL", "GC"),
        )
        log = self._host.log(config).about(_subject(request, config))
        for warning in config.warnings[:MOST_WARNINGS]:
            log.verbose(warning)
        if len(config.warnings) > MOST_WARNINGS:
            more, total = len(config.warnings) - MOST_WARNINGS, len(config.warnings)
            log.verbose(f"{more} of the configuration's {total} warnings are not shown")
        try:
            return self._carry_out(request, config, log, deadline)
        except WhereaboutsError as error:
            log.error(shorten(str(error)))
            raise

    def _carry_out(self, request: Request, config: Config, log: Log, deadline: Deadline) -> bytes:
        with self._host.store(config, deadline) as (store, committer):
            work = _Work(request, config, store, committer, log, deadline)
            serve: dict[str, Callable[[], bytes]] = {
                "ADD": lambda: work.add(node_name(self._host.environment, self._host.files, config)),
                "DEL": work.delete,
                "CHECK": work.check,
                "GC": lambda: work.collect(node_name(self._host.environment, self._host.files, config)),
                "STATUS": lambda: work.status(
                    node_name(self._host.environment, self._host.files, config) if config.is_sliced else ""
                ),
            }
            return serve[request.command]()


class _Work:
    """One call about one attachment, or about one network (GC, STATUS)."""

    def __init__(
        self,
        request: Request,
        config: Config,
        store: Store,
        committer: Committer,
        log: Log,
        deadline: Deadline,
    ) -> None:
        self._request = request
        self._config = config
        self._store = store
        self._allocator = Allocator(store, committer, log)
        self._log = log
        self._deadline = deadline
        self._demand = Demand(
            config.network_name,
            config.overlapping,
            [configured.range for configured in config.ranges],
            {str(one.range.network): one.slices for one in config.ranges if one.slices is not None},
            config.node_slice_borrow,
        )

    def add(self, node: str) -> bytes:
        request, config = self._request, self._config
        owner = Owner(
            pod_ref=config.pod_ref,
            pod_uid=config.pod_uid,
            container_id=request.container_id,
            ifname=request.ifname,
            node=node,
            network=request.network,
            range="",
            created=int(time()),
        )
        addresses = self._allocator.add(self._demand, owner, self._deadline)
        given = [
            IPConfig(ip_interface(f"{address}/{configured.range.network.prefixlen}"), configured.gateway)
            for address, configured in zip(addresses, config.ranges, strict=True)
        ]
        self._log.verbose(f"gave {', '.join(map(str, addresses)) or 'static addresses only'}")
        return print_result(Result((*given, *config.static), config.routes, config.dns), request.cni_version)

    def delete(self) -> bytes:
        from whereabouts.cni.prev_result import prev_result_if_any

        request = self._request
        attachment = Attachment(request.container_id, request.ifname, request.network)
        reported = self._without_static(prev_result_if_any(request.config).addresses)
        freed = self._allocator.delete(self._demand, attachment, reported, self._deadline)
        self._log.verbose(f"freed {_addresses(freed)}")
        return b""

    def _without_static(self, reported: Iterable[Interface]) -> list[Address]:
        """The addresses of an earlier result, but for those that are reported beside what ranges gave."""
        static = {one.address.ip for one in self._config.static}
        return [one.ip for one in reported if one.ip not in static]

    def check(self) -> bytes:
        from whereabouts.cni.prev_result import prev_result
        from whereabouts.verify import check

        request = self._request
        reported = self._without_static(prev_result(request.config))
        check(self._store, self._demand, request.container_id, request.ifname, reported, self._deadline)
        return b""

    def collect(self, node: str) -> bytes:
        from whereabouts.cni.attachments import valid_attachments
        from whereabouts.collect import Listing, collect

        valid = valid_attachments(self._request.config)
        listing = Listing(valid, node, self._request.network)
        freed = collect(self._store, self._allocator, listing, self._deadline)
        addresses = _addresses([(one.address, one.owner) for one in freed])
        self._log.verbose(f"{len(valid)} attachments are valid on {node}; freed {addresses}")
        return b""

    def status(self, node: str) -> bytes:
        from whereabouts.verify import status

        status(self._store, self._demand, self._deadline, node)
        return b""


def _subject(request: Request, config: Config) -> str:
    """What every line about a call begins with."""
    subject = f"{request.command} network={request.network}"
    if request.container_id:
        subject += f" pod={config.pod_ref} container={request.container_id} interface={request.ifname}"
    return subject


def _addresses(allocations: list[Allocation]) -> str:
    return ", ".join(f"{address} of {owner.pod_ref}" for address, owner in allocations) or "nothing"


def _as_cni_error(command: str, error: Exception) -> CniError:
    """Put an error in the runtime's terms: what to repeat, what to report (CNI SPEC, section 5)."""
    if isinstance(error, CniError):
        return error
    if command == "STATUS" and isinstance(error, WhereaboutsError) and not isinstance(error, ConfigError):
        return CniError(PLUGIN_NOT_AVAILABLE, str(error))
    if isinstance(error, (Unavailable, Conflict, Unsettled, DeadlineExceeded)):
        return CniError(TRY_AGAIN_LATER, str(error))
    if isinstance(error, WhereaboutsError):
        at_engine = command == "ADD" and not isinstance(error, ConfigError)
        return CniError(WHEREABOUTS, f"error at storage engine: {error}" if at_engine else str(error))
    from traceback import format_exception

    to_stderr("".join(format_exception(error)))
    return CniError(WHEREABOUTS, f"internal error, please report it: {type(error).__name__}: {error}")
