"""The native plugin: what it makes of a configuration and of what answers on the agent's socket.

An input is the size of the configuration in two bytes, the configuration, and what the other end sends. The
plugin prints an answer as the agent's own end of the protocol would read it, or else one CNI error.
"""

import json
import shutil
import socket
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from fuzz.reader import Reader
from fuzz.target import Target
from tests.cni_calls import NATIVE, Outcome
from whereabouts.agent.framing import Answer, FramingError, RequestReader, decode_answer, encode_answer
from whereabouts.cni.errors import TRY_AGAIN_LATER
from whereabouts.cni.json_object import JsonError, decode_object

_HEAD = 12
_SECONDS = 20.0


@cache
def _installed() -> tuple[Path, socket.socket]:
    """The plugin in a folder of its own, and what it takes for the agent."""
    folder = Path(mkdtemp(prefix="whereabouts-fuzz-"))
    program = Path(shutil.copy(NATIVE, folder))
    path = folder / "agent.sock"
    (folder / "whereabouts.socket-path").write_text(f"{path}\n")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    listener.settimeout(_SECONDS)
    return program, listener


def check(data: bytes) -> None:
    """Make the call, and answer it."""
    reader = Reader(data)
    config = reader.take(reader.below(1 << 16))
    answer = reader.rest()
    outcome = _call(config, answer)
    expected = _expected(answer)
    if expected is not None:
        assert outcome == Outcome(expected.status, expected.stdout, expected.stderr)
        return
    assert outcome.error(TRY_AGAIN_LATER)
    version = json.loads(outcome.stdout)["cniVersion"]
    assert version in (_versions(config) or (version,))


def _call(config: bytes, answer: bytes) -> Outcome:
    program, listener = _installed()
    environment = {"CNI_COMMAND": "ADD", "CNI_ARGS": "x"}
    pipe = subprocess.PIPE
    with subprocess.Popen([program], env=environment, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        process.stdin.write(config)
        process.stdin.close()
        process.stdin = None
        connection, _ = listener.accept()
        with connection:
            frames = RequestReader()
            while (request := frames.feed(connection.recv(1 << 16))) is None:
                pass
            assert request.config == config
            assert request.environment == environment
            with suppress(OSError):  # it may have seen enough
                connection.sendall(answer)
        stdout, stderr = process.communicate(timeout=_SECONDS)
    return Outcome(process.returncode, stdout, stderr)


def _expected(data: bytes) -> Answer | None:
    """The answer that a stream begins with; what comes behind it is not read."""
    try:
        return decode_answer(data[: _HEAD + int.from_bytes(data[8:_HEAD])])
    except FramingError:
        return None


def _versions(config: bytes) -> tuple[str, ...]:
    """The version of an error: the configuration's own, 0.1.0 without one; any where nobody can tell."""
    try:
        version = decode_object(config).get("cniVersion", "")
    except JsonError:
        return ()
    if not isinstance(version, str) or b"\\" in config:
        return ()
    looks_like_one = 0 < len(version) <= 16 and set(version) <= set("0123456789.")
    return (version if looks_like_one else "0.1.0",)


def _seed(config: bytes, answer: bytes) -> bytes:
    return len(config).to_bytes(2, "little") + config + answer


_CONFIG = b'{"cniVersion": "1.0.0", "name": "n", "ipam": {"cniVersion": "0.4.0", "a": ["}", "\\"{", 1]}}'
_GOOD = encode_answer(Answer(0, b'{"cniVersion":"1.0.0"}', b"said\n"))
SEEDS = (
    _seed(_CONFIG, _GOOD),
    _seed(b"", encode_answer(Answer(255, b"", b""))),
    _seed(_CONFIG, _GOOD + b"more"),
    *(_seed(_CONFIG, _GOOD[:size]) for size in (0, 5, 12, 20, 30)),
    *(_seed(_CONFIG, _GOOD[:at] + b"\xff" + _GOOD[at + 1 :]) for at in (0, 5, 7, 8, 11, 14, 15, 16, 19, 23)),
    _seed(b'{"a": {"cniVersion": "9"}, "cniVersion": "0.3.1", "cniVersion": "0.4.0"}', b""),
    _seed(b'{"name": "cniVersion", "cniVersion" : "0.4.0', b""),
    _seed(b'[{"cniVersion": "0.4.0"}]', b""),
)
TARGET = Target(
    check,
    SEEDS,
    ("WBTS", '"cniVersion"', '"0.4.0"', "{", "}", "[", "]", ":", ",", '\\"', b"\0\1\0\2"),
    largest=400,
)
