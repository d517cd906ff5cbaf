"""Executes plugin binaries as a container runtime does: environment, stdin, stdout, exit status.

``posix_spawn`` is the cheapest start there is: what is measured is the plugin, and hardly Python.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from bench.turns import Failed

CHUNK = 1 << 16


class Command(NamedTuple):
    """What is executed."""

    program: str | Path
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    stdin: str | Path = os.devnull
    """The path of what it reads."""


class Process:
    """A program that was started."""

    def __init__(self, command: Command) -> None:
        """Start it. stderr goes nowhere: what a plugin has to say stands in its result."""
        self._command = command
        self._output, output = os.pipe()
        try:
            self._pid = os.posix_spawn(
                command.program,
                [str(command.program), *command.arguments],
                dict(command.environment),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, str(command.stdin), os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, output, 1),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
            )
        except BaseException:
            os.close(self._output)
            raise
        finally:
            os.close(output)

    def wait(self) -> bytes:
        """Wait for its end, which has to be a success; what it wrote to stdout. Raises :class:`Failed`."""
        stdout = b"".join(iter(lambda: os.read(self._output, CHUNK), b""))
        os.close(self._output)
        _, status = os.waitpid(self._pid, 0)
        if status != 0:
            code = os.waitstatus_to_exitcode(status)
            told = " ".join(stdout.decode(errors="replace").split())
            raise Failed(f"{self._command.program} ended with status {code}: {told[:300]}")
        return stdout


def start(
    program: str | Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    stdin: str | Path = os.devnull,
) -> Process:
    """Start a program, whose stdin is the file ``stdin``."""
    return Process(Command(program, arguments, environment or {}, stdin))


def execute(
    program: str | Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    stdin: str | Path = os.devnull,
) -> bytes:
    """Run a program to its end, which has to be a success; what it wrote. Raises :class:`Failed`."""
    return start(program, *arguments, environment=environment, stdin=stdin).wait()


def execute_at_once(commands: Iterable[Command]) -> list[bytes | Failed]:
    """Start all, then wait for all; what each wrote, or its failure, in the order of ``commands``."""
    return [_outcome(process) for process in [Process(command) for command in commands]]


def _outcome(process: Process) -> bytes | Failed:
    try:
        return process.wait()
    except Failed as error:
        return error
