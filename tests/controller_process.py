"""A controller as a process of its own, on a cluster that tests make up."""

import os
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from .cni_calls import CONSOLE

PORT_LINE = "metrics and probes on "
LONG = 60.0


class Controller:
    """A controller that can be started again."""

    def __init__(self, kubeconfig: str, *options: str, program: Sequence[str] = (str(CONSOLE),)) -> None:
        self._command = [
            *program,
            "controller",
            "--kubeconfig",
            kubeconfig,
            "--metrics-port",
            "0",
            *options,
        ]
        self.environment = {"PATH": os.environ["PATH"]}
        """What it is started with."""
        self.lines: list[str] = []
        """What it said, since its first start."""
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self, *, standby: bool = False) -> None:
        """Start it and wait until it leads; ``standby``: until it serves, and somebody else leads."""
        leading = sum("no longer held" not in line and "held by" in line for line in self.lines)
        self._process = subprocess.Popen(
            self._command, env=self.environment, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, args=[self._process], daemon=True)
        self._reader.start()
        if standby:
            until(lambda: any(PORT_LINE in line for line in self.lines), LONG, lambda: "\n".join(self.lines))
            return
        until(
            lambda: sum("no longer held" not in line and "held by" in line for line in self.lines) > leading,
            LONG,
            lambda: "\n".join(self.lines),
        )

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.lines.append(line.rstrip("\n"))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; its exit status."""
        if self._process is None:
            return 0
        self._process.send_signal(number)
        status = self._process.wait(LONG)
        assert self._reader is not None
        self._reader.join(LONG)
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._process = None
        return status

    @property
    def up(self) -> bool:
        """Whether it was started and not ended by :meth:`stop` since. It may have ended by itself."""
        return self._process is not None

    def ended_by_itself(self) -> bool:
        """Whether it should run, and does not."""
        return self._process is not None and self._process.poll() is not None

    @property
    def url(self) -> str:
        """Where it serves metrics and pages."""
        return next(line for line in reversed(self.lines) if PORT_LINE in line).partition(PORT_LINE)[2]

    def peak_mebibytes(self) -> float:
        """The most memory that it had."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
        return int(peak) / 1024

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def metric(self, name: str, **labels: str) -> float:
        """A sample of its metrics; 0 where there is none."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=LONG) as answer:
            families: Any = text_string_to_metric_families(answer.read().decode())
        values = [
            float(sample.value)
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(values)


@contextmanager
def running(
    kubeconfig: str, *options: str, standby: bool = False, program: Sequence[str] = (str(CONSOLE),)
) -> Iterator[Controller]:
    """A controller that leads, or waits for another's end; killed at the end if it still runs."""
    controller = Controller(kubeconfig, *options, program=program)
    controller.start(standby=standby)
    try:
        yield controller
    finally:
        controller.stop(signal.SIGKILL)


def until(holds: Callable[[], object], seconds: float, story: Callable[[], str] = str) -> float:
    """Wait until something holds; how long it took. AssertionError with the story after ``seconds``."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < seconds, f"not within {seconds:g} s:\n{story()}"
        time.sleep(0.05)
    return time.monotonic() - begun
