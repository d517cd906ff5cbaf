"""Network configurations as large as they may be: tenants write them, and the agent that reads them is root.

An input is a configuration, and behind a NUL pairs of bytes: which of its members grow. A list gets many
items, an object many keys, a text many characters, until the whole has a mebibyte; ``#`` and ``%`` in a text
become the number of the item. No call takes much longer than it may, in time and memory.
"""

import json
import os
from collections.abc import Iterator, Sequence
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

MOST = MAX_CONFIG
"""Bytes of a configuration."""
SECONDS = 0.3
"""How long a call may take that a store is asked in."""
_ATTACHMENTS = "cni.dev/valid-attachments"
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
    if len(grown) > MOST:
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


_LISTED = 2000
_ARGS = ";".join(
    (
        "IP=" + ",".join(f"10.{n >> 8}.{n & 255}.1/24" for n in range(_LISTED)),
        "GATEWAY=" + ",".join(f"10.{n >> 8}.{n & 255}.2" for n in range(_LISTED)),
    )
)
"""As long as they may be."""


def _grown(config: Any, reader: Reader) -> Any:
    """The configuration, of which some members are as large as there is room for."""
    root = [config]
    room = MOST - len(json.dumps(config)) - 64
    chosen = [reader.below(1 << 16)]
    while reader and len(chosen) < 3:
        chosen.append(reader.below(1 << 16))
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
    size = len(json.dumps(_numbered(value, 255 * 256 + 255))) + 2
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


def _seed(path: Sequence[str | int], ipam: dict[str, Any], **top: Any) -> bytes:
    """A configuration of which the member at ``path`` grows."""
    config: Any = {"cniVersion": "1.1.0", "name": "n", "ipam": {"type": "whereabouts", **ipam}, **top}
    *outer, last = path
    container = config
    for key in outer:
        container = container[key]
    places = [(at, key) for at, key in _places([config]) if at[key]]
    number = next(n for n, (at, key) in enumerate(places) if at is container and key == last)
    return json.dumps(config).encode() + b"\0" + number.to_bytes(2, "little")


SEEDS = (
    _seed(("ipam", "exclude"), {"range": "10.0.0.0/8", "exclude": ["10.%.#.0/24"]}),
    _seed(("ipam", "exclude"), {"range": "::/0", "exclude": ["fd00:%:#::/64"], "enable_l3": True}),
    _seed(
        ("ipam", "exclude"), {"range": "10.0.0.0/11", "exclude": ["10.%.#.1/32"], "node_slice_size": "/24"}
    ),
    _seed(("ipam", "ipRanges"), {"ipRanges": [{"range": "10.%.#.0/24"}]}),
    _seed(("ipam", "ipRanges"), {"ipRanges": [{"range": "10.%.#.0/16"}], "node_slice_size": "/28"}),
    _seed(("ipam", "ipRanges"), {"ipRanges": [{"range": "10.0.0.#/8"}], "enable_overlapping_ranges": False}),
    _seed(("ipam", "addresses"), {"addresses": [{"address": "10.%.#.1/24"}]}),
    _seed(("ipam", "addresses"), {"addresses": [{"address": "10.#.%.1/9", "gateway": "10.9.9.9"}]}),
    _seed(("ipam", "routes"), {"range": "10.0.0.0/24", "routes": [{"dst": "10.%.#.0/24", "gw": "10.0.0.1"}]}),
    _seed(("ipam", "dns", "search"), {"range": "10.0.0.0/24", "dns": {"search": ["a.#"]}}),
    _seed(("ipam", "network_name"), {"range": "10.0.0.0/24", "network_name": "n"}),
    _seed(("ipam", "range"), {"range": "10.0.0.0/24"}),
    _seed(("ipam", "dns"), {"dns": {"Search": ["a"]}}),
    _seed(("name",), {"range": "10.0.0.0/24"}),
    _seed(("x",), {"range": "10.0.0.0/24"}, x={"a": 5}),
    _seed(("x",), {"range": "10.0.0.0/24"}, x=[[]]),
    _seed(("ipam",), {"a": "b", "C": "d"}),
    _seed(
        (_ATTACHMENTS,), {"range": "10.0.0.0/24"}, **{_ATTACHMENTS: [{"containerID": "c%#", "ifname": "e"}]}
    ),
    _seed(("prevResult", "ips"), {"range": "10.0.0.0/24"}, prevResult={"ips": [{"address": "10.%.#.1/24"}]}),
    _seed(
        ("prevResult", "ips"), {"range": "10.0.0.0/24"}, prevResult={"ips": [{"Address": "fd00:%:#::1/9"}]}
    ),
)
WORDS = (
    _ATTACHMENTS,
    "prevResult",
    "ips",
    "containerID",
    "ifname",
    "10.%.#.0/24",
    "fd00:%:#::/64",
    *CONFIG_WORDS,
)
TARGET = Target(check, SEEDS, WORDS, mutator(WORDS), largest=2048, patience=60)
