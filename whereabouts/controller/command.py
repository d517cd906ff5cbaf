"""``whereabouts controller``: the controller, from its command line to its end."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Callable, Mapping
from threading import Event
from time import monotonic

from whereabouts import http_options
from whereabouts.commands import datastore
from whereabouts.deadline import Deadline
from whereabouts.log import LEVELS, Log, to_stderr
from whereabouts.values import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from whereabouts.cluster.lease import Lease
    from whereabouts.controller.board import Board
    from whereabouts.controller.duties import Duties
    from whereabouts.controller.metrics import Metrics
    from whereabouts.store import Store
    from whereabouts.stores.kube_access import Source
    from whereabouts.stores.kube_api import ApiClient

AUDIT_SECONDS = 60.0
LEASE = "whereabouts-controller"
LEASE_SECONDS = 9
"""For how long others wait when the process that leads is killed."""
STOP_SECONDS = 20.0
"""How long the work may take to end. Kubernetes gives a process 30 s."""
STUCK_SECONDS = 900.0
"""A piece of work that takes longer than this has hung: the kubelet is told to start the process anew."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "controller",
        help="free what dead pods left, cut node slices, keep the status of pools",
        description="Works for a Kubernetes cluster, with a pod's own credentials unless told otherwise. "
        "Any number may run: a Lease has one of them work, to save work, and all are safe without it.",
    )
    add = parser.add_argument
    add(
        "--kubeconfig",
        metavar="FILE",
        help="credentials for the cluster (default: those of the pod it runs in)",
    )
    add(
        "--namespace",
        metavar="NS",
        default="",
        help="of the custom resources (default: that of the credentials)",
    )
    add(
        "--config",
        metavar="FILE",
        help="a whereabouts.conf that names another datastore than the cluster itself",
    )
    datastore.add_sole_cluster(parser)
    add(
        "--audit-interval",
        metavar="S",
        type=_seconds,
        default=AUDIT_SECONDS,
        help="seconds between two audits; 0: only at the times of the cron expression (default: %(default)g)",
    )
    add(
        "--cron-file",
        metavar="FILE",
        default="",
        help="where the reconciler's cron expression stands (default: /cron-schedule/config, then as the "
        "Go plugin has it)",
    )
    add(
        "--coexist-with-upstream",
        action="store_true",
        help="nodes still run the Go plugin: free its reservations with our addresses, and repair them",
    )
    http_options.add_options(parser)
    add(
        "--status-page",
        action="store_true",
        help="serve a page for people as well, under /status, and /status.json: it names pods and nodes, and "
        "asks nobody who they are",
    )
    add("--log-level", choices=LEVELS, default="verbose", help="how much to say (default: %(default)s)")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Work until SIGTERM or SIGINT; 0 if the work came to its end."""
    from whereabouts.cluster.lease import Lease
    from whereabouts.controller.metrics import Metrics
    from whereabouts.stores.kube_api import ApiClient

    log = Log(chosen.log_level, to_stderr)
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    source = _source(chosen)
    api = ApiClient(source)
    metrics = Metrics()
    lease = Lease(api, LEASE, namespace=chosen.namespace, duration=LEASE_SECONDS, log=log)
    board, pages = _status_page(chosen, lease)
    turn = _Turn(
        lambda: _duties(chosen, api, source, metrics, log, lambda: lease.held, board), metrics, board
    )
    http = http_options.serve(chosen, metrics.registry, healthy=turn.alive, pages=pages)
    if http is not None:
        log.verbose(f"metrics and probes on http://{chosen.metrics_host}:{http.port}")
    try:
        lease.keep(stop, turn.changed)
    finally:
        if http is not None:
            http.close()
        api.close()
    if turn.unfinished:
        log.error(f"the work was still under way after {STOP_SECONDS:g} s")
        os._exit(1)  # a return would wait for its thread
    return 0


class _Turn:
    """The duties of the controller while this process holds the lease."""

    def __init__(self, duties: Callable[[], Duties], metrics: Metrics, board: Board | None) -> None:
        self._make = duties
        self._metrics = metrics
        self._board = board
        self._duties: Duties | None = None
        self.unfinished = False

    def changed(self, leading: bool) -> None:
        """Begin or end."""
        self._metrics.leading.set(leading)
        if leading:
            self._duties = self._make()
            self._duties.work.start()
            if self._board is not None:
                self._board.begin()
        elif self._duties is not None:
            self.unfinished = not self._duties.work.stop(STOP_SECONDS) or self.unfinished
            self._duties.close()
            self._duties = None
            self._metrics.forget()
            if self._board is not None:
                self._board.end()

    def alive(self) -> bool:
        """Whether nothing hangs."""
        duties = self._duties
        return duties is None or monotonic() - duties.work.beat < STUCK_SECONDS


def _status_page(
    chosen: argparse.Namespace, lease: Lease
) -> tuple[Board | None, Mapping[str, WSGIApplication]]:
    """What the status page is read from, and the page; nothing where nobody asked for it."""
    if not chosen.status_page:
        return None, {}
    if chosen.metrics_port is None:
        raise http_options.PortUnusable(
            "--status-page: name the port that it is served on with --metrics-port"
        )
    from whereabouts.controller.board import Board
    from whereabouts.controller.status_app import pages

    board = Board()
    return board, pages(board, lease)


def _duties(
    chosen: argparse.Namespace,
    api: ApiClient,
    source: Source,
    metrics: Metrics,
    log: Log,
    may_go_on: Callable[[], bool],
    board: Board | None,
) -> Duties:
    from whereabouts.config.host_files import HostFiles
    from whereabouts.controller.duties import Duties, Settings
    from whereabouts.controller.schedule import CRON_FILE, expression_source

    schedule = expression_source(chosen.cron_file or CRON_FILE, HostFiles(), os.environ)
    store = _store(chosen, source)
    return Duties(
        api,
        store,
        Settings(chosen.audit_interval, chosen.namespace or api.namespace, schedule),
        metrics,
        log,
        may_go_on,
        board,
    )


def _store(chosen: argparse.Namespace, source: Source) -> Store:
    """The datastore: the cluster itself, unless a file names another."""
    from whereabouts.commands.datastore import OPENING_SECONDS, require_sole_cluster
    from whereabouts.config import load
    from whereabouts.config.host_files import HostFiles
    from whereabouts.stores.kubernetes import KubernetesStore
    from whereabouts.stores.opening import open_store

    coexist = chosen.coexist_with_upstream
    if chosen.config:
        ipam = {"type": "whereabouts", "configuration_path": chosen.config}
        config = load({"ipam": ipam}, network="", files=HostFiles())
        if config.datastore != "kubernetes":
            require_sole_cluster(chosen, config)
            return open_store(config, Deadline(OPENING_SECONDS))
        coexist = coexist or config.coexist_with_upstream
    return KubernetesStore(source, namespace=chosen.namespace, coexist_with_upstream=coexist)


def _source(chosen: argparse.Namespace) -> Source:
    from whereabouts.stores.kube_access import from_kubeconfig, from_pod

    return from_kubeconfig(chosen.kubeconfig) if chosen.kubeconfig else from_pod()


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return seconds
