"""The reference plugin ``bridge`` with this IPAM: pods in network namespaces that reach each other."""

import os
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .cni_calls import CONSOLE, LONG, Outcome, Runtime
from .node_agent import Agent, agent_in_a_directory
from .suites import find_program

pytestmark = pytest.mark.netns

FIRST = {"range": "10.213.0.0/24", "ipRanges": [{"range": "fd00:213::/64"}]}
SERVE = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.create_server((sys.argv[1], 0), family=family) as server:
    print(server.getsockname()[1], flush=True)
    connection, _ = server.accept()
    with connection:
        connection.sendall(connection.recv(100))
"""
ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])) as connection:
    connection.sendall(b"are you there?")
    print(connection.recv(100).decode(), end="")
"""


def ip(*arguments: str) -> str:
    command = ["ip", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=LONG).stdout


class Host(NamedTuple):
    """A machine with a bridge, and network namespaces for pods."""

    runtime: Runtime
    bridge: str
    namespaces: list[str]

    def call(self, command: str, namespace: str, **members: object) -> Outcome:
        """Call the bridge plugin, which calls the IPAM plugin that it finds in CNI_PATH."""
        ipam = Path(self.runtime.program)
        bridge = find_program("bridge", os.environ.get("CNI_PATH"), "/opt/cni/bin", "/usr/lib/cni")
        assert bridge is not None
        config = self.runtime.config(type="bridge", bridge=self.bridge, **members)
        return self.runtime._replace(program=Path(bridge)).call(
            command,
            namespace,
            config,
            CNI_NETNS=f"/var/run/netns/{namespace}",
            CNI_PATH=f"{ipam.parent}:{Path(bridge).parent}",
        )

    def add(self, namespace: str) -> dict[str, Any]:
        return self.call("ADD", namespace).result()


def addresses_of(result: dict[str, Any]) -> list[str]:
    return [ip["address"] for ip in result["ips"]]


def inside(namespace: str) -> set[str]:
    """Addresses of net1 in a namespace, as ``ip`` shows them."""
    lines = ip("-netns", namespace, "-oneline", "addr", "show", "dev", "net1", "scope", "global")
    return {line.split()[3] for line in lines.splitlines()}


@pytest.fixture
def namespaces() -> Iterator[list[str]]:
    names = [f"wb-{secrets.token_hex(4)}-{number}" for number in range(3)]
    try:
        for name in names:
            ip("netns", "add", name)
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


@pytest.fixture
def bridge() -> Iterator[str]:
    name = f"wb{secrets.token_hex(4)}"
    try:
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)


@pytest.fixture
def agent() -> Iterator[Agent]:
    with agent_in_a_directory() as agent:
        agent.start()
        yield agent


@pytest.fixture
def host(agent: Agent, namespaces: list[str], bridge: str) -> Host:
    return Host(agent.runtime(**FIRST), bridge, namespaces)


def reach(server: str, client: str, address: str) -> str:
    """What a process in one namespace hears from one in the other, at this address."""
    serve = ["ip", "netns", "exec", server, sys.executable, "-c", SERVE, address]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        try:
            port = serving.stdout.readline().strip()
            ask = ["ip", "netns", "exec", client, sys.executable, "-c", ASK, address, port, str(LONG)]
            return subprocess.run(ask, check=True, capture_output=True, text=True, timeout=LONG).stdout
        finally:
            serving.kill()


def test_two_pods_on_a_bridge_get_addresses_and_reach_each_other(host: Host) -> None:
    one, other, _ = host.namespaces
    first, second = host.add(one), host.add(other)
    assert addresses_of(first) == ["10.213.0.1/24", "fd00:213::1/64"]
    assert addresses_of(second) == ["10.213.0.2/24", "fd00:213::2/64"]
    assert inside(one) == set(addresses_of(first))
    assert inside(other) == set(addresses_of(second))
    for address in ("10.213.0.1", "fd00:213::1"):
        assert reach(one, other, address) == "are you there?"
    for address in ("10.213.0.2", "fd00:213::2"):
        assert reach(other, one, address) == "are you there?"


def test_del_frees_the_addresses_for_the_next_pod(host: Host) -> None:
    one, other, third = host.namespaces
    first = host.add(one)
    host.add(other)
    for _ in range(2):
        assert host.call("DEL", one, prevResult=first).result() == {}
    assert addresses_of(host.add(third)) == addresses_of(first)
    assert host.call("DEL", third).result() == {}, "without the result of the ADD"
    ip("netns", "delete", other)
    assert host.call("DEL", other).result() == {}, "after the namespace has gone"
    assert host.runtime.add("next") == ["10.213.0.1", "fd00:213::1"]


def test_check_sees_a_record_that_was_removed(host: Host, agent: Agent) -> None:
    one, other, _ = host.namespaces
    first = host.add(one)
    assert host.call("CHECK", one, prevResult=first).result() == {}
    host.runtime.delete(one)  # the record, while the interface stays
    message = host.call("CHECK", one, prevResult=first).error(999)
    assert "10.213.0.1 is in prevResult, but it is not recorded" in message
    host.add(other)
    assert f"recorded for default/{other}" in host.call("CHECK", one, prevResult=first).error(999)


def test_a_full_range_is_told_through_the_bridge_plugin(host: Host) -> None:
    one, other, third = host.namespaces
    small = host._replace(
        runtime=host.runtime._replace(ipam={**host.runtime.ipam, "range_end": "10.213.0.2"})
    )
    small.add(one)
    small.add(other)
    assert "Could not allocate IP in range" in small.call("ADD", third).error(999)
    for namespace in (third, other):
        assert small.call("DEL", namespace).result() == {}
    assert addresses_of(small.add(third)) == ["10.213.0.2/24", "fd00:213::2/64"]


def test_without_an_agent_the_bridge_plugin_is_told_to_try_again(host: Host, agent: Agent) -> None:
    agent.kill()
    namespace = host.namespaces[0]
    assert "the whereabouts agent cannot be reached" in host.call("ADD", namespace).error(11)
    agent.start()
    assert host.call("DEL", namespace).result() == {}
    assert addresses_of(host.add(namespace)) == ["10.213.0.1/24", "fd00:213::1/64"]


def test_the_console_script_serves_the_bridge_plugin_as_well(host: Host, agent: Agent) -> None:
    agent.terminate()
    assert agent.wait() == 0
    program = agent.plugin
    program.unlink()
    program.symlink_to(CONSOLE)
    one, other, _ = host.namespaces
    first = host.add(one)
    assert host.call("CHECK", one, prevResult=first).result() == {}
    host.add(other)
    assert reach(one, other, "10.213.0.1") == "are you there?"
    for namespace in (one, other):
        assert host.call("DEL", namespace).result() == {}
    with sqlite3.connect(agent.directory / "w.db") as connection:
        assert connection.execute("SELECT total(allocated) FROM blocks").fetchone() == (0.0,)
    connection.close()
