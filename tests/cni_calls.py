"""A container runtime as small as it can be: it calls a plugin as the CNI specification says.

Run as a program it is a runtime of its own that serves calls without a process for each of them, with the
code of the console script, so that tests can afford thousands of calls and kill the process that makes them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import whereabouts
from whereabouts.plugin import OneShot
from whereabouts.service import Call, Service

CONSOLE = Path(sys.executable).with_name("whereabouts")
NATIVE = Path(whereabouts.__file__).parent / "native" / "whereabouts"
LONG = 120.0
"""Seconds for what ends by itself much sooner, however loaded the machine is."""
NODE = "node-1"


class Outcome(NamedTuple):
    """What a plugin left behind: exit status and output."""

    status: int
    stdout: bytes
    stderr: bytes

    def result(self) -> dict[str, Any]:
        """The result of a success; empty where a command has none."""
        assert self.status == 0, self
        assert b"Traceback" not in self.stderr
        return _object(self.stdout) if self.stdout else {}

    def addresses(self) -> list[str]:
        """The addresses of a result in the form of CNI 0.3.0 and later, without their prefix lengths."""
        return [ip["address"].partition("/")[0] for ip in self.result()["ips"]]

    def error(self, code: int) -> str:
        """Message and details of a failure: one error object of this code and nothing else on stdout."""
        assert self.status == 1, self
        assert b"Traceback" not in self.stdout + self.stderr
        error = _object(self.stdout)
        assert error.keys() <= {"cniVersion", "code", "msg", "details"}
        assert error["code"] == code, error
        assert isinstance(error["msg"], str)
        assert error["msg"]
        return "; ".join(filter(None, [error["msg"], error.get("details", "")]))


def _object(text: bytes) -> dict[str, Any]:
    value = json.loads(text)
    assert isinstance(value, dict)
    return value


class Runtime(NamedTuple):
    """A runtime with one network, whose pods have one interface, ``net1``."""

    program: Path
    ipam: Mapping[str, object]
    network: str = "pods"
    version: str = "1.0.0"

    def config(self, **members: object) -> bytes:
        """What the plugin reads from stdin, with further members at its top level."""
        config = {"cniVersion": self.version, "name": self.network, "type": "macvlan"}
        return json.dumps({**config, "ipam": {"type": "whereabouts", **self.ipam}, **members}).encode()

    def environment(self, command: str, pod: str = "", **variables: str) -> dict[str, str]:
        """The environment of a call; ``variables`` replace others, and those that are empty are left out."""
        environment = {"CNI_COMMAND": command, "CNI_PATH": "/opt/cni/bin", "NODENAME": NODE}
        if pod:
            environment["CNI_CONTAINERID"] = container_of(pod)
            environment["CNI_NETNS"] = f"/var/run/netns/{pod}"
            environment["CNI_IFNAME"] = "net1"
            environment["CNI_ARGS"] = f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod}"
        return {name: value for name, value in (environment | variables).items() if value}

    def call(self, command: str, pod: str = "", stdin: bytes = b"", /, **variables: str) -> Outcome:
        """Run the plugin to its end; the network's configuration is its stdin unless another is given."""
        run = subprocess.run(
            [self.program],
            input=stdin or self.config(),
            env=self.environment(command, pod, **variables),
            capture_output=True,
            timeout=LONG,
            check=False,
        )
        return Outcome(run.returncode, run.stdout, run.stderr)

    def start(self, command: str, pod: str) -> subprocess.Popen[bytes]:
        """Start the plugin and give it its input; :func:`outcome_of` waits for its end."""
        pipe = subprocess.PIPE
        environment = self.environment(command, pod)
        started = subprocess.Popen([self.program], env=environment, stdin=pipe, stdout=pipe, stderr=pipe)
        assert started.stdin is not None
        started.stdin.write(self.config())
        started.stdin.close()
        started.stdin = None
        return started

    def add(self, pod: str, **variables: str) -> list[str]:
        """ADD: the addresses that the pod got."""
        return self.call("ADD", pod, **variables).addresses()

    def delete(self, pod: str, **variables: str) -> None:
        """DEL: has to succeed, without output."""
        assert self.call("DEL", pod, **variables).result() == {}

    def check(self, pod: str, result: Mapping[str, object]) -> Outcome:
        """CHECK against the result of the pod's ADD."""
        return self.call("CHECK", pod, self.config(prevResult=result))

    def collect(self, valid: Iterable[str]) -> Outcome:
        """GC, with the pods that still are there."""
        return self.call("GC", "", self.valid(valid))

    def valid(self, pods: Iterable[str]) -> bytes:
        """What the plugin reads for GC, if these pods still are there."""
        attachments = [{"containerID": container_of(pod), "ifname": "net1"} for pod in pods]
        return self._replace(version="1.1.0").config(**{"cni.dev/valid-attachments": attachments})

    def status(self) -> Outcome:
        """STATUS, which CNI has since 1.1.0."""
        return self.call("STATUS", "", self._replace(version="1.1.0").config())

    def serve(self, command: str, pod: str = "", stdin: bytes = b"") -> Outcome:
        """The same call in this process, by the code of the console script."""
        answer = Service(OneShot()).answer(Call(self.environment(command, pod), stdin or self.config()))
        return Outcome(answer.status, answer.stdout, b"")


def container_of(pod: str) -> str:
    """The ID of a pod's sandbox."""
    return f"sandbox-of-{pod}"


def outcome_of(started: subprocess.Popen[bytes]) -> Outcome:
    """Wait for a plugin that :meth:`Runtime.start` started."""
    stdout, stderr = started.communicate(timeout=LONG)
    return Outcome(started.returncode, stdout, stderr)


Calls = Sequence[tuple[str, str]]
"""Commands and pods."""


class Worker:
    """A process that makes calls one after the other, and reports each when it was answered."""

    def __init__(self, runtime: Runtime, calls: Calls) -> None:
        """Start it."""
        self.calls = calls
        self.answers: list[list[str]] = []
        """The addresses of every ADD that was reported, and ``[]`` for every DEL, in the order of calls."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cni_calls"],
            cwd=Path(__file__).parent.parent,
            env={"PATH": os.environ["PATH"], "NODENAME": NODE},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        order = {"ipam": runtime.ipam, "network": runtime.network, "calls": calls}
        self._process.stdin.write(json.dumps(order))
        self._process.stdin.close()

    def read_answers(self, number: int) -> None:
        """Wait for so many more answers, or for the end."""
        assert self._process.stdout is not None
        for _ in range(number):
            line = self._process.stdout.readline()
            if not line.endswith("\n"):
                return
            self.answers.append(json.loads(line))

    def kill(self) -> None:
        """Kill it where it is, and read what it had reported."""
        self._process.kill()
        self._process.wait()
        self.finish()

    def finish(self) -> int:
        """Read to the end; the exit status."""
        with self._process:
            self.read_answers(len(self.calls))
        return self._process.returncode


def main() -> None:
    """Be the process of a :class:`Worker`."""
    order = json.load(sys.stdin)
    runtime = Runtime(CONSOLE, order["ipam"] | {"log_level": "error"}, order["network"])
    for command, pod in order["calls"]:
        outcome = runtime.serve(command, pod)
        answer = outcome.addresses() if command == "ADD" else list(outcome.result())
        os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
