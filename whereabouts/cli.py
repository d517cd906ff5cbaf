"""The command line, for people: what the program does when no container runtime calls it."""

from __future__ import annotations

import argparse
import os
import sys

import whereabouts
from whereabouts.agent import command as agent
from whereabouts.cni.versions import about
from whereabouts.commands import (
    check,
    completion,
    explain,
    export,
    formats,
    import_,
    map_,
    migrate,
    reconcile,
    release,
    show,
)
from whereabouts.controller import command as controller
from whereabouts.errors import WhereaboutsError
from whereabouts.install import command as install

_INTERRUPTED = 128 + 2
"""What a shell calls a program that SIGINT ended."""


def main(arguments: list[str] | None = None, *, kubectl: bool = False) -> int:
    """Run a command; the exit status: 0, 1 for an explained failure, 2 for a wrong use, 130 if broken off.

    ``kubectl`` tells that kubectl runs this program, as its plugin: then its user's cluster is the datastore.
    """
    _open_closed_streams()
    chosen = _parser(kubectl=kubectl).parse_args(arguments)
    try:
        status = _about() if chosen.command is None else int(chosen.run(chosen))
        sys.stdout.flush()
    except WhereaboutsError as error:
        formats.complain(str(error))
        return 1
    except OSError as error:
        sys.stderr.write(f"whereabouts: {error.strerror or error}: the output is not whole\n")
        sys.stdout = None  # what is left in its buffer cannot be written at the end either
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return _INTERRUPTED
    return status


def _open_closed_streams() -> None:
    """Have every standard stream: of a closed one Python has None, and the next file gets its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  # as long as the process


def _about() -> int:
    """A runtime probes a plugin this way, too; the Go plugin answers on stderr and with success."""
    machine = os.uname()
    sys.stderr.write(about(whereabouts.__version__, machine.sysname.lower(), machine.machine))
    sys.stderr.write("See whereabouts --help.\n")
    return 0


def _parser(*, kubectl: bool = False) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubectl whereabouts" if kubectl else "whereabouts",
        description="Cluster-wide IP address management for CNI. With CNI_COMMAND in the environment this "
        "program is a CNI plugin; without, it is the command line described here.",
    )
    parser.set_defaults(kubectl=kubectl)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(run=_version)
    for command in (show, map_, check, explain, release, reconcile, export, import_, migrate):
        command.register(commands)
    for process in (agent, controller, install):
        process.register(commands)
    if not kubectl:  # which completes its plugins in a way of its own
        completion.register(commands, parser)
    return parser


def _version(chosen: argparse.Namespace) -> int:
    print(whereabouts.__version__)
    return 0
