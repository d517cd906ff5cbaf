"""Network configurations as large as they may be: tenants write them, and the agent that reads them is root.

An input is a configuration, and behind a NUL pairs of bytes: which of its members grow. A list gets many
items, an object many keys, a text many characters, until the whole has a mebibyte; ``#`` and ``%`` in a text
become the number of the item. No call takes much longer than it may, in time and memory.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from fuzz.json_mutation import mutator
from fuzz.reader import Reader
from fuzz.target import Target
from fuzz.targets.config import WORDS as CONFIG_WORDS
from tests.cni_calls import NODE, Outcome, Runtime
from tests.config_cases import MemoryFiles
from whereabouts.agent.framing import MAX_CONFIG
from whereabouts.commit import Committer, DirectCommitter
from whereabouts.config import Config
from whereabouts.deadline import Deadline
from whereabouts.log import Log
from whereabouts.service import Call, Service
from whereabouts.store import Store
from whereabouts.stores.sqlite import SqliteStore

SECONDS = 0.3
"""How long a call may take that a store is asked in."""
COMMANDS = ("ADD", "CHECK", "DEL", "GC", "STATUS")


@cache
def _path() -> Path:
    shared = "/dev/shm"
    folder = mkdtemp(prefix="whereabouts-fuzz-", dir=shared if os.access(shared, os.W_OK) else None)
    return Path(folder) / "sizes.db"


class Node:
    """A :class:`whereabouts.service.Host` with a store that is a file."""

    def __init__(self) -> None:
        self.environment = {"NODENAME": NODE}
        self.files = MemoryFiles()

    def log(self, config: Config) -> Log:
        return Log(config.log_level, lambda line: None)

    @contextmanager
    def store(self, config: Config, deadline: Deadline) -> Iterator[tuple[Store, Committer]]:
        store = SqliteStore(str(_path()), deadline)
        try:
            yield store, DirectCommitter(store)
        finally:
            store.close()


def check(data: bytes) -> None:
    """Make the configuration grow, and call with it."""
    text, _, growth = data.partition(b"\0")
    try:
        config = json.loads(text)
        grown = json.dumps(_grown(config, Reader(growth))).encode()
    except (ValueError, RecursionError):
        return
    if len(grown) > MAX_CONFIG:
        return
    _path().unlink(missing_ok=True)
    service = Service(Node())
    runtime = Runtime(Path(), {})
    for command in COMMANDS:
        environment = runtime.environment(command, "a", CNI_ARGS=_ARGS if command == "ADD" else "")
        answer = service.answer(Call(environment, grown, seconds=SECONDS))
        if answer.status:
            error = json.loads(answer.stdout)
            sentence = Outcome(answer.status, answer.stdout, b"").error(error["code"])
            assert "internal error" not in sentence, sentence


_ARGS = (
    "IP="
    + ",".join(f"10.0.{n}.1/24" for n in range(200))
    + ";GATEWAY="
    + ",".join(f"10.0.{n}.2" for n in range(200))
)


def _grown(config: Any, reader: Reader) -> Any:
    """The configuration, of which some members are as large as there is room for."""
    root = [config]
    room = MAX_CONFIG - len(json.dumps(config)) - 64
    chosen = [reader.below(1 << 16) for _ in range(1 + reader.below(3))]
    for number in chosen:
        places = [(container, key) for container, key in _places(root) if container[key]]
        if places:
            container, key = places[number % len(places)]
            container[key] = _many(container[key], room // len(chosen))
    return root[0]


def _places(container: Any) -> Iterator[tuple[Any, Any]]:
    for key in container if isinstance(container, dict) else range(len(container)):
        yield container, key
        if isinstance(container[key], dict | list):
            yield from _places(container[key])


def _many(value: Any, room: int) -> Any:
    size = max(1, len(json.dumps(value)))
    if isinstance(value, str):
        return value * (room // size)
    if isinstance(value, list):
        return [_numbered(item, n) for n in range(room // size) for item in value]
    if isinstance(value, dict):
        return {
            f"{key}{n or ''}": _numbered(item, n)
            for n in range(room // (size + 6 * len(value)))
            for key, item in value.items()
        }
    return value


def _numbered(value: Any, number: int) -> Any:
    if isinstance(value, str):
        return value.replace("#", str(number % 256)).replace("%", str(number // 256 % 256))
    if isinstance(value, list):
        return [_numbered(item, number) for item in value]
    if isinstance(value, dict):
        return {key: _numbered(item, number) for key, item in value.items()}
    return value


def _seed(place: int, ipam: dict[str, Any], **top: Any) -> bytes:
    config = {"cniVersion": "1.1.0", "name": "n", "ipam": {"type": "whereabouts", **ipam}, **top}
    return json.dumps(config).encode() + b"\0\0" + place.to_bytes(2, "little")


SEEDS = (
    _seed(4, {"range": "10.0.0.0/8", "exclude": ["10.%.#.0/24"]}),
    _seed(5, {"range": "10.0.0.0/8", "exclude": ["10.%.#.0/24"]}),
    _seed(4, {"ipRanges": [{"range": "10.%.#.0/24"}]}),
    _seed(4, {"ipRanges": [{"range": "10.%.#.0/24", "exclude": ["10.0.0.0/16"]}], "node_slice_size": "/28"}),
    _seed(6, {"range": "10.0.0.0/11", "node_slice_size": "/24", "exclude": ["10.%.#.0/24"]}),
    _seed(4, {"addresses": [{"address": "10.%.#.1/24"}], "routes": [{"dst": "10.%.#.0/24"}]}),
    _seed(2, {"range": "10.0.0.0/24", "key": 5}),
    _seed(
        4, {"range": "10.0.0.0/24"}, **{"cni.dev/valid-attachments": [{"containerID": "c%#", "ifname": "e"}]}
    ),
    _seed(9, {"range": "10.0.0.0/24"}, prevResult={"ips": [{"address": "10.%.#.1/24"}]}),
    _seed(8, {"range": "10.0.0.0/24", "dns": {"search": ["a.#"]}}),
    _seed(3, {"range": "10.0.0.0/24", "network_name": "n"}),
)
WORDS = (
    "cni.dev/valid-attachments",
    "prevResult",
    "ips",
    "containerID",
    "ifname",
    "10.%.#.0/24",
    "fd00:%:#::/64",
    *CONFIG_WORDS,
)
TARGET = Target(check, SEEDS, WORDS, mutator(WORDS), largest=2048, patience=15, memory=1024)
