"""CNI calls as runtimes make them, one after another on one node, parted by NUL.

A call is its environment, a line for each variable, an empty line, and what comes on stdin. Whatever a
runtime or a tenant writes, a call is answered by one result of its version or one error object, and what ADD
reports is recorded, to that attachment, within the range that was asked for.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from fuzz.json_mutation import mutator
from fuzz.target import Target
from fuzz.targets.config import WORDS as CONFIG_WORDS
from tests.cni_calls import NODE, Outcome, Runtime
from tests.config_cases import FLAT_PATH, MemoryFiles
from tests.faults import Never
from tests.memory_store import MemoryStore
from whereabouts.addresses import parse_interface
from whereabouts.cni.args import read_args
from whereabouts.cni.request import read_request
from whereabouts.cni.versions import SUPPORTED
from whereabouts.commit import Committer, DirectCommitter
from whereabouts.config import Config, load
from whereabouts.deadline import Deadline
from whereabouts.log import Log
from whereabouts.service import Call, Service
from whereabouts.store import Store

MOST_CALLS = 8
_CODES = {1, 2, 3, 4, 5, 6, 7, 8, 11, 50, 51, 999}


class Node:
    """A :class:`whereabouts.service.Host` whose datastore, whatever a configuration names, is in memory."""

    def __init__(self) -> None:
        self.environment = {"NODENAME": NODE}
        self.files = MemoryFiles({FLAT_PATH: b"{}"})
        self.kept = MemoryStore()

    def log(self, config: Config) -> Log:
        return Log(config.log_level, lambda line: None)

    @contextmanager
    def store(self, config: Config, deadline: Deadline) -> Iterator[tuple[Store, Committer]]:
        yield self.kept, DirectCommitter(self.kept)


class Part(NamedTuple):
    """One call of an input."""

    environment: dict[str, str]
    stdin: bytes


def check(data: bytes) -> None:
    """Make the calls."""
    node = Node()
    service = Service(node)
    for part in data.split(b"\0")[:MOST_CALLS]:
        call = _part(part)
        answer = service.answer(Call(call.environment, call.stdin, (4, 1), (4, 2), seconds=5.0))
        outcome = Outcome(answer.status, answer.stdout, b"")
        if answer.status == 0:
            _check_success(node, call, outcome)
        else:
            _check_error(outcome)
    _check_records(node)


def _part(part: bytes) -> Part:
    """Variables with their values as ``os.environ`` has them, where an environment has no NUL either."""
    head, _, stdin = part.partition(b"\n\n")
    environment = {}
    for line in head.split(b"\n"):
        name, equals, value = line.decode("utf-8", "surrogateescape").partition("=")
        if name and equals:
            environment[name] = value
    return Part(environment, stdin)


def _check_error(outcome: Outcome) -> None:
    error = json.loads(outcome.stdout)
    sentence = outcome.error(error["code"])
    assert error["code"] in _CODES, error
    assert error["cniVersion"] in SUPPORTED, error
    assert "internal error" not in sentence, error


def _check_success(node: Node, call: Part, outcome: Outcome) -> None:
    command = call.environment["CNI_COMMAND"]
    if command == "VERSION":
        assert outcome.result()["supportedVersions"] == list(SUPPORTED)
    elif command == "ADD":
        _check_added(node, call, outcome.result())
    else:
        assert outcome.result() == {}


def _check_added(node: Node, call: Part, result: dict[str, Any]) -> None:
    request = read_request(call.environment, call.stdin)
    assert result["cniVersion"] == request.cni_version
    config = load(
        request.config,
        network=request.network,
        files=node.files,
        cni_version=request.cni_version,
        container_id=request.container_id,
        args=read_args(request.args),
    )
    held = {
        (str(stored.key.address(offset)), owner.range): owner
        for stored in node.kept.blocks(Never())
        for offset, owner in stored.trusted()
        if owner.belongs_to(request.container_id, request.ifname)
    }
    addresses = _addresses(result)
    for one, text in zip(config.ranges, addresses, strict=False):
        interface = parse_interface(text)
        assert one.range.contains(int(interface)), f"{text} is not to be given of {one.range}"
        assert interface.network == one.range.network
        assert (str(interface.ip), str(one.range.network)) in held or one.slices, f"{text} is not recorded"
    for static, text in zip(config.static, addresses[len(config.ranges) :], strict=False):
        assert parse_interface(text) == parse_interface(str(static.address))


def _addresses(result: dict[str, Any]) -> list[str]:
    """The addresses of a result that has a list of them."""
    return [ip["address"] for ip in result.get("ips", ())]


def _check_records(node: Node) -> None:
    """Each address of a space is held once, and each half of a block says the same: read, they agree."""
    held = [
        (stored.key.space, stored.key.address(offset))
        for stored in node.kept.blocks(Never())
        for offset, _ in stored.trusted()
    ]
    assert len(held) == len(set(held))


def _call(command: str, pod: str, stdin: bytes, **variables: str) -> bytes:
    environment = _RUNTIME.environment(command, pod, **variables)
    return "\n".join(f"{name}={value}" for name, value in environment.items()).encode() + b"\n\n" + stdin


_RUNTIME = Runtime(b"", {"range": "10.0.0.0/29"})  # type: ignore[arg-type]  # no program is started
_DUAL = Runtime(b"", {"ipRanges": [{"range": "10.0.0.0/8"}, {"range": "fd00::/64"}]}, version="0.4.0")  # type: ignore[arg-type]
_OLD = Runtime(b"", {"range": "10.0.0.0/30", "addresses": [{"address": "fd00::1/64"}]}, version="0.2.0")  # type: ignore[arg-type]
_SLICED = Runtime(b"", {"range": "10.0.0.0/16", "node_slice_size": "/24"})  # type: ignore[arg-type]
_OWN = Runtime(b"", {"range": "10.0.0.0/28", "enable_overlapping_ranges": False})  # type: ignore[arg-type]
_RESULT = {"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.1/29"}]}


def _seeds() -> Iterator[bytes]:
    for runtime in (_RUNTIME, _DUAL, _OLD, _SLICED, _OWN):
        config = runtime.config()
        yield b"\0".join(
            (
                _call("ADD", "a", config),
                _call("ADD", "b", config),
                _call("ADD", "a", config),
                _call("DEL", "a", config),
                _call("DEL", "a", config),
            )
        )
    yield b"\0".join(
        (
            _call("ADD", "a", _RUNTIME.config()),
            _call("CHECK", "a", _RUNTIME.config(prevResult=_RESULT)),
            _call("GC", "", _RUNTIME.valid(["b"])),
            _call("DEL", "a", _RUNTIME.config(prevResult=_RESULT)),
            _call("STATUS", "", _RUNTIME._replace(version="1.1.0").config()),
            _call("VERSION", "", b""),
        )
    )
    old = {"ip4": {"ip": "10.0.0.1/30"}, "ip6": {"ip": "fd00::1/64"}}
    yield _call("DEL", "a", _OLD.config(prevResult=old), CNI_NETNS="")
    yield _call("ADD", "a", _RUNTIME.config(), CNI_ARGS="IP=10.9.0.1/8;GATEWAY=10.0.0.1;IgnoreUnknown=0")
    yield _call("ADD", "a", _RUNTIME.config(), CNI_IFNAME="a/b", CNI_CONTAINERID="", CNI_NETNS_OVERRIDE="1")
    yield _call("NONE", "a", b"{")


SEEDS = tuple(_seeds())
_VARIABLES = ["COMMAND", "CONTAINERID", "NETNS", "IFNAME", "ARGS", "PATH", "NETNS_OVERRIDE"]
WORDS = (
    *(*CONFIG_WORDS, "prevResult", "ips", "ip4", "ip6", "ip", "interfaces", "cni.dev/valid-attachments"),
    *("cni.dev/attachments", "containerID", "ifname", "net1", "sandbox-of-a", "sandbox-of-b", *SUPPORTED),
)
TARGET = Target(
    check,
    SEEDS,
    (
        *WORDS,
        *(f"CNI_{name}=" for name in _VARIABLES),
        *(
            "ADD",
            "DEL",
            "CHECK",
            "GC",
            "STATUS",
            "VERSION",
            "K8S_POD_NAME=",
            "IgnoreUnknown=",
            b"\n\n",
            b"\0",
        ),
    ),
    mutator(WORDS),
    largest=8192,
)
