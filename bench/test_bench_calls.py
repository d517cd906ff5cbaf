"""Whole CNI calls, from the start of the plugin's process to its end, beside what they cannot be faster than.

What is compared takes turns in one run, so that whatever else the machine does hits all alike. The store
lies on a disk, its commits are synced. ``beside`` in the extra columns has the others' medians in seconds.
"""

import os
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.cni_calls import CONSOLE, Runtime
from tests.node_agent import Agent, agent_in_a_directory
from tests.store_contract import SOON, add, demand, pod
from tests.suites import find_program
from whereabouts.block import BlockKey, Space
from whereabouts.changes import assign
from whereabouts.deadline import Deadline
from whereabouts.stores.sqlite import SqliteStore

ROUNDS = 100
ALLOCATED = 100
"""Addresses of the block that were given before."""
RANGE = "10.0.0.0/16"
Run = Callable[[], None]


def start(program: str | Path, *arguments: str, environment: dict[str, str], stdin: str = os.devnull) -> None:
    """Start a program and wait for its end, which has to be a success; nothing else is done in between."""
    files = [
        (os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    started = os.posix_spawn(program, [str(program), *arguments], environment, file_actions=files)
    _, status = os.waitpid(started, 0)
    assert status == 0


def take_turns(benchmark: BenchmarkFixture, run: Run, beside: dict[str, Run]) -> None:
    """Measure ``run`` with the fixture, and the others once before each of its rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in beside}

    def others() -> None:
        for name, other in beside.items():
            begun = perf_counter()
            other()
            seconds[name].append(perf_counter() - begun)

    run()
    benchmark.pedantic(run, setup=others, rounds=ROUNDS)  # type: ignore[no-untyped-call]
    benchmark.extra_info["beside"] = {name: median(taken) for name, taken in seconds.items()}


class Calls:
    """ADDs of ever new pods on one network, whose configuration lies in a file."""

    def __init__(self, runtime: Runtime, directory: Path) -> None:
        self._runtime = runtime
        self._stdin = str(directory / "config.json")
        self._numbers = count()
        self.added: list[str] = []
        Path(self._stdin).write_bytes(runtime.config())

    def add(self) -> None:
        pod = f"pod-{next(self._numbers)}"
        self._call("ADD", pod)
        self.added.append(pod)

    def delete(self) -> None:
        self._call("DEL", self.added.pop())

    def _call(self, command: str, pod: str) -> None:
        environment = self._runtime.environment(command, pod)
        start(self._runtime.program, environment=environment, stdin=self._stdin)


class BareCommit:
    """Writes of one block, each with one owner more, as an ADD makes them."""

    def __init__(self, path: Path) -> None:
        self._store = SqliteStore(str(path), Deadline(SOON))
        for number in range(ALLOCATED):
            add(self._store, demand(RANGE), pod(number))
        self._key = BlockKey.of(Space(), ip_address("10.0.0.0"))
        self._stored = self._store.read_block(self._key, Deadline(SOON))
        self._numbers = count(ALLOCATED)

    def write(self) -> None:
        assert self._stored is not None
        owner = pod(next(self._numbers))
        fuller, given = assign(owner._replace(range=RANGE), [(0, 1)])(self._stored.trusted())
        assert given is not None
        self._stored = self._store.write_block(self._key, self._stored, fuller, Deadline(SOON))


@pytest.fixture
def agent() -> Iterator[Agent]:
    with agent_in_a_directory() as agent:
        agent.start()
        yield agent


def network(program: Path, directory: Path) -> Calls:
    """A network whose range has given ``ALLOCATED`` addresses."""
    directory.mkdir(exist_ok=True)
    local = {"path": str(directory / "w.db")}
    store = SqliteStore(local["path"], Deadline(SOON))
    for number in range(ALLOCATED):
        add(store, demand(RANGE), pod(number))
    store.close()
    return Calls(Runtime(program, {"local": local, "range": RANGE, "log_level": "error"}), directory)


def host_local(program: str, directory: Path) -> Calls:
    """The same with the reference IPAM plugin, which keeps a file for each address."""
    directory.mkdir()
    ipam = {"type": "host-local", "dataDir": str(directory / "data"), "ranges": [[{"subnet": RANGE}]]}
    calls = Calls(Runtime(Path(program), ipam), directory)
    for _ in range(ALLOCATED):
        calls.add()
    return calls


def test_version_of_the_native_plugin(benchmark: BenchmarkFixture, tmp_path: Path, agent: Agent) -> None:
    environment = {"CNI_COMMAND": "VERSION"}
    take_turns(
        benchmark,
        lambda: start(agent.plugin, environment=environment),
        {"/bin/true": lambda: start("/bin/true", environment=environment)},
    )


def test_add_of_native_plugin_and_agent(benchmark: BenchmarkFixture, tmp_path: Path, agent: Agent) -> None:
    calls = network(agent.plugin, agent.directory)
    take_turns(benchmark, calls.add, {"commit": BareCommit(tmp_path / "bare.db").write, "DEL": calls.delete})


def test_add_beside_other_plugins(benchmark: BenchmarkFixture, tmp_path: Path, agent: Agent) -> None:
    calls = network(agent.plugin, agent.directory)
    beside = {"console script": network(CONSOLE, tmp_path / "console").add}
    program = find_program("host-local", os.environ.get("CNI_PATH"), "/opt/cni/bin", "/usr/lib/cni")
    if program:
        beside["host-local"] = host_local(program, tmp_path / "host-local").add
    take_turns(benchmark, calls.add, beside)


def test_version_of_the_console_script(benchmark: BenchmarkFixture) -> None:
    take_turns(
        benchmark,
        lambda: start(CONSOLE, environment={"CNI_COMMAND": "VERSION"}),
        {"python -c pass": lambda: start(sys.executable, "-c", "pass", environment={})},
    )


def test_add_of_the_console_script(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    calls = network(CONSOLE, tmp_path)
    take_turns(
        benchmark,
        calls.add,
        {
            "python -c pass": lambda: start(sys.executable, "-c", "pass", environment={}),
            "commit": BareCommit(tmp_path / "bare.db").write,
        },
    )
