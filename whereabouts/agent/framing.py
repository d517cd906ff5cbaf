"""Frames between the native plugin and the node agent, as values and bytes, without any I/O.

One connection carries one request and one answer. The layout stands in docs/agent-protocol.md; the other
end is whereabouts/native/whereabouts.c.
"""

from struct import Struct
from typing import NamedTuple

from whereabouts.errors import WhereaboutsError

DEFAULT_SOCKET = "/run/whereabouts/agent.sock"
"""Where the native plugin looks for the agent unless a file beside it says otherwise."""
MAX_CONFIG = 1 << 20
"""Bytes of network configuration that a request can carry."""
MAX_ENVIRONMENT = 1 << 16
"""Bytes of ``NAME=value`` entries, each with its NUL, that a request can carry."""
MAX_ANSWER = 4 << 20
"""Bytes of an answer's body: its fields, stdout and stderr together."""
MAX_REQUEST = MAX_CONFIG + MAX_ENVIRONMENT + 44
"""Bytes of a request's body."""

_MAGIC = b"WBTS"
_VERSION = 1
_REQUEST = 1
_ANSWER = 2
_KINDS = {_REQUEST: "request", _ANSWER: "answer"}
_LIMITS = {_REQUEST: MAX_REQUEST, _ANSWER: MAX_ANSWER}

_HEAD = Struct(">4sHHI")
_REQUEST_FIELDS = Struct(">IQQQQII")
_ANSWER_FIELDS = Struct(">III")

MAX_OUTPUT = MAX_ANSWER - _ANSWER_FIELDS.size
"""Bytes of stdout and stderr together that an answer can carry."""


class FramingError(WhereaboutsError, ValueError):
    """Bytes that are not the frame that was expected, or a value that does not fit into one."""


class NetnsId(NamedTuple):
    """What tells one network namespace of a host from the others: device and inode of its file."""

    device: int
    inode: int


class Request(NamedTuple):
    """One call of the plugin.

    ``environment`` holds the CNI variables that are set and not empty (text that is not UTF-8 is escaped as
    in ``os.environ``), ``config`` the bytes from stdin, ``time_left_ms`` how long the plugin still waits. A
    namespace is None if the plugin could not tell; ``pod_netns`` is the one that CNI_NETNS names.
    """

    environment: dict[str, str]
    config: bytes
    time_left_ms: int
    plugin_netns: NetnsId | None
    pod_netns: NetnsId | None


class Answer(NamedTuple):
    """What the plugin does next: write these bytes, then exit with ``status`` (0 to 255)."""

    status: int
    stdout: bytes
    stderr: bytes


def encode_request(request: Request) -> bytes:
    """Return the whole frame of a request; FramingError if a part is too large or cannot be written."""
    environment = b"".join(_entry(name, value) for name, value in request.environment.items())
    _check_sizes(len(request.config), len(environment))
    if not 0 <= request.time_left_ms < 1 << 32:
        raise FramingError(f"time_left_ms is {request.time_left_ms}, not a number of 32 bits")
    fields = _REQUEST_FIELDS.pack(
        request.time_left_ms,
        *(request.plugin_netns or (0, 0)),
        *(request.pod_netns or (0, 0)),
        len(request.config),
        len(environment),
    )
    return _frame(_REQUEST, fields + request.config + environment)


def encode_answer(answer: Answer) -> bytes:
    """Return the whole frame of an answer; FramingError if it is too large for the plugin to take."""
    if not 0 <= answer.status <= 255:
        raise FramingError(f"exit status {answer.status} is not in 0 to 255")
    fields = _ANSWER_FIELDS.pack(answer.status, len(answer.stdout), len(answer.stderr))
    return _frame(_ANSWER, fields + answer.stdout + answer.stderr)


class _FrameReader:
    """Collects the bytes of one frame of one kind."""

    __slots__ = ("_buffer", "_kind", "_size")

    def __init__(self, kind: int) -> None:
        self._buffer = bytearray()
        self._kind = kind
        self._size: int | None = None

    def feed(self, data: bytes) -> memoryview | None:
        """Take the next bytes, ``b""`` for the end of the stream; return the body once it is whole."""
        buffer = self._buffer
        buffer += data
        if not buffer.startswith(_MAGIC[: len(buffer)]):
            raise FramingError(f"not a whereabouts frame: it begins with {bytes(buffer[:4])!r}")
        if self._size is None and len(buffer) >= _HEAD.size:
            self._size = self._read_head()
        if self._size is None or len(buffer) < self._size:
            if buffer and not data:
                raise FramingError(f"the connection ended after {len(buffer)} bytes of a frame")
            return None
        if len(buffer) > self._size:
            raise FramingError(f"{len(buffer) - self._size} bytes follow the one frame of a connection")
        return memoryview(buffer)[_HEAD.size :]

    def _read_head(self) -> int:
        _, version, kind, body = _HEAD.unpack_from(self._buffer)
        expected = _KINDS[self._kind]
        if version != _VERSION:
            raise FramingError(
                f"a frame of protocol version {version}, this side speaks {_VERSION}: "
                "install plugin and agent of one release"
            )
        if kind != self._kind:
            raise FramingError(f"a frame of kind {kind} where the {expected} ({self._kind}) was expected")
        if body > _LIMITS[kind]:
            raise FramingError(f"the {expected} announces {body} bytes, at most {_LIMITS[kind]} are taken")
        return _HEAD.size + int(body)


class RequestReader:
    """The agent's end of one connection: bytes in, one Request out."""

    __slots__ = ("_frame",)

    def __init__(self) -> None:
        """Start with nothing read."""
        self._frame = _FrameReader(_REQUEST)

    def feed(self, data: bytes) -> Request | None:
        """Take the next bytes and return the request once it is whole.

        Feed ``b""`` when the stream has ended: None then means that nothing at all was sent. FramingError
        comes as soon as the bytes cannot become a request, without waiting for the rest of them.
        """
        body = self._frame.feed(data)
        return None if body is None else _request(body)


class AnswerReader:
    """The plugin's end of one connection: bytes in, one Answer out."""

    __slots__ = ("_frame",)

    def __init__(self) -> None:
        """Start with nothing read."""
        self._frame = _FrameReader(_ANSWER)

    def feed(self, data: bytes) -> Answer | None:
        """Take the next bytes and return the answer once it is whole; as in ``RequestReader.feed``."""
        body = self._frame.feed(data)
        return None if body is None else _answer(body)


def decode_request(frame: bytes) -> Request:
    """Return the request that is exactly these bytes; FramingError if they are anything else."""
    request = RequestReader().feed(frame)
    if request is None:
        raise FramingError(f"a part of a request: {len(frame)} bytes")
    return request


def decode_answer(frame: bytes) -> Answer:
    """Return the answer that is exactly these bytes; FramingError if they are anything else."""
    answer = AnswerReader().feed(frame)
    if answer is None:
        raise FramingError(f"a part of an answer: {len(frame)} bytes")
    return answer


def _frame(kind: int, body: bytes) -> bytes:
    if len(body) > _LIMITS[kind]:
        raise FramingError(f"the {_KINDS[kind]} has {len(body)} bytes, at most {_LIMITS[kind]} can be sent")
    return _HEAD.pack(_MAGIC, _VERSION, kind, len(body)) + body


def _entry(name: str, value: str) -> bytes:
    if not name or "=" in name or "\0" in name or "\0" in value:
        raise FramingError(f"not an environment variable: {name!r} = {value!r}")
    return f"{name}={value}\0".encode("utf-8", "surrogateescape")


def _check_sizes(config: int, environment: int) -> None:
    if config > MAX_CONFIG:
        raise FramingError(f"{config} bytes of network configuration, at most {MAX_CONFIG} are taken")
    if environment > MAX_ENVIRONMENT:
        raise FramingError(f"{environment} bytes of environment, at most {MAX_ENVIRONMENT} are taken")


def _request(body: memoryview) -> Request:
    if len(body) < _REQUEST_FIELDS.size:
        raise FramingError(f"a request of {len(body)} bytes is shorter than its fields")
    time_left, device, inode, pod_device, pod_inode, config, environment = _REQUEST_FIELDS.unpack_from(body)
    _check_sizes(config, environment)
    parts = body[_REQUEST_FIELDS.size :]
    if config + environment != len(parts):
        raise FramingError(
            f"a request with {config} bytes of configuration and {environment} of environment "
            f"does not have {len(parts)} bytes"
        )
    return Request(
        environment=_environment(bytes(parts[config:])),
        config=bytes(parts[:config]),
        time_left_ms=time_left,
        plugin_netns=_netns(device, inode),
        pod_netns=_netns(pod_device, pod_inode),
    )


def _environment(block: bytes) -> dict[str, str]:
    if block and not block.endswith(b"\0"):
        raise FramingError("the last environment variable has no end")
    variables: dict[str, str] = {}
    for entry in block.split(b"\0")[:-1]:
        name, equals, value = entry.decode("utf-8", "surrogateescape").partition("=")
        if not name or not equals or name in variables:
            raise FramingError(f"not an environment variable, or a second one of that name: {entry[:80]!r}")
        variables[name] = value
    return variables


def _netns(device: int, inode: int) -> NetnsId | None:
    return NetnsId(device, inode) if device or inode else None


def _answer(body: memoryview) -> Answer:
    if len(body) < _ANSWER_FIELDS.size:
        raise FramingError(f"an answer of {len(body)} bytes is shorter than its fields")
    status, stdout, stderr = _ANSWER_FIELDS.unpack_from(body)
    parts = body[_ANSWER_FIELDS.size :]
    if status > 255 or stdout + stderr != len(parts):
        raise FramingError(
            f"an answer with status {status}, {stdout} bytes of stdout and {stderr} of stderr "
            f"does not have {len(parts)} bytes"
        )
    return Answer(status, bytes(parts[:stdout]), bytes(parts[stdout:]))
