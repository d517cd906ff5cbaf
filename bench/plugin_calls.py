"""Calls of one plugin on one network, as a runtime makes them: ever new pods, a DEL with its ADD's result."""

import json
from collections.abc import Sequence
from ipaddress import ip_interface
from itertools import count
from pathlib import Path

from bench.execution import Command, execute_at_once
from tests.cni_calls import Runtime


class PluginCalls:
    """ADDs, and DELs of what was added last."""

    def __init__(self, runtime: Runtime, directory: Path) -> None:
        """Calls of ``runtime``; the input of each is a file in ``directory``."""
        directory.mkdir(parents=True, exist_ok=True)
        self._runtime = runtime
        self._directory = directory
        self._config = directory / "add.json"
        self._config.write_bytes(runtime.config())
        self._numbers = count()
        self._added: list[str] = []
        self.held: list[str] = []
        """Their addresses, in the order of the calls."""

    def add(self, calls: int = 1) -> None:
        """So many ADDs at once. Raises :class:`~bench.turns.Failed` if one fails."""
        pods = [f"pod-{next(self._numbers)}" for _ in range(calls)]
        results = self._execute("ADD", pods, [self._config] * calls)
        self._added += pods
        self.held += [_address(result) for result in results]
        for pod, result in zip(pods, results, strict=True):
            self._input_of_delete(pod).write_bytes(self._runtime.config(prevResult=json.loads(result)))

    def delete(self, calls: int = 1) -> None:
        """So many DELs at once. Raises :class:`~bench.turns.Failed` if one fails."""
        pods, self._added[-calls:], self.held[-calls:] = self._added[-calls:], [], []
        inputs = [self._input_of_delete(pod) for pod in pods]
        self._execute("DEL", pods, inputs)
        for path in inputs:
            path.unlink()

    def _input_of_delete(self, pod: str) -> Path:
        return self._directory / f"{pod}.json"

    def _execute(self, command: str, pods: Sequence[str], inputs: Sequence[Path]) -> list[bytes]:
        results = execute_at_once(
            Command(self._runtime.program, (), self._runtime.environment(command, pod), stdin)
            for pod, stdin in zip(pods, inputs, strict=True)
        )
        for result in results:
            if isinstance(result, Exception):
                raise result
        return [result for result in results if isinstance(result, bytes)]


def _address(result: bytes) -> str:
    return str(ip_interface(json.loads(result)["ips"][0]["address"]).ip)
