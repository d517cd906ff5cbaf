"""The console script as a CNI plugin, end to end: a process for each call, with the embedded store."""

import itertools
import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from whereabouts.commit import Committer, DirectCommitter
from whereabouts.config import Config
from whereabouts.deadline import Deadline
from whereabouts.log import SILENT, Log
from whereabouts.plugin import OneShot
from whereabouts.service import Call, Service
from whereabouts.store import Store

from .cni_calls import CONSOLE, LONG, Outcome, Runtime, container_of
from .faults import FaultyStore

MakeRuntime = Callable[..., Runtime]
FIRST = {"range": "192.168.2.225/28", "exclude": ["192.168.2.229/30", "192.168.2.236/32"]}
FULL = (
    "error at storage engine: Could not allocate IP in range: ip: 192.168.2.225 / - 192.168.2.238 / "
    "range: 192.168.2.224/28 / excludeRanges: [192.168.2.229/30 192.168.2.236/32]"
)


@pytest.fixture
def runtime(tmp_path: Path) -> MakeRuntime:
    """Makes runtimes that share one embedded store."""

    def make(version: str = "1.0.0", network: str = "pods", **ipam: object) -> Runtime:
        local = {"path": str(tmp_path / "whereabouts.db")}
        return Runtime(CONSOLE, {"local": local, **ipam}, network, version)

    return make


def used(runtime: Runtime) -> dict[str, int]:
    """Used addresses by range, as ``whereabouts show`` tells them; empty without a store."""
    path = runtime.ipam["local"]["path"]  # type: ignore[index]
    if not os.path.exists(path):
        return {}
    show = [CONSOLE, "show", "--local", path]
    table = subprocess.run(show, capture_output=True, text=True, check=True, timeout=LONG).stdout
    rows = [line.split() for line in table.splitlines()[1:]]
    return {name: int(used) for _, name, _, used, *_ in rows}


# ---- what it is for ----


def test_the_first_example_of_the_readme_gives_the_lowest_usable_address_each_time(
    runtime: MakeRuntime,
) -> None:
    readme = runtime(**FIRST)
    given = [readme.add(f"web-{number}") for number in range(9)]
    last_bytes = [225, 226, 227, 232, 233, 234, 235, 237, 238]
    assert given == [[f"192.168.2.{last}"] for last in last_bytes]
    assert readme.call("ADD", "web-9").error(999) == FULL
    readme.delete("web-5")
    assert readme.add("web-9") == ["192.168.2.234"]
    assert readme.call("ADD", "web-10").error(999) == FULL


def test_an_add_that_is_repeated_gives_the_same_address_whatever_the_sandbox(runtime: MakeRuntime) -> None:
    pods = runtime(range="10.0.0.0/24")
    first = pods.call("ADD", "web")
    assert pods.call("ADD", "web").stdout == first.stdout
    assert pods.call("ADD", "web", CNI_CONTAINERID="another-sandbox").stdout == first.stdout
    pods.delete("web")
    assert used(pods) == {"10.0.0.0/24": 1}, "the first sandbox does not own the address any more"
    pods.delete("web", CNI_CONTAINERID="another-sandbox")
    assert used(pods) == {"10.0.0.0/24": 0}


def test_a_del_that_is_repeated_and_a_del_without_an_add_succeed(runtime: MakeRuntime) -> None:
    pods = runtime(range="10.0.0.0/24")
    pods.delete("never-added")
    pods.add("web")
    pods.add("neighbour")
    for _ in range(3):
        pods.delete("web")
    assert used(pods) == {"10.0.0.0/24": 1}


def test_interfaces_of_one_pod_have_addresses_of_their_own(runtime: MakeRuntime) -> None:
    pods = runtime(range="10.0.0.0/24")
    assert pods.add("web", CNI_IFNAME="net1") == ["10.0.0.1"]
    assert pods.add("web", CNI_IFNAME="net2") == ["10.0.0.2"]
    pods.delete("web", CNI_IFNAME="net1")
    assert pods.add("web", CNI_IFNAME="net2") == ["10.0.0.2"]


def test_pods_of_one_name_in_two_namespaces_are_two_pods(runtime: MakeRuntime) -> None:
    pods = runtime(range="10.0.0.0/24")
    for number, namespace in enumerate(["blue", "green"], start=1):
        args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME=web"
        given = pods.add("web", CNI_ARGS=args, CNI_CONTAINERID=f"sandbox-in-{namespace}")
        assert given == [f"10.0.0.{number}"]


def test_a_new_pod_of_the_same_name_keeps_the_address_from_its_predecessors_del(
    runtime: MakeRuntime,
) -> None:
    """A StatefulSet's pod comes back before the runtime has cleaned up after the old one."""
    pods = runtime(range="10.0.0.0/24")
    assert pods.add("db-0", CNI_CONTAINERID="old") == ["10.0.0.1"]
    assert pods.add("db-0", CNI_CONTAINERID="new") == ["10.0.0.1"]
    pods.delete("db-0", CNI_CONTAINERID="old")
    assert pods.add("other") == ["10.0.0.2"]


@pytest.mark.parametrize("args", ["", "IgnoreUnknown=1", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default"])
def test_without_a_pod_name_the_container_id_stands_for_the_pod(runtime: MakeRuntime, args: str) -> None:
    containers = runtime(range="10.0.0.0/24")
    assert containers.add("a", CNI_ARGS=args) == ["10.0.0.1"]
    assert containers.add("b", CNI_ARGS=args) == ["10.0.0.2"]
    assert containers.add("a", CNI_ARGS=args) == ["10.0.0.1"]
    containers.delete("a", CNI_ARGS=args)
    assert containers.add("c", CNI_ARGS=args) == ["10.0.0.1"]


def test_ranges_that_overlap_never_give_one_address_twice(runtime: MakeRuntime) -> None:
    wide, narrow = runtime(range="10.0.0.0/16"), runtime(range="10.0.0.0/29")
    given = [(wide if number % 2 else narrow).add(f"p{number}") for number in range(6)]
    assert given == [[f"10.0.0.{number}"] for number in range(1, 7)]
    narrow.call("ADD", "p6").error(999)
    assert wide.add("p6") == ["10.0.0.7"]
    assert used(wide) == {"10.0.0.0/16": 7, "10.0.0.0/29": 6}


def test_networks_by_name_are_apart(runtime: MakeRuntime) -> None:
    for name in ("", "red", "blue"):
        assert runtime(range="10.0.0.0/24", network_name=name).add("web") == ["10.0.0.1"]


def test_an_add_that_fails_at_its_second_range_keeps_nothing_of_the_first(runtime: MakeRuntime) -> None:
    both = runtime(ipRanges=[{"range": "10.0.0.0/24"}, {"range": "10.1.0.0/30", "range_end": "10.1.0.1"}])
    assert both.add("first") == ["10.0.0.1", "10.1.0.1"]
    assert "10.1.0.0/30" in both.call("ADD", "second").error(999)
    assert used(both) == {"10.0.0.0/24": 1, "10.1.0.0/30": 1}


# ---- results in every version ----

DUAL = {
    "ipRanges": [{"range": "10.9.0.0/24", "gateway": "10.9.0.254"}, {"range": "fd00:9::/64"}],
    "routes": [{"dst": "0.0.0.0/0", "gw": "10.9.0.254", "mtu": 1400}, {"dst": "fd00:10::/64"}],
    "dns": {"nameservers": ["10.9.0.53"], "search": ["example.org"]},
}
DNS = {"nameservers": ["10.9.0.53"], "search": ["example.org"]}
ROUTES = [{"dst": "0.0.0.0/0", "gw": "10.9.0.254", "mtu": 1400}, {"dst": "fd00:10::/64"}]
IPS = [{"address": "10.9.0.1/24", "gateway": "10.9.0.254"}, {"address": "fd00:9::1/64"}]


def of_0_1(version: str) -> dict[str, Any]:
    ip4_routes = [{"dst": "0.0.0.0/0", "gw": "10.9.0.254"}]
    return {
        "cniVersion": version,
        "ip4": {"ip": "10.9.0.1/24", "gateway": "10.9.0.254", "routes": ip4_routes},
        "ip6": {"ip": "fd00:9::1/64", "routes": [{"dst": "fd00:10::/64"}]},
        "dns": DNS,
    }


def of_0_3(version: str) -> dict[str, Any]:
    ips = [{"version": family, **ip} for family, ip in zip("46", IPS, strict=True)]
    return {"cniVersion": version, "ips": ips, "routes": ROUTES, "dns": DNS}


def of_1_0(version: str) -> dict[str, Any]:
    return {"cniVersion": version, "dns": DNS, "ips": IPS, "routes": ROUTES}


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("", of_0_1("0.1.0")),
        *((version, of_0_1(version)) for version in ("0.1.0", "0.2.0")),
        *((version, of_0_3(version)) for version in ("0.3.0", "0.3.1", "0.4.0")),
        *((version, of_1_0(version)) for version in ("1.0.0", "1.1.0")),
    ],
)
def test_a_result_has_the_form_of_the_configurations_version(
    runtime: MakeRuntime, version: str, expected: dict[str, Any]
) -> None:
    outcome = runtime(version, **DUAL).call("ADD", "web")
    assert outcome.stdout.decode() == json.dumps(expected, indent=4)
    assert outcome.result()["cniVersion"] == version or not version


@pytest.mark.parametrize("version", ["", "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_an_error_names_the_configurations_version(runtime: MakeRuntime, version: str) -> None:
    outcome = runtime(version, range="10.0.0.0/33").call("ADD", "web")
    assert "10.0.0.0/33" in outcome.error(999)
    assert json.loads(outcome.stdout)["cniVersion"] == (version or "0.1.0")


def test_static_addresses_follow_those_of_the_ranges(runtime: MakeRuntime) -> None:
    pods = runtime(range="10.0.0.0/24", addresses=[{"address": "10.5.0.9/16", "gateway": "10.5.0.1"}])
    outcome = pods.call("ADD", "web", CNI_ARGS="IP=10.6.0.7/24;GATEWAY=10.6.0.1;K8S_POD_NAME=web")
    assert outcome.result()["ips"] == [
        {"address": "10.0.0.1/24"},
        {"address": "10.5.0.9/16", "gateway": "10.5.0.1"},
        {"address": "10.6.0.7/24", "gateway": "10.6.0.1"},
    ]


# ---- the other commands ----


def test_version_needs_neither_input_nor_other_variables() -> None:
    run = subprocess.run(
        [CONSOLE],
        env={"CNI_COMMAND": "VERSION"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=LONG,
    )
    versions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]
    assert json.loads(run.stdout) == {"cniVersion": "1.1.0", "supportedVersions": versions}
    assert (run.returncode, run.stderr) == (0, b"")
    assert run.stdout.count(b"\n") == 1


def test_without_a_command_it_is_a_command_line_that_tells_runtimes_what_it_is() -> None:
    run = subprocess.run([CONSOLE], env={}, capture_output=True, check=False, timeout=LONG)
    assert (run.returncode, run.stdout) == (0, b"")
    assert b"CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n" in run.stderr


def test_check_sees_whether_the_record_is_there_and_whose_it_is(runtime: MakeRuntime) -> None:
    pods = runtime(range="10.0.0.0/24")
    result = pods.call("ADD", "web").result()
    assert pods.check("web", result) == Outcome(0, b"", pods.check("web", result).stderr)
    pods.delete("web")
    assert "10.0.0.1 is in prevResult, but it is not recorded" in pods.check("web", result).error(999)
    pods.add("thief")
    assert "recorded for default/thief" in pods.check("web", result).error(999)


def test_check_wants_the_previous_result(runtime: MakeRuntime) -> None:
    pods = runtime(range="10.0.0.0/24")
    pods.add("web")
    assert "prevResult" in pods.call("CHECK", "web").error(7)


@pytest.mark.parametrize(
    ("command", "version"), [("CHECK", "0.3.1"), ("GC", "1.0.0"), ("STATUS", "1.0.0"), ("STATUS", "0.4.0")]
)
def test_commands_are_refused_in_versions_that_do_not_have_them(
    runtime: MakeRuntime, command: str, version: str
) -> None:
    refusal = runtime(version, range="10.0.0.0/24").call(command, "web")
    assert f"config version does not allow {command}" in refusal.error(1)


def test_gc_frees_what_is_not_valid_any_more_and_nothing_of_others(runtime: MakeRuntime) -> None:
    pods, others = runtime(range="10.0.0.0/24"), runtime(network="others", range="10.0.0.0/24")
    for number in range(4):
        pods.add(f"p{number}")
    others.add("foreign")
    pods.add("elsewhere", NODENAME="node-2")
    assert pods.collect(["p1", "p3"]).result() == {}
    assert used(pods) == {"10.0.0.0/24": 4}
    assert [pods.add(f"new-{number}") for number in range(3)] == [["10.0.0.1"], ["10.0.0.3"], ["10.0.0.7"]]


def test_gc_without_a_list_frees_nothing(runtime: MakeRuntime) -> None:
    pods = runtime("1.1.0", range="10.0.0.0/24")
    pods.add("web")
    assert "cni.dev/valid-attachments" in pods.call("GC").error(7)
    assert used(pods) == {"10.0.0.0/24": 1}


def test_status_says_whether_an_add_could_be_served(runtime: MakeRuntime) -> None:
    pods = runtime(range="10.0.0.0/30")
    assert pods.status().result() == {}
    assert pods.status().stdout == b""
    pods.add("a")
    pods.add("b")
    assert "no address is left in 10.0.0.0/30" in pods.status().error(50)
    pods.delete("a")
    assert pods.status().result() == {}


def test_a_del_passes_over_mistakes_that_an_add_reports(runtime: MakeRuntime) -> None:
    pods = runtime(range="10.0.0.0/24")
    pods.add("web")
    for broken in ({"exclude": ["10.0.0.1/123"]}, {"range_start": "nonsense"}, {"gateway": "?"}):
        edited = runtime(range="10.0.0.0/24", **broken)
        edited.call("ADD", "other").error(999)
    runtime(range="10.0.0.0/24", exclude=["10.0.0.1/123"], gateway="?").delete("web")
    assert used(pods) == {"10.0.0.0/24": 0}


def test_a_del_frees_what_was_given_before_the_ranges_were_edited(runtime: MakeRuntime) -> None:
    pods = runtime(range="10.0.0.0/24")
    pods.add("web")
    runtime(range="10.7.0.0/24").delete("web")
    assert used(pods) == {"10.0.0.0/24": 0}


def test_a_del_frees_the_address_of_a_range_that_was_taken_out_though_the_result_names_it(
    runtime: MakeRuntime,
) -> None:
    result = (
        runtime(ipRanges=[{"range": "10.0.0.0/24"}, {"range": "10.1.0.0/24"}]).call("ADD", "web").result()
    )
    edited = runtime(range="10.0.0.0/24")
    assert edited.call("DEL", "web", edited.config(prevResult=result)).result() == {}
    assert used(edited) == {"10.0.0.0/24": 0, "10.1.0.0/24": 0}


# ---- inputs that are wrong ----


@pytest.mark.parametrize(
    ("stdin", "code", "says"),
    [
        (b"\n", 6, "there is no input"),
        (b"{", 6, "error unmarshall network config"),
        (b"\xff\xfe{}", 6, "not UTF-8"),
        (b"[]", 6, "expected an object"),
        (b"null", 6, "expected an object"),
        (b'"pods"', 6, "expected an object"),
        (b"{} {}", 6, "error unmarshall network config"),
        (b'{"name": 7}', 6, "expected a string, found a number"),
        (b'{"name": "n", "cniVersion": 1}', 6, "expected a string, found a number"),
        (b'{"name": NaN}', 6, "NaN"),
        (b'{"name": "n", "x": %s1}' % (b"9" * 5000), 6, "digits"),
        (b'{"name": "n", "ipam": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 6, "levels of nesting"),
        (b"[" * 500_000, 6, "levels of nesting"),
        (b'{"a":' * 100_000, 6, "levels of nesting"),
        (b'{"name": "n", "x": "\\ud800"}', 6, "half of a character"),
        (b"{}", 7, "missing network name"),
        (b'{"name": ""}', 7, "missing network name"),
        (b'{"name": "../../etc"}', 7, "invalid characters found in network name"),
        (b'{"name": "n", "cniVersion": "9.9.9"}', 1, "incompatible CNI versions"),
        (b'{"name": "n", "cniVersion": "1.0"}', 1, "incompatible CNI versions"),
        (b'{"name": "n"}', 999, "IPAM config missing 'ipam' key"),
        (b'{"name": "n", "ipam": null}', 999, "IPAM config missing 'ipam' key"),
        (b'{"name": "n", "ipam": []}', 999, "expected an object"),
        (b'{"name": "n", "ipam": {"type": "host-local"}}', 999, "host-local"),
    ],
)
def test_input_that_is_no_configuration_is_one_clear_error(
    runtime: MakeRuntime, stdin: bytes, code: int, says: str
) -> None:
    outcome = runtime().call("ADD", "web", stdin)
    message = outcome.error(code)
    assert says in message
    assert len(message) < 1000


@pytest.mark.parametrize(
    ("ipam", "names"),
    [
        ({"range": 7}, ["ipam.range", "a string", "7"]),
        ({"range": {}}, ["ipam.range", "a string", "an object"]),
        ({"exclude": "10.0.0.1"}, ["ipam.exclude", "a list", "10.0.0.1"]),
        ({"exclude": [1]}, ["ipam.exclude[0]", "a string"]),
        ({"ipRanges": {}}, ["ipam.ipRanges", "a list"]),
        ({"ipRanges": [None]}, ["ipam.ipRanges[0]", "null"]),
        ({"enable_l3": "true"}, ["ipam.enable_l3", "true or false"]),
        ({"enable_l3": 1}, ["ipam.enable_l3", "true or false"]),
        ({"leader_lease_duration": "1500"}, ["ipam.leader_lease_duration", "number", "1500"]),
        ({"dns": []}, ["ipam.dns", "an object"]),
        ({"local": "/w.db"}, ["ipam.local", "an object"]),
        ({"datastore": "redis"}, ["datastore", "redis"]),
        ({"range": "10.0.0.0/24", "gateway": "10.0.0.256"}, ["gateway", "10.0.0.256"]),
        ({"range": "10.0.0.0/24", "range_start": "soon"}, ["range_start", "soon"]),
        ({"range": "10.0.0.0/24", "exclude": ["10.0.0.0/99"]}, ["exclude", "10.0.0.0/99"]),
        ({"range": "10.0.0.0/31"}, ["10.0.0.0", "too small"]),
        ({"range": "300.0.0.0/8"}, ["300.0.0.0/8"]),
        ({"range": "10.0.0.0/24\x00"}, ["NUL"]),
        ({"local": {"path": "/tmp/w\x00.db"}}, ["NUL"]),
        ({"range": "10.0.0.0/24", "ipRanges": [{"range": "10.0.0.7/24"}]}, ["10.0.0.0/24", "ipRanges[0]"]),
    ],
)
def test_a_value_that_is_wrong_is_named_with_its_key(
    runtime: MakeRuntime, ipam: dict[str, object], names: list[str]
) -> None:
    pods = runtime(**ipam)
    message = pods.call("ADD", "web").error(999)
    assert [name for name in names if name not in message] == [], message


@pytest.mark.parametrize(
    "container_id", ["../../etc/passwd", ".hidden", "a b", "a\nb", "-x", "ä", "a/b", "a" * 256, "a" * 100_000]
)
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_a_hostile_container_id_is_refused(runtime: MakeRuntime, command: str, container_id: str) -> None:
    pods = runtime(range="10.0.0.0/24")
    message = pods.call(command, "web", CNI_CONTAINERID=container_id).error(4)
    assert "containerID" in message
    assert len(message) < 1000
    assert used(pods) == {}


@pytest.mark.parametrize(
    "ifname", [".", "..", "a/b", "a:b", "a b", "eth0\n", "\x1b[31m", "sixteen-letters-", "\udcff", "x" * 9999]
)
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_a_hostile_interface_name_is_refused(runtime: MakeRuntime, command: str, ifname: str) -> None:
    pods = runtime(range="10.0.0.0/24")
    assert "interface name" in pods.call(command, "web", CNI_IFNAME=ifname).error(4)
    assert used(pods) == {}


@pytest.mark.parametrize(
    "args",
    [
        "nonsense",
        "K8S_POD_NAME=a;",
        "K8S_POD_NAME=a=b",
        "IgnoreUnknown=perhaps",
        "UNHEARD=1",
        "K8S_POD_NAME=a b",
        "K8S_POD_NAME=a\nb",
        "K8S_POD_NAME=../x",
        "K8S_POD_NAME=\udcff",
        "K8S_POD_NAME=" + "x" * 1000,
        "K8S_POD_NAMESPACE=" + "x" * 100_000,
    ],
)
def test_hostile_cni_args_are_refused(runtime: MakeRuntime, args: str) -> None:
    pods = runtime(range="10.0.0.0/24")
    assert "CNI Args Parsing Error" in pods.call("ADD", "web", CNI_ARGS=args).error(999)
    assert used(pods) == {}


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("ADD", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]),
        ("CHECK", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]),
        ("DEL", ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"]),
        ("GC", ["CNI_PATH"]),
        ("STATUS", ["CNI_PATH"]),
    ],
)
def test_missing_variables_are_named_together(runtime: MakeRuntime, command: str, missing: list[str]) -> None:
    empty = dict.fromkeys(missing, "")
    message = runtime(range="10.0.0.0/24").call(command, "web", **empty).error(4)
    assert message == f"required env variables [{','.join(missing)}] missing"


def test_a_command_that_does_not_exist_is_refused_after_the_input_was_read(runtime: MakeRuntime) -> None:
    pods = runtime(range="10.0.0.0/24")
    assert pods.call("Add", "web").error(4) == "unknown CNI_COMMAND: Add"
    pods.call("Add", "web", b"{").error(6)
    assert len(pods.call("x" * 100_000, "web").error(4)) < 1000


def test_an_empty_command_is_none_and_the_versions_are_told() -> None:
    run = subprocess.run(
        [CONSOLE], env={"CNI_COMMAND": ""}, input=b"", capture_output=True, check=False, timeout=LONG
    )
    assert (run.returncode, run.stdout) == (0, b"")
    assert b"CNI protocol versions supported: 0.1.0, " in run.stderr


def test_a_configuration_of_one_mebibyte_is_read_and_a_larger_one_is_refused_for_its_size(
    runtime: MakeRuntime,
) -> None:
    pods = runtime(range="10.0.0.0/24")
    room = (1 << 20) - len(pods.config(padding=""))
    assert pods.call("ADD", "a", pods.config(padding="x" * room)).addresses() == ["10.0.0.1"]
    for size in (room + 1, 2 << 20):
        message = pods.call("ADD", "b", pods.config(padding="x" * size)).error(6)
        assert "larger than 1048576 bytes" in message


def test_the_same_network_namespace_is_refused_before_anything_is_stored(runtime: MakeRuntime) -> None:
    pods = runtime(range="10.0.0.0/24")
    own = "/proc/self/ns/net"
    for command in ("ADD", "DEL"):
        message = pods.call(command, "web", CNI_NETNS=own).error(8)
        assert message == "plugin's netns and netns from CNI_NETNS should not be the same"
    assert used(pods) == {}
    assert pods.add("web", CNI_NETNS=own, CNI_NETNS_OVERRIDE="true") == ["10.0.0.1"]
    pods.delete("web", CNI_NETNS="")
    assert used(pods) == {"10.0.0.0/24": 0}


# ---- stores that fail ----


def database(runtime: Runtime) -> Path:
    return Path(runtime.ipam["local"]["path"])  # type: ignore[index]


def test_a_damaged_file_is_said_and_kept(runtime: MakeRuntime) -> None:
    pods = runtime(range="10.0.0.0/24")
    database(pods).write_bytes(b"not a database " * 1000)
    for command in ("ADD", "DEL"):
        message = pods.call(command, "web").error(999)
        assert f"{database(pods)} is damaged" in message
    assert f"{database(pods)} is damaged" in pods.status().error(50)
    assert database(pods).read_bytes() == b"not a database " * 1000


def test_a_damaged_block_is_said_by_its_del_and_its_addresses_are_not_given_again(
    runtime: MakeRuntime,
) -> None:
    pods = runtime(range="10.0.0.0/23")
    pods.add("web")
    with sqlite3.connect(database(pods)) as connection:
        connection.execute("UPDATE blocks SET bitmap = x'00'")
    connection.close()
    assert pods.add("other") == ["10.0.1.1"]
    assert "10.0.0.0" in pods.call("DEL", "web").error(999)
    assert "10.0.0.0" in pods.collect([]).error(999)


def test_a_locked_file_is_waited_for(runtime: MakeRuntime) -> None:
    pods = runtime(range="10.0.0.0/24")
    pods.add("first")
    holder = sqlite3.connect(database(pods), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    started = pods.start("ADD", "second")
    with pytest.raises(subprocess.TimeoutExpired):
        started.wait(1)
    holder.execute("COMMIT")
    holder.close()
    stdout, stderr = started.communicate(timeout=LONG)
    assert Outcome(started.returncode, stdout, stderr).addresses() == ["10.0.0.2"]


@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_a_path_that_cannot_be_made_is_named_and_worth_another_try(
    runtime: MakeRuntime, command: str
) -> None:
    pods = runtime(range="10.0.0.0/24", local={"path": "/proc/no/such/whereabouts.db"})
    assert "/proc/no/such/whereabouts.db" in pods.call(command, "web").error(11)
    assert "/proc/no/such/whereabouts.db" in pods.status().error(50)


def in_mount_namespace(tmp_path: Path, mount: str, pods: Runtime, command: str) -> Outcome:
    """Call the plugin where ``mount`` was done before."""
    script = f'{mount} && exec "$0"'
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-euc", script, CONSOLE],
        env=pods.environment(command, "web") | {"PATH": os.environ["PATH"], "DIR": str(tmp_path)},
        input=pods.config(),
        capture_output=True,
        check=False,
        timeout=LONG,
    )
    return Outcome(run.returncode, run.stdout, run.stderr)


@pytest.mark.netns
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_a_read_only_file_is_said(runtime: MakeRuntime, tmp_path: Path, command: str) -> None:
    pods = runtime(range="10.0.0.0/24")
    pods.add("web")
    mount = 'mount --bind "$DIR" "$DIR" && mount -o remount,bind,ro "$DIR"'
    message = in_mount_namespace(tmp_path, mount, pods, command).error(11)
    assert f"{database(pods)} cannot be opened for writing" in message
    assert used(pods) == {"10.0.0.0/24": 1}


@pytest.mark.netns
def test_a_full_disk_is_said(runtime: MakeRuntime, tmp_path: Path) -> None:
    pods = runtime(range="10.0.0.0/24")
    full = 'mount -t tmpfs -o size=64k none "$DIR" && { head -c 1M /dev/zero >"$DIR/rest" 2>/dev/null || :; }'
    assert "the disk is full: make room on it" in in_mount_namespace(tmp_path, full, pods, "ADD").error(11)


# ---- standard descriptors that are not what they should be ----


def with_descriptors(pods: Runtime, redirection: str, command: str = "ADD") -> Outcome:
    """Call the plugin with a shell's redirection."""
    run = subprocess.run(
        ["sh", "-c", f'exec "$0" {redirection}', CONSOLE],
        env=pods.environment(command, "web"),
        input=pods.config(),
        capture_output=True,
        check=False,
        timeout=LONG,
    )
    return Outcome(run.returncode, run.stdout, run.stderr)


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_a_result_that_cannot_be_written_is_a_failure_and_the_del_frees(
    runtime: MakeRuntime, redirection: str
) -> None:
    pods = runtime(range="10.0.0.0/24")
    outcome = with_descriptors(pods, redirection)
    assert outcome.status == 1
    assert outcome.stdout == b""
    assert b"Traceback" not in outcome.stderr
    assert b"stdout" in outcome.stderr
    pods.delete("web")
    assert used(pods) == {"10.0.0.0/24": 0}


def test_a_runtime_that_has_gone_is_a_failure_and_the_del_frees(runtime: MakeRuntime) -> None:
    pods = runtime(range="10.0.0.0/24")
    started = subprocess.Popen(
        [CONSOLE],
        env=pods.environment("ADD", "web"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert started.stdin is not None
    assert started.stdout is not None
    assert started.stderr is not None
    with started:
        started.stdout.close()
        started.stdin.write(pods.config())
        started.stdin.close()
        stderr = started.stderr.read()
        status = started.wait(LONG)
    assert status in (1, -signal.SIGPIPE)
    assert b"Traceback" not in stderr
    pods.delete("web")
    assert used(pods) == {"10.0.0.0/24": 0}


@pytest.mark.parametrize("redirection", ["<&-", "</dev/null"])
def test_no_input_is_an_error(runtime: MakeRuntime, redirection: str) -> None:
    assert "there is no input" in with_descriptors(runtime(range="10.0.0.0/24"), redirection).error(6)


def test_input_that_cannot_be_read_is_an_error(runtime: MakeRuntime, tmp_path: Path) -> None:
    write_only = f'<&- 0>"{tmp_path}/file"'
    message = with_descriptors(runtime(range="10.0.0.0/24"), write_only).error(5)
    assert "reading the network configuration from stdin: Bad file descriptor" in message


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_a_log_that_cannot_be_written_disturbs_nothing(runtime: MakeRuntime, redirection: str) -> None:
    pods = runtime(range="10.0.0.0/24", log_level="debug", unheard="of")
    assert with_descriptors(pods, redirection).addresses() == ["10.0.0.1"]
    assert with_descriptors(pods, redirection, "DEL") == (0, b"", b"")
    assert used(pods) == {"10.0.0.0/24": 0}


class Failing:
    """A host whose store fails at one of its calls."""

    files = OneShot.files
    environment = OneShot.environment

    def __init__(self, at: int, way: str) -> None:
        self.at, self.way = at, way
        self.reached = False

    def log(self, config: Config) -> Log:
        return SILENT

    @contextmanager
    def store(self, config: Config, deadline: Deadline) -> Iterator[tuple[Store, Committer]]:
        with OneShot().store(config, deadline) as (store, _):
            failing = FaultyStore(store, self.at, self.way)
            try:
                yield failing, DirectCommitter(failing)
            finally:
                self.reached = len(failing.calls) > self.at


@pytest.mark.parametrize("way", ["unavailable", "answer lost"])
def test_whichever_request_to_the_store_fails_the_call_succeeds_or_is_worth_another_try(
    runtime: MakeRuntime, way: str
) -> None:
    for at in itertools.count():
        pods = runtime(ipRanges=[{"range": f"10.0.{at}.0/24"}, {"range": f"10.1.{at}.0/30"}])
        hosts = [Failing(at, way), Failing(at, way)]
        for host, command in zip(hosts, ("ADD", "DEL"), strict=True):
            answer = Service(host).answer(Call(pods.environment(command, "web"), pods.config()))
            if answer.status:
                Outcome(*answer, b"").error(11)
        pods.delete("web")
        assert not any(used(pods).values())
        if not any(host.reached for host in hosts):
            break
    assert at > 5


# ---- the log, the flat file ----


def test_every_line_of_the_log_names_the_attachment(runtime: MakeRuntime, tmp_path: Path) -> None:
    log = tmp_path / "whereabouts.log"
    pods = runtime(range="10.0.0.0/24", log_file=str(log), unheard="of")
    stderr = pods.call("ADD", "web").stderr
    pods.delete("web")
    lines = log.read_text().splitlines()
    subject = f"network=pods pod=default/web container={container_of('web')} interface=net1: "
    assert all(subject in line for line in lines)
    assert any("gave 10.0.0.1" in line for line in lines)
    assert any("freed 10.0.0.1 of default/web" in line for line in lines)
    assert any('unknown key "ipam.unheard"' in line for line in lines)
    assert stderr.decode().splitlines() == lines[: stderr.count(b"\n")]


def test_a_call_that_fails_says_so_in_the_log(runtime: MakeRuntime, tmp_path: Path) -> None:
    log = tmp_path / "whereabouts.log"
    pods = runtime(range="10.0.0.0/30", exclude=["10.0.0.0/30"], log_file=str(log), log_level="error")
    pods.call("ADD", "web").error(999)
    assert pods.call("DEL", "web").result() == {}
    (line,) = log.read_text().splitlines()
    subject = f"ADD network=pods pod=default/web container={container_of('web')} interface=net1"
    assert f"[error] {subject}: Could not allocate IP in range: ip: 10.0.0.1 / - 10.0.0.2" in line


def test_a_configuration_can_forge_no_line_of_the_log_and_send_a_terminal_nothing(
    runtime: MakeRuntime,
) -> None:
    forged = "10.0.0.0/99\r\n2026-01-01T00:00:00Z [error] \x1b[2J\x07\x0b\x85\u2028\u202e"
    stderr = runtime(range="10.0.0.0/24", exclude=[forged]).call("DEL", "web").stderr.decode()
    assert forged[:11] in stderr
    assert all(line.isprintable() for line in stderr.splitlines())
    assert (
        len(stderr.splitlines()) == stderr.count(": could not parse exclude") + stderr.count(": freed ") == 2
    )


def test_a_configuration_full_of_mistakes_does_not_fill_the_log(runtime: MakeRuntime) -> None:
    pods = runtime(range="10.0.0.0/24", **{f"unheard{number}": 0 for number in range(10_000)})
    lines = pods.call("ADD", "web").stderr.decode().splitlines()
    assert len(lines) < 100
    assert sum("unknown key" in line for line in lines) > 10
    assert sum("of the configuration's 10000 warnings are not shown" in line for line in lines) == 1


def test_a_log_file_that_cannot_be_written_disturbs_nothing(runtime: MakeRuntime) -> None:
    pods = runtime(range="10.0.0.0/24", log_file="/proc/no/such/log")
    outcome = pods.call("ADD", "web")
    assert outcome.addresses() == ["10.0.0.1"]
    assert outcome.stderr.count(b"cannot open /proc/no/such/log") == 1


def test_the_flat_file_fills_in_what_the_network_leaves_open(tmp_path: Path) -> None:
    folder = tmp_path / "whereabouts.d"
    folder.mkdir()
    flat = {"local": {"path": str(tmp_path / "flat.db")}, "range": "10.1.0.0/24", "gateway": "10.1.0.254"}
    (folder / "whereabouts.conf").write_text(json.dumps(flat))
    (folder / "nodename").write_text("node-of-file\n")
    pods = Runtime(CONSOLE, {"configuration_path": str(folder), "gateway": "10.1.0.253"})
    assert pods.call("ADD", "web").result()["ips"] == [{"address": "10.1.0.1/24", "gateway": "10.1.0.253"}]
    assert (tmp_path / "flat.db").exists()


def test_a_secret_is_never_shown(runtime: MakeRuntime) -> None:
    for value in ("hunter2", ["hunter2"], {"hunter2": "hunter2"}):
        pods = runtime(range="10.0.0.0/99", etcd_password=value, unheard={"hunter2": 1})
        outcome = pods.call("ADD", "web")
        outcome.error(999)
        assert b"hunter2" not in outcome.stdout + outcome.stderr
