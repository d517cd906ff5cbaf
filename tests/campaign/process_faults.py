"""Faults of processes and of the machine under them: killed, stopped, set to another time, without room."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

from .clock import Clock
from .fault import Fault
from .node import AgentNode

HOLDER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
for statement in sys.argv[2:]:
    connection.execute(statement).fetchall()
time.sleep(600)
"""


class AgentKilled:
    """SIGKILL, and a start by whoever supervises it a while later."""

    name = "agent killed"
    seconds = (0.1, 8.0)
    weight = 2.0

    def __init__(self, nodes: Sequence[AgentNode]) -> None:
        self._nodes = nodes

    def strike(self, random: Random) -> None:
        random.choice(self._nodes).kill()

    def heal(self) -> None:
        for node in self._nodes:
            node.start()


class AgentStopped:
    """SIGSTOP, and SIGCONT: an agent that does not get on for a while."""

    name = "agent stopped"
    seconds = (0.5, 12.0)
    weight = 1.5

    def __init__(self, nodes: Sequence[AgentNode]) -> None:
        self._nodes = nodes

    def strike(self, random: Random) -> None:
        random.choice(self._nodes).stop()

    def heal(self) -> None:
        for node in self._nodes:
            node.resume()


class AgentStoppedLong(AgentStopped):
    """Stopped until the plugins have given up: 60 s for DEL, 120 s for ADD."""

    name = "agent stopped for longer than a call may take"
    seconds = (62.0, 126.0)
    weight = 0.08


class AgentDrained:
    """SIGTERM under load, as when the DaemonSet's pod is replaced."""

    name = "agent drained"
    seconds = (0.1, 4.0)
    weight = 1.0
    patience = 5.0
    """Seconds after which the supervisor kills it."""

    def __init__(self, nodes: Sequence[AgentNode]) -> None:
        self._nodes = nodes
        self._struck: tuple[AgentNode, subprocess.Popen[str]] | None = None

    def strike(self, random: Random) -> None:
        node = random.choice(self._nodes)
        if (process := node.drain()) is not None:
            self._struck = node, process

    def heal(self) -> None:
        if self._struck is None:
            return
        node, process = self._struck
        self._struck = None
        if node.agent.process is process:  # else another fault has taken it, and will start it
            node.resume()
            with suppress(subprocess.TimeoutExpired):
                process.wait(self.patience)
            node.kill()
        node.start()


class PluginsKilled:
    """Callers die, and take with them the plugin that they are waiting for."""

    name = "callers killed"
    seconds = (2.0, 15.0)
    weight = 1.5

    def __init__(self, nodes: Sequence[AgentNode]) -> None:
        self._nodes = nodes

    def strike(self, random: Random) -> None:
        for node in self._nodes:
            node.kill_share = random.uniform(0.05, 0.4)

    def heal(self) -> None:
        for node in self._nodes:
            node.kill_share = 0.0


class ClockJumped:
    """The time of day of one agent is hours off, forwards or backwards; the monotonic clock goes on."""

    name = "clock jumped"
    seconds = (0.5, 15.0)
    weight = 1.0

    def __init__(self, clocks: Sequence[Clock]) -> None:
        self._clocks = clocks

    def strike(self, random: Random) -> None:
        hours = random.choice((-26, -3, -1, 1, 5, 30))
        random.choice(self._clocks).set(hours * 3600)

    def heal(self) -> None:
        for clock in self._clocks:
            clock.set(0)


class DiskFull:
    """Not a byte is left where the store has its files."""

    name = "disk full"
    seconds = (1.0, 8.0)
    weight = 1.0

    def __init__(self, directory: Path, before: Callable[[], None] = lambda: None) -> None:
        """``directory`` is the root of a small file system. ``before`` makes the store need room soon."""
        self._filler = directory / "filler"
        self._before = before

    def strike(self, random: Random) -> None:
        self._before()
        with suppress(OSError), open(self._filler, "wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass

    def heal(self) -> None:
        self._filler.unlink(missing_ok=True)


class DatabaseHeld:
    """Another process has the database open in a transaction, and is killed in it."""

    weight = 1.0

    def __init__(self, name: str, database: Path, seconds: tuple[float, float], *statements: str) -> None:
        self.name = name
        self.seconds = seconds
        self._command = [sys.executable, "-c", HOLDER, str(database), *statements]
        self._holder: subprocess.Popen[bytes] | None = None

    def strike(self, random: Random) -> None:
        self._holder = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)

    def heal(self) -> None:
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait()
            self._holder = None


def on_agents(nodes: Sequence[AgentNode]) -> list[Fault]:
    """Those of the agents of a world, and of the plugins beside them."""
    return [
        AgentKilled(nodes),
        AgentStopped(nodes),
        AgentStoppedLong(nodes),
        AgentDrained(nodes),
        PluginsKilled(nodes),
    ]


def write_locked(database: Path) -> DatabaseHeld:
    """Somebody else holds the write lock."""
    return DatabaseHeld("write lock held", database, (0.5, 8.0), "BEGIN IMMEDIATE")


def snapshot_held(database: Path) -> DatabaseHeld:
    """Somebody else reads for long: the log cannot be reset, and grows."""
    return DatabaseHeld("snapshot held", database, (1.0, 15.0), "BEGIN", "SELECT count(*) FROM blocks")


def truncate_log(database: Path) -> None:
    """Give back the space of SQLite's log, so that the next writes need room."""
    with suppress(sqlite3.Error):
        connection = sqlite3.connect(database, isolation_level=None, timeout=1)
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()
