"""Progress is for who waits at a terminal."""

import fcntl
import io
import os
import struct
import termios
from typing import TextIO

import pytest

from whereabouts.commands import progress
from whereabouts.commands.progress import Progress

CLEAR = "\r\x1b[K"


class Terminal:
    """A terminal of 20 columns; ``stream`` is what programs write to."""

    def __init__(self) -> None:
        self._leader, follower = os.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 5, 20, 0, 0))
        self.stream: TextIO = os.fdopen(follower, "w")

    def shown(self) -> str:
        """Everything that was written. Ends it."""
        self.stream.close()
        text = b""
        try:
            while part := os.read(self._leader, 4096):
                text += part
        except OSError:
            pass  # the other end is closed
        os.close(self._leader)
        return text.decode()


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which passes as a test says."""
    now = [1000.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    return now


def test_a_line_takes_the_place_of_the_last_one_and_is_gone_in_the_end(seconds: list[float]) -> None:
    terminal = Terminal()
    with Progress(terminal.stream) as line:
        line.say("1 of 3")
        seconds[0] += 1
        line.say("2 of 3, and more than fits")
    assert terminal.shown() == f"{CLEAR}1 of 3{CLEAR}2 of 3, and more th{CLEAR}"


def test_what_comes_a_moment_later_is_not_shown(seconds: list[float]) -> None:
    terminal = Terminal()
    line = Progress(terminal.stream)
    for number in range(25):
        line.say(str(number))
        seconds[0] += 1 / 64
    line.done()
    line.done()
    assert terminal.shown() == f"{CLEAR}0{CLEAR}7{CLEAR}14{CLEAR}21{CLEAR}"


def test_where_nothing_was_shown_nothing_is_taken_away() -> None:
    terminal = Terminal()
    Progress(terminal.stream).done()
    assert terminal.shown() == ""


def test_what_is_no_terminal_gets_nothing() -> None:
    stream = io.StringIO()
    with Progress(stream) as line:
        line.say("1 of 3")
    assert stream.getvalue() == ""
