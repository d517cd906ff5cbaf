"""The frames between native plugin and agent, both directions, as a stream cuts them.

The first byte says of which direction a frame is, and where it is cut.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from fuzz.reader import Reader
from fuzz.target import Target
from whereabouts.agent.framing import (
    MAX_ANSWER,
    MAX_REQUEST,
    Answer,
    AnswerReader,
    FramingError,
    NetnsId,
    Request,
    RequestReader,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)

T = TypeVar("T")
ReadT = TypeVar("ReadT", covariant=True)


def check(data: bytes) -> None:
    """A frame is what was written, or a FramingError, however it comes in."""
    reader = Reader(data)
    cut = reader.below(256)
    frame = reader.rest()
    if cut & 1:
        _check(frame, cut, decode_request, encode_request, RequestReader())
    else:
        _check(frame, cut, decode_answer, encode_answer, AnswerReader())


class Stream(Protocol[ReadT]):
    """Takes the bytes of a connection as they come."""

    def feed(self, data: bytes) -> ReadT | None: ...


def _check(
    frame: bytes, cut: int, decode: Callable[[bytes], T], encode: Callable[[T], bytes], stream: Stream[T]
) -> None:
    whole = _decoded(frame, decode)
    if whole is not None:
        assert encode(whole) == frame
        assert len(frame) <= 12 + max(MAX_REQUEST, MAX_ANSWER)
    try:
        first = stream.feed(frame[:cut])
        if first is not None:
            assert first == _decoded(frame[:cut], decode)
            return
        assert not frame[cut:] or stream.feed(frame[cut:]) == whole
        assert whole is not None or stream.feed(b"") is None
        assert whole is not None or not frame
    except FramingError:
        assert whole is None


def _decoded(frame: bytes, decode: Callable[[bytes], T]) -> T | None:
    try:
        return decode(frame)
    except FramingError:
        return None


_REQUEST = Request(
    {"CNI_COMMAND": "ADD", "CNI_ARGS": "K8S_POD_NAME=a", "CNI_IFNAME": "\udcff"},
    b'{"cniVersion":"1.0.0"}',
    120_000,
    NetnsId(4, 4026531840),
    None,
)
SEEDS = (
    *(bytes([cut]) + encode_request(_REQUEST) for cut in (1, 7, 13, 57, 255)),
    b"\1" + encode_request(Request({}, b"", 0, None, None)),
    *(bytes([cut]) + encode_answer(Answer(1, b'{"code":11}', b"gone\n")) for cut in (0, 6, 12, 24, 254)),
    b"\0" + encode_answer(Answer(0, b"", b"")),
    *(b"", b"\1", b"\0WBTS"),
)
TARGET = Target(check, SEEDS, ("WBTS", b"\0\1\0\1", b"\0\1\0\2", "CNI_COMMAND=", b"\0\0\0\1"), largest=600)
