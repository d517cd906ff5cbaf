"""``whereabouts agent``: the node agent, from its command line to its end."""

from __future__ import annotations

import argparse
import os
import signal
from threading import Thread

from whereabouts import http_options
from whereabouts.agent.framing import DEFAULT_SOCKET
from whereabouts.log import LEVELS, Log, to_stderr


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "agent",
        help="serve the CNI calls of this node",
        description="Serves the CNI calls that the native plugin of this node hands over.",
    )
    add = parser.add_argument
    add("--socket", metavar="PATH", default=DEFAULT_SOCKET, help="where to listen (default: %(default)s)")
    add("--workers", metavar="N", type=_positive, default=64, help="calls at once (default: %(default)s)")
    add(
        "--allow-directory",
        metavar="DIR",
        action="append",
        default=[],
        help="let network configurations name files in DIR (log_file, local.path, ...); may be repeated",
    )
    http_options.add_options(parser)
    add("--drain-seconds", metavar="S", type=float, default=30.0, help="how long to finish calls on SIGTERM")
    add("--log-level", choices=LEVELS, default="verbose", help="how much to say (default: %(default)s)")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; 0 if every call was answered before the end."""
    from whereabouts.agent.host import AgentHost
    from whereabouts.agent.server import Server

    log = Log(chosen.log_level, to_stderr)
    host = AgentHost(chosen.allow_directory, chosen.log_level, os.environ)
    server = Server(chosen.socket, host.handle, workers=chosen.workers, patience=10.0, log=log)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    signal.set_wakeup_fd(server.wakeup, warn_on_full_buffer=False)
    http = None
    try:
        http = http_options.serve(chosen, host.metrics.registry, ready=lambda: host.ready)
        if http is not None:
            log.verbose(f"metrics and probes on http://{chosen.metrics_host}:{http.port}")
        host.ready = True
        Thread(target=host.warm_up, name="warm up", daemon=True).start()
        log.verbose(f"serving on {chosen.socket}")
        server.run()
        host.ready = False
        log.verbose("stopping: calls in flight are finished, new ones are told to come again")
        finished = server.drain(chosen.drain_seconds)
    finally:
        signal.set_wakeup_fd(-1)
        server.close()
        host.close()
        if http is not None:
            http.close()
    if not finished:
        log.error(f"calls were still in flight after {chosen.drain_seconds:g} s")
        os._exit(1)  # a return would wait for their threads
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number
