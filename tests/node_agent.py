"""A node agent as a process of its own, with the native plugin that talks to it."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from .cni_calls import CONSOLE, LONG, NATIVE, NODE, Runtime

PORT_LINE = "metrics and probes on http://127.0.0.1:"


class Response(NamedTuple):
    """What the agent's HTTP server answered."""

    status: int
    body: str


class Agent:
    """An agent that can be started again; it trusts files in its own directory."""

    def __init__(self, directory: Path) -> None:
        """An agent that is not started yet. ``directory`` has a short path: sockets need one."""
        self.directory = directory
        self.socket = directory / "agent.sock"
        self.plugin = directory / "bin" / "whereabouts"
        self.plugin.parent.mkdir()
        shutil.copy(NATIVE, self.plugin)
        (self.plugin.parent / "whereabouts.socket-path").write_text(f"{self.socket}\n")
        self.allowed = [directory]
        """Directories that configurations may name files in."""
        self.program = [str(CONSOLE)]
        """The command line's beginning."""
        self.environment = {"PATH": os.environ["PATH"], "NODENAME": NODE}
        """What it is started with."""
        self.lines: list[str] = []
        """What the agent said, since its first start."""
        self.process: subprocess.Popen[str] | None = None
        self._changed = threading.Condition()
        self._reader: threading.Thread | None = None

    def runtime(self, **ipam: object) -> Runtime:
        """A runtime that has the native plugin, with an embedded store in the agent's directory."""
        return Runtime(self.plugin, {"local": {"path": str(self.directory / "w.db")}, **ipam})

    def start(self, *options: str) -> None:
        """Start it, and wait until it says so."""
        seen = len(self.lines)
        self.start_silently(*options)
        self.wait_for_line("serving on ", seen)

    def start_silently(self, *options: str) -> None:
        """Start it, for one that says nothing."""
        command = [*self.program, "agent", "--socket", str(self.socket), "--metrics-port", "0"]
        self.process = subprocess.Popen(
            [*command, *(f"--allow-directory={one}" for one in self.allowed), *options],
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, args=[self.process])
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()

    def wait_for_line(self, text: str, after: int = 0) -> str:
        """Wait until a line with this text is there, behind the first ``after``."""

        def find() -> str | None:
            return next((line for line in self.lines[after:] if text in line), None)

        with self._changed:
            assert self._changed.wait_for(lambda: find() is not None, LONG), (text, self.lines)
            found = find()
        assert found is not None
        return found

    @property
    def pid(self) -> int:
        """Its process ID."""
        assert self.process is not None
        return self.process.pid

    def ask(self, path: str) -> Response:
        """Ask its HTTP server."""
        port = next(line for line in reversed(self.lines) if PORT_LINE in line).rpartition(":")[2]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=LONG) as answer:
                return Response(answer.status, answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Response(error.code, error.read().decode())

    def metrics(self) -> "Samples":
        """What it has counted."""
        return Samples(self.ask("/metrics").body)

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL

    def wait(self) -> int:
        """Wait for its end; the exit status."""
        assert self.process is not None
        assert self._reader is not None
        status = self.process.wait(LONG)
        self._reader.join(LONG)
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.process = None
        return status

    def close(self) -> None:
        """End it, if it still runs."""
        if self.process is not None:
            self.process.kill()
            self.wait()


class Samples:
    """Values of metrics by name and labels."""

    def __init__(self, text: str) -> None:
        """Read the text that Prometheus reads."""
        self.all = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def total(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name that have these labels."""
        wanted: Mapping[str, str] = labels
        return sum(
            sample.value
            for sample in self.all
            if sample.name == name and wanted.items() <= sample.labels.items()
        )


@contextmanager
def agent_in_a_directory() -> Iterator[Agent]:
    """An agent that was not started, in a directory of its own that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="wb-") as directory:
        os.chmod(directory, 0o755)
        agent = Agent(Path(directory))
        try:
            yield agent
        finally:
            agent.close()
