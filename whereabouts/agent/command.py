"""``whereabouts agent``: the node agent, from its command line to its end."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from threading import Thread

from whereabouts.agent.host import AgentHost
from whereabouts.agent.server import Server
from whereabouts.log import LEVELS, Log, to_stderr

DEFAULT_SOCKET = "/run/whereabouts/agent.sock"


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
    add("--metrics-port", metavar="PORT", type=int, help="serve /metrics, /healthz and /readyz on this port")
    add("--metrics-host", metavar="HOST", default="127.0.0.1", help="address for that (default: %(default)s)")
    add("--drain-seconds", metavar="S", type=float, default=30.0, help="how long to finish calls on SIGTERM")
    add("--log-level", choices=LEVELS, default="verbose", help="how much to say (default: %(default)s)")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; 0 if every call was answered before the end."""
    log = Log(chosen.log_level, to_stderr)
    host = AgentHost(chosen.allow_directory, chosen.log_level, os.environ)
    server = Server(chosen.socket, host.handle, workers=chosen.workers, patience=10.0, log=log)
    stop_http = _serve_http(chosen, host, log)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    log.verbose(f"serving on {chosen.socket}")
    host.ready = True
    try:
        server.run()
        log.verbose("draining: calls in flight are finished, new ones are told to come again")
        host.draining = True
        finished = server.drain(chosen.drain_seconds)
    finally:
        server.close()
        host.close()
        stop_http()
    if not finished:
        log.error(f"calls were still in flight after {chosen.drain_seconds:g} s")
    sys.stderr.flush()
    return 0 if finished else 1
