"""The node agent as a place where calls are served: warm stores, shared writes, guarded files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from time import monotonic

from whereabouts.agent import framing
from whereabouts.agent.datastores import Datastores
from whereabouts.agent.leftovers import boot_time, count
from whereabouts.agent.metrics import Metrics, TwiceCollector
from whereabouts.agent.trust import TrustedFiles
from whereabouts.agent.turns import Turns
from whereabouts.cni.errors import PLUGIN_NOT_AVAILABLE, TRY_AGAIN_LATER, WHEREABOUTS, CniError
from whereabouts.cni.request import version_of
from whereabouts.cni.results import print_error
from whereabouts.commit import Committer
from whereabouts.config import Config, load, node_name
from whereabouts.deadline import Deadline
from whereabouts.errors import WhereaboutsError
from whereabouts.log import LEVELS, Log, opened
from whereabouts.range_metrics import RangeCollector
from whereabouts.service import Answer, Call, Service
from whereabouts.store import Store

_MARGIN_SECONDS = 0.5
"""For the answer to reach the plugin before it gives up."""
WARM_UP_SECONDS = 60.0
"""How long learning what the host's datastore holds may take."""


class AgentHost:
    """A :class:`whereabouts.service.Host` for many calls at once."""

    def __init__(
        self,
        directories: Sequence[str],
        log_level: str,
        environment: Mapping[str, str],
        booted: Callable[[], int | None] = boot_time,
    ) -> None:
        """Trust tenants' files in ``directories``; ``environment`` is the agent's own.

        ``booted`` tells when the machine was booted, in seconds since 1970.
        """
        self.environment = environment
        self._booted = booted
        self.ready = False
        """Whether calls are served; those that come while it is false are told to come again."""
        self.metrics = Metrics()
        self._level = log_level
        self._datastores = Datastores(self.metrics)
        self.files = TrustedFiles(directories, self._datastores.has_open)
        self._turns = Turns()
        self._service = Service(self)
        self.metrics.ready.set_function(lambda: float(self.ready))
        self.metrics.registry.register(RangeCollector(self._datastores.usage))
        self.metrics.registry.register(TwiceCollector(self._datastores.given_twice))

    def handle(self, request: framing.Request, waited: float) -> framing.Answer:
        """Answer a request of the native plugin that came ``waited`` seconds ago."""
        since = monotonic()
        command = request.environment.get("CNI_COMMAND", "")
        if self.ready:
            status, stdout = self._in_turn(command, request, since - waited)
        else:
            reason = "the node agent is being stopped: try again when its successor runs"
            status, stdout = _refusal(command, request, reason)
        if len(stdout) > framing.MAX_OUTPUT:
            status, stdout = _too_large(len(stdout), request)
        self.metrics.answered(command, stdout, status, waited + monotonic() - since)
        return framing.Answer(status, stdout, b"")

    def _in_turn(self, command: str, request: framing.Request, since: float) -> Answer:
        """Serve a call that came at ``since``, after those that came before about the same attachment."""

        def seconds_left() -> float:
            return max(0.0, request.time_left_ms / 1000 - _MARGIN_SECONDS - (monotonic() - since))

        attachment = [request.environment.get(name, "") for name in ("CNI_CONTAINERID", "CNI_IFNAME")]
        key = tuple(attachment) if command in ("ADD", "DEL", "CHECK") else object()
        with self._turns.turn(key, seconds_left()) as granted:
            if not granted:
                return _refusal(command, request, "an earlier call about this attachment is still under way")
            return self._service.answer(
                Call(
                    environment=request.environment,
                    stdin=request.config,
                    plugin_netns=request.plugin_netns,
                    pod_netns=request.pod_netns,
                    seconds=seconds_left(),
                )
            )

    def log(self, config: Config) -> Log:
        """See :class:`whereabouts.service.Host`. The agent's level bounds what a configuration may ask."""
        return opened(min(self._level, config.log_level, key=LEVELS.index), config.log_file)

    def store(self, config: Config, deadline: Deadline) -> AbstractContextManager[tuple[Store, Committer]]:
        """See :class:`whereabouts.service.Host`."""
        return self._datastores.use(config, deadline)

    def warm_up(self) -> None:
        """Open the host's own datastore and learn what it holds, so that the first calls need not.

        Tells what is there of this node: after a reboot, records that nobody stands behind.
        """
        log = opened(self._level, "")
        try:
            config = load({"ipam": {"type": "whereabouts"}}, network="", files=self.files)
            if config.datastore != "local" or os.path.exists(config.local_path):
                self._learn(config, log)  # an embedded store is made when it is first used
        except WhereaboutsError as error:
            log.error(f"the host's datastore is not ready yet: {error}")

    def _learn(self, config: Config, log: Log) -> None:
        node = node_name(self.environment, self.files, config)
        deadline = Deadline(WARM_UP_SECONDS)
        with self._datastores.use(config, deadline) as (store, _):
            found = count(store.learn(deadline), node, self._booted())
        self.metrics.found(found)
        log.verbose(
            found.sentence(
                node, "the controller" if config.datastore == "kubernetes" else "whereabouts reconcile"
            )
        )

    def close(self) -> None:
        """Let go of the datastores."""
        self._datastores.close()


def _too_large(size: int, request: framing.Request) -> Answer:
    """The answer in place of one that the plugin would not take: what was given, the runtime's DEL frees."""
    reason = f"the answer has {size} bytes, and the plugin takes {framing.MAX_OUTPUT}"
    advice = "make routes, dns, addresses and exclude of the configuration shorter"
    return Answer(1, print_error(CniError(WHEREABOUTS, reason, advice), version_of(request.config)))


def _refusal(command: str, request: framing.Request, reason: str) -> Answer:
    """The answer to a call that was not begun."""
    code = PLUGIN_NOT_AVAILABLE if command == "STATUS" else TRY_AGAIN_LATER
    return Answer(1, print_error(CniError(code, reason), version_of(request.config)))
