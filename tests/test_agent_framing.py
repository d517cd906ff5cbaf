"""The frames between plugin and agent: what goes in comes out, and nothing else is taken for a frame."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whereabouts.agent.framing import (
    MAX_ANSWER,
    MAX_CONFIG,
    MAX_ENVIRONMENT,
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
from whereabouts.errors import WhereaboutsError

MINIMAL = Request({}, b"", 0, None, None)
ADD = Request(
    {"CNI_COMMAND": "ADD", "CNI_ARGS": "K8S_POD_NAME=a;IgnoreUnknown=1"},
    b'{"cniVersion":"1.0.0"}',
    120_000,
    NetnsId(4, 4026531840),
    NetnsId(4, 4026532999),
)

text_without_nul = st.binary(max_size=40).map(
    lambda raw: raw.replace(b"\0", b"").decode("utf-8", "surrogateescape")
)
netns_ids = st.none() | st.builds(NetnsId, st.integers(1, 2**64 - 1), st.integers(0, 2**64 - 1))
requests = st.builds(
    Request,
    st.dictionaries(st.from_regex(r"CNI_[A-Z]{1,8}", fullmatch=True), text_without_nul, max_size=7),
    st.binary(max_size=300),
    st.integers(0, 2**32 - 1),
    netns_ids,
    netns_ids,
)
answers = st.builds(Answer, st.integers(0, 255), st.binary(max_size=300), st.binary(max_size=300))


def pieces(frame: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(frame) + 1) for cut in cuts), len(frame)]
    return [frame[start:stop] for start, stop in pairwise(edges) if start < stop]


@given(requests, st.lists(st.integers(0, 1000), max_size=5))
def test_a_request_survives_any_cutting_of_the_stream(request: Request, cuts: list[int]) -> None:
    reader = RequestReader()
    *early, last = pieces(encode_request(request), cuts)
    assert [reader.feed(piece) for piece in early] == [None] * len(early)
    assert reader.feed(last) == request


@given(answers, st.lists(st.integers(0, 1000), max_size=5))
def test_an_answer_survives_any_cutting_of_the_stream(answer: Answer, cuts: list[int]) -> None:
    reader = AnswerReader()
    *early, last = pieces(encode_answer(answer), cuts)
    assert [reader.feed(piece) for piece in early] == [None] * len(early)
    assert reader.feed(last) == answer


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_framing_errors(data: bytes) -> None:
    for decode in (decode_request, decode_answer):
        with pytest.raises(FramingError):
            decode(data)


@given(
    st.sampled_from([encode_request(ADD), encode_request(MINIMAL)]),
    st.integers(0, 10_000),
    st.binary(max_size=8),
)
def test_a_damaged_request_is_a_request_or_a_framing_error(frame: bytes, at: int, damage: bytes) -> None:
    at %= len(frame)
    damaged = frame[:at] + damage + frame[at + len(damage) :]
    try:
        request = decode_request(damaged)
    except FramingError:
        return
    assert encode_request(request) == damaged


def test_the_layout_of_a_request_is_pinned() -> None:
    request = Request({"CNI_COMMAND": "DEL"}, b"{}", 0x01020304, NetnsId(5, 6), None)
    assert encode_request(request) == (
        b"WBTS\0\1\0\1\0\0\0\x3e"
        b"\1\2\3\4"
        b"\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\6"
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
        b"\0\0\0\2\0\0\0\x10"
        b"{}CNI_COMMAND=DEL\0"
    )


def test_the_layout_of_an_answer_is_pinned() -> None:
    assert encode_answer(Answer(1, b"out", b"er")) == (b"WBTS\0\1\0\2\0\0\0\x11\0\0\0\1\0\0\0\3\0\0\0\2outer")


def test_the_largest_parts_fit() -> None:
    environment = {"CNI_ARGS": "x" * (MAX_ENVIRONMENT - len("CNI_ARGS=\0"))}
    request = Request(environment, b"c" * MAX_CONFIG, 1, None, None)
    assert len(encode_request(request)) == 12 + MAX_REQUEST
    assert decode_request(encode_request(request)) == request
    answer = Answer(0, b"o" * (MAX_ANSWER - 12), b"")
    assert decode_answer(encode_answer(answer)) == answer


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (MINIMAL._replace(config=b"c" * (MAX_CONFIG + 1)), "1048577 bytes of network configuration"),
        (MINIMAL._replace(environment={"CNI_ARGS": "x" * MAX_ENVIRONMENT}), "bytes of environment"),
        (MINIMAL._replace(time_left_ms=-1), "time_left_ms is -1"),
        (MINIMAL._replace(environment={"CNI_ARGS": "a\0b"}), "not an environment variable"),
        (MINIMAL._replace(environment={"A=B": "c"}), "not an environment variable"),
    ],
)
def test_a_request_that_no_frame_can_hold_is_not_encoded(value: Request, sentence: str) -> None:
    with pytest.raises(FramingError, match=sentence):
        encode_request(value)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (Answer(256, b"", b""), "exit status 256"),
        (Answer(-1, b"", b""), "exit status -1"),
        (Answer(0, b"o" * (MAX_ANSWER - 11), b""), "at most 4194304"),
    ],
)
def test_an_answer_that_no_frame_can_hold_is_not_encoded(value: Answer, sentence: str) -> None:
    with pytest.raises(FramingError, match=sentence):
        encode_answer(value)


def test_a_stranger_is_refused_at_the_first_wrong_byte() -> None:
    reader = RequestReader()
    assert reader.feed(b"WB") is None
    with pytest.raises(FramingError, match="not a whereabouts frame"):
        reader.feed(b"X")


def test_an_oversized_body_is_refused_from_the_head_alone() -> None:
    head = encode_request(MINIMAL)[:8] + (MAX_REQUEST + 1).to_bytes(4, "big")
    with pytest.raises(FramingError, match=f"announces {MAX_REQUEST + 1} bytes, at most {MAX_REQUEST}"):
        RequestReader().feed(head)


def test_another_protocol_version_says_what_to_install() -> None:
    frame = bytearray(encode_request(MINIMAL))
    frame[5] = 9
    with pytest.raises(
        FramingError, match="version 9, this side speaks 1: install plugin and agent of one release"
    ):
        decode_request(bytes(frame))


def test_an_answer_is_not_a_request() -> None:
    with pytest.raises(FramingError, match="kind 2 where the request"):
        decode_request(encode_answer(Answer(0, b"", b"")))


def test_a_stream_that_ends_inside_a_frame_is_an_error_but_an_empty_one_is_not() -> None:
    assert RequestReader().feed(b"") is None
    reader = RequestReader()
    reader.feed(encode_request(ADD)[:20])
    with pytest.raises(FramingError, match="ended after 20 bytes"):
        reader.feed(b"")


def test_nothing_may_follow_the_frame() -> None:
    with pytest.raises(FramingError, match="2 bytes follow"):
        decode_request(encode_request(ADD) + b"{}")


@pytest.mark.parametrize("block", [b"CNI_COMMAND=ADD", b"CNI_COMMAND\0", b"=ADD\0", b"A=1\0A=2\0", b"\0"])
def test_a_malformed_environment_is_refused(block: bytes) -> None:
    good = encode_request(MINIMAL)
    body = good[12:-4] + len(block).to_bytes(4, "big") + block
    with pytest.raises(FramingError, match="environment variable"):
        decode_request(good[:8] + len(body).to_bytes(4, "big") + body)


def test_sizes_that_do_not_add_up_are_refused() -> None:
    request = bytearray(encode_request(ADD))
    request[51] += 1
    with pytest.raises(FramingError, match="does not have"):
        decode_request(bytes(request))
    answer = bytearray(encode_answer(Answer(0, b"out", b"")))
    answer[19] += 1
    with pytest.raises(FramingError, match="does not have"):
        decode_answer(bytes(answer))


def test_a_frame_shorter_than_its_fields_is_refused() -> None:
    for frame, decode in (
        (encode_request(MINIMAL), decode_request),
        (encode_answer(Answer(0, b"", b"")), decode_answer),
    ):
        with pytest.raises(FramingError, match="shorter than its fields"):
            decode(frame[:8] + b"\0\0\0\4" + frame[12:16])


def test_framing_errors_are_ours() -> None:
    assert issubclass(FramingError, WhereaboutsError)
