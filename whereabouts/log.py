"""Log lines in the Go plugin's form: ``<RFC 3339 local time> [<level>] <message>``."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import localtime, strftime

LEVELS = ("panic", "error", "verbose", "debug")
"""From the quietest to the most talkative; a level includes those before it."""

Sink = Callable[[str], None]
"""Takes one whole line, without its end."""


class Log:
    """Writes messages up to a level to its sinks. A sink that fails must not fail a call."""

    __slots__ = ("_level", "_sinks", "_subject")

    def __init__(self, level: str, *sinks: Sink) -> None:
        """A log at ``level``, one of :data:`LEVELS` in any case; ValueError for another."""
        self._level = LEVELS.index(level.lower())
        self._sinks = sinks
        self._subject = ""

    def about(self, subject: str) -> Log:
        """The same log, whose every message begins with ``subject``."""
        log = Log(LEVELS[self._level], *self._sinks)
        log._subject = f"{subject}: "
        return log

    def debug(self, message: str) -> None:
        """What a developer wants to know."""
        self._write(3, message)

    def verbose(self, message: str) -> None:
        """What an operator wants to know when looking closely."""
        self._write(2, message)

    def error(self, message: str) -> None:
        """Something went wrong or needs attention."""
        self._write(1, message)

    def _write(self, level: int, message: str) -> None:
        if level > self._level:
            return
        line = f"{_now()} [{LEVELS[level]}] {_one_line(self._subject + message)}"
        for sink in self._sinks:
            sink(line)


SILENT = Log("panic")
"""A log that writes nothing."""


def to_stderr(line: str) -> None:
    """A sink: standard error, where a container runtime collects what plugins say.

    Past Python's own stream, which would write to standard output where standard error is closed, and
    whose errors would fail a call.
    """
    try:
        os.write(2, line.encode(errors="backslashreplace") + b"\n")
    except OSError:
        return  # there is nobody to tell


def to_file(path: str) -> Sink:
    """A sink that appends to a file (created with mode 0644, as the Go plugin does).

    Where that fails, standard error says so, once, and the call goes on.
    """
    failed = False

    def append(line: str) -> None:
        nonlocal failed
        try:
            # O_NONBLOCK: a FIFO in the file's place must not hold a call up.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            descriptor = os.open(path, flags, 0o644)
            try:
                os.write(descriptor, line.encode(errors="backslashreplace") + b"\n")
            finally:
                os.close(descriptor)
        except OSError as error:
            if not failed:
                to_stderr(f"Whereabouts logging: cannot open {path}: {error.strerror}")
            failed = True

    return append


def opened(level: str, path: str) -> Log:
    """The log that a configuration asks for: standard error, and the file at ``path`` if it names one."""
    return Log(level, to_stderr, *([to_file(path)] if path else []))


def _now() -> str:
    zone = strftime("%z", localtime())
    return strftime("%Y-%m-%dT%H:%M:%S", localtime()) + ("Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}")


def _one_line(message: str) -> str:
    """The message with all that cannot be printed made visible.

    Nobody may forge a log line, or order a terminal about, through a name.
    """
    if message.isprintable():
        return message
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in message
    )
