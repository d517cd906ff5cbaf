"""Many plugins at once behind one agent, and an agent that is killed among them."""

import itertools
import random
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import ip_address

import pytest

from .cni_calls import LONG, Runtime, outcome_of
from .node_agent import Agent, agent_in_a_directory
from .test_agent import locked, wait_until
from .test_plugin_processes import Given, flat, in_order, lowest, stored

PARALLEL = 64


@pytest.fixture
def agent() -> Iterator[Agent]:
    with agent_in_a_directory() as agent:
        yield agent


def test_2000_adds_of_64_plugins_at_a_time_give_the_lowest_addresses_in_fewer_writes(agent: Agent) -> None:
    agent.start()
    runtime = agent.runtime(range="10.1.0.0/20", log_level="error")
    pods = [f"pod-{number}" for number in range(2000)]
    with ThreadPoolExecutor(PARALLEL) as pool:
        given = dict(zip(pods, pool.map(runtime.add, pods), strict=True))
    assert in_order(flat(given)) == list(itertools.islice(lowest("10.1.0.0/20"), 2000))
    assert stored(runtime) == given
    counted = agent.metrics()
    assert counted.total("whereabouts_calls_total", command="ADD", code="0") == 2000
    writes = counted.total("whereabouts_store_requests_total", verb="write_block")
    assert writes < 1500


def test_calls_that_wait_for_one_block_are_stored_by_one_write(agent: Agent) -> None:
    agent.start()
    runtime = agent.runtime(range="10.1.0.0/24", log_level="error")
    runtime.add("first")
    searched = "whereabouts_store_requests_total"
    with locked(agent):
        calls = [runtime.start("ADD", f"pod-{number}") for number in range(PARALLEL)]
        # Each of them looks its pod up, and has then nothing to wait for but the block.
        wait_until(lambda: agent.metrics().total(searched, verb="blocks_of_pod") > PARALLEL)
    given = [outcome_of(call).addresses() for call in calls]
    assert in_order(list(itertools.chain(*given))) == [f"10.1.0.{last}" for last in range(2, 2 + PARALLEL)]
    counted = agent.metrics()
    assert counted.total(searched, verb="write_block", outcome="ok") <= PARALLEL // 2
    large = counted.total("whereabouts_commit_group_size_count")
    assert large > counted.total("whereabouts_commit_group_size_bucket", le="16.0")


def test_in_a_group_each_call_has_its_own_answer(agent: Agent) -> None:
    """Among calls that are stored together, those for which nothing is left fail, and only those."""
    agent.start()
    runtime = agent.runtime(range="10.1.0.0/27", log_level="error")
    runtime.add("first")
    with locked(agent):
        calls = [runtime.start("ADD", f"pod-{number}") for number in range(40)]
        wait_until(
            lambda: agent.metrics().total("whereabouts_store_requests_total", verb="blocks_of_pod") > 40
        )
    outcomes = [outcome_of(call) for call in calls]
    given = [outcome.addresses() for outcome in outcomes if outcome.status == 0]
    assert in_order(list(itertools.chain(*given))) == [f"10.1.0.{last}" for last in range(2, 31)]
    for outcome in outcomes:
        if outcome.status:
            assert "Could not allocate IP in range" in outcome.error(999)


class Kubelet:
    """A runtime that repeats what failed, as the kubelet does, and remembers what it was told."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.given: Given = {}
        self.failures: Counter[str] = Counter()
        self.answers = threading.Semaphore(0)
        """Released at each answer."""

    def run_pod(self, pod: str) -> None:
        """ADD, repeated or given up with a DEL where it fails; some pods end again."""
        chance = random.Random(pod)
        while True:
            if chance.random() < 0.1:
                self._abandon(pod, chance.uniform(0, 0.05))
            elif self._succeeds("ADD", pod):
                break
            elif chance.random() < 0.5:
                self._delete(pod)
        if chance.random() < 0.4:
            del self.given[pod]
            self._delete(pod)

    def _succeeds(self, command: str, pod: str) -> bool:
        outcome = self.runtime.call(command, pod)
        self.answers.release()
        if outcome.status:
            outcome.error(11)
            self.failures[command] += 1
            return False
        if command == "ADD":
            self.given[pod] = outcome.addresses()
        return True

    def _delete(self, pod: str) -> None:
        while not self._succeeds("DEL", pod):
            pass

    def _abandon(self, pod: str, seconds: float) -> None:
        """Kill the plugin somewhere in its ADD."""
        started = self.runtime.start("ADD", pod)
        with suppress(subprocess.TimeoutExpired):
            started.wait(seconds)
        started.kill()
        outcome_of(started)
        self._delete(pod)


def test_after_agents_were_killed_in_a_burst_no_address_is_given_twice_and_none_is_lost(agent: Agent) -> None:
    agent.start()
    runtime = agent.runtime(range="10.1.0.0/20", log_level="error", ipRanges=[{"range": "fd00::/64"}])
    kubelet = Kubelet(runtime)
    with ThreadPoolExecutor(PARALLEL) as pool:
        pods = [pool.submit(kubelet.run_pod, f"pod-{number}") for number in range(600)]
        for _ in range(4):
            for _ in range(100):
                assert kubelet.answers.acquire(timeout=LONG)
            agent.kill()
            agent.start()
        for pod in pods:
            pod.result()
    assert kubelet.failures["ADD"] > 0
    assert len(set(flat(kubelet.given))) == 2 * len(kubelet.given)
    assert stored(runtime) == {
        pod: sorted(addresses, key=lambda text: (ip_address(text).version, ip_address(text)))
        for pod, addresses in kubelet.given.items()
    }
    free = (address for address in lowest("10.1.0.0/20") if address not in flat(kubelet.given))
    assert runtime.add("next")[0] == next(free)
