"""Node slices as a runtime sees them: by the console script, and by the native plugin and its agent."""

from collections.abc import Iterator

import pytest

from .cni_calls import CONSOLE, Runtime
from .node_agent import agent_in_a_directory

IPAM = {
    "range": "10.0.0.0/28",
    "exclude": ["10.0.0.5/32"],
    "ipRanges": [{"range": "fd00::/112"}],
    "node_slice_size": "/30",
}


@pytest.fixture(scope="module", params=["console", "agent"])
def runtimes(request: pytest.FixtureRequest) -> Iterator[tuple[Runtime, bool]]:
    """A runtime, and whether the caller says which node it is on: an agent knows that itself."""
    with agent_in_a_directory() as agent:
        if request.param == "agent":
            agent.start()
            yield agent.runtime(), False
        else:
            yield agent.runtime()._replace(program=CONSOLE), True


@pytest.fixture
def pods(runtimes: tuple[Runtime, bool], request: pytest.FixtureRequest) -> Runtime:
    """A network of its own for each test, with a slice of another node before that of this one."""
    runtime, _ = runtimes
    network_name = f"net-{abs(hash(request.node.name))}"
    ipam = {**runtime.ipam, **IPAM, "network_name": network_name}
    other = runtime._replace(program=CONSOLE, ipam=ipam)
    assert other.add("first", NODENAME="node-0") == ["10.0.0.1", "fd00::1"]
    return runtime._replace(ipam=ipam)


def test_a_pod_gets_addresses_of_its_nodes_slices_with_the_prefix_of_the_whole_ranges(pods: Runtime) -> None:
    added = pods.call("ADD", "a").result()
    assert [one["address"] for one in added["ips"]] == ["10.0.0.6/28", "fd00::4001/112"]
    assert pods.add("a") == ["10.0.0.6", "fd00::4001"]
    assert pods.check("a", added).result() == {}
    pods.delete("a")
    assert "10.0.0.6 is in prevResult, but it is not recorded" in pods.check("a", added).error(999)


def test_a_full_slice_is_an_error_of_add_and_of_status_until_it_may_be_borrowed(pods: Runtime) -> None:
    pods.add("a")
    assert "range: 10.0.0.4/30" in pods.call("ADD", "b").error(999)
    assert "no address is left in 10.0.0.4/30" in pods.status().error(50)
    borrowing = pods._replace(ipam={**pods.ipam, "node_slice_borrow": True})
    assert borrowing.status().result() == {}
    assert borrowing.add("b")[0] == "10.0.0.2"
    assert pods.collect([]).result() == {}
    assert pods.add("c") == ["10.0.0.6", "fd00::4001"]


def test_a_node_for_which_no_slice_is_left_is_told_what_to_do(pods: Runtime) -> None:
    for node in range(2, 5):
        pods._replace(program=CONSOLE).call("ADD", f"of-{node}", NODENAME=f"node-{node}")
    message = pods.call("ADD", "a").error(999)
    assert message.startswith("error at storage engine: no allocated node slice for node node-1")
    assert "node_slice_borrow: true" in message
