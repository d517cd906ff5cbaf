"""Many processes on one embedded store, and processes that are killed: no address twice, none lost.

Bulk calls go through :class:`tests.cni_calls.Worker`, which runs the console script's code without a start
for each call; a smaller number starts it. What needs no disk lies in memory, where a commit takes no time.
"""

import itertools
import os
import random
import signal
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from whereabouts.deadline import Deadline
from whereabouts.stores.sqlite import SqliteStore

from .cni_calls import CONSOLE, LONG, Calls, Runtime, Worker
from .processes import end_of, fork
from .store_contract import allocations

PROCESSES = 8
Given = dict[str, list[str]]
"""Addresses by pod."""


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory, where the machine has such a thing."""
    shared = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as directory:
        yield Path(directory)


def runtime_at(directory: Path, **ipam: object) -> Runtime:
    return Runtime(CONSOLE, {"local": {"path": str(directory / "w.db")}, **ipam})


def stored(runtime: Runtime) -> Given:
    """What the store holds, read from its file."""
    path: str = runtime.ipam["local"]["path"]  # type: ignore[index]
    store = SqliteStore(path, Deadline(LONG))
    found: Given = {}
    for address, pod_ref in allocations(store):
        found.setdefault(pod_ref.removeprefix("default/"), []).append(address)
    store.close()
    return found


def lowest(network: str) -> Iterator[str]:
    """The addresses of an IPv4 network that may be given, in order."""
    return (str(address) for address in ip_network(network).hosts() if int(address) % 256)


def in_order(addresses: Iterator[str] | list[str]) -> list[str]:
    return sorted(addresses, key=ip_address)


def flat(given: Given) -> list[str]:
    return list(itertools.chain.from_iterable(given.values()))


def adds(worker: int, number: int) -> Calls:
    return [("ADD", f"pod-{worker}-{n}") for n in range(number)]


def answered(worker: Worker) -> Given:
    """The pods that a worker has, from what it reported."""
    given: Given = {}
    for (command, pod), addresses in zip(worker.calls, worker.answers, strict=False):
        if command == "ADD":
            given[pod] = addresses
        else:
            given.pop(pod, None)
    return given


def test_eight_processes_give_exactly_the_4000_lowest_addresses(memory: Path) -> None:
    runtime = runtime_at(memory, range="10.1.0.0/20")
    workers = [Worker(runtime, adds(number, 500)) for number in range(PROCESSES)]
    assert [worker.finish() for worker in workers] == [0] * PROCESSES
    given: Given = {}
    for worker in workers:
        given |= answered(worker)
    assert len(given) == 4000
    assert in_order(flat(given)) == list(itertools.islice(lowest("10.1.0.0/20"), 4000))
    assert stored(runtime) == given


def test_eight_console_scripts_at_a_time_give_exactly_the_lowest_addresses(tmp_path: Path) -> None:
    """Real starts, on a disk, and with a file that the first of them make together."""
    runtime = runtime_at(tmp_path / "made" / "by" / "them", range="10.1.0.0/24")
    pods = [f"pod-{number}" for number in range(48)]
    with ThreadPoolExecutor(PROCESSES) as pool:
        given = dict(zip(pods, pool.map(runtime.add, pods), strict=True))
        assert in_order(flat(given)) == list(itertools.islice(lowest("10.1.0.0/24"), 48))
        assert stored(runtime) == given
        list(pool.map(runtime.delete, pods))
    assert stored(runtime) == {}


def mixed(worker: int, number: int) -> Calls:
    """ADDs, and DELs of pods that were added before."""
    chance = random.Random(worker)
    calls: list[tuple[str, str]] = []
    running: list[str] = []
    for pod in (pod for _, pod in adds(worker, number)):
        calls.append(("ADD", pod))
        running.append(pod)
        while running and chance.random() < 0.4:
            calls.append(("DEL", running.pop(chance.randrange(len(running)))))
    return calls


def test_adds_and_dels_of_eight_processes_at_once_leave_what_was_reported(memory: Path) -> None:
    runtime = runtime_at(memory, range="10.1.0.0/22")
    workers = [Worker(runtime, mixed(number, 60)) for number in range(PROCESSES)]
    assert [worker.finish() for worker in workers] == [0] * PROCESSES
    given: Given = {}
    for worker in workers:
        given |= answered(worker)
    assert stored(runtime) == given
    free = (address for address in lowest("10.1.0.0/22") if address not in flat(given))
    assert [runtime.serve("ADD", f"next-{n}").addresses() for n in range(100)] == [
        [address] for address in itertools.islice(free, 100)
    ]


class Ended:
    """What a runtime knows after its processes were killed: the pods that run, and those it gave up."""

    def __init__(self) -> None:
        self.given: Given = {}
        self.killed = 0


def serve_with_kills(runtime: Runtime, calls: Calls, seed: int) -> Ended:
    """Make the calls one after the other; kill the process that makes them, and go on in the next one.

    The call that may have been under way is repeated, as runtimes do, or an ADD is given up without a DEL,
    as by a node that lost its power. What a process had reported counts, and nothing else.
    """
    chance = random.Random(seed)
    ended = Ended()
    remaining = list(calls)
    given_up: set[str] = set()
    while remaining:
        worker = Worker(runtime, remaining)
        kill = ended.killed < 6
        if kill:
            worker.read_answers(chance.randrange(1, 12))
            worker.kill()
            ended.killed += 1
        else:
            assert worker.finish() == 0
        for (command, pod), addresses in zip(remaining, worker.answers, strict=False):
            if command == "ADD":
                ended.given[pod] = addresses
            else:
                ended.given.pop(pod, None)
        remaining = remaining[len(worker.answers) :]
        if remaining and remaining[0][0] == "ADD" and chance.random() < 0.5:
            given_up.add(remaining.pop(0)[1])
            remaining = [call for call in remaining if call[1] not in given_up]
    return ended


def test_after_processes_were_killed_no_address_is_given_twice_and_gc_finds_what_was_left(
    tmp_path: Path,
) -> None:
    runtime = runtime_at(tmp_path, ipRanges=[{"range": "10.1.0.0/22"}, {"range": "fd00::/64"}])
    with ThreadPoolExecutor(PROCESSES) as pool:
        ends = list(pool.map(lambda n: serve_with_kills(runtime, mixed(n, 40), n), range(PROCESSES)))
    assert sum(end.killed for end in ends) >= 4 * PROCESSES
    given: Given = {}
    for end in ends:
        given |= end.given
    assert Counter(flat(given)).most_common(1)[0][1] == 1
    left = stored(runtime)
    assert {pod: left.get(pod) for pod in given} == given
    runtime.collect(given).result()
    assert stored(runtime) == given
    free = (address for address in lowest("10.1.0.0/22") if address not in flat(given))
    assert runtime.add("next")[0] == next(free)


# ---- killed at every statement ----


def serve_until(statement: int, runtime: Runtime, command: str, pod: str) -> None:
    """Serve a call, and die before SQL statement number ``statement`` (from 0)."""
    left = itertools.count(statement, -1)

    def count(_: str) -> None:
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def connect_counting(*arguments: object, **options: object) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(count)
        return connection

    sqlite3.connect = connect_counting  # type: ignore[assignment]
    sys.exit(runtime.serve(command, pod).status)


def killed_at(statement: int, runtime: Runtime, command: str, pod: str) -> bool:
    """Serve a call in a process that dies before it executes a statement; False if it was over before."""
    status = end_of(fork(serve_until, statement, runtime, command, pod))
    assert status in (0, -signal.SIGKILL)
    return status != 0


@pytest.mark.parametrize("killed", ["ADD", "DEL"])
@pytest.mark.parametrize("then", ["ADD", "DEL", "GC"])
def test_after_a_kill_at_any_statement_the_runtime_finds_nothing_lost(
    memory: Path, killed: str, then: str
) -> None:
    runtime = runtime_at(
        memory,
        log_level="error",
        ipRanges=[{"range": "10.1.0.0/24", "range_start": "10.1.0.251"}, {"range": "fd00::/64"}],
        range="10.1.0.0/23",
    )
    runtime.serve("ADD", "neighbour").result()
    settled = stored(runtime)
    for statement in itertools.count():
        pod = f"pod-{statement}"
        if killed == "DEL":
            runtime.serve("ADD", pod).result()
        alive = not killed_at(statement, runtime, killed, pod)
        assert stored(runtime).keys() <= {"neighbour", pod}
        if then == "ADD":
            assert runtime.serve("ADD", pod).addresses() == ["10.1.0.2", "10.1.0.252", "fd00::2"]
        if then == "GC":
            runtime.serve("GC", "", runtime.valid(["neighbour"])).result()
        else:
            runtime.serve("DEL", pod).result()
        assert stored(runtime) == settled, f"killed before statement {statement}"
        if alive:
            break
    assert statement > 10
