"""What a runtime calls on one network: ADDs of ever new pods, and DELs, each with the result of its ADD."""

import itertools
import json
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from bench.execution import Command, execute_at_once, start
from bench.turns import Failed
from tests.cni_calls import Runtime
from whereabouts.addresses import Address


class Held(NamedTuple):
    """A pod with what its ADD answered."""

    pod: str
    result: bytes

    def addresses(self) -> list[Address]:
        """In the order of the result."""
        ips: list[dict[str, Any]] = json.loads(self.result)["ips"]
        return [ip_address(ip["address"].partition("/")[0]) for ip in ips]


class Burst(NamedTuple):
    """ADDs that were made at once."""

    seconds: float
    """From the start of the first process until the last one has ended."""
    given: Sequence[Address]
    failures: Sequence[str]


class Calls:
    """One caller. Several may share a directory and a network, if their names differ."""

    def __init__(self, runtimes: Sequence[Runtime], directory: Path, name: str = "new") -> None:
        """Calls of ``runtimes`` in turn, which have the same network; their input lies in ``directory``."""
        directory.mkdir(parents=True, exist_ok=True)
        self._runtimes = itertools.cycle(runtimes)
        self._network = runtimes[0]
        self._config = directory / f"{name}.json"
        self._config.write_bytes(self._network.config())
        self._input = directory / f"{name}-del.json"
        self._prepared: str | None = None
        self._pods = (f"{name}-{number}" for number in itertools.count())
        self.held: list[Held] = []
        """Pods that were added, and not deleted yet."""

    # ------------------------------------------------------------- one by one

    def add(self) -> None:
        """ADD of a new pod."""
        pod = next(self._pods)
        command = self._command("ADD", pod, self._config)
        self.held.append(Held(pod, _run(command)))

    def prepare_delete(self) -> None:
        """Write what the next DEL reads; else DEL does that itself."""
        held = self.held[-1]
        self._input.write_bytes(self._network.config(prevResult=json.loads(held.result)))
        self._prepared = held.pod

    def delete(self) -> None:
        """DEL of the pod that was added last."""
        if self._prepared != self.held[-1].pod:
            self.prepare_delete()
        _run(self._command("DEL", self.held.pop().pod, self._input))

    def measured_add(self) -> float:
        """DEL of the last pod, then an ADD; seconds of the ADD."""
        if self.held:
            self.delete()
        begun = perf_counter()
        self.add()
        return perf_counter() - begun

    def measured_delete(self) -> float:
        """An ADD, then DEL of its pod; seconds of the DEL."""
        self.add()
        self.prepare_delete()
        begun = perf_counter()
        self.delete()
        return perf_counter() - begun

    # ---------------------------------------------------------------- at once

    def add_at_once(self, number: int) -> Burst:
        """ADDs of so many new pods."""
        pods = list(itertools.islice(self._pods, number))
        commands = [self._command("ADD", pod, self._config) for pod in pods]
        begun = perf_counter()
        results = execute_at_once(commands)
        seconds = perf_counter() - begun
        added = [
            Held(pod, result)
            for pod, result in zip(pods, results, strict=True)
            if not isinstance(result, Failed)
        ]
        self.held += added
        given = [address for held in added for address in held.addresses()]
        return Burst(seconds, given, [str(result) for result in results if isinstance(result, Failed)])

    def delete_at_once(self, number: int) -> list[str]:
        """DELs of so many pods that were added last; how they failed, if any did."""
        last, self.held[-number:] = self.held[-number:], []
        commands = []
        for held in last:
            stdin = self._input.with_name(f"{held.pod}-del.json")
            stdin.write_bytes(self._network.config(prevResult=json.loads(held.result)))
            commands.append(self._command("DEL", held.pod, stdin))
        results = execute_at_once(commands)
        for command in commands:
            Path(command.stdin).unlink()
        return [str(result) for result in results if isinstance(result, Failed)]

    def _command(self, command: str, pod: str, stdin: Path) -> Command:
        runtime = next(self._runtimes)
        return Command(runtime.program, (), runtime.environment(command, pod), stdin)


def _run(command: Command) -> bytes:
    return start(command.program, environment=command.environment, stdin=command.stdin).wait()
