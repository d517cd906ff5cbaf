"""The node agent as a place where calls are served: warm stores, shared writes, guarded files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import Empty, LifoQueue
from threading import Lock
from time import monotonic

from whereabouts.agent import framing
from whereabouts.agent.group_commit import GroupCommitter, Groups
from whereabouts.agent.metrics import MeasuredStore, Metrics, UsageCollector
from whereabouts.agent.trust import TrustedFiles
from whereabouts.cni.errors import PLUGIN_NOT_AVAILABLE, TRY_AGAIN_LATER, CniError
from whereabouts.cni.request import version_of
from whereabouts.cni.results import print_error
from whereabouts.commit import Committer, DirectCommitter
from whereabouts.config import Config
from whereabouts.deadline import Deadline
from whereabouts.errors import WhereaboutsError
from whereabouts.log import LEVELS, Log, to_file, to_stderr
from whereabouts.service import Call, Service
from whereabouts.store import Store
from whereabouts.stores.opening import open_store, store_identity
from whereabouts.usage import Usage, usage

_USAGE_SECONDS = 10.0


class _Warm:
    """The open connections to one datastore, and the changes that wait to be written there."""

    def __init__(self, config: Config, groups: Groups) -> None:
        self.config = config
        self.groups = groups
        self.idle: LifoQueue[Store] = LifoQueue()
        self.shared: Store | None = None
        self.opening = Lock()


class AgentHost:
    """A :class:`whereabouts.service.Host` for many calls at once."""

    def __init__(self, directories: Sequence[str], log_level: str, environment: Mapping[str, str]) -> None:
        """Trust tenants' files in ``directories``; ``environment`` is the agent's own."""
        self.environment = environment
        self.ready = False
        """Whether calls are served; those that come while it is false are told to come again."""
        self.metrics = Metrics()
        self.files = TrustedFiles(directories)
        self._level = log_level
        self._lock = Lock()
        self._warm: dict[tuple[object, ...], _Warm] = {}
        self._service = Service(self)
        self.metrics.registry.register(UsageCollector(self.usage))

    def handle(self, request: framing.Request, waited: float) -> framing.Answer:
        """Answer a request of the native plugin that came ``waited`` seconds ago."""
        since = monotonic()
        command = request.environment.get("CNI_COMMAND", "")
        if not self.ready:
            code = PLUGIN_NOT_AVAILABLE if command == "STATUS" else TRY_AGAIN_LATER
            error = CniError(code, "the node agent is being stopped: try again when its successor runs")
            status, stdout = 1, print_error(error, version_of(request.config))
        else:
            status, stdout = self._service.answer(
                Call(
                    environment=request.environment,
                    stdin=request.config,
                    plugin_netns=request.plugin_netns,
                    pod_netns=request.pod_netns,
                    seconds=max(0.0, request.time_left_ms / 1000 - waited - 0.5),
                )
            )
        self.metrics.answered(command, stdout, status, waited + monotonic() - since)
        return framing.Answer(status, stdout, b"")

    def log(self, config: Config) -> Log:
        """See :class:`whereabouts.service.Host`. The agent's level bounds what a configuration may ask."""
        level = min(self._level, config.log_level or self._level, key=LEVELS.index)
        return Log(level, to_stderr, *([to_file(config.log_file)] if config.log_file else []))

    @contextmanager
    def store(self, config: Config, deadline: Deadline) -> Iterator[tuple[Store, Committer]]:
        """See :class:`whereabouts.service.Host`. A connection serves one call at a time and is kept."""
        warm = self._warm_for(config)
        store = warm.shared or self._open(warm, deadline)
        try:
            yield store, GroupCommitter(warm.groups, DirectCommitter(store))
        finally:
            if warm.shared is None:
                warm.idle.put(store)

    def _open(self, warm: _Warm, deadline: Deadline) -> Store:
        try:
            return warm.idle.get_nowait()
        except Empty:
            pass
        with warm.opening:
            if warm.shared is not None:
                return warm.shared
            store: Store = MeasuredStore(open_store(warm.config, deadline), self.metrics)
            if store.concurrent:
                warm.shared = store
            return store

    def usage(self) -> list[Usage]:
        """Addresses by range, of every datastore that is in use; what cannot be read is left out."""
        rows: list[Usage] = []
        for warm in list(self._warm.values()):
            deadline = Deadline(_USAGE_SECONDS)
            try:
                with self.store(warm.config, deadline) as (store, _):
                    rows += usage(store, deadline)
            except WhereaboutsError:
                continue
        return rows

    def close(self) -> None:
        """Close every connection that is not in use."""
        for warm in self._warm.values():
            if warm.shared is not None:
                warm.shared.close()
            while not warm.idle.empty():
                warm.idle.get_nowait().close()

    def _warm_for(self, config: Config) -> _Warm:
        identity = store_identity(config)
        with self._lock:
            if identity not in self._warm:
                self._warm[identity] = _Warm(config, Groups(self.metrics.group_size.observe))
            return self._warm[identity]
