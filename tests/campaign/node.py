"""A node of a world: its agent, which faults may kill, stop or set to another time, and its plugin."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..node_agent import Agent


class AgentNode:
    """A node with the native plugin and an agent, which one thread starts, kills, stops and resumes."""

    def __init__(
        self,
        name: str,
        directory: Path,
        *,
        allow: Sequence[Path] = (),
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """A node whose agent is not started yet.

        ``name`` is its NODENAME. ``directory`` is made; its path is short, since a socket lies in it.
        Network configurations may name files in it, and in the directories ``allow``. ``options`` and
        ``environment`` are further ones of the agent.
        """
        directory.mkdir(mode=0o755)
        self.name = name
        self.directory = directory
        self.agent = Agent(directory)
        self.agent.environment |= {"NODENAME": name, **(environment or {})}
        self._options = [*(word for path in allow for word in ("--allow-directory", str(path))), *options]
        self.starts = 0
        """How often the agent was started."""
        self.kill_share = 0.0
        """Of how many calls the caller dies, and kills the plugin; set by faults, read by the load."""
        self._leaving: subprocess.Popen[str] | None = None

    @property
    def plugin(self) -> Path:
        """The native plugin that talks to this node's agent."""
        return self.agent.plugin

    @property
    def up(self) -> bool:
        """Whether the agent was started, and not taken away since. It may be stopped."""
        return self.agent.process is not None

    def start(self) -> None:
        """Start the agent unless it is up, and wait until it serves."""
        if not self.up:
            self.starts += 1
            self.agent.start(*self._options)

    def kill(self) -> None:
        """SIGKILL the agent, if it is up."""
        if self.up:
            self.agent.close()

    def drain(self) -> subprocess.Popen[str] | None:
        """SIGTERM the agent, if it is up; it answers what it has, and ends. The process, to wait for."""
        process = self.agent.process
        self._signal(signal.SIGTERM)
        self._leaving = process
        return process

    def stop(self) -> None:
        """SIGSTOP the agent, if it is up."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT the agent, if it is up."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self.up:
            with suppress(ProcessLookupError):
                os.kill(self.agent.pid, number)

    def ended_by_itself(self) -> str:
        """Why its agent, which should run, does not; empty where it does, or where it was taken away."""
        process = self.agent.process
        if process is None or process is self._leaving or process.poll() is None:
            return ""
        said = "\n".join(self.agent.lines[-20:])
        return f"the agent of {self.name} ended by itself with status {process.returncode}:\n{said}"

    def close(self) -> None:
        """End the agent."""
        self.agent.close()
